"""Kernels of biased matrix factorisation: baselines, user profiles, gradient descent.

Ratings are grouped by user: those of user ``u`` are the entries
``user_ptr[u]`` to ``user_ptr[u + 1] - 1`` of ``item`` and ``value``. A user's factors stay in
cache while that user's ratings are visited: memory, not arithmetic, limits these loops.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit


@njit(nogil=True, fastmath=True)
def sgd_epoch(
    order: np.ndarray,
    user_ptr: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    mean: float,
    biases: tuple[np.ndarray, np.ndarray],
    factors: tuple[np.ndarray, np.ndarray],
    lr: np.ndarray,
    reg: np.ndarray,
) -> None:
    r"""Visit every rating of the users in `order` once, changing biases and factors in place.

    .. math::
        e &= r_{ui} - (\mu + b_u + b_i + q_i^T p_u) \\
        b_u &\leftarrow b_u + \gamma_0 (e - \lambda_0 b_u), \quad
        b_i \leftarrow b_i + \gamma_1 (e - \lambda_1 b_i) \\
        p_u &\leftarrow p_u + \gamma_2 (e\, q_i - \lambda_2 p_u) \\
        q_i &\leftarrow q_i + \gamma_3 (e\, p_u - \lambda_3 q_i)

    with the old values on the right: Funk's update as ``surprise.SVD`` has it (Koren, Bell &
    Volinsky 2009); zero ``lr[:2]``, biases and mean give its unbiased form. To shrink factors
    to a prior instead of zero, the caller adds what the prior adds over an epoch,
    ``n_i * lr[3] * reg[3] * prior``: the same sum of steps, without reading the prior at every
    rating.

    Parameters
    ----------
    order : (m,) int64, users in the order of their visits
    user_ptr, item, value : (n_users + 1,), (n,), (n,), the ratings by user
    mean : the global mean, of the type of `value`
    biases : ``bu`` (n_users,) and ``bi`` (n_items,)
    factors : ``pu`` (n_users, k) and ``qi`` (n_items, k)
    lr, reg : (4,) step sizes and shrinkage of ``bu``, ``bi``, ``pu``, ``qi``
    """
    bu, bi = biases
    pu, qi = factors
    lr_bu, lr_bi, lr_pu, lr_qi = lr[0], lr[1], lr[2], lr[3]
    reg_bu, reg_bi, reg_pu, reg_qi = reg[0], reg[1], reg[2], reg[3]
    n_factors = pu.shape[1]
    for u in order:
        p, b = pu[u], bu[u]
        for e in range(user_ptr[u], user_ptr[u + 1]):
            i = item[e]
            q = qi[i]
            dot = mean - mean  # a zero of the arrays' own type
            for f in range(n_factors):
                dot += q[f] * p[f]
            err = value[e] - (mean + b + bi[i] + dot)
            b += lr_bu * (err - reg_bu * b)
            bi[i] += lr_bi * (err - reg_bi * bi[i])
            for f in range(n_factors):
                pf, qf = p[f], q[f]
                p[f] = pf + lr_pu * (err * qf - reg_pu * pf)
                q[f] = qf + lr_qi * (err * pf - reg_qi * qf)
        bu[u] = b


# Sums in the order written, equal to surprise.SVD to the last bit; those of sgd_epoch, in any
# order, run on vector registers and are meant for float32.
sgd_epoch_exact = njit(nogil=True)(sgd_epoch.py_func)


@njit(nogil=True)
def als_baselines(
    user_ptr: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    bu: np.ndarray,
    bi: np.ndarray,
    reg_u: float,
    reg_i: float,
    n_epochs: int,
) -> None:
    r"""Baselines by alternating least squares (Koren 2010), in place.

    .. math::
        b_i \leftarrow \frac{\sum_u (y_{ui} - b_u)}{\lambda_i + n_i}, \quad
        b_u \leftarrow \frac{\sum_i (y_{ui} - b_i)}{\lambda_u + n_u}

    `value` holds ratings less their mean; `bu` is read as the start.
    """
    n_users, n_items = bu.shape[0], bi.shape[0]
    count = np.zeros(n_items)
    for i in item:
        count[i] += 1.0
    total = np.empty(n_items)
    for _ in range(n_epochs):
        # b_i = sum_u (y_ui - b_u) / (reg_i + n_i)
        total[:] = 0.0
        for u in range(n_users):
            for e in range(user_ptr[u], user_ptr[u + 1]):
                total[item[e]] += value[e] - bu[u]
        for i in range(n_items):
            bi[i] = total[i] / (reg_i + count[i])
        # b_u = sum_i (y_ui - b_i) / (reg_u + n_u)
        for u in range(n_users):
            rest = 0.0
            for e in range(user_ptr[u], user_ptr[u + 1]):
                rest += value[e] - bi[item[e]]
            bu[u] = rest / (reg_u + user_ptr[u + 1] - user_ptr[u])


@njit(nogil=True, fastmath=True)
def user_profiles(
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
    :math:`s_{ui} = (p_u - e_{ui} T_i / (n_u + d)) \cdot T_i`. Written to `moments` (2, 2) are
    :math:`\sum s e` and :math:`\sum s^2` for the leading `n_text` columns and for the rest:
    :math:`\sum s e / \sqrt{\sum s^2}` is a standard normal where residuals of variance 1 owe
    nothing to the seeds.
    """
    n_factors = seeds.shape[1]
    for u in range(user_ptr.shape[0] - 1):
        p = pu[u]
        weight = 1.0 / (user_ptr[u + 1] - user_ptr[u] + damp)
        # sum_i e_ui T_i, to be divided by n_u + d
        for e in range(user_ptr[u], user_ptr[u + 1]):
            t, r = seeds[item[e]], residual[e]
            for f in range(n_factors):
                p[f] += r * t[f]
        # s_ui = (p_u less the rating's own part) . T_i, and its moments with e_ui
        for e in range(user_ptr[u], user_ptr[u + 1]):
            t, r = seeds[item[e]], residual[e]
            text = r - r
            for f in range(n_text):
                text += (p[f] - r * t[f]) * t[f]
            rest = r - r
            for f in range(n_text, n_factors):
                rest += (p[f] - r * t[f]) * t[f]
            moments[0, 0] += weight * text * r
            moments[0, 1] += (weight * text) ** 2
            moments[1, 0] += weight * rest * r
            moments[1, 1] += (weight * rest) ** 2
        # p_u = sum_i e_ui T_i / (n_u + d)
        for f in range(n_factors):
            p[f] *= weight


@njit(nogil=True)
def sum_over_users(
    user_ptr: np.ndarray, item: np.ndarray, rows: np.ndarray, out: np.ndarray
) -> None:
    """Add to row i of `out` (n_items, d) the `rows` (n_users, d) of the users who rated i."""
    for u in range(user_ptr.shape[0] - 1):
        row = rows[u]
        for e in range(user_ptr[u], user_ptr[u + 1]):
            target = out[item[e]]
            for f in range(rows.shape[1]):
                target[f] += row[f]


@njit(nogil=True)
def sum_over_items(
    user_ptr: np.ndarray, item: np.ndarray, rows: np.ndarray, out: np.ndarray
) -> None:
    """Add to row u of `out` (n_users, d) the `rows` (n_items, d) of the items u rated."""
    for u in range(user_ptr.shape[0] - 1):
        target = out[u]
        for e in range(user_ptr[u], user_ptr[u + 1]):
            row = rows[item[e]]
            for f in range(rows.shape[1]):
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
