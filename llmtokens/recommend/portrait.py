"""What a user likes, in words: labels, words and items that their taste picks out."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from ..data.ids import as_column
from ..errors import DataError
from ..runtime.arguments import require_length
from ..runtime.arrays import Floats, Rows
from ..tokens.words import WORD, Words
from .interface import FittedModel
from .similar import known_row

ITEM = "item"
_ROUNDING = 1e-6  # of likings that are nothing, as where content says nothing to a model


def portrait(model: FittedModel, uid: Hashable, n: int) -> pd.DataFrame:
    """See :meth:`Serving.portrait`."""
    require_length(n)
    user = known_row(model.users.row(uid), model.users.unknown, "user", uid, model.users.ids)
    tokens = model.item_tokens
    if tokens is None:
        raise DataError(
            "this algorithm has no item_tokens, so there are no words for what a user likes; "
            "fit with item_tokens"
        )
    taste = np.atleast_2d(model.taste(user)).astype(np.float64)
    at = np.flatnonzero((model.text_rows >= 0) & np.isfinite(taste).all(axis=0))
    taste = (taste[:, at] - taste[:, at].mean(axis=1, keepdims=True)).T
    rated = np.isin(at, model.ratings.of_user(user)[0])
    words = Words.of(len(tokens), tokens.labels, tokens.columns).of_rows(model.text_rows[at])
    return pd.concat(
        [_of_words(words, taste, rated, n), _of_items(model, at, taste, rated, n)],
        ignore_index=True,
    )


def _of_words(words: Words, taste: Floats, rated: Any, n: int) -> pd.DataFrame:
    """Labels and words by their liking, those that could stand there by chance left out."""
    means, chance = words.means(taste), words.by_chance(taste.mean(axis=1)[:, None])[:, 0]
    liking = means.mean(axis=1)
    clear = np.flatnonzero((np.abs(liking) > words.least * chance) & (chance > _ROUNDING))
    by_kind = [
        _ends(liking, clear[[words.kinds[k] == kind for k in clear]], n)
        for kind in sorted(set(words.kinds), key=lambda kind: kind == WORD)
    ]
    rows = np.concatenate([*by_kind, np.empty(0, np.int64)]).astype(np.int64)
    told = {
        "liking": liking,
        "std": _std(means),
        "chance": chance,
        "items": words.counts,
        "rated": words.said.T @ rated.astype(np.float64),
    }
    kinds, names = ([x[k] for k in rows.tolist()] for x in (words.kinds, words.names))
    return _frame(kinds, names, {name: values[rows] for name, values in told.items()})


def _of_items(model: FittedModel, at: Rows, taste: Floats, rated: Any, n: int) -> pd.DataFrame:
    liking = taste.mean(axis=1)
    some = np.arange(len(at)) if liking.std() > _ROUNDING else np.empty(0, np.int64)
    rows = _ends(liking, some, n)
    tokens = model.item_tokens
    assert tokens is not None
    of_table = model.text_rows[at[rows]].tolist()
    names = [(tokens.labels[k] if tokens.labels else "") or str(tokens.ids[k]) for k in of_table]
    told = {
        "liking": liking[rows],
        "std": _std(taste)[rows],
        "chance": np.full(len(rows), liking.std()),
        "items": np.ones(len(rows)),
        "rated": rated[rows],
    }
    return _frame([ITEM] * len(rows), names, told)


def _ends(liking: Floats, rows: Rows, n: int) -> Rows:
    """Up to ``n`` that are liked more than others, the most liked first, and as many less."""
    order = rows[np.argsort(-liking[rows], kind="stable")]
    more, less = order[liking[order] > 0], order[liking[order] < 0]
    return np.concatenate([more[:n], less[max(0, len(less) - n) :]])


def _std(draws: Floats) -> Floats:
    """Over the draws of a posterior, NaN where there is none: (m, draws) -> (m,)."""
    several = draws.shape[1] > 1
    return draws.std(axis=1, ddof=1) if several else np.full(len(draws), np.nan)


def _frame(kinds: list[str], names: list[str], numbers: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"kind": as_column(kinds), "name": as_column(names)} | numbers)
    return frame.astype({"items": np.int64, "rated": np.int64})
