"""Kernels of the selection correction: linear regressions of many users with one prior."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .twice import twice


@twice(cache=True, nogil=True, fastmath=True, error_model="numpy")
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


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def expected_rows(
    square: np.ndarray,
    along: np.ndarray,
    size: np.ndarray,
    mean: np.ndarray,
    precision: np.ndarray,
    noise: float,
    rows: np.ndarray,
    spread: np.ndarray,
) -> float:
    r"""What is expected of users' rows ``z_u ~ N(mean, precision^-1)``, given their ratings.

    .. math:: y_{ut} \sim N(x_t^T z_u, \sigma^2): \quad
              V_u = (\Lambda + X^T X / \sigma^2)^{-1}, \quad
              E z_u = V_u (\Lambda m + X^T y / \sigma^2)

    Writes the means to ``rows`` (n, d), adds the V_u to ``spread`` (d, d), and returns the expected
    sum of squared errors: an E-step.
    """
    n, d = along.shape
    root, half, open_ = np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    prior, z, errors = precision @ mean, np.empty(d), 0.0
    for u in range(n):
        for i in range(d):  # root root' = V_u^-1
            for j in range(i + 1):
                s = precision[i, j] + square[u, i, j] / noise
                for h in range(j):
                    s -= root[i, h] * root[j, h]
                root[i, j] = np.sqrt(s) if i == j else s / root[j, j]
        half[:] = 0.0
        open_[:] = 0.0
        row = rows[u]
        row[:] = 0.0
        for i in range(d):  # half = root^-1, V_u = half' half
            half[i, i] = 1.0
            for h in range(i):
                for j in range(h + 1):
                    half[i, j] -= root[i, h] * half[h, j]
            z[i] = 0.0
            for j in range(i + 1):
                half[i, j] /= root[i, i]
                z[i] += half[i, j] * (prior[j] + along[u, j] / noise)
            for j in range(i + 1):
                row[j] += half[i, j] * z[i]
                for h in range(j + 1):
                    open_[j, h] += half[i, j] * half[i, h]
        errors += size[u]
        for i in range(d):
            errors -= 2.0 * row[i] * along[u, i]
            for j in range(i + 1):
                spread[i, j] += open_[i, j]
                both = (open_[i, j] + row[i] * row[j]) * square[u, i, j]
                errors += both if i == j else 2.0 * both
    for i in range(d):
        for j in range(i):
            spread[j, i] = spread[i, j]
    return errors
