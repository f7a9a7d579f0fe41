"""Kernels for features that say who rated an item, kept sparse.

Link features are ``H = diag(scale) (R - count share')``, with ``R`` the 0/1 matrix of items by
users, ``count`` the row sums of ``R`` and ``share`` each user's share of all ratings: ``H`` itself
is never formed. ``g = scale * count`` is the dense direction that the centring adds to every column
``h_f = scale * R_f - share_f g``. Users come in compressed rows: the items of user ``f`` are
``idx[ptr[f]:ptr[f + 1]]``, and any run of users will do, so that they may be taken shard by shard.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit

WIDE = 4  # columns of one pass, with random numbers of their own: a vector of doubles


@njit(nogil=True, error_model="numpy")
def link_norms(
    ptr: np.ndarray, idx: np.ndarray, scale: np.ndarray, count: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``h_f . h_f`` and ``h_f . g`` for the link feature of every user."""
    m = share.shape[0]
    norms = np.zeros(m)
    along = np.zeros(m)
    g = scale * count
    gg = (g * g).sum()
    for f in range(m):
        for t in range(ptr[f], ptr[f + 1]):
            norms[f] += scale[idx[t]] ** 2
            along[f] += scale[idx[t]] * g[idx[t]]
        norms[f] += share[f] * (share[f] * gg - 2.0 * along[f])
        along[f] -= share[f] * gg
    return norms, along


@njit(nogil=True, error_model="numpy")
def sample_links(
    groups: tuple[int, int],
    ptr: np.ndarray,
    idx: np.ndarray,
    scale: np.ndarray,
    share: np.ndarray,
    norms: np.ndarray,
    along: np.ndarray,
    gg: float,
    strength: float,
    normals: np.ndarray,
    resid: np.ndarray,
    shift: np.ndarray,
    ge: np.ndarray,
    coef: np.ndarray,
) -> None:
    """One coordinate-wise Gibbs pass over the coefficients of some users' features, in place.

    It goes through these groups of ``WIDE`` columns alone, the first and the one after the last.

    ``resid`` (n_items, k) holds what the links have still to explain, whitened so that its k
    columns are independent with unit noise, and with the present ``coef`` (n_users, k) already
    taken out. For feature f and column c::

        coef_fc ~ N((h_f . resid_c + |h_f|^2 coef_fc) / P, 1 / P),   P = strength + |h_f|^2

    What goes along the dense direction g is kept apart, one number a column, so that a pass costs
    two visits to every rating: ``resid + g shift'`` is meant, and ``ge`` (k,) holds ``g'`` times
    it. Whoever starts with the first users passes zeros and ``g' resid``, and whoever ends with
    the last adds ``g shift'``. ``gg = g'g``; ``norms`` and ``along`` come from ``link_norms``.
    """
    n, k = resid.shape
    for group in range(groups[0], groups[1]):
        first = group * WIDE
        width = min(WIDE, k - first)
        # e = scale * resid: what h_f . resid sums over raters of f
        e = np.zeros((n, WIDE))
        square = scale * scale
        for i in range(n):
            for j in range(width):
                e[i, j] = scale[i] * resid[i, first + j]
        drift = np.zeros(WIDE)
        dense = np.zeros(WIDE)
        for j in range(width):
            drift[j] = shift[first + j]
            dense[j] = ge[first + j]
        delta = np.zeros(WIDE)
        for f in range(share.shape[0]):
            # R_f' e, but for the dense direction
            he0 = 0.0
            he1 = 0.0
            he2 = 0.0
            he3 = 0.0
            for t in range(ptr[f], ptr[f + 1]):
                row = e[idx[t]]
                he0 += row[0]
                he1 += row[1]
                he2 += row[2]
                he3 += row[3]
            delta[0] = he0
            delta[1] = he1
            delta[2] = he2
            delta[3] = he3
            # coef_f ~ N((h_f . resid + |h_f|^2 coef_f) / P, 1 / P), P = strength + |h_f|^2
            prec = strength + norms[f]
            root = np.sqrt(prec)
            dg = along[f] + share[f] * gg
            for j in range(width):
                old = coef[f, first + j]
                he = delta[j] + drift[j] * dg - share[f] * dense[j]
                new = (he + norms[f] * old) / prec + normals[f, first + j] / root
                coef[f, first + j] = new
                delta[j] = new - old
                drift[j] += delta[j] * share[f]
                dense[j] -= delta[j] * along[f]
            for j in range(width, WIDE):
                delta[j] = 0.0
            # resid -= h_f (coef_f - the old one), at the raters' items
            d0 = delta[0]
            d1 = delta[1]
            d2 = delta[2]
            d3 = delta[3]
            for t in range(ptr[f], ptr[f + 1]):
                i = idx[t]
                row = e[i]
                s = square[i]
                row[0] -= d0 * s
                row[1] -= d1 * s
                row[2] -= d2 * s
                row[3] -= d3 * s
        # back from e, and what goes along g, to the next shard
        for i in range(n):
            for j in range(width):
                resid[i, first + j] = e[i, j] / scale[i]
        for j in range(width):
            shift[first + j] = drift[j]
            ge[first + j] = dense[j]
