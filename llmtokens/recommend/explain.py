"""Why a prediction is what it is: its terms, the ratings behind it, and a sentence."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import DataError
from ..runtime.arguments import require_length
from ..runtime.arrays import Floats
from .interface import FittedModel
from .ranking import basis, of_items, top_rows
from .sentence import Case, sentence
from .similar import to_item

_ROUNDING = 1e-6  # of the largest rating: what float32 leaves open in a sum of terms


@dataclass(frozen=True)
class Explanation:
    """What :meth:`Serving.explain` returns; ``print`` shows the sentence.

    Attributes
    ----------
    uid, iid : raw ids
    est : float
        What ``predict`` returns.
    terms : dict of str to float
        Add up to ``est``.
    basis : {"ratings", "text", "popular"}
        How the user is known.
    rated : DataFrame
        What the user rated, most influential first: item, label, rating, influence (by how much
        the estimate would fall if the rating were taken away, all else fixed, the selection
        correction too; NaN where the algorithm cannot say), similarity (cosine of texts).
    nearest : DataFrame
        The items whose texts are nearest: item, label, similarity.
    sentence : str
        What is expected, the largest terms in both directions, what is not known of user or item,
        and the ratings with most influence. A rating that speaks for an item by being low (or
        against it by being high) is said to be of something unlike. Of a model with
        ``implicit=True``, about scores and choices instead of ratings.
    """

    uid: Hashable
    iid: Hashable
    est: float
    terms: dict[str, float]
    basis: str
    rated: pd.DataFrame
    nearest: pd.DataFrame
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def explain(model: FittedModel, uid: Hashable, iid: Hashable, n: int) -> Explanation:
    """See :meth:`Serving.explain`."""
    require_length(n)
    user, item = int(model.users.rows([uid])[0]), int(model.items.rows([iid])[0])
    rows, times = (np.array([user]), np.array([item])), model.moments([uid], [iid])
    est, _, impossible = model.estimates(*rows, True, times)
    terms = {"mean": model.ratings.global_mean} if impossible[0] else model.terms(user, item)
    if times is not None and np.isfinite(times[0]):
        then, usual = (model.estimates(*rows, False, when)[0][0] for when in (times, None))
        terms["moment"] = float(then - usual)
    excess = float(est[0]) - sum(terms.values())
    rounding = _ROUNDING * max(map(abs, model.ratings.scale))
    name = "end of the rating scale" if abs(excess) > rounding else list(terms)[-1]
    terms[name] = terms.get(name, 0.0) + excess
    similar = to_item(model, item)
    rated = _rated(model, user, item, similar)
    how = basis(model, user)
    words = sentence(Case(model, user, item, iid, float(est[0]), terms, how, rated))
    near = _nearest(model, item, similar, n)
    return Explanation(uid, iid, float(est[0]), terms, how, rated, near, words)


def _rated(model: FittedModel, user: int, item: int, similar: Floats) -> pd.DataFrame:
    items, values, _ = model.ratings.of_user(user)
    try:
        influence = model.influence(user, item) if len(items) else np.zeros(0)
    except np.linalg.LinAlgError as error:
        raise DataError(
            f"the influence of the ratings of user {model.users.ids[user]!r} cannot be computed "
            f"({error}); the model holds numbers of extreme size: fit it again"
        ) from error
    if influence is None:
        order = np.argsort(-similar[items], kind="stable")
        influence = np.full(len(items), np.nan)
    else:
        order = np.argsort(-np.abs(influence), kind="stable")
    columns = {"rating": values, "influence": influence, "similarity": similar[items]}
    raw = [model.items.ids[row] for row in items[order]]
    return of_items(model, raw, {key: column[order] for key, column in columns.items()})


def _nearest(model: FittedModel, item: int, similar: Floats, n: int) -> pd.DataFrame:
    others = np.where(np.isnan(similar), -np.inf, similar)
    others[item] = -np.inf
    order = top_rows(others, n)
    return of_items(model, [model.items.ids[row] for row in order], {"similarity": others[order]})
