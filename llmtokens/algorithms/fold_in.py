r"""The closed form behind fold-in and explanations: a ridge regression with a shaped prior.

A user's parameters ``z = [p_u, b_u]`` explain their ratings linearly once the items are fixed,
:math:`y_j = g_j^T z + \varepsilon_j`, with the prior :math:`z \sim N(z_0, L L^T)` in units in which
the noise of a rating of weight 1 has variance 1. Then

.. math:: z = z_0 + L M L^T G^T W (y - G z_0), \qquad M = (I + L^T G^T W G L)^{-1}

and leaving rating j out changes a prediction :math:`g^T z` by exactly

.. math:: g^T L M L^T g_j \; w_j e_j / (1 - h_j), \qquad h_j = w_j \, g_j^T L M L^T g_j

with :math:`e_j` the residual of the full fit (Cook & Weisberg 1982).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.float64]
Evidence = tuple[Floats, Floats]  # a design G (n, m) and what the prior leaves open, y - G z_0
Judged = tuple[Floats, Floats, NDArray[np.bool_]]

_STRENGTHS = 10.0 ** np.arange(-3, 4.01, 0.25)
_JUDGES = 200  # rows on which the strength is chosen
_JUDGED = 40  # ratings of each


def update(design: Floats, open_: Floats, weights: Floats, spread: Floats) -> Floats:
    """``z - z_0``, shape (m,).

    Parameters
    ----------
    design : ndarray of shape (n, m)
    open_ : ndarray of shape (n,)
        ``y - G z_0``.
    weights : ndarray of shape (n,)
    spread : ndarray of shape (m, r)
        ``L``.
    """
    lead = design @ spread
    out: Floats = spread @ linalg.cho_solve(_precision(lead, weights), lead.T @ (weights * open_))
    return out


def influence(
    design: Floats, open_: Floats, weights: Floats, spread: Floats, query: Floats
) -> Floats:
    """By how much ``query @ z`` is higher for having each rating, shape (n,)."""
    lead = design @ spread
    factor = _precision(lead, weights)
    inner = linalg.cho_solve(factor, lead.T)
    residual = open_ - weights * open_ @ lead @ inner
    leverage = weights * np.einsum("nr,rn->n", lead, inner)
    out: Floats = weights * ((query @ spread) @ inner) * residual / np.maximum(1 - leverage, 1e-12)
    return out


def _precision(lead: Floats, weights: Floats) -> tuple[Floats, bool]:
    inner = (lead * weights[:, None]).T @ lead
    inner[np.diag_indices_from(inner)] += 1
    factor: tuple[Floats, bool]
    try:
        factor = linalg.cho_factor(inner, lower=True, check_finite=False)
    except linalg.LinAlgError:  # so large that the 1 is lost in rounding: more than rounding
        inner[np.diag_indices_from(inner)] += 4e-16 * len(inner) ** 2 * np.trace(inner)
        factor = linalg.cho_factor(inner, lower=True, check_finite=False)
    return factor


def learn_spread(deviations: Floats, evidence: Iterator[Judged]) -> Floats:
    """``L``, from parameters that training found, and from what predicts ratings left out.

    The shape of the prior is the second moment of the deviations of trained parameters from what
    is foretold without ratings; its strength, one number, has the smallest leave-one-out error
    over the evidence, which is in closed form along the eigenvectors of each Gram matrix. The
    other side was trained on the ratings left out here, and knows them all the better the fewer
    it has. So an error counts only where that does not matter: see :func:`unbiased`.

    Parameters
    ----------
    deviations : ndarray of shape (rows, m)
    evidence : iterator of (design, open, which errors count)
    """
    values, axes = np.linalg.eigh(deviations.T @ deviations / max(len(deviations), 1))
    root: Floats = axes * np.sqrt(np.maximum(values, 0.0))
    if not values[-1] > 0:
        return np.zeros_like(root)
    strengths = _STRENGTHS
    losses = np.zeros(len(strengths))
    for design, open_, counts in evidence:
        lead = design @ root
        gram, vectors = np.linalg.eigh(lead @ lead.T)
        kept = 1 / (1 + np.maximum(gram, 0.0) * strengths[:, None])  # (strengths, n)
        residual = (kept * (vectors.T @ open_)) @ vectors.T
        left = kept @ (vectors**2).T  # 1 - leverage
        losses += np.sum((residual / np.maximum(left, 1e-12))[:, counts] ** 2, axis=1)
    return root * np.sqrt(strengths[int(np.argmin(losses))])


def unbiased(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The rows of the other side with most ratings, which have a tenth of all ratings."""
    order = np.argsort(-counts, kind="stable")
    most = np.zeros(len(counts), bool)
    most[order[: 1 + np.searchsorted(np.cumsum(counts[order]), 0.1 * counts.sum())]] = True
    return most


def judges(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Some rows with enough ratings to judge by, evenly over all."""
    able = np.flatnonzero(counts >= min(5, counts.max(initial=0)))
    return able[:: max(1, len(able) // _JUDGES)]


def excerpt(n: int) -> NDArray[np.int64]:
    """Which of a row's ``n`` ratings to judge by."""
    return np.arange(n)[:: max(1, -(-n // _JUDGED))]
