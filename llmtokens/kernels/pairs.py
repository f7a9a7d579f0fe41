"""Kernel of the predictions of ``LLMTokensBPMF``: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numba import prange

from .twice import twice


@twice(cache=True, nogil=True, fastmath=True, error_model="numpy")
def pair_moments(
    users: np.ndarray,
    items: np.ndarray,
    user_table: np.ndarray,
    item_table: np.ndarray,
    lead: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Mean and variance over the samples of ``[a, p, b]_u . [x, q, 1]_i + c_i``, by pair.

    Shapes: ``user_table`` (n_users, samples, c + k + 1), ``item_table`` (n_items, samples, k + 1)
    with columns ``[q, c]``, ``lead`` (n_items, c).
    """
    c = lead.shape[1]
    k = item_table.shape[2] - 1
    n = user_table.shape[1]
    for t in prange(users.shape[0]):
        x = lead[items[t]]
        total = 0.0
        square = 0.0
        first = 0.0
        for s in range(n):
            v = user_table[users[t], s]
            q = item_table[items[t], s]
            f = v[c + k] + q[k]
            for j in range(c):
                f += v[j] * x[j]
            for j in range(k):
                f += v[c + j] * q[j]
            if s == 0:
                first = f
            f -= first
            total += f
            square += f * f
        mean[t] = first + total / n
        variance[t] = max(square / n - (total / n) ** 2, 0.0)
