"""Kernels of the selection correction: linear regressions of many users with one prior."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .twice import twice


@twice(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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
    root, half = np.empty((d, d)), np.empty((d, d))
    prior, z, errors = precision @ mean, np.empty(d), 0.0
    for u in range(n):
        for i in range(d):  # root root' = V_u^-1, half = root^-1
            for j in range(i + 1):
                s = precision[i, j] + square[u, i, j] / noise
                for h in range(j):
                    s -= root[i, h] * root[j, h]
                root[i, j] = np.sqrt(s) if i == j else s / root[j, j]
        for j in range(d):
            for i in range(j, d):
                s = 1.0 if i == j else 0.0
                for h in range(j, i):
                    s -= root[i, h] * half[h, j]
                half[i, j] = s / root[i, i]
        for i in range(d):
            s = 0.0
            for j in range(i + 1):
                s += half[i, j] * (prior[j] + along[u, j] / noise)
            z[i] = s
        errors += size[u]
        for i in range(d):
            s = 0.0
            for h in range(i, d):
                s += half[h, i] * z[h]
            rows[u, i] = s
            errors -= 2.0 * s * along[u, i]
        for i in range(d):
            for j in range(i + 1):
                s = 0.0
                for h in range(i, d):
                    s += half[h, i] * half[h, j]
                spread[i, j] += s
                s += rows[u, i] * rows[u, j]
                errors += (s if i == j else 2.0 * s) * square[u, i, j]
    for i in range(d):
        for j in range(i):
            spread[j, i] = spread[i, j]
    return errors
