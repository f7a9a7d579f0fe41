"""Names for the types of arrays, in annotations: one word for each, everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Rows = NDArray[np.int64]
"""Whole numbers of 64 bits: rows of a table, counts, positions."""
Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
