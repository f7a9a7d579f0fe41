"""Sums over the ratings of rows: errors of the model, and products of rows."""

from __future__ import annotations

import numpy as np
from numba import prange

from .twice import twice


@twice(cache=True, nogil=True, fastmath=True, error_model="numpy")
def squared_errors(
    ptr: np.ndarray,
    idx: np.ndarray,
    y: np.ndarray,
    users: np.ndarray,
    design: np.ndarray,
    offset: np.ndarray,
    item_prec: np.ndarray,
    squares: np.ndarray,
    of_users: np.ndarray,
) -> None:
    """``squares = (y - offset_i - users_u . design_i)^2`` by rating; their sums by user, weighted
    with ``item_prec``."""
    for u in prange(ptr.shape[0] - 1):
        total = 0.0
        for t in range(ptr[u], ptr[u + 1]):
            i = idx[t]
            e = y[t] - offset[i]
            for j in range(users.shape[1]):
                e -= users[u, j] * design[i, j]
            squares[t] = e * e
            total += item_prec[i] * squares[t]
        of_users[u] = total


@twice(cache=True, nogil=True, error_model="numpy")
def item_sums(
    ptr: np.ndarray,
    idx: np.ndarray,
    squares: np.ndarray,
    user_prec: np.ndarray,
    size: int,
    out: np.ndarray,
) -> None:
    """Sums of ``squares``, weighted with ``user_prec``, by item: ``out`` (b, n_items), one row for
    each block of ``size`` users."""
    n = ptr.shape[0] - 1
    for block in prange(out.shape[0]):
        out[block] = 0.0
        for u in range(block * size, min((block + 1) * size, n)):
            for t in range(ptr[u], ptr[u + 1]):
                out[block, idx[t]] += user_prec[u] * squares[t]
