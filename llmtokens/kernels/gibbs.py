"""Kernels of the block Gibbs sampler behind ``LLMTokensBPMF``: arrays in, arrays out.

Both sides of the factorisation have the same conditional. A row ``v_r`` (a user's or an item's
coefficients) with prior ``N(m_r, L^-1)`` meets the others ``o`` it shares a rating with::

    y_ro ~ N(offset_ro + v_r . d_o, 1 / (row_prec_r other_prec_o))
    A_r  = L + row_prec_r sum_o other_prec_o d_o d_o'
    v_r  ~ N(A_r^-1 (L m_r + row_prec_r sum_o other_prec_o d_o (y_ro - offset_ro)), A_r^-1)

(Salakhutdinov & Mnih 2008, eq. 11-13, with a precision for every row and a part that the row
cannot change.) So a row needs the weighted squares and products of ``[d_o, y_ro - offset_ro]``
alone. Users are drawn on the spot, from their own ratings. For items the products are first summed,
over any part of the users (:func:`item_products`), and rows drawn when the sums are complete.

Rows are independent given the other side, and every kernel takes its standard normals as an
argument. Kernels that take ``rows`` go through these alone, the first and the one after the last,
so that several may run at once, and a result does not depend on how many: no sum is split between
two of them. Ratings come in compressed rows: those of row ``r`` are ``ptr[r]:ptr[r + 1]`` of
``idx`` (the other side's row) and ``y`` (float32). Tables are float64 and C-contiguous.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit

_TILE = 128  # ratings that are gathered before they are multiplied
_FEW = 12  # ratings for which a call of BLAS is not worth its while


@njit(nogil=True, fastmath=True, error_model="numpy")
def _add_products(m: int, rows: np.ndarray, weighted: np.ndarray, out: np.ndarray) -> None:
    """Add ``weighted[:m]' rows[:m]`` to ``out``, of which only the lower triangle counts."""
    if m > _FEW:
        out += np.dot(weighted[:m].T, rows[:m])
        return
    for q in range(m):
        for i in range(out.shape[0]):
            w = weighted[q, i]
            for j in range(i + 1):
                out[i, j] += w * rows[q, j]


@njit(nogil=True, fastmath=True, error_model="numpy")
def _draw(
    a: np.ndarray, b: np.ndarray, normals: np.ndarray, out: np.ndarray, mean: np.ndarray
) -> None:
    """One row: ``mean = a^-1 b`` and ``out = mean + C^-T normals``, with ``a = C C'``.

    Only the upper triangle of ``a`` is read. It is overwritten with C', the diagonal with one over
    that of C, and ``b`` with the mean.
    """
    k = a.shape[0]
    # row by row, a = C C' (Cholesky), and at once C^-1 b: what earlier rows say comes off, four of
    # them at a time
    for i in range(k):
        for h in range(0, i - 3, 4):
            c, d, e, f = a[h, i], a[h + 1, i], a[h + 2, i], a[h + 3, i]
            for j in range(i, k):
                a[i, j] -= c * a[h, j] + d * a[h + 1, j] + e * a[h + 2, j] + f * a[h + 3, j]
            b[i] -= c * b[h] + d * b[h + 1] + e * b[h + 2] + f * b[h + 3]
        for h in range(i - i % 4, i):
            c = a[h, i]
            for j in range(i, k):
                a[i, j] -= c * a[h, j]
            b[i] -= c * b[h]
        c = 1.0 / np.sqrt(a[i, i])
        a[i, i] = c
        for j in range(i + 1, k):
            a[i, j] *= c
        b[i] *= c
    # C' mean = C^-1 b and C' out = normals, from the last entry up
    for i in range(k - 1, -1, -1):
        s = b[i]
        v = normals[i]
        for h in range(i + 1, k):
            s -= a[i, h] * b[h]
            v -= a[i, h] * out[h]
        b[i] = s * a[i, i]
        out[i] = v * a[i, i]
    for i in range(k):
        mean[i] = b[i]
        out[i] += b[i]


@njit(nogil=True, fastmath=True, error_model="numpy")
def sample_users(
    rows: tuple[int, int],
    ptr: np.ndarray,
    idx: np.ndarray,
    y: np.ndarray,
    design: np.ndarray,
    offset: np.ndarray,
    row_prec: np.ndarray,
    other_prec: np.ndarray,
    prior_mean: np.ndarray,
    prior_prec: np.ndarray,
    normals: np.ndarray,
    out: np.ndarray,
) -> None:
    """Draw these rows from their conditionals.

    Shapes: ``design`` (m, k), ``offset`` (m,), ``prior_mean``, ``normals`` and ``out`` (n, k),
    ``prior_prec`` (k, k), ``row_prec`` (n,), ``other_prec`` (m,).
    """
    k = design.shape[1]
    z = np.empty((_TILE, k + 1))
    weighted = np.empty((_TILE, k + 1))
    products = np.empty((k + 1, k + 1))
    a = np.empty((k, k))
    b = np.empty(k)
    mean = np.empty(k)
    for r in range(rows[0], rows[1]):
        # sum_o other_prec_o z z', z = [d_o, y_ro - offset_o]
        products[:] = 0.0
        for start in range(ptr[r], ptr[r + 1], _TILE):
            m = min(_TILE, ptr[r + 1] - start)
            for q in range(m):
                o = idx[start + q]
                w = other_prec[o]
                for j in range(k):
                    z[q, j] = design[o, j]
                    weighted[q, j] = w * design[o, j]
                z[q, k] = y[start + q] - offset[o]
                weighted[q, k] = w * z[q, k]
            _add_products(m, z, weighted, products)
        # A_r = L + row_prec_r D'WD, b = L m_r + row_prec_r D'W(y - offset)
        for i in range(k):
            b[i] = row_prec[r] * products[k, i]
            for j in range(k):
                b[i] += prior_prec[i, j] * prior_mean[r, j]
            for j in range(i + 1):
                a[j, i] = prior_prec[i, j] + row_prec[r] * products[i, j]
        _draw(a, b, normals[r], out[r], mean)


@njit(nogil=True, fastmath=True, error_model="numpy")
def item_products(
    rows: tuple[int, int],
    ptr: np.ndarray,
    idx: np.ndarray,
    y: np.ndarray,
    users: np.ndarray,
    user_prec: np.ndarray,
    lead: np.ndarray,
    out: np.ndarray,
) -> None:
    """For each of these items, what its conditional needs of some users: one row of ``out``.

    ``users`` (m, c + k) holds ``[a, p, b]`` and ``lead`` (n, c) what ``a`` multiplies. With
    ``d = [p, 1]`` of length k, ``l = a . lead`` and ``e = y - b - l``, a row of ``out`` is the
    lower triangle, row by row, of ``sum_u user_prec_u z z'``, ``z = [d, l, e]``: its length is
    ``(k + 2)(k + 3) / 2``.
    """
    c = lead.shape[1]
    k = users.shape[1] - c
    z = np.empty((_TILE, k + 2))
    weighted = np.empty((_TILE, k + 2))
    products = np.empty((k + 2, k + 2))
    for r in range(rows[0], rows[1]):
        if ptr[r] == ptr[r + 1]:
            out[r] = 0.0
            continue
        # sum_u user_prec_u z z', z = [p, 1, l, e]
        products[:] = 0.0
        for start in range(ptr[r], ptr[r + 1], _TILE):
            m = min(_TILE, ptr[r + 1] - start)
            for q in range(m):
                u = idx[start + q]
                w = user_prec[u]
                x = 0.0
                for j in range(c):
                    x += users[u, j] * lead[r, j]
                for j in range(k - 1):
                    z[q, j] = users[u, c + j]
                z[q, k - 1] = 1.0
                z[q, k] = x
                z[q, k + 1] = y[start + q] - users[u, c + k - 1] - x
                for j in range(k + 2):
                    weighted[q, j] = w * z[q, j]
            _add_products(m, z, weighted, products)
        # its lower triangle, row by row
        at = 0
        for i in range(k + 2):
            for j in range(i + 1):
                out[r, at] = products[i, j]
                at += 1


@njit(nogil=True, fastmath=True, error_model="numpy")
def sample_items(
    rows: tuple[int, int],
    products: np.ndarray,
    row_prec: np.ndarray,
    prior_mean: np.ndarray,
    prior_prec: np.ndarray,
    normals: np.ndarray,
    out: np.ndarray,
    mean: np.ndarray,
) -> None:
    """Draw these items from their conditionals; leave the draws in ``out``, their centres in
    ``mean``.

    ``products`` is the sum of what :func:`item_products` gave for all users. ``mean`` is what a
    prediction should average: it is the draw with its own noise integrated out (Rao-Blackwell;
    Gelfand & Smith 1990).
    """
    k = out.shape[1]
    a = np.empty((k, k))
    b = np.empty(k)
    right = (k + 1) * (k + 2) // 2
    for r in range(rows[0], rows[1]):
        # A_r = L + row_prec_r P'WP, b = L m_r + row_prec_r P'W e
        for i in range(k):
            b[i] = row_prec[r] * products[r, right + i]
            for j in range(k):
                b[i] += prior_prec[i, j] * prior_mean[r, j]
            for j in range(i + 1):
                a[j, i] = prior_prec[i, j] + row_prec[r] * products[r, i * (i + 1) // 2 + j]
        _draw(a, b, normals[r], out[r], mean[r])


@njit(nogil=True, fastmath=True, error_model="numpy")
def scale_moments(
    products: np.ndarray, row_prec: np.ndarray, rows: np.ndarray, fit: np.ndarray, out: np.ndarray
) -> None:
    """Sums over all ratings of what two parts of the expectations, ``a = fit_i . d`` and ``l``,
    have in common with each other and with the errors ``e`` that ``rows`` leave: the weighted sums
    of ``a a``, ``a e``, ``l l``, ``l e`` and ``l a``; ``products`` as for :func:`sample_items`.
    """
    n, k = rows.shape
    lead = k * (k + 1) // 2
    right = lead + k + 1
    out[:] = 0.0
    for r in range(n):
        p = products[r]
        # a'Ga, a'(g - Gq), l'l, l'(e - q.d), l'a with G = sum d d', g = sum d e
        aa = 0.0
        ae = 0.0
        ll = p[lead + k]
        le = p[right + k]
        la = 0.0
        for i in range(k):
            gf = 0.0
            gq = 0.0
            for j in range(k):
                g = p[i * (i + 1) // 2 + j] if j <= i else p[j * (j + 1) // 2 + i]
                gf += g * fit[r, j]
                gq += g * rows[r, j]
            aa += fit[r, i] * gf
            ae += fit[r, i] * (p[right + i] - gq)
            le -= rows[r, i] * p[lead + i]
            la += fit[r, i] * p[lead + i]
        out[0] += row_prec[r] * aa
        out[1] += row_prec[r] * ae
        out[2] += row_prec[r] * ll
        out[3] += row_prec[r] * le
        out[4] += row_prec[r] * la


@njit(nogil=True, fastmath=True, error_model="numpy")
def squared_errors(
    rows: tuple[int, int],
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
    for u in range(rows[0], rows[1]):
        total = 0.0
        user = users[u]
        for t in range(ptr[u], ptr[u + 1]):
            i = idx[t]
            seen = design[i]
            e = y[t] - offset[i]
            for j in range(len(user)):
                e -= user[j] * seen[j]
            squares[t] = e * e
            total += item_prec[i] * squares[t]
        of_users[u] = total


@njit(nogil=True, error_model="numpy")
def item_sums(
    blocks: tuple[int, int],
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
    for block in range(blocks[0], blocks[1]):
        out[block] = 0.0
        for u in range(block * size, min((block + 1) * size, n)):
            for t in range(ptr[u], ptr[u + 1]):
                out[block, idx[t]] += user_prec[u] * squares[t]


@njit(nogil=True, fastmath=True, error_model="numpy")
def pair_moments(
    rows: tuple[int, int],
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
    for t in range(rows[0], rows[1]):
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
