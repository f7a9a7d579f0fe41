"""From one state of the sampler to rows for everybody: cold ones, strangers, and corrections."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import gibbs
from .features import gram
from .sampler import Sampler

Floats = NDArray[np.float64]

EVEN_ODDS = 0.5
_DAMP_PICKS = 10.0
_GRID = np.exp(np.linspace(-4.0, 12.0, 33))


class Completed(NamedTuple):
    """One sample, for all rows.

    Attributes
    ----------
    users : ndarray of shape (n_user_rows, c + k + 2)
        ``[a_u, p_u, b_u, delta_u]``.
    items : ndarray of shape (n_item_rows, k + 2)
        ``[q_i, b_i, w_i]``; an estimate is ``a_u x_i + p_u q_i + b_u + b_i + delta_u w_i``.
    user_map, item_map : ndarray of shape (d_u + 1, c + k + 1), (d + 1, k + 1)
        Turns ``[features, 1]`` into what is said of a row without ratings.
    user_spread, item_spread : ndarray of shape (c + k + 1,) * 2, (k + 1,) * 2
        Covariance of rows about that.
    user_precision, item_precision : ndarray of shape (n_user_rows,), (n_item_rows,)
        Whose product is the precision of a rating.
    """

    users: Floats
    items: Floats
    user_map: Floats
    item_map: Floats
    user_spread: Floats
    item_spread: Floats
    user_precision: Floats
    item_precision: Floats


class Ridge:
    """Rows from features by weighted ridge regression, strengths averaged by their evidence.

    The evidence is that of Gaussian process regression with a linear kernel, scale and mean
    profiled out (MacKay 1992), for as many rows as the weights are worth (Kish 1965). Rows without
    features get the weighted mean.

    Parameters
    ----------
    features : ndarray of float32, shape (n_rows, d)
        Of all rows, those to learn from first; d may be 0.
    known : ndarray of bool, shape (n_rows,)
        Which rows have features.
    weights : ndarray of shape (n_learned,)
    """

    def __init__(
        self, features: NDArray[np.float32], known: NDArray[np.bool_], weights: Floats
    ) -> None:
        self._features, self._known = features, known
        self._learned = features[: len(weights)]
        self.weights = weights / weights.sum()
        self._worth = 1 / np.sum(self.weights**2)
        self._centre = self.weights @ self._learned
        scatter = gram(self._learned, self.weights) - np.outer(self._centre, self._centre)
        values, self._axes = np.linalg.eigh(scatter * self._worth)
        self._values = np.maximum(values, 0.0)
        counting = self._values[self._values > 1e-5 * self._values.max(initial=1e-12)]
        middle = float(np.median(counting)) if len(counting) else 1.0
        self._strengths = (middle * _GRID)[:, None]

    def __call__(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Rows as the features alone would have them, (n_rows, k), the map, (d + 1, k), and the
        share of the degrees of freedom that is left to the residuals, (k,)."""
        centre = self.weights @ rows
        open_ = (rows - centre) * (self.weights * self._worth)[:, None]
        along = self._axes.T @ (self._learned.T @ open_.astype(np.float32)).astype(np.float64)
        squares = np.sum(open_ * (rows - centre), axis=0)
        shrink = 1 / (self._values + self._strengths)
        left = np.maximum(squares - shrink @ along**2, 1e-12 * squares + 1e-300)
        penalty = np.log(self._strengths * shrink).sum(axis=1)
        evidence = (penalty[:, None] - self._worth * np.log(left)) / 2
        weights = np.exp(evidence - evidence.max(axis=0))
        shrunk = shrink.T @ (weights / weights.sum(axis=0))
        slopes = self._axes @ (along * shrunk)
        start = centre - self._centre @ slopes
        made = np.tile(centre, (len(self._known), 1))
        made[self._known] = (self._features @ slopes.astype(np.float32) + start)[self._known]
        freedom = 1 - self._values @ shrunk / self._worth
        return made, np.vstack([slopes, start]), np.maximum(freedom, 0.1)


class Newcomers:
    r"""Completes samples of the full model.

    *Cold rows* come from ridge regressions on the drawn rows, refitted for each sample. *Selection
    correction*: people rate what they expect to like, so text that was fitted to ratings is too
    low for an item nobody has rated, by

    .. math:: \delta_u = mean_j [(q_j - \hat q_j)^T p_u + b_j - \hat b_j]

    over the items rated, shrunk with the weight of 10 ratings to its mean. A cold item gets all
    of it. One with few ratings is either new, and deserves as much in the share :math:`w_i` of its
    estimate that still stems from the prior, or is seldom chosen, and deserves none: even odds.

    Parameters
    ----------
    text, about_users : ndarray of float32, shape (n_rows, d)
        Features of all rows; of users only their tokens: a cold one has no history.
    has_text, has_user_token : ndarray of bool, shape (n_rows,)
    """

    def __init__(
        self,
        text: NDArray[np.float32],
        has_text: NDArray[np.bool_],
        about_users: NDArray[np.float32],
        has_user_token: NDArray[np.bool_],
    ) -> None:
        self._about_items = text, has_text
        self._about_users = about_users, has_user_token
        self._ridges: tuple[Ridge, Ridge] | None = None

    def complete(self, chain: Sampler) -> Completed:
        """Rows of everybody from the chain's present state."""
        own = _own_share(chain)
        counts = np.diff(chain.data.user_ptr).astype(np.float64)
        if self._ridges is None:  # weights hardly change between samples; their eigenvectors cost
            self._ridges = (
                Ridge(*self._about_users, np.sqrt(counts)),
                Ridge(*self._about_items, np.maximum(1 - own, 1e-6)),
            )
        of_users, of_items = self._ridges
        (users, user_map, _), (items, item_map, freedom) = of_users(chain.V), of_items(chain.Q)
        n_users, n_items = len(chain.V), len(chain.Q)
        item_dev = chain.Q - items[:n_items]
        delta = np.append(*_picks(chain, item_dev, counts))
        delta = delta[np.minimum(np.arange(len(users)), n_users)]
        share = np.ones(len(items))
        share[:n_items] = EVEN_ODDS * own
        prior = chain.item_prior
        known = prior.m if prior.fit is None else prior.m + prior.fit
        moved = (items[:n_items] - known) * share[:n_items, None]
        users[:n_users] = chain.V
        items[:n_items] = chain.Q_mean + moved
        return Completed(
            np.column_stack([users, delta]), np.column_stack([items, share]), user_map, item_map,
            _second_moment(chain.V - chain.user_prior.mean(), of_users.weights),
            _second_moment(item_dev / np.sqrt(freedom), of_items.weights),
            *_precisions(
                chain, (len(users), len(items)), (of_users.weights, of_items.weights)
            ),
        )  # fmt: skip


def _own_share(chain: Sampler) -> Floats:
    """The share of each item's bias that stems from its prior."""
    au, ai = chain.alphas
    data = chain.data
    known = np.bincount(data.item_row, au[data.item_idx], len(chain.Q)) * ai
    prior = chain.item_prior.precision[-1, -1]
    out: Floats = prior / (prior + known)
    return out


def _picks(chain: Sampler, deviations: Floats, counts: Floats) -> tuple[Floats, float]:
    """By how much what each user picks is better than its text says, and that of a stranger."""
    taste = np.hstack([chain.V[:, chain.c : -1], np.ones((len(chain.V), 1))])
    gap = np.empty(len(taste))
    gibbs.row_sums(chain.data.user_ptr, chain.data.user_idx, taste, deviations, gap)
    mean = float(gap.sum() / counts.sum())
    return damped(gap, counts, mean), mean


def damped(total: Any, counts: Any, mean: Any) -> Any:
    """Means shrunk to ``mean`` with the weight of 10 ratings."""
    return (total + _DAMP_PICKS * mean) / (counts + _DAMP_PICKS)


def _second_moment(rows: Floats, weights: Floats) -> Floats:
    out: Floats = (rows.T * weights) @ rows
    return out


def complete_plain(chain: Sampler, n_user_rows: int, n_item_rows: int) -> Completed:
    """The sample of plain BPMF: who has no ratings gets the prior's mean."""
    made, spreads = [], []
    for rows, prior, n in (
        (chain.V, chain.user_prior, n_user_rows),
        (chain.Q_mean, chain.item_prior, n_item_rows),
    ):
        every = np.tile(np.append(prior.m, 0.0), (n, 1))
        every[: len(rows), :-1] = rows
        made.append(every)
        spreads.append(np.linalg.inv(prior.precision))
    return Completed(
        made[0], made[1], chain.user_prior.m[None], chain.item_prior.m[None], spreads[0],
        spreads[1], *_precisions(chain, (n_user_rows, n_item_rows), (None, None)),
    )  # fmt: skip


def _precisions(chain: Sampler, n_rows: tuple[int, int], weights: Any) -> tuple[Floats, Floats]:
    """Precision factors of all rows; a stranger has the mean variance of those with ratings."""
    out = []
    for own, n, weight in zip(chain.alphas, n_rows, weights, strict=True):
        every = np.full(n, 1 / np.average(1 / own, weights=weight))
        every[: len(own)] = own
        out.append(every)
    return out[0], out[1]
