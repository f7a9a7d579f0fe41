"""Beyond accuracy: what the lists show of the catalogue, and whether all users are served alike.

All but :func:`group_gap` look at the first k items of each list. Give them the result of
:func:`~llmtokens.metrics.rank_all`: the lists of a plain list of predictions hold rated test items
only, and what those show was chosen by the user, not by the algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from surprise import Trainset

from ..data.ids import IdIndex
from ..errors import AlignmentError, DataError, sample
from ..runtime.arrays import Floats
from ..tokens import LLMTokens
from .lists import Predictions, Rankings, as_rankings

Result = float | pd.Series


def catalogue_coverage(predictions: Predictions, k: int = 10) -> float:
    """Share of the catalogue that stands in the first k places of at least one list.

    Parameters
    ----------
    predictions : iterable of Prediction, or Rankings
    k : int, default=10

    Raises
    ------
    DataError
        For no predictions, or k above the size of the catalogue or of the lists kept.

    References
    ----------
    Ge, Delgado-Battenfeld & Jannach, "Beyond accuracy", RecSys 2010.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("u", "a", 4.9), ("u", "b", 4.5), ("v", "a", 3.0)]
    >>> catalogue_coverage([Prediction(u, i, None, est, {}) for u, i, est in rows], k=1)
    0.5
    """
    return float(np.mean(_exposure(as_rankings(predictions), k) > 0))


def exposure_gini(predictions: Predictions, k: int = 10) -> float:
    """Gini coefficient of how often each item of the catalogue is recommended.

    0 if all are recommended equally often, towards 1 if a few take all places. Empty lists have no
    value. Parameters and errors are those of :func:`catalogue_coverage`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("u", "a", 4.9), ("u", "b", 4.5), ("v", "b", 3.0)]
    >>> exposure_gini([Prediction(u, i, None, est, {}) for u, i, est in rows], k=1)
    0.0
    """
    times = np.sort(_exposure(as_rankings(predictions), k))
    if not times.any():
        raise DataError(
            "found lists without an item; expected some: rank_all leaves out what a user rated in "
            "training"
        )
    n = len(times)
    return float(np.sum((2 * np.arange(1, n + 1) - n - 1) * times) / (n * times.sum()))


def novelty(
    predictions: Predictions, trainset: Trainset, k: int = 10, *, per_user: bool = False
) -> Result:
    """Mean self-information of the recommended items, in bits: how little known they are.

    An item's is -log2((n_i + 1) / (n_users + 1)), n_i being its training ratings: the chance that
    a user knows it, with one added so that a cold item has the most there is, and not infinity.

    Parameters
    ----------
    predictions : iterable of Prediction, or Rankings
    trainset : Trainset
        Where popularity is counted.
    k : int, default=10
    per_user : bool, default=False
        Return each user's value.

    Raises
    ------
    DataError
        As :func:`catalogue_coverage`.

    References
    ----------
    Zhou et al., "Solving the apparent diversity-accuracy dilemma", PNAS 2010.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> from surprise import Prediction
    >>> trainset = synthetic(n_users=31, n_items=80, n_ratings=1000).dataset.build_full_trainset()
    >>> novelty([Prediction("u", "an item that nobody rated", None, 4.9, {})], trainset, k=1)
    5.0
    """
    lists = as_rankings(predictions)
    share = (_popularity(lists, trainset) + 1) / (trainset.n_users + 1)
    return lists.result(_mean_of_top(lists, k, -np.log2(np.minimum(share, 1.0))), per_user)


def average_popularity(
    predictions: Predictions, trainset: Trainset, k: int = 10, *, per_user: bool = False
) -> Result:
    """Mean number of training ratings of the recommended items (ARP).

    Parameters and errors are those of :func:`novelty`.

    References
    ----------
    Yin et al., "Challenging the long tail recommendation", VLDB 2012.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> from surprise import Prediction
    >>> trainset = synthetic(n_users=31, n_items=80, n_ratings=1000).dataset.build_full_trainset()
    >>> average_popularity([Prediction("u", "nobody rated it", None, 4.9, {})], trainset, k=1)
    0.0
    """
    lists = as_rankings(predictions)
    return lists.result(_mean_of_top(lists, k, _popularity(lists, trainset)), per_user)


def popularity_lift(
    predictions: Predictions, trainset: Trainset, k: int = 10, *, per_user: bool = False
) -> Result:
    """How much more popular the recommended items are than those the user rated in training.

    Popularity of the list / popularity of the profile - 1, both as mean numbers of training
    ratings: 0 is unbiased, 1 is twice as popular. Users without training ratings have no value.
    Parameters and errors are those of :func:`novelty`.

    References
    ----------
    Abdollahpouri et al., "The connection between popularity bias, calibration, and fairness in
    recommendation", RecSys 2020.

    Examples
    --------
    >>> import pandas as pd
    >>> from surprise import Dataset, Prediction, Reader
    >>> ratings = pd.DataFrame([("ann", "a", 4), ("bob", "a", 3), ("cem", "b", 5)])
    >>> trainset = Dataset.load_from_df(ratings, Reader()).build_full_trainset()
    >>> popularity_lift([Prediction("cem", "a", None, 4.9, {})], trainset, k=1)
    1.0
    """
    lists = as_rankings(predictions)
    counts = np.array([len(trainset.ir[i]) for i in range(trainset.n_items)], np.float64)
    profile = np.full(len(lists.users), np.nan)
    inner = trainset._raw2inner_id_users
    for u, raw in enumerate(lists.users):
        if raw in inner:
            profile[u] = np.mean([counts[item] for item, _ in trainset.ur[inner[raw]]])
    shown = _mean_of_top(lists, k, _popularity(lists, trainset))
    return lists.result(shown / profile - 1, per_user)


def intra_list_diversity(
    predictions: Predictions, tokens: LLMTokens, k: int = 10, *, per_user: bool = False
) -> Result:
    """Mean of 1 - cosine over the pairs of recommended items, by their tokens: 0 to 2.

    Items without a token, or with one of length 0, are passed over; users with fewer than two
    others have no value.

    Parameters
    ----------
    predictions : iterable of Prediction, or Rankings
    tokens : LLMTokens
        Of the items.
    k : int, default=10
    per_user : bool, default=False
        Return each user's value.

    Raises
    ------
    AlignmentError
        If no item of the catalogue has a token.
    DataError
        As :func:`catalogue_coverage`; also if no user has a value.

    References
    ----------
    Ziegler et al., "Improving recommendation lists through topic diversification", WWW 2005.

    Examples
    --------
    >>> from llmtokens import LLMTokens
    >>> from surprise import Prediction
    >>> tokens = LLMTokens.from_embeddings(["a", "b", "c"], [[1.0, 0], [0, 1], [-1, -1]])
    >>> rows = [Prediction("u", "a", None, 4.9, {}), Prediction("u", "b", None, 4.5, {})]
    >>> round(intra_list_diversity(rows, tokens, k=2), 2)
    1.0
    """
    from scipy.sparse import csr_array

    lists = as_rankings(predictions)
    at = tokens.align(lists.items)
    if (at < 0).all():
        raise AlignmentError(
            f"no item of the lists has a token; the lists have {sample(lists.items)} and the "
            f"tokens have {sample(tokens.ids)}: build the tokens from the same item ids"
        )
    vectors = tokens.vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1)
    vectors = np.divide(vectors, length[:, None], out=vectors, where=length[:, None] > 0)
    row = at[lists.item]
    used = lists.top(k) & (row >= 0) & (length[row] > 0)
    n = lists.per_user(used)
    entries = (np.ones(int(used.sum())), (lists.user[used], row[used]))
    sums = csr_array(entries, shape=(len(lists.users), len(vectors))) @ vectors
    # |sum of unit vectors|^2 is n for each with itself, and every pair's cosine twice.
    cosines = (np.einsum("ud,ud->u", sums, sums) - n) / 2
    pairs = n * (n - 1) / 2
    values = 1 - np.divide(cosines, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)
    return lists.result(values, per_user)


def _exposure(lists: Rankings, k: int) -> Floats:
    """In how many lists each item stands, shape (n_items,)."""
    return np.bincount(lists.item[lists.top(k)], minlength=len(lists.items)).astype(np.float64)


def _mean_of_top(lists: Rankings, k: int, values: Floats) -> Floats:
    """Each user's mean over the recommended items, NaN for an empty list."""
    top = lists.top(k)
    total, n = lists.per_user(top, values[lists.item]), lists.per_user(top)
    return np.divide(total, n, out=np.full_like(total, np.nan), where=n > 0)


def _popularity(lists: Rankings, trainset: Trainset) -> Floats:
    """Training ratings of each item of the catalogue, 0 where it is not in the trainset."""
    inner: dict[Hashable, int] = trainset._raw2inner_id_items
    return np.array(
        [len(trainset.ir[inner[raw]]) if raw in inner else 0 for raw in lists.items], np.float64
    )


# -- fairness ----------------------------------------------------------------------------------


def group_gap(
    predictions: Any,
    groups: Mapping[Hashable, Any] | pd.Series,
    measure: Callable[..., Any],
    *,
    per_group: bool = False,
    **arguments: Any,
) -> float | pd.DataFrame:
    """The difference between the best and the worst served group of users.

    Parameters
    ----------
    predictions : iterable of Prediction, or Rankings
        Whatever ``measure`` takes.
    groups : mapping or Series, user -> group
        Say, gender, or ``pd.qcut(users.groupby("user").size(), 4)``: user activity. Ids match
        exactly, or else through ``str(id)``.
    measure : callable
        Any measure of :mod:`llmtokens.metrics` that takes ``per_user=True``.
    per_group : bool, default=False
        Return the table instead of its range.
    **arguments
        For ``measure``: k, relevant, trainset, and the like.

    Returns
    -------
    float or DataFrame indexed by group
        Largest minus smallest of the groups' means over users; or the table with ``users`` (those
        with a value), ``mean``, and ``difference`` from the mean of all users.

    Raises
    ------
    DataError
        If ``measure`` has no value for each user, ``groups`` are no mapping, a user has no group or
        a missing one, there are fewer than two groups, or nobody in a group has a value.

    Examples
    --------
    >>> from llmtokens.metrics import mae
    >>> from surprise import Prediction
    >>> rows = [Prediction("ann", "a", 5, 4, {}), Prediction("bob", "a", 1, 4, {})]
    >>> group_gap(rows, {"ann": "f", "bob": "m"}, mae)
    2.0
    >>> group_gap(rows, {"ann": "f", "bob": "m"}, mae, per_group=True)["difference"].to_dict()
    {'f': -1.0, 'm': 1.0}
    """
    try:
        values = measure(predictions, per_user=True, **arguments)
        if not isinstance(values, pd.Series):
            raise TypeError(f"it gave a {type(values).__name__}")
    except TypeError as error:
        raise DataError(
            f"the measure cannot be taken user by user ({error}); expected one that takes "
            "per_user=True, such as rmse or ndcg_at_k, and the arguments it needs"
        ) from error
    labels = _labels(groups, list(values.index))
    by_group = values.reset_index(drop=True).groupby(labels, observed=True)
    table = pd.DataFrame({"users": by_group.count(), "mean": by_group.mean()})
    table.index.name = "group"
    if len(table) < 2:
        raise DataError(f"found one group, {table.index[0]!r}; expected at least two to compare")
    unserved = table.index[table["users"] == 0]
    if len(unserved):
        raise DataError(
            f"found no user with a value in the groups {sample(unserved)}; join them with others "
            "or take another measure"
        )
    table["difference"] = table["mean"] - values.mean()
    return table if per_group else float(table["mean"].max() - table["mean"].min())


def _labels(groups: Mapping[Hashable, Any] | pd.Series, users: list[Hashable]) -> pd.Series:
    if not isinstance(groups, (pd.Series, Mapping)):
        raise DataError(
            f"found groups of type {type(groups).__name__}; expected a mapping or a Series from "
            "user to group: of a frame take a column, as frame.set_index('user')['gender']"
        )
    series = groups if isinstance(groups, pd.Series) else pd.Series(groups, dtype=object)
    if not series.index.is_unique:
        twice = sample(series.index[series.index.duplicated()].unique())
        raise DataError(f"found users with more than one group: {twice}; expected one each")
    rows = IdIndex(series.index.tolist()).rows(users)
    labels = series.reset_index(drop=True).reindex(rows).reset_index(drop=True)
    missing = labels.isna().to_numpy()
    if missing.any():
        who = sample(user for user, gone in zip(users, missing.tolist(), strict=True) if gone)
        raise DataError(
            f"found {int(missing.sum())} of {len(users)} users without a group: {who}; give them "
            "one, as with groups.fillna('unknown'), or take their predictions out"
        )
    return labels
