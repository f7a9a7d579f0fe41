"""From one state of the sampler to rows for everybody: cold ones, the unknown, and corrections."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import Floats, Mask, Singles
from .priors import FeatureSums, Moments, TokenPrior
from .sampler import Sampler
from .shards import Shard

EVEN_ODDS = 0.5
_GRID = np.exp(np.linspace(-4.0, 12.0, 33))


class Sample(NamedTuple):
    """One sample, but for the rows of users with ratings, which are where these users are.

    Attributes
    ----------
    users : ndarray of shape (n_user_rows - n_users, c + k + 1)
        ``[a_u, p_u, b_u]`` of those without ratings.
    items : ndarray of shape (n_item_rows, k + 1)
        ``[q_i, b_i]``; an estimate is ``a_u x_i + p_u q_i + b_u + b_i``, and the correction.
    text_share : ndarray of shape (n_item_rows,)
        How much of the correction an item deserves; zero where there is none.
    user_map, item_map : ndarray of shape (d_u + 1, c + k + 1), (d + 1, k + 1)
        Turns ``[features, 1]`` into what is said of a row without ratings.
    user_spread, item_spread : ndarray of shape (c + k + 1,) * 2, (k + 1,) * 2
        Covariance of rows about that.
    user_precision : float
        Of users without ratings.
    item_precision : ndarray of shape (n_item_rows,)
        The product of the two is the precision of a rating.
    """

    users: Floats
    items: Floats
    text_share: Floats
    user_map: Floats
    item_map: Floats
    user_spread: Floats
    item_spread: Floats
    user_precision: float
    item_precision: Floats


class Ridge:
    """Rows from features by weighted ridge regression, strengths averaged by their evidence.

    The evidence is that of Gaussian process regression with a linear kernel, scale and mean
    profiled out (MacKay 1992), for as many rows as the weights are worth (Kish 1965). Of rows and
    features it needs weighted sums alone.

    Parameters
    ----------
    features : FeatureSums
        Of the rows to learn from, with their weights; without features rows get the weighted mean.
    worth : float
        How many rows the weights are worth.
    """

    def __init__(self, features: FeatureSums, worth: float) -> None:
        self._features, self._n, self._worth = features, features.n, worth
        self._centre = features.total / features.n
        scatter = features.square / features.n - np.outer(self._centre, self._centre)
        values, self._axes = np.linalg.eigh(scatter * worth)
        self._values = np.maximum(values, 0.0)
        counting = self._values[self._values > 1e-5 * self._values.max(initial=1e-12)]
        middle = float(np.median(counting)) if len(counting) else 1.0
        self._strengths = (middle * _GRID)[:, None]

    def __call__(self, rows: Moments, about: Floats | None = None) -> tuple[Floats, Floats]:
        """The map from ``[features, 1]`` to rows, (d + 1, k), and the share of the degrees of
        freedom that is left to the residuals, (k,). Slopes are shrunk to ``about`` (d, k), or 0."""
        if about is not None:
            slopes, freedom = self(rows.less(self._features, about))
            slopes[:-1] += about
            return slopes, freedom
        centre = rows.total / self._n
        squares = self._worth * np.maximum(np.diag(rows.square) / self._n - centre**2, 0.0)
        open_ = self._worth * (rows.along / self._n - np.outer(self._centre, centre))
        along = self._axes.T @ open_
        shrink = 1 / (self._values + self._strengths)
        left = np.maximum(squares - shrink @ along**2, 1e-12 * squares + 1e-300)
        penalty = np.log(self._strengths * shrink).sum(axis=1)
        evidence = (penalty[:, None] - self._worth * np.log(left)) / 2
        weights = np.exp(evidence - evidence.max(axis=0))
        shrunk = shrink.T @ (weights / weights.sum(axis=0))
        slopes = self._axes @ (along * shrunk)
        freedom = 1 - self._values @ shrunk / self._worth
        return np.vstack([slopes, centre - self._centre @ slopes]), np.maximum(freedom, 0.1)


def mapped(map_: Floats, features: Singles, known: Mask, mean: Any) -> Any:
    """Rows as their features alone would have them; the mean where there are none."""
    made = np.tile(mean, (len(known), 1))
    made[known] = (features @ map_[:-1].astype(np.float32) + map_[-1])[known]
    return made


class Ridges(NamedTuple):
    """What stays the same from sample to sample; ``weights`` (n_items,) sum to one."""

    of_users: Ridge
    of_items: Ridge
    weights: Floats


class ColdStart:
    r"""Completes samples of the full model.

    Cold rows come from ridge regressions on the drawn rows, refitted for each sample. A cold item
    deserves all of the selection correction (:class:`~llmtokens.algorithms.selection.Correction`).
    One with few ratings is either new, and deserves as much of it as its estimate still stems from
    the prior, or is seldom chosen, and deserves none: even odds.

    Parameters
    ----------
    text, about_users : ndarray of float32, shape (n_rows, d)
        Features of all rows; of users only their tokens: a cold one has no history.
    has_text, has_user_token : ndarray of bool, shape (n_rows,)

    Attributes
    ----------
    weights : ndarray of shape (n_items,), or None
        Of the items in the ridge regression, from the first sample on.
    """

    def __init__(
        self,
        text: Singles,
        has_text: Mask,
        about_users: Singles,
        has_user_token: Mask,
    ) -> None:
        self._text, self._has_text = text, has_text
        self._about_users, self._has_user_token = about_users, has_user_token
        self.weights: Floats | None = None
        self._ridges: Ridges | None = None

    @property
    def has_learned(self) -> bool:
        return self._ridges is not None

    def learn(self, chain: Sampler) -> None:
        """Decompose the features once for all samples: how much the rows count in the ridges, the
        weights, hardly changes between samples, and eigenvectors cost."""
        if self.weights is None:
            self.weights = np.maximum(1 - chain.own_share(), 1e-6)
        weights = self.weights / self.weights.sum()
        worth = float(1 / np.sum(weights**2))
        d, (n, total, square) = self._about_users.shape[1], chain.weighted
        # the users' weights are the roots of their numbers of ratings
        self._ridges = Ridges(
            Ridge(FeatureSums(n, total[:d], square[:d, :d]), n**2 / chain.size.n_ratings),
            Ridge(FeatureSums.of(self._text[: len(weights)], weights), worth),
            weights,
        )

    def complete(self, chain: Sampler) -> Sample:
        """Everything of a sample from the chain's present state, when :meth:`learn` was called."""
        own = chain.own_share()
        n_users, n_items, d = chain.size.n_users, chain.size.n_items, self._about_users.shape[1]
        assert self._ridges is not None
        of_users, of_items, weights = self._ridges

        text = self._text[:n_items]
        moments = Moments.of(chain.Q, text, weights)
        item_map, freedom = of_items(moments)
        items = mapped(item_map, self._text, self._has_text, moments.total)
        deviations = chain.Q - items[:n_items]
        share = np.ones(len(items))
        share[:n_items] = EVEN_ODDS * own
        prior = chain.item_prior
        moved = (items[:n_items] - prior.m - prior.fit) * share[:n_items, None]
        items[:n_items] = chain.Q_mean + moved

        survey = chain.team.total(Shard.survey)
        known, moments = chain.weighted, survey.moments
        of_rows = chain.user_prior
        about = of_rows.centre[:d] if isinstance(of_rows, TokenPrior) and of_rows.n_shared else None
        user_map, _ = of_users(moments._replace(along=moments.along[:d]), about)
        users = mapped(
            user_map, self._about_users[n_users:], self._has_user_token[n_users:],
            moments.total / known.n,
        )  # fmt: skip
        return Sample(
            users, items, share, user_map, item_map,
            moments.about(known, chain.user_prior.m, chain.user_prior.B) / known.n,
            _second_moment(deviations / np.sqrt(freedom), weights), known.n / survey.variance,
            _for_all(chain.item_alpha, len(items), weights),
        )  # fmt: skip


def _second_moment(rows: Floats, weights: Floats) -> Floats:
    out: Floats = (rows.T * weights) @ rows
    return out


def sample_without_tokens(chain: Sampler, n_user_rows: int, n_item_rows: int) -> Sample:
    """The sample of plain BPMF: who has no ratings gets the prior's mean."""
    user, item = chain.user_prior, chain.item_prior
    items = np.tile(item.m, (n_item_rows, 1))
    items[: len(chain.Q)] = chain.Q_mean
    of_users: Any = np.linalg.inv(user.precision)
    of_items: Any = np.linalg.inv(item.precision)
    return Sample(
        np.tile(user.m, (n_user_rows - chain.size.n_users, 1)), items, np.zeros(n_item_rows),
        user.m[None], item.m[None], of_users, of_items,
        chain.user_alpha, np.ones(n_item_rows),
    )  # fmt: skip


def _for_all(own: Floats, n: int, weights: Floats) -> Floats:
    """Precision factors of all rows; the unknown one has the mean variance of the rest."""
    every = np.full(n, 1 / np.average(1 / own, weights=weights))
    every[: len(own)] = own
    return every
