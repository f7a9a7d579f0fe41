"""Why a prediction is what it is: its terms, the ratings behind it, and a sentence."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import as_column
from ..errors import DataError
from .arguments import require_length
from .ask import cosines
from .ranking import basis, labels

if TYPE_CHECKING:
    from .methods import Serving

_WORDS = {
    "user bias": "how this user rates in general",
    "item bias": "how others rate it",
    "factors": "how it suits this user's taste",
    "content": "how its text suits this user's taste",
    "text": "how well texts like its are liked",
    "choices": "what this user has chosen",
    "popularity": "how often it is chosen",
}
_UNKNOWN = {
    "text": "the user is known by a description alone",
    "popular": "nothing is known of the user",
}
_SPEAKS = 0.005  # influence, as a share of the rating scale, that is worth a word
_WRITTEN = 0.05  # what is less is 0 as it is written
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
        correction too; NaN where the algorithm cannot say), similarity (cosine of tokens).
    nearest : DataFrame
        The items whose tokens are nearest: item, label, similarity.
    sentence : str
        Of a model with ``implicit=True``, about scores and choices instead of ratings.
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


def explain(algo: Serving, uid: Hashable, iid: Hashable, n: int) -> Explanation:
    """See :meth:`Serving.explain`."""
    require_length(n)
    user, item = int(algo.users_.rows([uid])[0]), int(algo.items_.rows([iid])[0])
    est, _, impossible = algo._estimates(np.array([user]), np.array([item]), True)
    terms = {"mean": algo.default_prediction()} if impossible[0] else algo._terms(user, item)
    excess = float(est[0]) - sum(terms.values())
    rounding = _ROUNDING * max(map(abs, algo.ratings_.scale))
    name = "end of the rating scale" if abs(excess) > rounding else list(terms)[-1]
    terms[name] = terms.get(name, 0.0) + excess
    similar = cosines(algo.items_.tokens, algo.items_.tokens[item])
    rated = _rated(algo, user, item, similar)
    how = basis(algo, user)
    return Explanation(
        uid, iid, float(est[0]), terms, how, rated, _nearest(algo, item, similar, n),
        _sentence(algo, iid, float(est[0]), terms, how, rated),
    )  # fmt: skip


def _frame(algo: Serving, rows: NDArray[np.int64], columns: dict[str, Any]) -> pd.DataFrame:
    raw = [algo.items_.ids[row] for row in rows]
    names = labels(algo, raw)
    shown = {} if names is None else {"label": as_column(names)}
    return pd.DataFrame({"item": as_column(raw)} | shown | columns)


def _rated(algo: Serving, user: int, item: int, similar: NDArray[np.float64]) -> pd.DataFrame:
    items, values, _ = algo.ratings_.of_user(user)
    try:
        influence = algo._influence(user, item) if len(items) else np.zeros(0)
    except np.linalg.LinAlgError as error:
        raise DataError(
            f"the influence of the ratings of user {algo.users_.ids[user]!r} cannot be computed "
            f"({error}); the model holds numbers of extreme size: fit it again"
        ) from error
    if influence is None:
        order = np.argsort(-similar[items], kind="stable")
        influence = np.full(len(items), np.nan)
    else:
        order = np.argsort(-np.abs(influence), kind="stable")
    columns = {"rating": values, "influence": influence, "similarity": similar[items]}
    return _frame(algo, items[order], {key: column[order] for key, column in columns.items()})


def _nearest(algo: Serving, item: int, similar: NDArray[np.float64], n: int) -> pd.DataFrame:
    others = similar.copy()
    others[item] = -np.inf
    others[~algo.items_.has_token] = -np.inf
    order = np.argsort(-others, kind="stable")[:n]
    order = order[np.isfinite(others[order])] if algo.items_.has_token[item] else order[:0]
    return _frame(algo, order, {"similarity": others[order]})


def _sentence(
    algo: Serving,
    iid: Hashable,
    est: float,
    terms: dict[str, float],
    how: str,
    rated: pd.DataFrame,
) -> str:
    low, high = algo.ratings_.scale
    name = (labels(algo, [iid]) or [str(iid)])[0]
    opinions = not getattr(algo, "implicit", False)
    usual = algo.default_prediction() if opinions else low
    if opinions:
        words = (
            f"{name} is expected to get {est:.1f} on a scale from {low:g} to {high:g}, "
            f"{_beside(est - usual)} the average rating of {usual:.1f}"
        )
    else:
        words = f"{name} has a score of {est:.2f} on a scale from {low:g} to {high:g}"
    least = _SPEAKS * (high - low)
    said = _because(rated, least, opinions) if how == "ratings" else [_UNKNOWN[how]]
    return "; ".join([words + _mostly(terms, est - usual), *said]) + "."


def _beside(distance: float) -> str:
    if abs(distance) < _WRITTEN:
        return "about"
    return f"{abs(distance):.1f} {'above' if distance > 0 else 'below'}"


def _because(rated: pd.DataFrame, least: float, opinions: bool) -> list[str]:
    """The ratings that speak loudest for and against, in words."""
    named = rated["label"] if "label" in rated else [str(raw) for raw in rated["item"]]
    said = []
    for verb, sign in (("raised", 1), ("lowered", -1)):
        loud = rated.index[sign * rated["influence"] > least][:2]
        if len(loud):
            parts = [f"{named[k]} ({rated['rating'][k]:g})" if opinions else named[k] for k in loud]
            what = f"{'rating' if opinions else 'choice'} of {' and '.join(parts)}"
            said.append(f"{verb} most by the user's {what}")
    return said


def _mostly(terms: dict[str, float], distance: float) -> str:
    """The largest of the terms that can be put in words and lead where the estimate is."""
    sign = np.sign(distance) if abs(distance) >= _WRITTEN else 0
    parts = {k: value for k, value in terms.items() if k in _WORDS and sign * value >= _WRITTEN}
    if not parts:
        return ""
    most = max(parts, key=lambda name: abs(parts[name]))
    return f", mostly for {_WORDS[most]} ({parts[most]:+.1f})"
