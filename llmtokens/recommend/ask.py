"""Items by a description in words: the question first, then taste."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..data.ids import as_column
from ..errors import DataError
from ..runtime.arguments import require_length, require_share
from ..runtime.arrays import Floats, Rows
from .interface import FittedModel
from .ranking import CELLS, basis, candidate_rows, diversified, lines, relevance, top_rows
from .similar import least_similar, require_item_tokens, to_texts
from .unwanted import left_out, said_in
from .where import Where

_AND = r"(?:and|or)\b(?!\s+(?:its|his|her|their)\b)"  # "the mafia and its families" is one wish
_LIST = re.compile(rf";|\s{_AND}", re.IGNORECASE)  # a comma alone may only set something apart
_JOINS = re.compile(rf"\s*[,;]\s*(?:{_AND}\s*)?|\s+{_AND}\s+", re.IGNORECASE)
_ARTICLE = r"(?:an?|any|some|the)\s+"
_PLAIN = r"(?!(?:about|at|by|for|from|in|of|on|that|to|where|who|with)\b)[^\s,;]+"
_SHARED = re.compile(
    rf"^\s*(?P<article>{_ARTICLE})(?P<before>(?:{_PLAIN}\s+)*)(?P<first>{_PLAIN})\s+or\s+"
    rf"(?!{_ARTICLE})(?P<second>{_PLAIN})(?P<after>(?:\s+{_PLAIN})+)\s*$",
    re.IGNORECASE,
)  # an article that is not said again, and words that follow, are of both: "a dark or funny tale"
_MOST = 5  # wishes in one question; more are an enumeration
_POOL = 20  # times n: how deep diversity may reach


class Question(NamedTuple):
    """A text, and the row of the user whose taste counts, if anybody's does."""

    text: str
    user: int | None = None


@dataclass(frozen=True)
class Listing:
    """What lists of answers should be like; see :meth:`Serving.ask` for the fields."""

    n: int = 10
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


class Line(NamedTuple):
    """A line of an answer: which question, which wish where it has several, and which item row."""

    question: int
    wish: str | None
    item: int
    score: float
    similarity: float


def ask(
    model: FittedModel,
    questions: Sequence[Question],
    listing: Listing,
    candidates: Iterable[Hashable] | None = None,
    where: Where | None = None,
) -> tuple[Rows, pd.DataFrame]:
    """Answers to several questions: the position of the question of each line, and the lines.

    See :meth:`Serving.ask`. Texts are encoded together, and users' tastes made together.
    """
    require_item_tokens(model)
    listing.check()
    if not questions:
        raise DataError("found no question; expected a text, or several")
    allowed = candidate_rows(model, candidates, where)
    size = max(1, CELLS // (_MOST * model.items.n_rows))
    found: list[Line] = []
    for start in range(0, len(questions), size):
        some = questions[start : start + size]
        said = [said_in(question.text) for question in some]
        with ThreadPoolExecutor(1) as beside:  # tastes are made while the texts are read
            tastes = beside.submit(_tastes, model, some)
            wishes = wishes_in(model, [each.wanted for each in said])
        for k, taste in enumerate(tastes.result()):
            rows = allowed
            if said[k].unwanted:
                rows = rows[~left_out(model, said[k].unwanted)[rows]]
            found += _answer(model, start + k, wishes[k], listing, rows, taste)
    items = np.array([line.item for line in found], np.int64)
    who = np.array([line.question for line in found], np.int64)
    unknown = model.users.unknown
    users = np.array([unknown if q.user is None else q.user for q in questions])[who]
    columns: dict[str, Any] = {
        "score": np.array([line.score for line in found], np.float64),
        "similarity": np.array([line.similarity for line in found], np.float64),
    }
    if any(line.wish is not None for line in found):
        columns["wish"] = as_column([line.wish for line in found])
    frame = lines(model, users, items, columns)
    if any(question.user is not None for question in questions):
        known = {user: basis(model, user) for user in np.unique(users).tolist()}
        frame = frame.assign(basis=[known[user] for user in users.tolist()])
    return who, frame


def _tastes(model: FittedModel, questions: Sequence[Question]) -> list[Floats | None]:
    """Relevance of every item row to whoever asks, -inf for what was seen; None for nobody."""
    users = list(dict.fromkeys(q.user for q in questions if q.user is not None))
    if not users:
        return [None] * len(questions)
    tastes = relevance(model, np.array(users), np.arange(model.items.n_rows), True)
    return [None if q.user is None else tastes[users.index(q.user)] for q in questions]


def _answer(
    model: FittedModel,
    question: int,
    wishes: list[Wish],
    listing: Listing,
    allowed: Rows,
    taste: Floats | None,
) -> list[Line]:
    if taste is not None:
        allowed = allowed[np.isfinite(taste[allowed])]
    answers = [_ordered(model, wish, listing, allowed, taste) for wish in wishes]
    places = by_turns([rows.tolist() for rows, _ in answers], listing.n)
    names = [wish.text if len(wishes) > 1 else None for wish in wishes]
    return [
        Line(question, names[k], item, answers[k][1][item], wishes[k].near[item])
        for k, item in places
    ]


def wishes_in(model: FittedModel, texts: Sequence[str]) -> list[list[Wish]]:
    """Each question as one wish; as several if it is a list of which no item is similar to all."""
    parts = [_parts(text) for text in texts]
    read = iter(_wishes(model, [part for some in parts for part in some]))
    found = [[next(read) for _ in some] for some in parts]
    whole = [k for k, wishes in enumerate(found) if len(wishes) > 1 and not _apart(wishes)]
    for k, wish in zip(whole, _wishes(model, [texts[k] for k in whole]), strict=True):
        found[k] = [wish]
    return found


def _parts(text: str) -> list[str]:
    """What a list lists; the text itself, where it is none, or one too long.

    >>> _parts("a slow Danish or Russian art film")
    ['a slow Danish art film', 'slow Russian art film']
    >>> _parts("a film about whales or ancient Rome")
    ['a film about whales', 'ancient Rome']
    """
    if isinstance(text, str) and _LIST.search(text):
        parts = [part for part in _JOINS.split(text) if part.strip()]
        if len(parts) == 2 and (shared := _SHARED.match(text)):
            article, before, first, second, after = shared.groups()
            return [f"{article}{before}{first}{after}", f"{before}{second}{after}"]
        if 1 < len(parts) <= _MOST:
            return parts
    return [text]


def _apart(wishes: list[Wish]) -> bool:
    """Whether each has its own items, and no item is similar to all."""
    similar = np.array([wish.near >= wish.least for wish in wishes])
    return bool(similar.any(axis=1).all() and not similar.all(axis=0).any())


def _wishes(model: FittedModel, texts: Sequence[str]) -> list[Wish]:
    if not texts:
        return []
    near = to_texts(model, texts)
    bounds = least_similar(near[:, ~np.isnan(near).any(axis=0)])
    return [Wish(*each) for each in zip(texts, near, bounds.tolist(), strict=True)]


def _ordered(
    model: FittedModel, wish: Wish, listing: Listing, allowed: Rows, taste: Floats | None
) -> tuple[Rows, Floats]:
    """Rows that are similar, best first, and the score of every row."""
    near = wish.near[allowed]
    allowed = allowed[near >= wish.least]
    score = wish.near.copy()
    if taste is not None and len(allowed):
        best = float(score[allowed].max())
        nearest = allowed[score[allowed] >= best - listing.weight * (best - wish.least)]
        order = nearest[np.argsort(taste[nearest], kind="stable")]
        score[order] = 1 + np.arange(1, len(order) + 1) / len(order)
    rows = allowed[top_rows(score[allowed], listing.n * (_POOL if listing.diversity else 1))]
    if listing.diversity and len(rows):
        texts = text_vectors(model, rows)
        rows = rows[diversified(score[rows], texts, listing.n, listing.diversity)]
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
