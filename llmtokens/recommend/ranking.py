"""Lists of items: block by block of users, so that memory does not grow with their number, and on
as many workers as joblib has."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import as_column
from ..errors import DataError, LLMTokensWarning, sample
from ..runtime.arguments import require_finite, require_jobs, require_length, require_share
from ..runtime.arrays import Floats, Rows, unit_rows
from ..runtime.threads import Shared, one_blas_thread
from .interface import FittedModel
from .where import Where, fitting

Lists = tuple[Rows, Rows, Floats]

CELLS = 1 << 21  # scores held at once: 16 MB
_LIKED = 10.0  # ratings of average value that every item is given when "liked in general" is asked
_POOL = 20  # times n: how deep diversity may reach
_TASKS = 4  # a worker, so that none waits long for the slowest


@dataclass(frozen=True)
class Wish:
    """What a list should be like; see :meth:`Serving.recommend` for the fields."""

    n: int = 10
    exclude_seen: bool | str | Sequence[str] = True
    diversity: float = 0.0
    popularity_penalty: float = 0.0

    def check(self, model: FittedModel) -> None:
        """Raise DataError for values out of range."""
        require_length(self.n)
        require_share("diversity", self.diversity)
        require_finite("popularity_penalty", self.popularity_penalty)
        model.ratings.require_kinds(self.exclude_seen)
        if self.diversity and not model.items.tokens.shape[1]:
            raise DataError(
                "diversity is measured on tokens, and this algorithm has none: fit with item_tokens"
            )


def top_rows(scores: NDArray[np.floating], n: int) -> Rows:
    """Positions of the ``n`` highest finite scores, best first, the lower position where equal.

    >>> top_rows(np.array([1.0, 3.0, -np.inf, 3.0, 2.0]), 3).tolist()
    [1, 3, 4]
    """
    if n < len(scores):
        least = np.partition(scores, len(scores) - n)[len(scores) - n]
        found = np.flatnonzero(scores >= least)
    else:
        found = np.arange(len(scores))
    found = found[np.argsort(-scores[found], kind="stable")[:n]]
    return found[np.isfinite(scores[found])].astype(np.int64)


def diversified(
    relevance: NDArray[np.floating], tokens: NDArray[np.floating], n: int, diversity: float
) -> Rows:
    r"""Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998), greedily.

    .. math:: \arg\max_i \; (1 - d)\, s_i - d \max_{j\ chosen} \cos(t_i, t_j)

    with the relevance ``s`` of the candidates brought to 0..1. An item without a token is like
    none.

    Parameters
    ----------
    relevance : ndarray of shape (m,)
    tokens : ndarray of shape (m, d)
    """
    spread = float(np.ptp(relevance))
    scaled = (1 - diversity) * (relevance - relevance.min()) / (spread if spread > 0 else 1.0)
    unit = unit_rows(tokens)
    nearest = np.full(len(relevance), -1.0)
    chosen: list[int] = []
    for _ in range(min(n, len(relevance))):
        gain = scaled - (diversity * nearest if chosen else 0.0)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        nearest = np.maximum(nearest, unit @ unit[chosen[-1]])
    return np.array(chosen, np.int64)


def standardised(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """At mean 0 and standard deviation 1 (all 0 where there is none)."""
    std = float(x.std())
    return (x - x.mean()) / (std if std > 1e-12 else 1.0)


def popularity(model: FittedModel) -> Floats:
    """``log(1 + number of ratings)`` of every item row, at mean 0 and standard deviation 1."""
    counts = np.zeros(model.items.n_rows - 1)
    counts[: model.ratings.n_items] = model.ratings.item_counts
    out: Floats = np.append(standardised(np.log1p(counts)), 0.0)
    return out


def liked_in_general(model: FittedModel) -> Floats:
    """Damped mean rating of every item row: what is left to say where nothing is known."""
    ratings, mean = model.ratings, model.ratings.global_mean
    sums = np.bincount(ratings.item, ratings.value - mean, minlength=model.items.n_rows)
    counts = np.bincount(ratings.item, minlength=model.items.n_rows)
    return mean + sums / (counts + _LIKED)


def candidate_rows(
    model: FittedModel, candidates: Iterable[Hashable] | None, where: Where | None = None
) -> Rows:
    """Ascending item rows that may be listed."""
    if where is None:
        return _named(model, candidates)
    rows = fitting(model, where)
    return rows if candidates is None else np.intersect1d(rows, _named(model, candidates))


def _named(model: FittedModel, candidates: Iterable[Hashable] | None) -> Rows:
    entities = model.items
    if candidates is None:
        return np.arange(entities.unknown)
    try:
        wanted = list(candidates)
    except TypeError as error:
        raise DataError(f"found candidates={candidates!r}; expected several raw ids") from error
    if not wanted:
        raise DataError("found no candidates; expected some items, or None for all there are")
    rows = entities.rows(wanted)
    unknown = [raw for raw, row in zip(wanted, rows, strict=True) if row == entities.unknown]
    if len(unknown) == len(wanted):
        raise DataError(
            f"none of the {len(wanted)} candidates is known, the first being {sample(unknown)}; "
            "expected ids with ratings or a token"
        )
    if unknown:
        warnings.warn(
            f"{len(unknown)} of {len(wanted)} candidates are unknown and left out: "
            f"{sample(unknown)}",
            LLMTokensWarning,
            stacklevel=5,
        )
    return np.unique(rows[rows != entities.unknown])


def relevance(
    model: FittedModel, users: Rows, items: Rows, exclude_seen: bool | str | Sequence[str]
) -> Floats:
    """What lists are sorted by, shape (n_users, n_items); -inf for what was seen.

    For users of whom nothing is known it is the number of ratings; where these are equal, what the
    model says of such users decides.
    """
    scores = np.array(model.list_scores(users), np.float64)
    unknown = np.isnan(scores)
    if unknown.any():
        scores = np.where(unknown, liked_in_general(model), scores)
    for k, user in enumerate(users.tolist()):
        if basis(model, user) == "popular":
            scores[k] = _by_count(model, scores[k])
        else:
            scores[k, model.ratings.seen(user, exclude_seen)] = -np.inf
    return scores if len(items) == scores.shape[1] else scores[:, items]


def _by_count(model: FittedModel, scores: Floats) -> Floats:
    """Numbers of ratings, and less than 1 by the order of the scores."""
    from scipy.stats import rankdata

    counts = np.zeros(len(scores))
    counts[: model.ratings.n_items] = model.ratings.item_counts
    out: Floats = counts + (rankdata(scores) - 1) / len(scores)
    return out


def lists(model: FittedModel, users: Rows, items: Rows, wish: Wish) -> Lists:
    """For a few users: position of the user, item row and score of every line, best first."""
    scores = relevance(model, users, items, wish.exclude_seen)
    if wish.popularity_penalty:
        common = popularity(model)[items]
        for mine in scores:
            finite = mine[np.isfinite(mine)]
            mine -= wish.popularity_penalty * (finite.std() if len(finite) else 0.0) * common
    who, what, score = [], [], []
    for k, mine in enumerate(scores):
        best = top_rows(mine, wish.n * _POOL if wish.diversity else wish.n)
        if wish.diversity and len(best):
            tokens = model.items.tokens[items[best]]
            best = best[diversified(mine[best], tokens, wish.n, wish.diversity)]
        who.append(np.full(len(best), k))
        what.append(items[best])
        score.append(mine[best])
    return np.concatenate(who), np.concatenate(what), np.concatenate(score)


def recommend(
    model: FittedModel,
    users: Rows,
    candidates: Iterable[Hashable] | None,
    wish: Wish,
    where: Where | None = None,
    n_jobs: int | None = 1,
    at: Any = None,
) -> tuple[Rows, pd.DataFrame]:
    """Lists for rows of users: the position of the user of each line, and the lines."""
    wish.check(model)
    require_jobs(n_jobs)
    items = candidate_rows(model, candidates, where)
    size = max(1, CELLS // model.items.n_rows)
    starts = range(0, len(users), size)
    blocks = _by_workers(model, [users[s : s + size] for s in starts], items, wish, n_jobs)
    who = np.concatenate([start + b[0] for start, b in zip(starts, blocks, strict=True)])
    what = np.concatenate([b[1] for b in blocks])
    score = np.concatenate([b[2] for b in blocks])
    return who, lines(model, users[who], what, {"score": score}, at)


def _by_workers(
    model: FittedModel,
    users: list[Rows],
    items: Rows,
    wish: Wish,
    n_jobs: int | None,
) -> list[Lists]:
    """Lists of every block of users, a few blocks a task."""
    shared = Shared(model)
    if len(users) == 1:
        return _blocks(shared, users, items, wish)
    from joblib import Parallel, delayed, effective_n_jobs

    n_tasks = min(len(users), effective_n_jobs(n_jobs) * _TASKS)
    cuts = [k * len(users) // n_tasks for k in range(n_tasks + 1)]
    work = (delayed(_blocks)(shared, users[a:b], items, wish) for a, b in pairwise(cuts))
    found = Parallel(n_jobs, prefer="threads", batch_size=1)(work)
    return [block for part in found for block in part]


def _blocks(
    model: Shared[FittedModel],
    users: list[Rows],
    items: Rows,
    wish: Wish,
) -> list[Lists]:
    with one_blas_thread():
        return [lists(model.value, block, items, wish) for block in users]


def lines(
    model: FittedModel,
    users: Rows,
    items: Rows,
    scores: dict[str, NDArray[Any]],
    at: Any = None,
) -> pd.DataFrame:
    """Pairs of rows as people read them: item, label, scores, est, std."""
    est, extra, _ = model.estimates(users, items, True, model.moments_of_rows(users, items, at))
    columns = scores | {"est": est}
    if "std" in extra:
        columns["std"] = extra["std"]
    return of_items(model, [model.items.ids[row] for row in items], columns)


def of_items(model: FittedModel, raw: list[Hashable], columns: dict[str, Any]) -> pd.DataFrame:
    """Items as people read them: item, label where the tokens carry some, and what is said."""
    names = labels(model, raw)
    shown = {} if names is None else {"label": as_column(names)}
    return pd.DataFrame({"item": as_column(raw)} | shown | columns)


def labels(model: FittedModel, raw_items: list[Hashable]) -> list[str] | None:
    """What people call the items; None where the tokens carry no labels."""
    tokens = model.item_tokens
    if tokens is None or tokens.labels is None:
        return None
    rows = tokens.align(raw_items)
    return [
        (row >= 0 and tokens.labels[row]) or str(raw)
        for raw, row in zip(raw_items, rows, strict=True)
    ]


def basis(model: FittedModel, user: int) -> str:
    """How a row of users is known: by "ratings", by "text", or not at all: "popular"."""
    if user < model.users.n_warm:
        return "ratings"
    reads = model.users.has_token[user] and model.reads_user_tokens
    return "text" if reads else "popular"
