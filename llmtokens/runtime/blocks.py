"""Products of BLAS in which what is said of a row does not depend on who else is asked for.

BLAS rounds by the number of rows in a product, and some processors' by their places in it: for the
last few of every dozen it takes another way. So products have always as many rows, a block, and
rows go to those places of it that are rounded as the first one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Rows

ALONE = np.zeros(1, np.int64)
"""The places where one row is asked for."""


def rows_alike(made: NDArray[Any]) -> Rows:
    """Which rows have the bits of the first: of a product of equal rows, the places alike."""
    bits = np.ascontiguousarray(made).view(np.uint8).reshape(len(made), -1)
    return np.flatnonzero(np.all(bits == bits[0], axis=1))


def in_blocks(
    rows: NDArray[Any], block: NDArray[Any], places: Rows
) -> Iterator[tuple[slice, NDArray[Any], Rows]]:
    """Blocks that hold some rows each: which these are, the block, and their places in it.

    ``block`` is written to, and holds at first what stands where nobody is asked for.

    >>> [(at, block.tolist(), taken.tolist())
    ...  for at, block, taken in in_blocks(np.arange(1, 4), np.zeros(4, int), np.array([0, 2]))]
    [(slice(0, 2, None), [1, 0, 2, 0], [0, 2]), (slice(2, 4, None), [3, 0, 2, 0], [0])]
    """
    for start in range(0, len(rows), len(places)):
        at = slice(start, start + len(places))
        taken = places[: len(rows[at])]
        block[taken] = rows[at]
        yield at, block, taken
