"""Each user's list as arrays, made once and shared by all measures: of the rated test items, or of
the whole catalogue, as a recommender must rank it, by any Surprise algorithm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from surprise import AlgoBase, Prediction, Trainset

from ..algorithms.base import TokenAlgoBase
from ..errors import DataError, NotFittedError, sample
from ..recommend.ranking import relevance
from ..runtime.arrays import Floats, Mask, Rows

_PAIRS = 1 << 16  # scored at once: bounds the memory, whatever the catalogue

_Scorer = Callable[[Sequence[Hashable]], Floats]
_Rated = Callable[[Hashable], list[Hashable]]


@dataclass(frozen=True, eq=False, repr=False)
class Rankings:
    """What each user's list holds, best first: the result of :func:`rank_rated` or `rank_all`.

    Attributes
    ----------
    users, items : list
        Raw ids: those with a list, and the catalogue.
    n_candidates : ndarray of int64, shape (n_users,)
        The length of each user's list.
    n_kept : int or None
        The lists are complete to this rank and hold only rated items below it; None if complete.
    user, item : ndarray of int64, shape (n,)
        Places in ``users`` and ``items``; sorted by user and rank.
    rating, score : ndarray of float64, shape (n,)
        The true rating, NaN where there is none, and what the list is sorted by.
    rank : ndarray of int64, shape (n,)
        Place in the user's list, from 1.
    mid_rank : ndarray of float64, shape (n,)
        The mean rank of all entries with this score.
    """

    users: list[Hashable]
    items: list[Hashable]
    n_candidates: Rows
    n_kept: int | None
    user: Rows
    item: Rows
    rating: Floats
    score: Floats
    rank: Rows
    mid_rank: Floats

    def __repr__(self) -> str:
        return f"Rankings({len(self.users)} users, {len(self.items)} items)"

    def to_frame(self) -> pd.DataFrame:
        """One row an entry: ``user item rating score rank``, users together, best first."""
        return pd.DataFrame(
            {
                "user": _take(self.users, self.user),
                "item": _take(self.items, self.item),
                "rating": self.rating,
                "score": self.score,
                "rank": self.rank,
            }
        )

    def top(self, k: int) -> Mask:
        """The entries that are recommended: the first ``k`` of each list, shape (n,).

        Raises
        ------
        DataError
            If ``k`` is above the number of items, or of entries kept.
        """
        self.check(k)
        if self.n_kept is not None and k > self.n_kept:
            raise DataError(
                f"found k={k}, but lists kept to rank {self.n_kept}; call rank_all with n={k}"
            )
        return self.rank <= k

    def check(self, k: int) -> None:
        """Raise unless ``k`` is a length that a list can have.

        Raises
        ------
        DataError
            If it is no integer from 1 to the number of items.
        """
        if not isinstance(k, Integral) or k < 1:
            raise DataError(f"found k={k!r}; expected an integer of at least 1")
        if k > len(self.items):
            raise DataError(
                f"found k={k} and a catalogue of {len(self.items)} items; expected k at most that"
            )

    def per_user(self, mask: Mask, weights: Floats | None = None) -> Floats:
        """The number of chosen entries of each user, or the sum of their weights."""
        chosen = None if weights is None else weights[mask]
        return np.bincount(self.user[mask], chosen, minlength=len(self.users)).astype(np.float64)

    def result(self, values: Floats, per_user: bool) -> float | pd.Series:
        """The users' values as a Series, or the mean of those that are not NaN.

        Raises
        ------
        DataError
            If there is no mean: all are NaN.
        """
        if per_user:
            return pd.Series(values, index=pd.Index(self.users, dtype=object, name="user"))
        if np.isnan(values).all():
            raise DataError("no user has a value for this measure: see which users it leaves out")
        return float(np.nanmean(values))


Predictions = Iterable[Prediction] | Rankings


def as_rankings(predictions: Predictions) -> Rankings:
    """Rankings as they are; predictions through :func:`rank_rated`."""
    return predictions if isinstance(predictions, Rankings) else rank_rated(predictions)


def rank_rated(predictions: Iterable[Prediction]) -> Rankings:
    """Rank each user's *predicted* items: with ``algo.test(testset)``, the rated test items only.

    For a ranking of the whole catalogue see :func:`rank_all`.

    Parameters
    ----------
    predictions : iterable of Prediction
        An ``r_ui`` of None means unrated.

    Raises
    ------
    DataError
        If there are none, or an estimate is NaN.

    Examples
    --------
    >>> from surprise import Prediction
    >>> lists = rank_rated([Prediction("u", "a", 2, 3.1, {}), Prediction("u", "b", 5, 4.4, {})])
    >>> lists.to_frame()[["item", "rating", "rank"]].values.tolist()
    [['b', 5.0, 1], ['a', 2.0, 2]]
    """
    uids, iids, truths, estimates = columns(predictions)
    users, user = codes(uids)
    items, item = codes(iids)
    place = np.empty(len(items), np.int64)
    place[fixed_shuffle(items)] = np.arange(len(items))
    pair = user * len(items) + item
    _, last = np.unique(pair[::-1], return_index=True)
    kept = len(pair) - 1 - last
    kept = kept[np.lexsort((place[item[kept]], -estimates[kept], user[kept]))]
    user, item, score = user[kept], item[kept], estimates[kept]
    n_candidates = np.bincount(user, minlength=len(users))
    starts = np.cumsum(n_candidates) - n_candidates
    rank = np.arange(len(user)) - starts[user] + 1
    mid_rank = _mid_rank(user, score, rank)
    return Rankings(
        users, items, n_candidates, None, user, item, truths[kept], score, rank, mid_rank
    )


class Columns(NamedTuple):
    """Predictions as columns: true ratings are NaN where None, estimates finite."""

    uids: tuple[Hashable, ...]
    iids: tuple[Hashable, ...]
    truth: Floats
    estimate: Floats


def columns(predictions: Iterable[Prediction]) -> Columns:
    """Predictions, checked."""
    predictions = list(predictions)
    if not predictions:
        raise DataError("found no predictions; expected the result of algo.test(testset)")
    try:
        uids, iids, truths, estimates, _ = zip(*predictions, strict=True)
        truth, estimate = np.array(truths, np.float64), np.array(estimates, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"found {sample(predictions[:1])}; expected Surprise Predictions "
            "(uid, iid, r_ui, est, details), as algo.test(testset) returns them"
        ) from error
    odd = np.flatnonzero(~np.isfinite(estimate))
    if len(odd):
        where = sample((uids[k], iids[k]) for k in odd[:6])
        raise DataError(
            f"found {len(odd)} estimates that are NaN or infinite, the first (user, item) being "
            f"{where}; see why the algorithm gives them"
        )
    return Columns(uids, iids, truth, estimate)


def codes(ids: Sequence[Hashable]) -> tuple[list[Hashable], Rows]:
    """The distinct ids in order of appearance, and each id's place among them."""
    distinct = list(dict.fromkeys(ids))
    place = {raw: k for k, raw in enumerate(distinct)}
    return distinct, np.fromiter(map(place.__getitem__, ids), np.int64, len(ids))


def fixed_shuffle(items: Sequence[Hashable]) -> Rows:
    """The order in which items with equal scores stand: by a hash of the id.

    The order of the data will not do: popular items tend to come first in it, and a model without
    an opinion would pass for a recommender of popular items.
    """
    hashes = [hashlib.blake2b(str(raw).encode(), digest_size=8).digest() for raw in items]
    return np.array(sorted(range(len(items)), key=hashes.__getitem__), np.int64)


def _mid_rank(user: Rows, score: Floats, rank: Rows) -> Floats:
    new = np.concatenate([[True], (np.diff(user) != 0) | (np.diff(score) != 0)])
    run = np.cumsum(new) - 1
    mid: Floats = (np.bincount(run, rank) / np.bincount(run))[run]
    return mid


def _take(ids: list[Hashable], places: Rows) -> pd.Series:
    return pd.Series([ids[k] for k in places.tolist()], dtype=object)


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
    every = np.arange(model.items.n_rows)

    def score(users: Sequence[Hashable]) -> Floats:
        return relevance(model, model.users.rows(users), every, False)[:, rows]

    return score
