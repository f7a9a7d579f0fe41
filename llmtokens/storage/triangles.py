"""Triangular and symmetric matrices as one triangle, row by row: half of the room."""

from __future__ import annotations

import numpy as np

from ..errors import FileFormatError
from ..runtime.arrays import Singles


def packed(matrix: Singles) -> Singles:
    """The lower triangle of a matrix (n, n), shape (n (n + 1) / 2,).

    >>> packed(np.array([[1, 0], [2, 3]], np.float32)).tolist()
    [1.0, 2.0, 3.0]
    """
    return matrix[np.tri(len(matrix), dtype=bool)]


def lower(entries: Singles, n: int) -> Singles:
    """The lower triangular matrix (n, n) of which :func:`packed` made these.

    Raises
    ------
    FileFormatError
        If there are not as many as n rows have.
    """
    if len(entries) != n * (n + 1) // 2:
        raise FileFormatError(
            f"found {len(entries)} entries of a triangle; expected {n * (n + 1) // 2} for {n} rows"
        )
    matrix = np.zeros((n, n), np.float32)
    matrix[np.tri(n, dtype=bool)] = entries
    return matrix


def symmetric(entries: Singles, n: int) -> Singles:
    """The symmetric matrix (n, n) of which :func:`packed` made these.

    >>> symmetric(np.array([1, 2, 3], np.float32), 2).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    half = lower(entries, n)
    return np.where(np.tri(n, dtype=bool), half, half.T)
