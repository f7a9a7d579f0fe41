"""Kernels of the block Gibbs sampler behind ``LLMTokensBPMF``: arrays in, arrays out.

Both sides of the factorisation have the same conditional. A row ``v_r`` (a user's or an item's
coefficients) with prior ``N(m_r, L^-1)`` meets the others ``o`` it shares a rating with::

    y_ro ~ N(lead_r . design_o[:c] + v_r . design_o[c:], 1 / (row_prec_r other_prec_o))
    A_r  = L + row_prec_r sum_o other_prec_o d_o d_o'
    v_r  ~ N(A_r^-1 (L m_r + row_prec_r sum_o other_prec_o d_o res_ro), A_r^-1)

(Salakhutdinov & Mnih 2008, eq. 11-13, with a precision for every row and a fixed part that the
row cannot change.) Rows are independent given the other side, and every kernel takes its standard
normals as an argument, so that a result does not depend on the number of threads: no sum is ever
split between two of them.

Ratings come in compressed rows: those of row ``r`` are ``ptr[r]:ptr[r + 1]`` of ``idx`` (the
other side's row) and ``y`` (the centred rating). Tables are float64 and C-contiguous.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _add_outer(gram: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> None:
    """Add ``sum_q weights_q rows_q rows_q'`` for four rows to the lower triangle of ``gram``.

    Four ratings to one pass: the triangle is read and written once instead of four times.
    """
    for i in range(gram.shape[0]):
        w0 = weights[0] * rows[0, i]
        w1 = weights[1] * rows[1, i]
        w2 = weights[2] * rows[2, i]
        w3 = weights[3] * rows[3, i]
        for j in range(i + 1):
            gram[i, j] += w0 * rows[0, j] + w1 * rows[1, j] + w2 * rows[2, j] + w3 * rows[3, j]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _cholesky(a: np.ndarray) -> None:
    """Overwrite the lower triangle of ``a`` with its Cholesky factor."""
    for i in range(a.shape[0]):
        for j in range(i):
            s = a[i, j]
            for h in range(j):
                s -= a[i, h] * a[j, h]
            a[i, j] = s / a[j, j]
        s = a[i, i]
        for h in range(i):
            s -= a[i, h] * a[i, h]
        a[i, i] = np.sqrt(s)


@njit(parallel=True, cache=True, nogil=True, fastmath=True, error_model="numpy")
def sample_rows(
    ptr: np.ndarray,
    idx: np.ndarray,
    y: np.ndarray,
    design: np.ndarray,
    lead: np.ndarray,
    row_prec: np.ndarray,
    other_prec: np.ndarray,
    prior_mean: np.ndarray,
    prior_prec: np.ndarray,
    normals: np.ndarray,
    out: np.ndarray,
    mean: np.ndarray,
) -> None:
    """Draw every row from its conditional; leave the draw in ``out``, its centre in ``mean``.

    Shapes: ``design`` (m, c + k), ``lead`` (n, c), ``prior_mean``, ``normals``, ``out`` and
    ``mean`` (n, k), ``prior_prec`` (k, k), ``row_prec`` (n,), ``other_prec`` (m,). With
    ``A = C C'`` the draw is ``mean + C^-T normals``. ``mean`` is what a prediction should
    average: it is the draw with its own noise integrated out (Rao-Blackwell; Gelfand & Smith 1990).
    """
    c = lead.shape[1]
    k = design.shape[1] - c
    for r in prange(ptr.shape[0] - 1):
        a = prior_prec.copy()
        b = np.zeros(k)
        z = np.empty(k)
        rows = np.zeros((4, k))
        weights = np.zeros(4)
        for i in range(k):
            for j in range(k):
                b[i] += prior_prec[i, j] * prior_mean[r, j]
        end = ptr[r + 1]
        for start in range(ptr[r], end, 4):
            for q in range(4):
                if start + q >= end:
                    weights[q] = 0.0
                    continue
                o = idx[start + q]
                res = y[start + q]
                for j in range(c):
                    res -= lead[r, j] * design[o, j]
                weights[q] = row_prec[r] * other_prec[o]
                res *= weights[q]
                for j in range(k):
                    rows[q, j] = design[o, c + j]
                    b[j] += res * rows[q, j]
            _add_outer(a, rows, weights)
        _cholesky(a)
        for i in range(k):
            s = b[i]
            for h in range(i):
                s -= a[i, h] * b[h]
            b[i] = s / a[i, i]
        for i in range(k - 1, -1, -1):
            s = b[i]
            v = normals[r, i]
            for h in range(i + 1, k):
                s -= a[h, i] * b[h]
                v -= a[h, i] * z[h]
            b[i] = s / a[i, i]
            z[i] = v / a[i, i]
            mean[r, i] = b[i]
            out[r, i] = b[i] + z[i]


@njit(parallel=True, cache=True, nogil=True, fastmath=True, error_model="numpy")
def residuals(
    ptr: np.ndarray,
    idx: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    others: np.ndarray,
    fit: np.ndarray,
    error: np.ndarray,
    lead: np.ndarray,
    along: np.ndarray,
) -> None:
    """Per rating, ``error = y - rows . others``, and two parts of ``rows . others``.

    ``fit`` (n, k) has a part in the columns of ``rows`` that come before the last, a bias: it
    makes ``along``. The columns before those make ``lead``.
    """
    k = fit.shape[1]
    start = rows.shape[1] - 1 - k
    for r in prange(ptr.shape[0] - 1):
        for t in range(ptr[r], ptr[r + 1]):
            o = idx[t]
            x = 0.0
            for j in range(start):
                x += rows[r, j] * others[o, j]
            e = y[t] - x
            for j in range(start, rows.shape[1]):
                e -= rows[r, j] * others[o, j]
            a = 0.0
            for j in range(k):
                a += fit[r, j] * others[o, start + j]
            error[t] = e
            lead[t] = x
            along[t] = a


@njit(parallel=True, cache=True, nogil=True, fastmath=True, error_model="numpy")
def row_sums(
    ptr: np.ndarray, idx: np.ndarray, rows: np.ndarray, others: np.ndarray, out: np.ndarray
) -> None:
    """Per row, ``out_r = sum_o rows_r . others_o`` over the others it shares a rating with."""
    for r in prange(ptr.shape[0] - 1):
        s = 0.0
        for t in range(ptr[r], ptr[r + 1]):
            for j in range(rows.shape[1]):
                s += rows[r, j] * others[idx[t], j]
        out[r] = s


@njit(parallel=True, cache=True, nogil=True, fastmath=True, error_model="numpy")
def pair_moments(
    users: np.ndarray,
    items: np.ndarray,
    user_table: np.ndarray,
    item_table: np.ndarray,
    lead: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Mean and variance over the samples of ``[a, p, b, d]_u . [x, q, 1, w]_i + c_i``, by pair.

    Shapes: ``user_table`` (n_users, samples, c + k + 2), ``item_table`` (n_items, samples, k + 2)
    with columns ``[q, c, w]``, ``lead`` (n_items, c).
    """
    c = lead.shape[1]
    k = item_table.shape[2] - 2
    n = user_table.shape[1]
    for t in prange(users.shape[0]):
        x = lead[items[t]]
        total = 0.0
        square = 0.0
        first = 0.0
        for s in range(n):
            v = user_table[users[t], s]
            q = item_table[items[t], s]
            f = v[c + k] + q[k] + v[c + k + 1] * q[k + 1]
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
