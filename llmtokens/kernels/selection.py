"""Kernels of the selection correction: linear regressions of many users with one prior."""

from __future__ import annotations

import numpy as np

from .compiled import njit

LANES = 8  # users


@njit(nogil=True, fastmath=True, error_model="numpy")
def user_products(
    rows: tuple[int, int],
    ptr: np.ndarray,
    item: np.ndarray,
    design: np.ndarray,
    targets: np.ndarray,
    square: np.ndarray,
    along: np.ndarray,
    size: np.ndarray,
) -> None:
    """``X'X``, ``X'y`` and ``y'y`` of the ratings of these users, for several y.

    Shapes: ``design`` (n_items, d), ``targets`` (s, n), ``square`` (n_users, d, d), ``along``
    (n_users, s, d), ``size`` (n_users, s).
    """
    for u in range(rows[0], rows[1]):
        n, d, s = ptr[u + 1] - ptr[u], design.shape[1], targets.shape[0]
        # [X, y]', so that sums run along the ratings
        columns = np.empty((d + s, n))
        for t in range(n):
            x = design[item[ptr[u] + t]]
            for i in range(d):
                columns[i, t] = x[i]
        for k in range(s):
            columns[d + k] = targets[k, ptr[u] : ptr[u + 1]]
        # X'X, X'y and y'y
        for i in range(d + s):
            one = columns[i]
            for j in range(min(i + 1, d)):
                other, total = columns[j], 0.0
                for t in range(n):
                    total += one[t] * other[t]
                if i < d:
                    square[u, i, j] = square[u, j, i] = total
                else:
                    along[u, i - d, j] = total
            if i >= d:
                total = 0.0
                for t in range(n):
                    total += one[t] * one[t]
                size[u, i - d] = total


@njit(nogil=True, fastmath=True, error_model="numpy")
def expected_rows(
    blocks: tuple[int, int],
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

    For these blocks of ``LANES`` users, the first and the one after the last, writes the means to
    ``rows`` (n, d), and the sums of a block's V_u to ``spread`` (n_blocks, d, d), if that has rows:
    an E-step. Innermost loops run over the users of a block, so that they fill vector registers.
    """
    n, d = along.shape
    prior = precision @ mean
    root, half = np.empty((d, d, LANES)), np.empty((d, d, LANES))
    right, z, open_ = np.empty((d, LANES)), np.empty((d, LANES)), np.empty(LANES)
    for block in range(blocks[0], blocks[1]):
        first = block * LANES
        n_users = min(LANES, n - first)
        # root = Lambda + X'X / noise, right = Lambda m + X'y / noise
        for k in range(LANES):  # beyond the last user, this one once more
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
                for k in range(LANES):
                    open_[k] += half[i, j, k] * right[j, k]
            for j in range(i + 1):
                for k in range(LANES):
                    z[j, k] += half[i, j, k] * open_[k]
        for j in range(d):
            for k in range(n_users):
                rows[first + k, j] = z[j, k]
        if len(spread) == 0:
            continue
        # the sum of all V
        for j in range(d):
            for h in range(j + 1):
                open_[:] = 0.0
                for i in range(j, d):
                    for k in range(LANES):
                        open_[k] += half[i, j, k] * half[i, h, k]
                total = 0.0
                for k in range(n_users):
                    total += open_[k]
                spread[block, j, h] = spread[block, h, j] = total


@njit(nogil=True, fastmath=True, error_model="numpy")
def _invert_roots(root: np.ndarray, half: np.ndarray) -> None:
    """Inverses of Cholesky factors, of lower triangles (d, d, LANES), which are overwritten."""
    for i in range(root.shape[0]):
        # row i of the factor C; half_ii = 1 / C_ii
        for j in range(i + 1):
            for h in range(j):
                for k in range(LANES):
                    root[i, j, k] -= root[i, h, k] * root[j, h, k]
            if j < i:
                for k in range(LANES):
                    root[i, j, k] *= half[j, j, k]
            else:
                for k in range(LANES):
                    half[i, i, k] = 1.0 / np.sqrt(root[i, i, k])
        # half_ij = -sum_h C_ih half_hj / C_ii, from C half = I
        for j in range(i):
            half[i, j] = 0.0
            for h in range(j, i):
                for k in range(LANES):
                    half[i, j, k] -= root[i, h, k] * half[h, j, k]
            for k in range(LANES):
                half[i, j, k] *= half[i, i, k]
