"""The selection correction of a posterior, learned from the ratings when all samples are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...kernels import gibbs
from ...runtime.arrays import Floats, Rows, Singles
from ..rating_scale import user_means
from ..ridge import TokenRidge
from ..selection import Correction, Said
from .fitted import FittedBPMF

_BLOCK = 2000  # items at a time


def corrected(model: FittedBPMF) -> FittedBPMF:
    """The model with what is to be added to its estimates, learned from its ratings."""
    ratings = model.ratings
    if not model.text_share.any():
        return model
    lead = model.lead[: ratings.n_items] * _text_tells(ratings, model.items)
    correction, rows = Correction.learn(ratings, lead, _SaidOfRatings(model))
    selection = correction.selection(rows, model.users.n_rows)
    return replace(model, correction=correction, selection=selection)


def _text_tells(ratings: Ratings, items: EntityIndex) -> bool:
    """Whether tokens foretell how items are rated; else they foretell no user's picks either."""
    better = ratings.value - user_means(ratings)[ratings.user]
    means = np.bincount(ratings.item, better, ratings.n_items) / ratings.item_counts
    return bool(TokenRidge(items.tokens, ratings.item_counts).learn(means[:, None])[:-1].any())


class _SaidOfRatings:
    """What the samples say of ratings on average, with what they have learned and without."""

    def __init__(self, model: FittedBPMF) -> None:
        self._model, n_items = model, model.ratings.n_items
        self._drift = np.zeros(model.ratings.n)  # what users were like when they rated
        if model.timestamps is not None:
            times = model.timestamps.of_ratings(model.ratings)
            self._drift = model.drift_at(model.ratings.user.astype(np.int64), times)[0]
        self._from_text = np.empty_like(model.item_samples[:n_items])
        for k in range(0, n_items, _BLOCK):
            rows = np.arange(k, min(k + _BLOCK, n_items))
            self._from_text[rows] = model.prior("item", rows).transpose(1, 0, 2)

    def __call__(self, at: Rows) -> Said:
        model, ratings = self._model, self._model.ratings
        user, item = ratings.user[at].astype(np.int64), ratings.item[at].astype(np.int64)
        learned, said = (self._means(user, item, t) for t in (model.item_samples, self._from_text))
        rest = ratings.deviation[at] / model.std - self._drift[at] - said
        return item, learned - said, rest

    def _means(self, users: Rows, items: Rows, table: Singles) -> Floats:
        mean, variance = np.empty(len(users)), np.empty(len(users))
        model = self._model
        gibbs.pair_moments(users, items, model.user_samples, table, model.lead, mean, variance)
        return mean
