"""Rankings: each user's list as arrays, made once and shared by all measures."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
import pandas as pd
from surprise import Prediction

from ..errors import DataError, sample
from ..runtime.arrays import Floats, Mask, Rows


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
