"""Kernels of what users are like just now: an Ornstein-Uhlenbeck process for each of them.

A user's deviation ``s`` from the usual self, seen through ratings with errors ``e`` of precision
``prec``, has the prior ``s(t) ~ GP(0, variance exp(-|t - t'| / tau))``. It is Markov: with
``rho = exp(-gap / tau)``, ``s_t | s_(t-1) ~ N(rho s_(t-1), variance (1 - rho^2))``.
So a filter goes forward through a user's ratings, ordered by time, and a sampler back (Carter &
Kohn 1994).

Those of user ``u`` are ``ptr[u]:ptr[u + 1]``; ``gap`` is the time since the one before, infinite
for the first. Users are independent, and normals are an argument: kernels go through the users of
``rows`` alone, the first and the one after the last, and results do not depend on how many run at
once.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit

_SMALL = 1e-100


@njit(nogil=True, error_model="numpy")
def evidence(
    rows: tuple[int, int],
    ptr: np.ndarray,
    gap: np.ndarray,
    e: np.ndarray,
    prec: np.ndarray,
    variance: np.ndarray,
    tau: np.ndarray,
    out: np.ndarray,
) -> None:
    """Log likelihood of each user's errors, ``s`` integrated out, for several ``(variance, tau)``.

    ``out`` (n_users, m) lacks what is the same for all of them.
    """
    k = variance.shape[0]
    m = np.empty(k)
    p = np.empty(k)
    squares = np.empty(k)
    logs = np.empty(k)
    factor = np.empty(k)
    for u in range(rows[0], rows[1]):
        m[:] = 0.0
        p[:] = 0.0
        squares[:] = 0.0
        logs[:] = 0.0
        factor[:] = 1.0
        for t in range(ptr[u], ptr[u + 1]):
            w = prec[t]
            rho = 0.0
            for c in range(k):
                # s_t given what came before: N(m, p)
                if c == 0 or tau[c] != tau[c - 1]:
                    rho = np.exp(-gap[t] / tau[c])
                m[c] *= rho
                p[c] = variance[c] + rho * rho * (p[c] - variance[c])
                # e_t ~ N(m, p + 1 / prec); logarithms are taken of a few variances at once
                gain = 1.0 / (p[c] * w + 1.0)
                error = e[t] - m[c]
                squares[c] += error * error * w * gain
                factor[c] *= gain
                if factor[c] < _SMALL:
                    logs[c] += np.log(factor[c])
                    factor[c] = 1.0
                # and given e_t as well
                m[c] += p[c] * w * gain * error
                p[c] *= gain
        for c in range(k):
            out[u, c] = 0.5 * (logs[c] + np.log(factor[c]) - squares[c])


@njit(nogil=True, error_model="numpy")
def sample(
    rows: tuple[int, int],
    ptr: np.ndarray,
    gap: np.ndarray,
    e: np.ndarray,
    prec: np.ndarray,
    variance: float,
    tau: float,
    normals: np.ndarray,
    out: np.ndarray,
    mean: np.ndarray,
    variances: np.ndarray,
) -> None:
    """Draw all ``s`` given all ``e``; leave their means and variances, too.

    Where ``prec`` is 0, ``e`` says nothing: so asks who wants to know ``s`` at another time.
    """
    for u in range(rows[0], rows[1]):
        first = ptr[u]
        last = ptr[u + 1] - 1
        m = 0.0
        p = 0.0
        # forward: s_t | e_1 ... e_t ~ N(mean_t, variance_t)
        for t in range(first, last + 1):
            rho = np.exp(-gap[t] / tau)
            out[t] = rho  # until it is drawn
            m *= rho
            p = variance + rho * rho * (p - variance)
            gain = p * prec[t] / (1.0 + p * prec[t])
            m += gain * (e[t] - m)
            p -= gain * p
            mean[t] = m
            variances[t] = p
        rho = 0.0
        if last >= first:
            rho = out[last]
            out[last] = mean[last] + np.sqrt(variances[last]) * normals[last]
        # back: s_t | s_(t+1), e_1 ... e_t, with J = p rho / (variance + rho^2 (p - variance));
        # means and variances given all e as well (Rauch, Tung & Striebel 1965)
        for t in range(last - 1, first - 1, -1):
            m = mean[t]
            p = variances[t]
            ahead = variance + rho * rho * (p - variance)
            j = p * rho / ahead
            left = max(p - j * rho * p, 0.0)
            before = out[t]
            out[t] = m + j * (out[t + 1] - rho * m) + np.sqrt(left) * normals[t]
            mean[t] = m + j * (mean[t + 1] - rho * m)
            variances[t] = max(p + j * j * (variances[t + 1] - ahead), 0.0)
            rho = before


@njit(nogil=True, error_model="numpy")
def errors(
    rows: tuple[int, int],
    ptr: np.ndarray,
    idx: np.ndarray,
    y: np.ndarray,
    users: np.ndarray,
    design: np.ndarray,
    offset: np.ndarray,
    out: np.ndarray,
) -> None:
    """``out = y - offset_i - users_u . design_i`` by rating."""
    for u in range(rows[0], rows[1]):
        for t in range(ptr[u], ptr[u + 1]):
            i = idx[t]
            e = y[t] - offset[i]
            for j in range(users.shape[1]):
                e -= users[u, j] * design[i, j]
            out[t] = e
