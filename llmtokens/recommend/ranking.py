"""Lists of items: block by block of users, so that memory does not grow with their number."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import as_column
from ..errors import DataError, LLMTokensWarning, sample
from ..tokens.reducer import unit_rows
from .arguments import require_finite, require_length, require_share

if TYPE_CHECKING:
    from .methods import Serving

Lists = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]

CELLS = 1 << 21  # scores held at once: 16 MB
_LIKED = 10.0  # ratings of average value that every item is given when "liked in general" is asked
_POOL = 20  # times n: how deep diversity may reach


@dataclass(frozen=True)
class Wish:
    """What a list should be like; see :meth:`Serving.recommend` for the fields."""

    n: int = 10
    exclude_seen: bool = True
    diversity: float = 0.0
    popularity_penalty: float = 0.0

    def check(self, algo: Serving) -> None:
        """Raise DataError for values out of range."""
        require_length(self.n)
        require_share("diversity", self.diversity)
        require_finite("popularity_penalty", self.popularity_penalty)
        if self.diversity and not algo.items_.tokens.shape[1]:
            raise DataError(
                "diversity is measured on tokens, and this algorithm has none: fit with item_tokens"
            )


def top_rows(scores: NDArray[np.floating], n: int) -> NDArray[np.int64]:
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
) -> NDArray[np.int64]:
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


def popularity(algo: Serving) -> NDArray[np.float64]:
    """``log(1 + number of ratings)`` of every item row, at mean 0 and standard deviation 1."""
    counts = np.zeros(algo.items_.n_rows - 1)
    counts[: algo.ratings_.n_items] = algo.ratings_.item_counts
    out: NDArray[np.float64] = np.append(standardised(np.log1p(counts)), 0.0)
    return out


def liked_in_general(algo: Serving) -> NDArray[np.float64]:
    """Damped mean rating of every item row: what is left to say where nothing is known."""
    ratings, mean = algo.ratings_, algo.ratings_.global_mean
    sums = np.bincount(ratings.item, ratings.value - mean, minlength=algo.items_.n_rows)
    counts = np.bincount(ratings.item, minlength=algo.items_.n_rows)
    return mean + sums / (counts + _LIKED)


def candidate_rows(algo: Serving, candidates: Iterable[Hashable] | None) -> NDArray[np.int64]:
    """Ascending item rows that may be listed."""
    entities = algo.items_
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
            stacklevel=4,
        )
    return np.unique(rows[rows != entities.unknown])


def relevance(
    algo: Serving, users: NDArray[np.int64], items: NDArray[np.int64], exclude_seen: bool
) -> NDArray[np.float64]:
    """What lists are sorted by, shape (n_users, n_items); -inf for what was seen."""
    scores = np.array(algo._rank_scores(users), np.float64)
    unknown = np.isnan(scores)
    if unknown.any():
        scores = np.where(unknown, liked_in_general(algo), scores)
    if exclude_seen:
        for k, user in enumerate(users):
            scores[k, algo.ratings_.of_user(int(user))[0]] = -np.inf
    return scores if len(items) == scores.shape[1] else scores[:, items]


def lists(algo: Serving, users: NDArray[np.int64], items: NDArray[np.int64], wish: Wish) -> Lists:
    """For a few users: position of the user, item row and score of every line, best first."""
    scores = relevance(algo, users, items, wish.exclude_seen)
    if wish.popularity_penalty:
        common = popularity(algo)[items]
        for mine in scores:
            finite = mine[np.isfinite(mine)]
            mine -= wish.popularity_penalty * (finite.std() if len(finite) else 0.0) * common
    who, what, score = [], [], []
    for k, mine in enumerate(scores):
        best = top_rows(mine, wish.n * _POOL if wish.diversity else wish.n)
        if wish.diversity and len(best):
            tokens = algo.items_.tokens[items[best]]
            best = best[diversified(mine[best], tokens, wish.n, wish.diversity)]
        who.append(np.full(len(best), k))
        what.append(items[best])
        score.append(mine[best])
    return np.concatenate(who), np.concatenate(what), np.concatenate(score)


def lines(
    algo: Serving,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    scores: dict[str, NDArray[Any]],
) -> pd.DataFrame:
    """Pairs of rows as people read them: item, label, scores, est, std."""
    raw = [algo.items_.ids[row] for row in items]
    est, extra, _ = algo._estimates(users, items, True)
    columns: dict[str, Any] = {"item": as_column(raw)}
    names = labels(algo, raw)
    if names is not None:
        columns["label"] = as_column(names)
    columns |= scores | {"est": est}
    if "std" in extra:
        columns["std"] = extra["std"]
    return pd.DataFrame(columns)


def labels(algo: Serving, raw_items: list[Hashable]) -> list[str] | None:
    """What people call the items; None where the tokens carry no labels."""
    tokens = algo.item_tokens
    if tokens is None or tokens.labels is None:
        return None
    rows = tokens.align(raw_items)
    return [
        (row >= 0 and tokens.labels[row]) or str(raw)
        for raw, row in zip(raw_items, rows, strict=True)
    ]


def basis(algo: Serving, user: int) -> str:
    """How a row of users is known: by "ratings", by "text", or not at all: "popular"."""
    if user < algo.users_.n_warm:
        return "ratings"
    return "text" if algo.users_.has_token[user] else "popular"
