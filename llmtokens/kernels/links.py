"""Kernels for features that say who rated an item, kept sparse: see ``link_norms``."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, error_model="numpy")
def link_norms(
    ptr: np.ndarray, idx: np.ndarray, scale: np.ndarray, count: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``h_f . h_f`` and ``h_f . g`` for every link feature.

    Link features say who rated an item: ``H = diag(scale) (R - count share')``, with ``R`` the
    0/1 matrix of items by users, ``count`` the row sums of ``R`` and ``share`` each user's share
    of all ratings. ``g = scale * count`` is the dense direction that the centring adds to every
    column ``h_f = scale * R_f - share_f g``; ``H`` itself is never formed.
    """
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


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def sample_links(
    ptr: np.ndarray,
    idx: np.ndarray,
    scale: np.ndarray,
    count: np.ndarray,
    share: np.ndarray,
    norms: np.ndarray,
    along: np.ndarray,
    strength: float,
    normals: np.ndarray,
    resid: np.ndarray,
    coef: np.ndarray,
) -> None:
    """One coordinate-wise Gibbs pass over the coefficients of the link features, in place.

    ``resid`` (k, n) holds what the links have still to explain, whitened so that its k rows are
    independent with unit noise, and with the present ``coef`` (k, m) already taken out. For
    feature f and row c::

        coef_cf ~ N((h_f . resid_c + |h_f|^2 coef_cf) / P, 1 / P),   P = strength + |h_f|^2

    The dense direction g is kept as one number per row (``shift``) and added at the end, so that
    a pass costs two visits to every rating. ``norms`` and ``along`` come from ``link_norms``.
    """
    n = scale.shape[0]
    for c in prange(resid.shape[0]):
        e = resid[c]
        shift = 0.0
        ge = 0.0
        for i in range(n):
            ge += scale[i] * count[i] * e[i]
        for f in range(share.shape[0]):
            he = 0.0
            dg = 0.0
            for t in range(ptr[f], ptr[f + 1]):
                i = idx[t]
                he += scale[i] * e[i]
                dg += scale[i] * scale[i] * count[i]
            he += shift * dg - share[f] * ge
            prec = strength + norms[f]
            new = (he + norms[f] * coef[c, f]) / prec + normals[c, f] / np.sqrt(prec)
            delta = new - coef[c, f]
            coef[c, f] = new
            for t in range(ptr[f], ptr[f + 1]):
                e[idx[t]] -= delta * scale[idx[t]]
            shift += delta * share[f]
            ge -= delta * along[f]
        for i in range(n):
            e[i] += shift * scale[i] * count[i]
