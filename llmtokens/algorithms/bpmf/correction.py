"""The selection correction of a posterior, learned from the ratings when all samples are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...kernels import pairs
from ..rating_scale import user_means
from ..ridge import TokenRidge
from ..selection import Correction, Said
from .features import TextFeatures

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_BLOCK = 2000  # items at a time


def prior_rows(parts: dict[str, Any], side: str, entities: EntityIndex, rows: Rows) -> Floats:
    """What every sample says of rows without ratings, shape (samples, n, width)."""
    tokens, map_ = entities.tokens[rows], parts[f"{side}_map"].astype(np.float64)
    if side == "item":
        names = ("centre", "unit", "middle", "scale")
        features = TextFeatures(*(parts[name] for name in names))(tokens)
    else:
        features = (tokens - parts["user_centre"]) * parts["user_scale"]
    made: Floats = features @ map_[:, :-1] + map_[:, -1:]
    of_unknown = parts[f"{side}s"][entities.unknown][:, None]
    return np.where(entities.has_token[rows][:, None], made, of_unknown)


def corrected(
    parts: dict[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
) -> dict[str, Any]:
    """What is to be added to ``parts``, on the scale of standardised ratings."""
    d = parts["lead"].shape[1] + 1
    if not parts["text_share"].any():
        return Correction.none(d).entries(np.zeros((ratings.n_users, d)), users.n_rows)
    lead = parts["lead"][: ratings.n_items] * _text_tells(ratings, items)
    correction, rows = Correction.learn(ratings, lead, _SaidOfRatings(parts, ratings, items))
    return correction.entries(rows, users.n_rows)


def _text_tells(ratings: Ratings, items: EntityIndex) -> bool:
    """Whether tokens foretell how items are rated; else they foretell no user's picks either."""
    better = ratings.value - user_means(ratings)[ratings.user]
    means = np.bincount(ratings.item, better, ratings.n_items) / ratings.item_counts
    return bool(TokenRidge(items.tokens, ratings.item_counts).learn(means[:, None])[:-1].any())


class _SaidOfRatings:
    """What the samples say of ratings on average, with what they have learned and without."""

    def __init__(self, parts: dict[str, Any], ratings: Ratings, items: EntityIndex) -> None:
        self._parts, self._ratings = parts, ratings
        self._from_text = np.empty_like(parts["items"][: ratings.n_items])
        for k in range(0, ratings.n_items, _BLOCK):
            rows = np.arange(k, min(k + _BLOCK, ratings.n_items))
            self._from_text[rows] = prior_rows(parts, "item", items, rows).transpose(1, 0, 2)

    def __call__(self, at: Rows) -> Said:
        f, ratings = self._parts, self._ratings
        user, item = ratings.user[at].astype(np.int64), ratings.item[at].astype(np.int64)
        learned, said = (self._means(user, item, t) for t in (f["items"], self._from_text))
        rest = ratings.deviation[at] / f["std"] - said
        return item, learned - said, rest

    def _means(self, users: Rows, items: Rows, table: NDArray[np.float32]) -> Floats:
        mean, variance = np.empty(len(users)), np.empty(len(users))
        f = self._parts
        pairs.pair_moments(users, items, f["users"], table, f["lead"], mean, variance)
        return mean
