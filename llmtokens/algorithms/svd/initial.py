"""Where the factors of LLMTokensSVD start: baselines, text and who rated what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ...data.ratings import Ratings
from ...kernels import sgd
from ...runtime.arrays import Floats, Mask, Singles, unit_rows
from ...runtime.threads import over_rows
from ..ridge import TokenRidge

_ALS_EPOCHS, _ALS_USERS, _ALS_ITEMS = 3, 15.0, 10.0  # Surprise's own ALS baselines
_DAMP_RATERS = 20.0  # ratings at which half of an item's raters are believed
_DAMP_PROFILE = 10.0
_SIGNIFICANT = 3.0  # standard errors by which seeds must foretell ratings to be used
_POWER_ITERATIONS = 2
_FARTHEST = 10.0  # standard deviations
_DEPENDENT = 1e-4  # share of a column, at most, that the others leave of one that they tell


@dataclass(frozen=True)
class Baselines:
    """Biases, their residuals, and the residuals' standard deviation, on the ratings' scale."""

    bu: Floats
    bi: Floats
    residual: Floats
    std: float


def baselines(ratings: Ratings, ridge: TokenRidge, of_users: TokenRidge) -> Baselines:
    r"""Baselines by least squares, shrunk to what the text of items and of users foretells.

    The strength of the shrinkage is the ratio of two variances estimated from the data: of ratings
    around their item's mean, and of item means around what text says of them
    (the analysis-of-variance estimator of a random effect).
    """
    y, n, counts = ratings.deviation, ratings.item_counts, ratings.user_counts
    rated, ones = (ratings.user_ptr, ratings.item, y), np.ones(ratings.n_items)
    bu, bi, mean = np.zeros(ratings.n_users), np.zeros(ratings.n_items), np.zeros(ratings.n_items)
    residual = np.empty(ratings.n)

    def learn_users() -> None:
        over_rows(len(bu), sgd.user_totals, *rated, ones, bi, bu)
        bu[:] /= _ALS_USERS + counts

    def leave_open(of_items: Floats) -> None:
        over_rows(len(bu), sgd.without_baselines, *rated, bu, of_items, residual)

    # alternating least squares (Koren 2010)
    for _ in range(_ALS_EPOCHS):
        sgd.item_totals(*rated, bu, bi)
        bi /= _ALS_ITEMS + n
        learn_users()
    sgd.item_totals(*rated, bu, mean)
    mean /= np.maximum(n, 1)
    from_text = ridge.predict(mean[:, None])[: ratings.n_items, 0]
    many = n > 1
    leave_open(mean)
    within = residual @ residual / max(int((n[many] - 1).sum()), 1)
    between = (np.sum(n[many] * (mean - from_text)[many] ** 2) - within * many.sum()) / max(
        int(n[many].sum()), 1
    )
    shrink = within / max(between, 1e-3 * within) if within > 0 else 0.0
    bi[:] = from_text + n / (n + shrink) * (mean - from_text)
    learn_users()
    means = bu[:, None] * (1 + _ALS_USERS / counts[:, None])
    if of_users.learn(means)[:-1].any():
        bu += _ALS_USERS / (counts + _ALS_USERS) * of_users.predict(means)[: ratings.n_users, 0]
    leave_open(bi)
    return Baselines(bu, bi, residual, step_scale(residual, y))


def step_scale(residual: Floats, y: Floats) -> float:
    """What to divide ratings by, so that one step size fits every scale.

    The standard deviation of the residuals; where a few ratings stand far outside of an otherwise
    flat table, enough that a step towards them stays small; 1 where all ratings are equal.
    """
    farthest = float(np.abs(y).max())
    return max(float(residual.std()), farthest / _FARTHEST) if farthest > 0 else 1.0


def seed_factors(
    ratings: Ratings,
    tokens: Singles,
    residual: Floats,
    n_factors: int,
    norm: float,
    rng: np.random.RandomState,
) -> tuple[Singles, Singles, Mask]:
    r"""Where item and user factors start, and which of them mean something.

    Two thirds of the factors are the leading entries of the item's token, one third says who rated
    it; each item's seed has the length `norm`. A user starts as the damped sum of the seeds rated,
    weighted by the residuals. A kind of seed that does not foretell residuals left out of that
    sum, by three standard errors, says nothing and is dropped; if both do, items start at random
    and users at zero, as a plain factorisation may.

    Returns
    -------
    qi : (n_items, n_factors)
    pu : (n_users, n_factors)
    anchored : (n_factors,), whether the factor is seeded, and so worth shrinking to
    """
    n_text = min(n_factors - round(n_factors / 3), tokens.shape[1])
    text = unit_rows(tokens[:, :n_text])
    raters = _rater_scores(ratings, n_factors - n_text)
    n_seeded = n_text + raters.shape[1]
    qi = np.zeros((ratings.n_items, n_factors), np.float32)
    qi[:, :n_seeded] = norm * unit_rows(np.hstack([text, raters]))
    pu = np.empty((ratings.n_users, n_factors), np.float32)
    of_users = np.empty((ratings.n_users, 2, 2), np.float32)
    rated = ratings.user_ptr, ratings.item, residual.astype(np.float32)
    over_rows(ratings.n_users, sgd.user_profiles, *rated, qi, n_text, _DAMP_PROFILE, pu, of_users)
    moments = of_users.sum(axis=0, dtype=np.float64)
    foretells = moments[:, 0] > _SIGNIFICANT * np.sqrt(moments[:, 1])
    anchored = np.repeat([foretells[0], foretells[1], False],
                         [n_text, raters.shape[1], n_factors - n_seeded])  # fmt: skip
    qi[:, ~anchored] = 0
    pu[:, ~anchored] = 0
    if not anchored.any():
        qi[:] = rng.normal(0, norm / np.sqrt(n_factors), qi.shape)
    return qi, pu, anchored


def _rater_scores(ratings: Ratings, n_dims: int) -> Singles:
    r"""Leading singular scores of who rated an item, centred and damped.

    :math:`H_i = (\text{raters of } i - n_i p) / (n_i + 20)`, with p the share of each user in all
    ratings, by a randomised subspace iteration (Halko, Martinsson & Tropp 2011) that never forms
    the matrix. A row's length is the square root of the trust in it, :math:`n_i / (n_i + 20)`.
    """
    n_dims = min(n_dims, ratings.n_users, ratings.n_items)
    counts = ratings.item_counts
    weight = (1 / (counts + _DAMP_RATERS)).astype(np.float32)[:, None]
    trust = counts[:, None].astype(np.float32) * weight
    share = (ratings.user_counts / ratings.n).astype(np.float32)

    def times(v: Singles) -> Singles:
        out = np.zeros((ratings.n_items, n_dims), np.float32)
        sgd.sum_over_users(ratings.user_ptr, ratings.item, v, out)
        out *= weight
        out -= trust * (share @ v)
        return out

    def transposed_times(u: Singles) -> Singles:
        out = np.zeros((ratings.n_users, n_dims), np.float32)
        over_rows(
            ratings.n_users, sgd.sum_over_items, ratings.user_ptr, ratings.item, weight * u, out
        )
        out -= share[:, None] * (trust[:, 0] @ u)
        return out

    start = np.random.RandomState(0).normal(size=(ratings.n_users, n_dims))
    v = _orthonormal(start)
    for _ in range(_POWER_ITERATIONS):
        v = _orthonormal(transposed_times(_orthonormal(times(v))))
    scores: Singles = unit_rows(times(v)) * np.sqrt(trust)
    return scores


def _orthonormal(a: NDArray[np.floating]) -> Singles:
    """Columns that span what those of ``a`` do: by the Cholesky factor of their products, which
    takes a tenth of the time of a QR decomposition, or by that where they hardly differ."""
    wide = a.astype(np.float64)
    try:
        root = np.linalg.cholesky(wide.T @ wide)
    except np.linalg.LinAlgError:
        root = np.zeros((1, 1))
    if not root.size or np.diag(root).min() <= _DEPENDENT * np.diag(root).max():
        return np.ascontiguousarray(np.linalg.qr(a)[0], dtype=np.float32)
    inverse = solve_triangular(root, np.eye(len(root)), lower=True, check_finite=False)
    return (wide @ inverse.T).astype(np.float32)
