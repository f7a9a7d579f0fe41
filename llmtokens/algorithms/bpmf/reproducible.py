"""Random numbers and sums that do not depend on who holds the users.

Every run of :data:`BLOCK` users has a generator of its own for every sweep and purpose, and sums
are added in one order, so that a chain is the same however users are divided among shards, threads
and machines, and can be taken up at any sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Generic, TypeVar

import numpy as np

S = TypeVar("S")

BLOCK = 1024  # users; shards begin at multiples of it


class Purpose(IntEnum):
    """What numbers are for."""

    START = 0
    ITEMS = 1
    USERS = 2
    NOISE = 3
    LINKS = 4
    DRIFT = 5


def stream(seed: int, sweep: int, purpose: Purpose, *block: int) -> np.random.Generator:
    """The generator of one block, anew.

    >>> stream(0, 5, Purpose.USERS, 1).random() == stream(0, 5, Purpose.USERS, 1).random()
    True
    """
    key = (sweep, int(purpose), *block)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def by_block(
    seed: int, sweep: int, purpose: Purpose, first: int, n: int, *further: int
) -> Iterator[tuple[slice, np.random.Generator]]:
    """For ``n`` users from ``first`` on: those of each block, counted from 0, and its generator."""
    for start in range(0, n, BLOCK):
        block = (first + start) // BLOCK
        yield (
            slice(start, min(start + BLOCK, n)),
            stream(seed, sweep, purpose, *further, block),
        )


class OrderedSum(Generic[S]):
    """Adds numbers, arrays or named tuples of them by a fixed binary tree over their indices.

    Whoever holds a run of the indices adds them up as far as whole subtrees go, and whoever merges
    such sums goes on: the result is the same, to the last bit, wherever the runs begin and end.

    Examples
    --------
    >>> left, right = OrderedSum(), OrderedSum()
    >>> for index in range(5):
    ...     (left if index < 3 else right).add(index, 0.1 * index)
    >>> left.merge(right)
    >>> left.result()
    1.0
    """

    def __init__(self) -> None:
        self._whole: dict[tuple[int, int], S] = {}

    def add(self, index: int, part: S, level: int = 0) -> None:
        """Put a leaf, or the sum of a subtree, in its place."""
        while (level, index ^ 1) in self._whole:
            other = self._whole.pop((level, index ^ 1))
            part = added(other, part) if index & 1 else added(part, other)
            level, index = level + 1, index >> 1
        self._whole[level, index] = part

    def merge(self, other: OrderedSum[S]) -> None:
        """Add what another tree has."""
        for (level, index), part in other._whole.items():
            self.add(index, part, level)

    def result(self) -> S:
        """The sum of everything; where the tree has gaps, from left to right."""
        found = sorted(self._whole.items(), key=lambda entry: entry[0][1] << entry[0][0])
        out = found[0][1]
        for _, part in found[1:]:
            out = added(out, part)
        return out


def added(a: Any, b: Any) -> Any:
    """``a + b``, of named tuples field by field; None where there is nothing to add."""
    if isinstance(a, tuple):
        return type(a)(*(added(x, y) for x, y in zip(a, b, strict=True)))
    return None if a is None else a + b
