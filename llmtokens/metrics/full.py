"""Ranking the whole catalogue, as a recommender must, by any Surprise algorithm."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from surprise import AlgoBase, Trainset

from ..algorithms.base import TokenAlgoBase
from ..errors import DataError, NotFittedError, sample
from ..runtime.arrays import Floats, Rows
from .lists import Rankings, codes, fixed_shuffle

_PAIRS = 1 << 16  # scored at once: bounds the memory, whatever the catalogue

_Scorer = Callable[[Sequence[Hashable]], Floats]
_Rated = Callable[[Hashable], list[Hashable]]


def rank_all(
    algo: AlgoBase,
    testset: Iterable[tuple[Hashable, Hashable, float | None]],
    *,
    n: int = 100,
    items: Iterable[Hashable] | None = None,
) -> Rankings:
    """Rank the whole catalogue for each test user, but for what the user rated in training.

    Surprise's algorithms rank by their estimates, not clipped to the rating scale (clipping would
    make the best items equal); ours by the scores that ``recommend`` sorts by. A test rating of a
    pair that is in training too is left out.

    Parameters
    ----------
    algo : AlgoBase
        Any fitted Surprise algorithm. What one of ours was folded in, or loaded with, counts as
        training.
    testset : iterable of (user, item, rating)
        As a cv iterator gives it.
    n : int, default=100
        The first n entries of each list are kept, and all rated ones, with the rank they have in
        the whole list: measures are exact, for k up to n, in little memory.
    items : iterable of raw ids, optional
        The catalogue; by default all items with training ratings and those of the testset. For the
        ranking of cold items among themselves, pass those.

    Returns
    -------
    Rankings
        For the measures of :mod:`llmtokens.metrics`.

    Raises
    ------
    NotFittedError
        Before ``algo.fit``.
    DataError
        For an empty testset, one that holds something else or items that are not in ``items``,
        scores that are NaN, or n out of range.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> from llmtokens.metrics import ndcg_at_k, rank_all
    >>> from surprise import BaselineOnly
    >>> from surprise.model_selection import train_test_split
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> trainset, testset = train_test_split(data, random_state=0)
    >>> algo = BaselineOnly(verbose=False).fit(trainset)
    >>> lists = rank_all(algo, testset)
    >>> 0 < ndcg_at_k(lists, k=10) < ndcg_at_k(algo.test(testset), k=10)
    True
    """
    known, rated = _training(algo)
    if not isinstance(n, Integral) or n < 1:
        raise DataError(f"found n={n!r}; expected to keep at least one entry of each list")
    testset = list(testset)
    if not testset:
        raise DataError("found an empty testset; expected (user, item, rating) tuples")
    try:
        uids, iids, truths = zip(*testset, strict=True)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"found a testset of {sample(testset[:1])}; expected (user, item, rating) tuples"
        ) from error
    users, user = codes(uids)
    catalogue = _catalogue(known, iids, items)
    place = {raw: k for k, raw in enumerate(catalogue)}
    item = np.array([place[raw] for raw in iids], np.int64)
    truth = np.array(truths, np.float64)
    by_user = np.split(np.argsort(user, kind="stable"), np.cumsum(np.bincount(user))[:-1])
    score, n_users = _scorer(algo, catalogue), max(1, _PAIRS // len(catalogue))
    n_candidates = np.empty(len(users), np.int64)
    kept: list[tuple[NDArray[Any], ...]] = []
    for first in range(0, len(users), n_users):
        block = users[first : first + n_users]
        for u, own in enumerate(_checked(score(block), block, catalogue), start=first):
            rating = np.full(len(catalogue), np.nan)
            rating[item[by_user[u]]] = truth[by_user[u]]
            free = np.ones(len(catalogue), bool)
            free[[place[raw] for raw in rated(users[u]) if raw in place]] = False
            candidates = np.flatnonzero(free)
            n_candidates[u] = len(candidates)
            kept.append(_rank(u, candidates, own[candidates], rating[candidates], n))
    columns = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return Rankings(users, catalogue, n_candidates, n, *columns)


def _rank(
    u: int,
    candidates: Rows,
    score: Floats,
    rating: Floats,
    n: int,
) -> tuple[NDArray[Any], ...]:
    """One user's entries to keep: user, item, rating, score, rank, mid_rank."""
    order = np.argsort(-score, kind="stable")  # the catalogue is in the order of ties
    kept = np.flatnonzero((np.arange(len(order)) < n) | ~np.isnan(rating[order]))
    falling = -score[order]
    above = np.searchsorted(falling, falling[kept], side="left")
    to = np.searchsorted(falling, falling[kept], side="right")
    chosen = order[kept]
    user = np.full(len(kept), u)
    return user, candidates[chosen], rating[chosen], score[chosen], kept + 1, (above + to + 1) / 2


def _training(algo: AlgoBase) -> tuple[list[Hashable], _Rated]:
    """The items with training ratings, and what each user rated, as raw ids."""
    if isinstance(algo, TokenAlgoBase) and hasattr(algo, "ratings_"):
        ratings = algo.ratings_  # the trainset knows nothing of fold_in, and a file has none
        row = {raw: u for u, raw in enumerate(ratings.user_ids)}

        def rated(user: Hashable) -> list[Hashable]:
            items, _, _ = ratings.of_user(row.get(user, ratings.n_users))
            return [ratings.item_ids[item] for item in items.tolist()]

        return ratings.item_ids, rated
    trainset = getattr(algo, "trainset", None)
    if trainset is None:
        raise NotFittedError(f"this {type(algo).__name__} is not fitted yet; call fit first")
    known = [trainset.to_raw_iid(inner) for inner in trainset.all_items()]
    return known, partial(_rated, trainset)


def _catalogue(
    known: Iterable[Hashable], test_items: Iterable[Hashable], items: Iterable[Hashable] | None
) -> list[Hashable]:
    """Distinct raw ids in the order of ties."""
    if items is None:
        distinct = dict.fromkeys(known) | dict.fromkeys(test_items)
    else:
        distinct = dict.fromkeys(items)
        absent = [raw for raw in dict.fromkeys(test_items) if raw not in distinct]
        if absent:
            raise DataError(
                f"found {len(absent)} items of the testset that are not in items, such as "
                f"{sample(absent, 3)}; items has {sample(distinct, 3)}: add them, with the ids' "
                "own type, or take their ratings out of the testset"
            )
    ids = list(distinct)
    return [ids[k] for k in fixed_shuffle(ids).tolist()]


def _rated(trainset: Trainset, raw_user: Hashable) -> list[Hashable]:
    try:
        inner = trainset.to_inner_uid(raw_user)
    except ValueError:
        return []
    return [trainset.to_raw_iid(item) for item, _ in trainset.ur[inner]]


def _checked(scores: Floats, users: Sequence[Hashable], items: Sequence[Hashable]) -> Floats:
    scores = scores.reshape(len(users), len(items))
    odd = np.argwhere(~np.isfinite(scores))
    if len(odd):
        where = sample((users[u], items[i]) for u, i in odd[:6].tolist())
        raise DataError(
            f"found {len(odd)} scores that are NaN or infinite, the first (user, item) being "
            f"{where}; see why the algorithm gives them"
        )
    return scores


def _scorer(algo: AlgoBase, items: list[Hashable]) -> _Scorer:
    """The quickest way to unclipped scores of users for all items, one user after the other."""
    if isinstance(algo, TokenAlgoBase):
        return _row_scorer(algo, items)
    if type(algo).test is AlgoBase.test:  # a loop over predict: so is this, but unclipped
        return lambda users: np.array(
            [algo.predict(user, item, clip=False).est for user in users for item in items]
        )
    return lambda users: np.array(
        [p.est for p in algo.test([(user, item, None) for user in users for item in items])]
    )


def _row_scorer(algo: TokenAlgoBase, items: list[Hashable]) -> _Scorer:
    model = algo.model_
    rows = model.items.rows(items)

    def score(users: Sequence[Hashable]) -> Floats:
        scores = np.asarray(model.rank_scores(model.users.rows(users)), np.float64)[:, rows]
        return np.where(np.isnan(scores), model.ratings.global_mean, scores)

    return score
