"""Names for the types of arrays, one word for each, everywhere; and rows of one length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Rows = NDArray[np.int64]
"""Whole numbers of 64 bits: rows of a table, counts, positions."""
Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

_NOTHING = 1e-12  # a length of no direction


def unit_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows at Euclidean norm 1; rows of zeros, and of what rounding leaves of them, stay."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[Any] = rows / np.where(norms > _NOTHING, norms, 1).astype(rows.dtype)
    return scaled


def cosines(vectors: NDArray[np.floating], vector: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of every row with one vector; 0 where either has no length."""
    lengths = np.linalg.norm(vectors, axis=1)
    products = (vectors @ unit_rows(vector[None])[0]).astype(np.float64)
    cosine: NDArray[np.float64] = products / np.where(lengths > 0, lengths, 1)
    return cosine
