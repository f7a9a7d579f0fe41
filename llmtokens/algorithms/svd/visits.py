"""In which order ratings are visited, so that several threads may visit them at once.

Users and items are dealt into as many groups and blocks, B. In a round each group visits its
ratings in one block, no two the same: what one group changes no other one reads, so that the groups
of a round may run at once, in any order (Gemulla et al. 2011). After B rounds all ratings were
visited. B depends on the ratings alone, and the result not on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.ratings import Ratings
from ...kernels import sgd
from ...runtime.arrays import Rows
from ...runtime.threads import over_rows

_WORTH_DIVIDING = 500_000  # ratings
_A_VISIT = 32  # ratings of a user, at least, so that fetching their factors is worth it
_MOST = 4  # blocks

Visit = Callable[[Rows, tuple[int, int]], None]


class Visits(NamedTuple):
    """The ratings by user, and those of a user by block.

    Attributes
    ----------
    item, value : (n,)
    ends : (n_users, B + 1)
        The ratings of user u in block b are ``[ends[u, b]:ends[u, b + 1]]``.
    group : (n_users,)
        Of each user.
    """

    item: NDArray[np.int32]
    value: NDArray[Any]
    ends: Rows
    group: NDArray[np.uint8]

    @classmethod
    def of(cls, ratings: Ratings, value: NDArray[Any], as_they_come: bool) -> Visits:
        """``as_they_come``: users are visited in the order given, and all their ratings at once."""
        n_blocks = 1 if as_they_come else blocks(ratings.n, ratings.n_users)
        if n_blocks == 1:
            ends = np.stack([ratings.user_ptr[:-1], ratings.user_ptr[1:]], axis=1)
            return cls(ratings.item, value, ends, np.zeros(ratings.n_users, np.uint8))
        ends = np.empty((ratings.n_users, n_blocks + 1), np.int64)
        item, sorted_value = np.empty_like(ratings.item), np.empty_like(value)
        block = dealt(ratings.item_counts, n_blocks)
        given = ratings.user_ptr, ratings.item, value, block
        over_rows(ratings.n_users, lambda rows: sgd.divide(rows, *given, ends, item, sorted_value))
        return cls(item, sorted_value, ends, dealt(ratings.user_counts, n_blocks))

    @property
    def n_blocks(self) -> int:
        return self.ends.shape[1] - 1

    def run(self, visit: Visit, order: Rows, threads: Executor | None) -> None:
        """Call ``visit(users, (first block, end))`` for all groups of all rounds."""
        n = self.n_blocks
        users = [order[self.group[order] == g] for g in range(n)]
        if threads is None:
            # one after the other a group may visit many blocks in one go, with equal result: each
            # block still meets the groups in the same order, and each group the blocks
            for g in reversed(range(n)):
                visit(users[g], (g, n))
            for g in reversed(range(1, n)):
                visit(users[g], (0, g))
            return
        for shift in range(n):
            at = [(g + shift) % n for g in range(n)]
            list(threads.map(visit, users, [(b, b + 1) for b in at]))


def blocks(n_ratings: int, n_users: int) -> int:
    """How many blocks: one for few ratings; else as many as leave users a visit's worth in each.

    >>> blocks(100_000, 600), blocks(1_000_000, 6_000), blocks(1_000_000, 53_000)
    (1, 4, 1)
    """
    if n_ratings < _WORTH_DIVIDING:
        return 1
    return int(np.clip(n_ratings // (_A_VISIT * n_users), 1, _MOST))


def dealt(counts: Rows, n: int) -> NDArray[np.uint8]:
    """``n`` groups of about equal sums of counts: the largest are dealt out, back and forth.

    >>> dealt(np.array([5, 1, 9, 7]), 2)
    array([1, 0, 0, 1], dtype=uint8)
    """
    turn = np.arange(len(counts)) % (2 * n)
    group = np.empty(len(counts), np.uint8)
    group[np.argsort(-counts, kind="stable")] = np.minimum(turn, 2 * n - 1 - turn)
    return group
