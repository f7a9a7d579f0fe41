"""Ratings in blocks that two threads may descend on at once, and factors laid out for the way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.ratings import Ratings
from ...runtime.arrays import Rows

_CACHE_LINE = 64  # bytes
_AT_ONCE, _REST = 32, 4  # float32 columns that compiled loops take, and those of what remains
_FEW_RESTS = 8  # columns


class Visit(NamedTuple):
    """Some users in the order in which they are visited, and their ratings of a block of items."""

    order: Rows
    user_ptr: Rows
    item: NDArray[np.int32]
    value: NDArray[Any]


class Blocks:
    """Blocks of users by blocks of items, of about as many ratings each.

    A step changes its user and its item alone. Ratings of the first users and the first items
    share neither with those of the second and the second: visited at once or one after the other,
    they give the same to the last bit (Gemulla, Nijkamp, Haas & Sismanis 2011).

    Attributes
    ----------
    items : ndarray of int64, shape (n_items,)
        Inner ids of the items, block by block: the first is item 0 of the visits.
    place : ndarray of int32, shape (n_items,)
        Where each item is among these.
    repeats : bool
        Whether visits to a user meet an item twice running: a trainset may have a pair twice.
    """

    def __init__(self, ratings: Ratings, value: NDArray[Any], n: int) -> None:
        by_count = np.argsort(-ratings.item_counts, kind="stable")
        dealt = [by_count[block::n] for block in range(n)]
        self.items: Rows = np.concatenate(dealt)
        self.place = np.empty(ratings.n_items, np.int32)
        self.place[self.items] = np.arange(ratings.n_items)
        item = self.place[ratings.item]
        self._ratings: list[tuple[Rows, NDArray[np.int32], NDArray[Any]]] = []
        self.repeats = False
        for first, end in pairwise(np.cumsum([0, *map(len, dealt)])):
            own = np.flatnonzero((item >= first) & (item < end))
            user, items = ratings.user[own], item[own]
            self.repeats |= bool(np.any((items[1:] == items[:-1]) & (user[1:] == user[:-1])))
            user_ptr = np.searchsorted(own, ratings.user_ptr)
            self._ratings.append((user_ptr, items, value[own]))
        cuts = np.searchsorted(ratings.user_ptr, np.linspace(0, ratings.n, n + 1)[1:-1])
        self._users = list(pairwise([0, *cuts.tolist(), ratings.n_users]))

    def rounds(self, rng: np.random.RandomState | None) -> Iterator[list[Visit]]:
        """Visits that may be made at once, until all ratings were visited; in random order, or in
        that of the trainset."""
        n = len(self._users)
        orders = [np.arange(*users) for users in self._users]
        shifts = np.arange(n)
        if rng is not None:
            orders = [rng.permutation(order) for order in orders]
            shifts = rng.permutation(n)
        for shift in shifts:
            yield [Visit(orders[k], *self._ratings[(k + shift) % n]) for k in range(n)]


def laid_out(factors: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """A copy with columns of zeros, and how many columns loops should change.

    Rows start at the start of a cache line, so that none is read for nothing. Zeros stay zero:
    where many columns would remain after those that compiled loops take at once, they take some
    zeros besides.
    """
    n, k = factors.shape
    if factors.dtype == np.float64:  # sums are made in the order written
        return factors.copy(), k
    rest = k % _AT_ONCE
    width = k + -rest % (_REST if rest <= _FEW_RESTS else _AT_ONCE)
    row = width + -width % (_CACHE_LINE // factors.itemsize)
    memory = np.zeros(n * row * factors.itemsize + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    out = memory[start : start + n * row * factors.itemsize].view(factors.dtype).reshape(n, row)
    out[:, :k] = factors
    return out, width
