"""Sums in an order that does not depend on who adds."""

from __future__ import annotations

from typing import Any

Parts = tuple[Any, ...]


class TreeSum:
    """Sums tuples of numbers and arrays by a fixed binary tree over their indices.

    Whoever holds a run of the indices adds them up as far as whole subtrees go, and whoever merges
    such sums goes on: the result is the same, to the last bit, wherever the runs begin and end.

    Examples
    --------
    >>> left, right = TreeSum(), TreeSum()
    >>> for index in range(5):
    ...     (left if index < 3 else right).add(index, (0.1 * index,))
    >>> left.merge(right)
    >>> left.result()
    (1.0,)
    """

    def __init__(self) -> None:
        self._whole: dict[tuple[int, int], Parts] = {}

    def add(self, index: int, parts: Parts, level: int = 0) -> None:
        """Put a leaf, or the sum of a subtree, in its place."""
        while (level, index ^ 1) in self._whole:
            other = self._whole.pop((level, index ^ 1))
            pair = (other, parts) if index & 1 else (parts, other)
            parts = tuple(a + b for a, b in zip(*pair, strict=True))
            level, index = level + 1, index >> 1
        self._whole[level, index] = parts

    def merge(self, other: TreeSum) -> None:
        """Add what another tree has."""
        for (level, index), parts in other._whole.items():
            self.add(index, parts, level)

    def result(self) -> Parts:
        """The sum of everything; where the tree has gaps, from left to right."""
        found = sorted(self._whole.items(), key=lambda entry: entry[0][1] << entry[0][0])
        out = found[0][1]
        for _, parts in found[1:]:
            out = tuple(a + b for a, b in zip(out, parts, strict=True))
        return out
