"""Kernels of the selection correction: linear regressions of many users with one prior."""

from __future__ import annotations

import numpy as np
from numba import prange

from .compiled import njit, twice

_LANES = 8


@twice(nogil=True, fastmath=True, error_model="numpy")
def user_products(
    ptr: np.ndarray,
    item: np.ndarray,
    design: np.ndarray,
    targets: np.ndarray,
    square: np.ndarray,
    along: np.ndarray,
    size: np.ndarray,
) -> None:
    """``X'X``, ``X'y`` and ``y'y`` of each user's ratings, for several y.

    Shapes: ``design`` (n_items, d), ``targets`` (s, n), ``square`` (n_users, d, d), ``along``
    (n_users, s, d), ``size`` (n_users, s).
    """
    for u in prange(ptr.shape[0] - 1):
        # X'X, its lower triangle, X'y and y'y
        square[u] = 0.0
        along[u] = 0.0
        size[u] = 0.0
        for t in range(ptr[u], ptr[u + 1]):
            x = design[item[t]]
            for i in range(x.shape[0]):
                for j in range(i + 1):
                    square[u, i, j] += x[i] * x[j]
            for s in range(targets.shape[0]):
                y = targets[s, t]
                size[u, s] += y * y
                for i in range(x.shape[0]):
                    along[u, s, i] += y * x[i]
        for i in range(design.shape[1]):
            for j in range(i):
                square[u, j, i] = square[u, i, j]


@njit(nogil=True, fastmath=True, error_model="numpy")
def expected_rows(
    square: np.ndarray,
    along: np.ndarray,
    mean: np.ndarray,
    precision: np.ndarray,
    noise: float,
    rows: np.ndarray,
    spread: np.ndarray,
) -> None:
    r"""What is expected of users' rows ``z_u ~ N(mean, precision^-1)``, given their ratings.

    .. math:: y_{ut} \sim N(x_t^T z_u, \sigma^2): \quad
              V_u = (\Lambda + X^T X / \sigma^2)^{-1}, \quad
              E z_u = V_u (\Lambda m + X^T y / \sigma^2)

    Writes the means to ``rows`` (n, d) and adds the V_u to ``spread`` (d, d): an E-step. Innermost
    loops run over several users, so that they fill vector registers.
    """
    n, d = along.shape
    prior = precision @ mean
    root, half = np.empty((d, d, _LANES)), np.empty((d, d, _LANES))
    right, z, open_ = np.empty((d, _LANES)), np.empty((d, _LANES)), np.empty(_LANES)
    for first in range(0, n, _LANES):
        n_users = min(_LANES, n - first)
        # root = Lambda + X'X / noise, right = Lambda m + X'y / noise
        for k in range(_LANES):  # beyond the last user, this one once more
            u = min(first + k, n - 1)
            for i in range(d):
                right[i, k] = prior[i] + along[u, i] / noise
                for j in range(i + 1):
                    root[i, j, k] = precision[i, j] + square[u, i, j] / noise
        _invert_roots(root, half)
        # z = V right, with V = half' half
        z[:] = 0.0
        for i in range(d):
            open_[:] = 0.0
            for j in range(i + 1):
                for k in range(_LANES):
                    open_[k] += half[i, j, k] * right[j, k]
            for j in range(i + 1):
                for k in range(_LANES):
                    z[j, k] += half[i, j, k] * open_[k]
        for j in range(d):
            for k in range(n_users):
                rows[first + k, j] = z[j, k]
            # the sum of all V
            for h in range(j + 1):
                open_[:] = 0.0
                for i in range(j, d):
                    for k in range(_LANES):
                        open_[k] += half[i, j, k] * half[i, h, k]
                for k in range(n_users):
                    spread[j, h] += open_[k]
    for i in range(d):
        for j in range(i):
            spread[j, i] = spread[i, j]


@njit(nogil=True, fastmath=True, error_model="numpy")
def _invert_roots(root: np.ndarray, half: np.ndarray) -> None:
    """Inverses of Cholesky factors, of lower triangles (d, d, _LANES), which are overwritten."""
    for i in range(root.shape[0]):
        # row i of the factor C; half_ii = 1 / C_ii
        for j in range(i + 1):
            for h in range(j):
                for k in range(_LANES):
                    root[i, j, k] -= root[i, h, k] * root[j, h, k]
            if j < i:
                for k in range(_LANES):
                    root[i, j, k] *= half[j, j, k]
            else:
                for k in range(_LANES):
                    half[i, i, k] = 1.0 / np.sqrt(root[i, i, k])
        # half_ij = -sum_h C_ih half_hj / C_ii, from C half = I
        for j in range(i):
            half[i, j] = 0.0
            for h in range(j, i):
                for k in range(_LANES):
                    half[i, j, k] -= root[i, h, k] * half[h, j, k]
            for k in range(_LANES):
                half[i, j, k] *= half[i, i, k]
