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

import numpy as np
from scipy import linalg

from ..data.ratings import Rated
from ..runtime.arrays import Floats

Regression = tuple[Floats, Floats]  # a design G (n, m) and what the prior leaves open, y - G z_0


def update(
    design: Floats,
    weights: Floats,
    root: Floats,
    news: Regression,
    news_weights: Floats,
) -> Floats:
    """``z - z_0``, shape (m,), where ``z_0`` knows all ratings but those that are news.

    At first all are, and ``z_0`` is what the prior says; later ``z_0`` is the ``z`` of before.

    Parameters
    ----------
    design : ndarray of shape (n, m)
        Of all ratings there are.
    weights : ndarray of shape (n,)
    root : ndarray of shape (m, r)
        ``L``.
    news : tuple of ndarray of shape (k, m) and (k,)
        A design, and what ``z_0`` leaves open of it: of ratings that came, and of those that went.
    news_weights : ndarray of shape (k,)
        Below 0 for ratings that went.
    """
    known, open_ = news
    right = (known @ root).T @ (news_weights * open_)
    out: Floats = root @ linalg.cho_solve(_precision(design @ root, weights), right)
    return out


def all_new(rated: Rated, changes: Rated) -> bool:
    """Whether the changes are all the ratings there are."""
    return len(rated[2]) == len(changes[2]) and bool(np.isclose(rated[2].sum(), changes[2].sum()))


def influence(
    design: Floats, open_: Floats, weights: Floats, root: Floats, query: Floats
) -> Floats:
    """By how much ``query @ z`` is higher for having each rating, shape (n,)."""
    lead = design @ root
    factor = _precision(lead, weights)
    inner = linalg.cho_solve(factor, lead.T)
    residual = open_ - weights * open_ @ lead @ inner
    leverage = weights * np.einsum("nr,rn->n", lead, inner)
    out: Floats = weights * ((query @ root) @ inner) * residual / np.maximum(1 - leverage, 1e-12)
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


def root_second_moment(deviations: Floats) -> Floats:
    """``R`` with ``R R'`` the mean of ``d d'`` over the rows d, shape (m, m)."""
    values, axes = np.linalg.eigh(deviations.T @ deviations / max(len(deviations), 1))
    root: Floats = axes * np.sqrt(np.maximum(values, 0.0))
    return root
