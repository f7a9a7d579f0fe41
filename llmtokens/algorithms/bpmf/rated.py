"""The ratings of some users, in both orders, and how users are divided."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .streams import BLOCK

_RATINGS = 400_000  # of a shard, about: its users' rows then stay in the cache


class Rated(NamedTuple):
    """Standardised ratings of a run of users.

    Those of user ``u``, counted from the first, are ``[ptr[u]:ptr[u + 1]]`` of ``item`` and ``y``;
    those of item ``i`` are ``[item_ptr[i]:item_ptr[i + 1]]`` of ``user`` and ``item_y``.
    """

    ptr: NDArray[np.int64]
    item: NDArray[np.int32]
    y: NDArray[np.float32]
    item_ptr: NDArray[np.int64]
    user: NDArray[np.int32]
    item_y: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        ptr: NDArray[np.int64],
        item: NDArray[np.int32],
        y: NDArray[np.float32],
        n_items: int,
    ) -> Rated:
        """From the ratings in user order."""
        small = ptr.astype(np.int32)
        turned = csr_array((y, item, small), shape=(len(ptr) - 1, n_items)).tocsc()
        return cls(ptr, item, y, turned.indptr.astype(np.int64), turned.indices, turned.data)

    @property
    def n_users(self) -> int:
        return len(self.ptr) - 1

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Pointers and items as above, no pair twice."""
        again = np.flatnonzero(self.user[1:] == self.user[:-1]) + 1
        again = again[~np.isin(again, self.item_ptr)]  # the first ratings of items are no repeats
        if not len(again):
            return self.ptr, self.item
        user = np.repeat(np.arange(self.n_users), np.diff(self.ptr))
        size = len(self.item_ptr) - 1
        user, item = np.divmod(np.unique(user * size + self.item), size)
        counts = np.bincount(user, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]), item.astype(np.int32)


def users_a_shard(n_users: int, n_ratings: int, n_items: int) -> int:
    """How many users make a shard: whole blocks, twice as many until there are ratings enough that
    tables of items are worth their while.

    >>> users_a_shard(610, 100_000, 9_700), users_a_shard(200_000, 20_000_000, 10_000)
    (1024, 4096)
    """
    size, wanted = BLOCK, max(_RATINGS, 8 * n_items)
    while size < n_users and size * n_ratings < wanted * n_users:
        size *= 2
    return size
