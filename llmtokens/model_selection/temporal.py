"""Splits in time, and the data once more in order of time, predicted before it is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from surprise import Dataset

from ..algorithms.base import TokenAlgoBase
from ..data.times import seconds
from ..data.timestamps import untimed
from ..errors import DataError
from ..metrics import Rankings, ndcg_at_k, rank_all, recall_at_k
from ..runtime.arrays import Floats, Mask
from .split import SIDES, Split, require_at_least, sorted_codes


class TimeSplit(Split):
    """Train on all ratings before a moment, test on those between it and the next moment.

    The ratings in order of time are cut into ``n_splits + 1`` parts of about equal size; fold k
    trains on the first k parts and tests on the next. Ratings of one moment are never divided:
    every training rating is strictly older than every rating it is tested on.

    Parameters
    ----------
    n_splits : int, default=5
        At least 1.

    Notes
    -----
    The ratings need timestamps, as numbers or as text that reads as one. ``raw_ratings`` of
    :mod:`llmtokens.datasets` keep them; ``Dataset.load_from_df`` drops them.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> [(trainset.n_ratings, len(testset)) for trainset, testset in TimeSplit(3).split(data)]
    [(250, 250), (500, 250), (750, 250)]
    """

    least_splits = 1

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        time = timestamps(raw)
        cuts = np.sort(time)[np.arange(1, self.n_splits + 1) * len(time) // (self.n_splits + 1)]
        return [
            (time < start, (time >= start) & (time < end))
            for start, end in pairwise([*cuts.tolist(), np.inf])
        ]

    def _why_empty(self, name: str) -> str:
        return "too many ratings share one timestamp, and those are never divided; lower n_splits"


class ColdItemTimeSplit(TimeSplit):
    """As :class:`TimeSplit`, but tested only on the items nobody had rated before the cut.

    An item is new to a fold if its first rating is not older than the fold's cut; the test set is
    the ratings of new items up to the next cut. This is how cold items come in life, where
    :class:`ColdItemKFold` holds out old ones as well.

    Parameters
    ----------
    n_splits : int, default=5
        At least 1.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> trainset, testset = next(ColdItemTimeSplit(n_splits=1).split(data))
    >>> known = {trainset.to_raw_iid(inner) for inner in trainset.all_items()}
    >>> known & {item for _, item, _ in testset}
    set()
    """

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        masks = super()._masks(raw)
        item, n_items = sorted_codes(raw, SIDES.index("item"))
        known = [np.bincount(item[train], minlength=n_items) > 0 for train, _ in masks]
        return [(train, test & ~old[item]) for (train, test), old in zip(masks, known, strict=True)]

    def _why_empty(self, name: str) -> str:
        return f"no item is new in it, or {super()._why_empty(name)}"


class NextItemSplit(Split):
    """Train on all but the last rating of each user, test on the last: what comes next?

    With ``n_splits`` above 1, the last fold is that one, the fold before it trains on one rating of
    each user less and tests on the next, and so on. Users with too few ratings for a fold, which
    must leave one to train on, keep all of them in training.

    Other users' later ratings are in training: this protocol has the most users, and knows more
    than a recommender does at that moment. :class:`GlobalTimeSplit` does not.

    Parameters
    ----------
    n_splits : int, default=1
        At least 1.

    Notes
    -----
    The ratings need timestamps, as in :class:`TimeSplit`. Ratings of one user at one moment are in
    the order of the data.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> trainset, testset = next(NextItemSplit().split(data))
    >>> trainset.n_ratings, len(testset), len({user for user, _, _ in testset})
    (950, 50, 50)
    """

    least_splits = 1

    def __init__(self, n_splits: int = 1) -> None:
        super().__init__(n_splits)

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        user, _ = sorted_codes(raw, SIDES.index("user"))
        order = np.lexsort((timestamps(raw), user))
        ends = np.cumsum(np.bincount(user))
        from_end = np.empty(len(raw), np.int64)
        from_end[order] = ends[user[order]] - 1 - np.arange(len(raw))
        counts = np.bincount(user)[user]
        masks = []
        for back in range(self.n_splits - 1, -1, -1):
            able = counts > back + 1
            masks.append(((from_end > back) | ~able, (from_end == back) & able))
        return masks

    def _why_empty(self, name: str) -> str:
        return "no user has that many ratings; lower n_splits"


class GlobalTimeSplit(Split):
    """Train on all ratings before one moment, test on the next one of each user known by then.

    :class:`TimeSplit` tests on everything that comes after its cuts, by whomever; here a user has
    one test rating, the first after the cut of an item not rated before it.

    Parameters
    ----------
    share : float, default=0.2
        Of all ratings, how many are after the cut; above 0, below 1.

    Notes
    -----
    The ratings need timestamps, as in :class:`TimeSplit`; those of one moment are never divided.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> trainset, testset = next(GlobalTimeSplit(share=0.3).split(data))
    >>> trainset.n_ratings, len(testset)
    (700, 3)
    """

    least_splits = 1

    def __init__(self, share: float = 0.2) -> None:
        super().__init__(1)
        self.share = share

    def __repr__(self) -> str:
        return f"{type(self).__name__}(share={self.share!r})"

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        if not (isinstance(self.share, (int, float)) and 0 < self.share < 1):
            raise DataError(f"found share={self.share!r}; expected a number between 0 and 1")
        time = timestamps(raw)
        cut = np.sort(time)[min(len(time) - 1, round((1 - self.share) * len(time)))]
        train = time < cut
        user, n_users = sorted_codes(raw, SIDES.index("user"))
        item, n_items = sorted_codes(raw, SIDES.index("item"))
        pair = user * n_items + item
        known = np.bincount(user[train], minlength=n_users) > 0
        later = np.flatnonzero(~train & known[user] & ~np.isin(pair, pair[train]))
        later = later[np.argsort(time[later], kind="stable")]
        _, first = np.unique(user[later], return_index=True)
        test = np.zeros(len(raw), bool)
        test[later[first]] = True
        return [(train, test)]

    def _why_empty(self, name: str) -> str:
        if name == "train":
            return "too many ratings share the first timestamp, and those are never divided"
        return "nobody rated something new both before and after the cut; change share"


def timestamps(raw: Sequence[tuple[Any, ...]]) -> Floats:
    """The times of ratings, which all must have one."""
    time = seconds([row[3] for row in raw])  # Surprise reads them from files as text
    absent = np.flatnonzero(~np.isfinite(time)).tolist()
    if len(absent) or not len(time):
        raise DataError(
            f"{untimed(len(absent), len(time), (tuple(raw[k][:2]) for k in absent))}; expected one "
            "for each: load the data with llmtokens.datasets and name their column, timestamp=... "
            "(Dataset.load_from_df drops them), and leave out ratings without"
        )
    return time


def replay(
    algo: TokenAlgoBase,
    data: Dataset,
    every: int = 1000,
    start: float = 0.5,
    measures: Mapping[str, Callable[[Rankings], Any]] | None = None,
) -> pd.DataFrame:
    """Prequential (online) evaluation: predict the next ratings, then learn them, and so on.

    ``algo`` is fitted on the first ratings in order of time. Then, block by block, it ranks the
    whole catalogue for the users who come, is measured by what they chose, and learns it by
    ``partial_fit`` (Gama, Sebastiao, Rodrigues 2013). A block's ratings all come after those it is
    ranked from.

    Parameters
    ----------
    algo : an algorithm of this library
        It is fitted here, and has learned all of the data in the end.
    data : surprise.Dataset
        With timestamps, as those of :mod:`llmtokens.datasets`.
    every : int, default=1000
        Ratings in a block; those of one moment are never divided.
    start : float, default=0.5
        Share of the ratings to fit on first.
    measures : mapping of str to callable, optional
        From :class:`~llmtokens.metrics.Rankings` to a number; by default ``NDCG@10`` and
        ``recall@10``, where all that was chosen is relevant, whatever its rating.

    Returns
    -------
    DataFrame
        One row a block: ``time`` (of its first rating), ``n_users`` and ``n_ratings`` that were
        ranked, and the measures. What a user had rated before is not ranked again; a block in which
        nothing is left has no row.

    Raises
    ------
    DataError
        For ratings without timestamps, or arguments out of range.
    NotFittedError
        If an algorithm of your own has a ``fit`` that learns nothing.

    Examples
    --------
    >>> from llmtokens import LLMTokensEASE
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> replay(LLMTokensEASE(l2=50.0), data, every=250)[["n_users", "n_ratings"]].values.tolist()
    [[14, 250], [14, 250]]
    """
    raw = getattr(data, "raw_ratings", None)
    if raw is None:
        raise DataError(
            f"found a {type(data).__name__} without raw_ratings; expected a Dataset with its folds "
            "still to make, such as those of llmtokens.datasets"
        )
    require_at_least("every", every, 1)
    if not (isinstance(start, (int, float)) and 0 < start < 1):
        raise DataError(f"found start={start!r}; expected a number between 0 and 1")
    if measures is None:
        measures = {
            "ndcg@10": partial(ndcg_at_k, k=10, relevant=-np.inf),
            "recall@10": partial(recall_at_k, k=10, relevant=-np.inf),
        }
    time = timestamps(raw)
    order = np.argsort(time, kind="stable")
    rows, time = itemgetter(*order.tolist())(raw), time[order]
    first = int(np.searchsorted(time, time[max(1, int(start * len(time)))], side="left"))
    if first == 0:
        raise DataError("all first ratings are of one moment; nothing comes before it: raise start")
    algo.fit(data.construct_trainset(list(rows[:first])))
    found = []
    while first < len(rows):
        end = int(np.searchsorted(time, time[min(first + every, len(time)) - 1], side="right"))
        block = rows[first:end]
        new = _unknown(algo, block)
        if new:
            lists = rank_all(algo, new, n=100)
            row: dict[str, Any] = {"time": time[first], "n_users": len(lists.users)}
            row["n_ratings"] = int(np.sum(~np.isnan(lists.rating)))
            found.append(row | {name: measure(lists) for name, measure in measures.items()})
        _learn(algo, block)
        first = end
    return pd.DataFrame(found)


def _unknown(algo: TokenAlgoBase, block: Any) -> list[tuple[Any, Any, float]]:
    """What of a block its users had not rated before."""
    ratings, row = algo.ratings_, algo.users_
    rated = {
        user: {ratings.item_ids[k] for k in ratings.of_user(row.row(user))[0].tolist()}
        for user in {line[0] for line in block}
    }
    return [tuple(line[:3]) for line in block if line[1] not in rated[line[0]]]


def _learn(algo: TokenAlgoBase, block: Any) -> None:
    columns = ["user", "item", "rating", "timestamp"]
    algo.partial_fit(pd.DataFrame([line[:4] for line in block], columns=columns))
