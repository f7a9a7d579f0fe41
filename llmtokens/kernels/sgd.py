"""Kernels of biased matrix factorisation: baselines, user profiles, gradient descent.

Ratings are grouped by user: those of user ``u`` are the entries
``user_ptr[u]`` to ``user_ptr[u + 1] - 1`` of ``item`` and ``value``. A user's factors stay in
cache while that user's ratings are visited: memory, not arithmetic, limits these loops.

Kernels that take `rows` go through these users alone, the first and the one after the last, and
change what is theirs alone: several may run at once.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit


@njit(nogil=True)
def sgd_epoch_exact(
    order: np.ndarray,
    user_ptr: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    mean: float,
    biases: tuple[np.ndarray, np.ndarray],
    factors: tuple[np.ndarray, np.ndarray],
    width: int,
    lr: np.ndarray,
    reg: np.ndarray,
) -> None:
    r"""Visit the ratings of the users in `order` once, changing biases and factors in place.

    .. math::
        e &= r_{ui} - (\mu + b_u + b_i + q_i^T p_u) \\
        b_u &\leftarrow b_u + \gamma_0 (e - \lambda_0 b_u), \quad
        b_i \leftarrow b_i + \gamma_1 (e - \lambda_1 b_i) \\
        p_u &\leftarrow p_u + \gamma_2 (e\, q_i - \lambda_2 p_u) \\
        q_i &\leftarrow q_i + \gamma_3 (e\, p_u - \lambda_3 q_i)

    with the old values on the right: Funk's update as ``surprise.SVD`` has it (Koren, Bell &
    Volinsky 2009), and equal to it to the last bit; zero ``lr[:2]``, biases and mean give its
    unbiased form. To shrink factors to a prior instead of zero, the caller adds what the prior adds
    over an epoch, ``n_i * lr[3] * reg[3] * prior``: the same sum of steps, without reading the
    prior at every rating.

    Parameters
    ----------
    order : (m,) int64, users in the order of their visits
    user_ptr, item, value : (n_users + 1,), (n,), (n,), the ratings
    mean : the global mean, of the type of `value`
    biases : ``bu`` (n_users,) and ``bi`` (n_items,)
    factors : ``pu`` (n_users, k) and ``qi`` (n_items, k)
    width : how many leading columns of the factors there are to change
    lr, reg : (4,) step sizes and shrinkage of ``bu``, ``bi``, ``pu``, ``qi``
    """
    bu, bi = biases
    pu, qi = factors
    lr_bu, lr_bi, lr_pu, lr_qi = lr[0], lr[1], lr[2], lr[3]
    reg_bu, reg_bi, reg_pu, reg_qi = reg[0], reg[1], reg[2], reg[3]
    for u in order:
        p, b = pu[u], bu[u]
        for e in range(user_ptr[u], user_ptr[u + 1]):
            i = item[e]
            q, dot = qi[i], mean - mean
            for f in range(width):
                dot += q[f] * p[f]
            err = value[e] - (mean + b + bi[i] + dot)
            b += lr_bu * (err - reg_bu * b)
            bi[i] += lr_bi * (err - reg_bi * bi[i])
            for f in range(width):
                pf, qf = p[f], q[f]
                p[f] = pf + lr_pu * (err * qf - reg_pu * pf)
                q[f] = qf + lr_qi * (err * pf - reg_qi * qf)
        bu[u] = b


@njit(nogil=True, fastmath=True)
def sgd_epoch(
    order: np.ndarray,
    user_ptr: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    mean: float,
    biases: tuple[np.ndarray, np.ndarray],
    factors: tuple[np.ndarray, np.ndarray],
    width: int,
    lr: np.ndarray,
    reg: np.ndarray,
) -> None:
    r"""The steps of :func:`sgd_epoch_exact`, two ratings of a user at a time; for float32.

    The inner product for the second rating, of item j after i, is known before the first step is
    taken,

    .. math:: q_j^T p_u' = (1 - \gamma_2 \lambda_2)\, q_j^T p_u + \gamma_2 e\, q_j^T q_i

    so that both steps, and the inner products of the two ratings that follow, go through the
    factors once. No item may follow itself. Sums are in any order, on vector registers.
    """
    bu, bi = biases
    pu, qi = factors
    lr_bu, lr_bi, lr_pu, lr_qi = lr[0], lr[1], lr[2], lr[3]
    reg_bu, reg_bi = reg[0], reg[1]
    keep = np.ones_like(lr) - lr * reg
    keep_p, keep_q = keep[2], keep[3]
    zero, last = mean - mean, len(item) - 1
    for u in order:
        p, b = pu[u], bu[u]
        first, end = user_ptr[u], user_ptr[u + 1]
        if first == end:
            continue
        q, q2 = qi[item[first]], qi[item[min(first + 1, last)]]
        dot, dot2, tie = zero, zero, zero
        for f in range(width):
            dot += q[f] * p[f]
            dot2 += q2[f] * p[f]
            tie += q2[f] * q[f]
        odd = (end - first) % 2
        for e in range(first, end - odd, 2):
            i, i2 = item[e], item[e + 1]
            q, q2 = qi[i], qi[i2]
            next_q, next_q2 = qi[item[min(e + 2, last)]], qi[item[min(e + 3, last)]]
            err = value[e] - (mean + b + bi[i] + dot)
            b += lr_bu * (err - reg_bu * b)
            bi[i] += lr_bi * (err - reg_bi * bi[i])
            to_p, to_q = lr_pu * err, lr_qi * err
            err = value[e + 1] - (mean + b + bi[i2] + keep_p * dot2 + to_p * tie)
            b += lr_bu * (err - reg_bu * b)
            bi[i2] += lr_bi * (err - reg_bi * bi[i2])
            to_p2, to_q2 = lr_pu * err, lr_qi * err
            dot, dot2, tie = zero, zero, zero
            for f in range(width):
                pf, qf, q2f = p[f], q[f], q2[f]
                between = keep_p * pf + to_p * qf
                new = keep_p * between + to_p2 * q2f
                p[f] = new
                q[f] = keep_q * qf + to_q * pf
                q2[f] = keep_q * q2f + to_q2 * between
                next_f, next2_f = next_q[f], next_q2[f]
                dot += next_f * new
                dot2 += next2_f * new
                tie += next2_f * next_f
        if odd:
            i = item[end - 1]
            q = qi[i]
            err = value[end - 1] - (mean + b + bi[i] + dot)
            b += lr_bu * (err - reg_bu * b)
            bi[i] += lr_bi * (err - reg_bi * bi[i])
            for f in range(width):
                pf, qf = p[f], q[f]
                p[f] = keep_p * pf + lr_pu * err * qf
                q[f] = keep_q * qf + lr_qi * err * pf
        bu[u] = b


@njit(nogil=True)
def item_totals(
    user_ptr: np.ndarray, item: np.ndarray, value: np.ndarray, bu: np.ndarray, out: np.ndarray
) -> None:
    """Write to `out` (n_items,) the sums of ``y_ui - b_u`` over the ratings of an item."""
    out[:] = 0.0
    for u in range(user_ptr.shape[0] - 1):
        for e in range(user_ptr[u], user_ptr[u + 1]):
            out[item[e]] += value[e] - bu[u]


@njit(nogil=True)
def user_totals(
    rows: tuple[int, int],
    user_ptr: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    slope: np.ndarray,
    bi: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write to `out` (n_users,) the sums of ``slope_i y_ui - b_i`` over the ratings of a user."""
    for u in range(rows[0], rows[1]):
        total = 0.0
        for e in range(user_ptr[u], user_ptr[u + 1]):
            i = item[e]
            total += slope[i] * value[e] - bi[i]
        out[u] = total


@njit(nogil=True)
def without_baselines(
    rows: tuple[int, int],
    user_ptr: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    bu: np.ndarray,
    bi: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write ``y_ui - b_u - b_i`` of all ratings to `out` (n,)."""
    for u in range(rows[0], rows[1]):
        for e in range(user_ptr[u], user_ptr[u + 1]):
            out[e] = value[e] - bu[u] - bi[item[e]]


@njit(nogil=True, fastmath=True)
def user_profiles(
    rows: tuple[int, int],
    user_ptr: np.ndarray,
    item: np.ndarray,
    residual: np.ndarray,
    seeds: np.ndarray,
    n_text: int,
    damp: float,
    pu: np.ndarray,
    moments: np.ndarray,
) -> None:
    r"""Users as the damped mean of the seeds they rated, and how well that foretells a rating.

    .. math:: p_u = \sum_i e_{ui} T_i / (n_u + d)

    Leaving the rating itself out, the profile scores it
    :math:`s_{ui} = (p_u - e_{ui} T_i / (n_u + d)) \cdot T_i`. Written to `moments`
    (n_users, 2, 2) are :math:`\sum s e` and :math:`\sum s^2` for the leading `n_text` columns and
    for the rest: :math:`\sum s e / \sqrt{\sum s^2}`, summed over all users, is a standard normal
    where residuals of variance 1 owe nothing to the seeds.
    """
    n_factors = seeds.shape[1]
    for u in range(rows[0], rows[1]):
        p = pu[u]
        weight = 1.0 / (user_ptr[u + 1] - user_ptr[u] + damp)
        # sum_i e_ui T_i, to be divided by n_u + d
        p[:] = 0
        for e in range(user_ptr[u], user_ptr[u + 1]):
            t, r = seeds[item[e]], residual[e]
            for f in range(n_factors):
                p[f] += r * t[f]
        # s_ui = (p_u less the rating's own part) . T_i, and its moments with e_ui
        moments[u] = 0.0
        for k in range(2):
            own = p[:n_text] if k == 0 else p[n_text:]
            for e in range(user_ptr[u], user_ptr[u + 1]):
                t, r = seeds[item[e]], residual[e]
                part = t[:n_text] if k == 0 else t[n_text:]
                score = r - r
                for f in range(own.shape[0]):
                    score += (own[f] - r * part[f]) * part[f]
                moments[u, k, 0] += weight * score * r
                moments[u, k, 1] += (weight * score) ** 2
        # p_u = sum_i e_ui T_i / (n_u + d)
        for f in range(n_factors):
            p[f] *= weight


@njit(nogil=True)
def sum_over_users(
    user_ptr: np.ndarray, item: np.ndarray, of_users: np.ndarray, out: np.ndarray
) -> None:
    """Add to row i of `out` (n_items, d) the rows `of_users` (n_users, d) of those who rated i."""
    for u in range(user_ptr.shape[0] - 1):
        row = of_users[u]
        for e in range(user_ptr[u], user_ptr[u + 1]):
            target = out[item[e]]
            for f in range(row.shape[0]):
                target[f] += row[f]


@njit(nogil=True)
def sum_over_items(
    rows: tuple[int, int],
    user_ptr: np.ndarray,
    item: np.ndarray,
    of_items: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add to row u of `out` (n_users, d) the rows `of_items` (n_items, d) of what u rated."""
    for u in range(rows[0], rows[1]):
        target = out[u]
        for e in range(user_ptr[u], user_ptr[u + 1]):
            row = of_items[item[e]]
            for f in range(row.shape[0]):
                target[f] += row[f]


@njit(nogil=True, fastmath=True)
def pair_dots(
    user: np.ndarray, item: np.ndarray, pu: np.ndarray, qi: np.ndarray, out: np.ndarray
) -> None:
    """Write to `out` (n,) the inner products of rows ``user[e]`` of `pu`, ``item[e]`` of `qi`."""
    for e in range(user.shape[0]):
        p, q = pu[user[e]], qi[item[e]]
        dot = out[e] - out[e]
        for f in range(p.shape[0]):
            dot += p[f] * q[f]
        out[e] = dot
