"""Items by a description in words: the question first, then taste."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import DataError
from ..runtime.arguments import require_length, require_share
from ..runtime.arrays import Floats, Rows
from .interface import FittedModel
from .ranking import basis, candidate_rows, diversified, lines, relevance, top_rows
from .similar import require_item_tokens, to_text
from .where import Where

_AND = r"(?:and|or)\b(?!\s+(?:its|his|her|their)\b)"  # "the mafia and its families" is one wish
_LIST = re.compile(rf";|\s{_AND}", re.IGNORECASE)  # a comma alone may only set something apart
_JOINS = re.compile(rf"\s*[,;]\s*(?:{_AND}\s*)?|\s+{_AND}\s+", re.IGNORECASE)
_MOST = 5  # wishes in one question; more are an enumeration
_ONE_SIDE = 0.1587  # of a normal distribution, below one standard deviation under the mean
_NEAREST = 0.75  # of the way from the median to the nearest: similar, whatever the others are
_POOL = 20  # times n: how deep diversity may reach


@dataclass(frozen=True)
class Question:
    """How a question is to be answered; see :meth:`Serving.ask` for the fields."""

    n: int = 10
    user: int | None = None
    weight: float = 0.75
    diversity: float = 0.0

    def check(self) -> None:
        """Raise DataError for values out of range."""
        require_length(self.n)
        require_share("weight", self.weight)
        require_share("diversity", self.diversity)


class Wish(NamedTuple):
    """What a person asks for.

    Attributes
    ----------
    text : str
    near : ndarray of float64, shape (n_item_rows,)
        Cosine of each item's text with it; NaN where an item has none.
    least : float
        From where an item is similar.
    """

    text: str
    near: Floats
    least: float


def ask(
    model: FittedModel,
    text: str | Sequence[str],
    question: Question,
    candidates: Iterable[Hashable] | None,
    where: Where | None,
) -> pd.DataFrame:
    """See :meth:`Serving.ask`."""
    require_item_tokens(model)
    question.check()
    allowed = candidate_rows(model, candidates, where)
    taste = None
    if question.user is not None:
        every = np.arange(model.items.n_rows)
        taste = relevance(model, np.array([question.user]), every, True)[0]
        allowed = allowed[np.isfinite(taste[allowed])]
    if isinstance(text, str) or text is None:
        return _answer(model, text, question, allowed, taste)
    texts = list(text)
    if not texts:
        raise DataError("found no question; expected a text, or several")
    answers = [_answer(model, each, question, allowed, taste) for each in texts]
    for each, answer in zip(texts, answers, strict=True):
        answer.insert(0, "question", each)
    return pd.concat(answers, ignore_index=True)


def _answer(
    model: FittedModel, text: str, question: Question, allowed: Rows, taste: Floats | None
) -> pd.DataFrame:
    wishes = wishes_in(model, text)
    answers = [_ordered(model, wish, question, allowed, taste) for wish in wishes]
    places = by_turns([rows.tolist() for rows, _ in answers], question.n)
    items = np.array([item for _, item in places], np.int64)
    scores = np.array([answers[k][1][item] for k, item in places])
    columns: dict[str, Any] = {
        "score": scores,
        "similarity": np.array([wishes[k].near[item] for k, item in places]),
    }
    if len(wishes) > 1:
        columns["wish"] = np.array([wishes[k].text for k, _ in places], object)
    user = model.users.unknown if question.user is None else question.user
    frame = lines(model, np.full(len(items), user), items, columns)
    return frame if question.user is None else frame.assign(basis=basis(model, user))


def wishes_in(model: FittedModel, text: str) -> list[Wish]:
    """The question as one wish; as several if it is a list of which no item is similar to all."""
    parts: list[str] = []
    if isinstance(text, str) and _LIST.search(text):
        parts = [part for part in _JOINS.split(text) if part.strip()]
    if 1 < len(parts) <= _MOST:
        wishes = [_wish(model, part) for part in parts]
        every = np.all([wish.near >= wish.least for wish in wishes], axis=0)
        if not every.any() and all(np.any(wish.near >= wish.least) for wish in wishes):
            return wishes
    return [_wish(model, text)]


def _wish(model: FittedModel, text: str) -> Wish:
    near = to_text(model, text)
    return Wish(text, near, least_similar(near[~np.isnan(near)]))


def least_similar(near: Floats) -> float:
    """From where cosines with a question are more than chance.

    Most items have nothing to do with a question, and those below the median certainly have not:
    how far they lie below it says how far others lie above by chance. The bound is where a normal
    distribution of that width would leave less than one of all items; or three quarters of the way
    from the median to the nearest, where that is less, as it is when many have a part of the
    question in common. Always above 0, and above the median.

    >>> noise = np.random.default_rng(0).normal(0.1, 0.05, 1000)
    >>> float(np.round(least_similar(np.append(noise, [0.6, 0.7])), 2))
    0.25
    """
    from scipy.stats import norm

    if len(near) == 0:
        return np.inf
    low, middle, best = np.quantile(near, [_ONE_SIDE, 0.5, 1.0])
    chance = middle + (middle - low) * norm.isf(min(1 / len(near), 0.5))
    bound = min(chance, middle + _NEAREST * (best - middle))
    return float(max(bound, np.nextafter(max(middle, 0.0), 1)))


def _ordered(
    model: FittedModel, wish: Wish, question: Question, allowed: Rows, taste: Floats | None
) -> tuple[Rows, Floats]:
    """Rows that are similar, best first, and the score of every row."""
    near = wish.near[allowed]
    allowed = allowed[near >= wish.least]
    score = wish.near.copy()
    if taste is not None and len(allowed):
        best = float(score[allowed].max())
        nearest = allowed[score[allowed] >= best - question.weight * (best - wish.least)]
        order = nearest[np.argsort(taste[nearest], kind="stable")]
        score[order] = 1 + np.arange(1, len(order) + 1) / len(order)
    rows = allowed[top_rows(score[allowed], question.n * (_POOL if question.diversity else 1))]
    if question.diversity and len(rows):
        texts = text_vectors(model, rows)
        rows = rows[diversified(score[rows], texts, question.n, question.diversity)]
    return rows, score


def text_vectors(model: FittedModel, rows: Rows) -> Any:
    """Embeddings of items with text; their tokens where the table has none."""
    tokens = require_item_tokens(model)
    table = tokens.vectors if tokens.embeddings is None else tokens.embeddings
    return table[model.text_rows[rows]].astype(np.float32)


def by_turns(lists: Sequence[Sequence[int]], n: int) -> list[tuple[int, int]]:
    """The first n of several lists, taken in turn, nothing twice: which list, and what of it.

    >>> by_turns([[1, 2, 3], [2, 4]], 4)
    [(0, 1), (1, 2), (0, 3), (1, 4)]
    """
    waiting = [iter(each) for each in lists]
    taken: dict[int, int] = {}
    left = list(range(len(lists)))
    while left and len(taken) < n:
        for k in tuple(left):
            item = next((item for item in waiting[k] if item not in taken), None)
            if item is None:
                left.remove(k)
            elif len(taken) < n:
                taken[item] = k
    return [(k, item) for item, k in taken.items()]
