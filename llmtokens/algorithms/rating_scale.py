"""From scores to ratings: a user's level, a line, and the ends of the scale."""

from __future__ import annotations

import numpy as np

from ..data.ratings import Ratings
from ..runtime.arrays import Floats

SHRINK = 5.0  # ratings that the mean of all counts for in a user's mean
_MARGIN = 0.05  # share of the scale, at either end, in which estimates are bent


def user_means(ratings: Ratings) -> Floats:
    """Each user's weighted mean rating, shrunk to that of all, shape (n_users,)."""
    value, weight = ratings.value, ratings.weight
    weighted = value if weight is None else weight * value
    sums = np.bincount(ratings.user, weighted, minlength=ratings.n_users)
    counts = np.bincount(ratings.user, weight, minlength=ratings.n_users)
    means: Floats = (sums + SHRINK * ratings.global_mean) / (counts + SHRINK)
    return means


def mean_influence(mean: float, values: Floats, weights: Floats) -> Floats:
    """By how much such a mean is higher for having each of the user's ratings, shape (n,)."""
    out: Floats = weights * (values - mean) / (weights.sum() - weights + SHRINK)
    return out


def line(scores: Floats, residual: Floats) -> tuple[float, float]:
    """Slope and centre of a regression on scores.

    The slope is never 0 or less: higher scores mean higher ratings, whatever the noise says.
    """
    centre, variance = float(scores.mean()), float(scores.var())
    slope = float(np.mean(residual * (scores - centre))) / variance if variance > 1e-12 else 0.0
    return max(slope, 1e-3 * float(residual.std()), 1e-9), centre


def bounds(ratings: Ratings) -> tuple[float, float]:
    """The rating scale, or (-inf, inf) if training ratings lie outside it."""
    low, high = ratings.scale
    honest = low <= ratings.value.min() and ratings.value.max() <= high
    return (low, high) if honest else (-np.inf, np.inf)


def soft_clip(est: Floats, low: float, high: float) -> Floats:
    """Strictly increasing, inside (low, high), and the identity but for the outer twentieths.

    >>> soft_clip(np.array([-3.0, 3.0, 7.0, 8.0]), 1.0, 5.0).round(2).tolist()
    [1.01, 3.0, 4.98, 4.99]
    """
    margin = _MARGIN * (high - low)
    if not 0 < margin < np.inf:
        return est
    over = np.maximum(est - (high - margin), 0) / margin
    under = np.maximum(low + margin - est, 0) / margin
    inside = np.clip(est, low + margin, high - margin)
    bent: Floats = inside + margin * (over / (1 + over) - under / (1 + under))
    return bent
