"""How a user differs: a ridge regression per user, one strength for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...data.ratings import Ratings
from ..rating_scale import SHRINK

Doubles = NDArray[np.float64]

_STRENGTHS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_JUDGES = 500  # users on whom the strength is chosen


def choose_strength(ratings: Ratings, x: Doubles, residual: Doubles, weights: Doubles) -> float:
    """The prior variance of a user's weights, relative to the noise, by leave-one-rating-out.

    ``weights`` (n,): how much each rating counts, also when it is left out.
    """
    several = np.flatnonzero(ratings.user_counts > 1)
    if len(several) == 0:
        return 0.0
    judges = several[np.unique(np.linspace(0, len(several) - 1, _JUDGES).astype(int))]
    losses = np.zeros(len(_STRENGTHS))
    for u in judges:
        mine = slice(ratings.user_ptr[u], ratings.user_ptr[u + 1])
        features, target = x[ratings.item[mine]], residual[mine]
        counts = weights[mine]
        losses += [left_out_loss(features, target, strength, counts) for strength in _STRENGTHS]
    return _STRENGTHS[int(np.argmin(losses))]


def _with_level(x: Doubles, strength: float) -> Doubles:
    """Features of unit prior: scaled tokens, and the constant that carries ``b_u``."""
    return np.column_stack([np.sqrt(strength) * x, np.full(len(x), SHRINK**-0.5)])


def left_out_loss(x: Doubles, target: Doubles, strength: float, weights: Doubles) -> float:
    """Weighted squared error of each rating, predicted from the user's others."""
    root = np.sqrt(weights)
    z, target = root[:, None] * _with_level(x, strength), root * target
    if len(z) <= z.shape[1]:  # 1 - leverage is the diagonal of (Z Z' + I)^-1
        inverse = np.linalg.inv(z @ z.T + np.eye(len(z)))
        return float(np.sum((inverse @ target / np.diag(inverse)) ** 2))
    inverse = np.linalg.inv(z.T @ z + np.eye(z.shape[1]))
    leverage = np.einsum("nd,nd->n", z @ inverse, z)
    return float(np.sum(((target - z @ (inverse @ (z.T @ target))) / (1 - leverage)) ** 2))


def user_ridge(x: Doubles, target: Doubles, strength: float, weights: Doubles) -> Doubles:
    """``[v_u, b_u]``, shape (d + 1,), from ratings that count by their weights."""
    root = np.sqrt(weights)
    z, target = root[:, None] * _with_level(x, strength), root * target
    if len(z) <= z.shape[1]:
        solution = z.T @ np.linalg.solve(z @ z.T + np.eye(len(z)), target)
    else:
        solution = np.linalg.solve(z.T @ z + np.eye(z.shape[1]), z.T @ target)
    scale = np.full(z.shape[1], np.sqrt(strength))
    scale[-1] = SHRINK**-0.5
    return np.asarray(solution * scale)
