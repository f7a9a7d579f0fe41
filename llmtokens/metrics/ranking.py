"""How well relevant items are ranked. Conventions: see :mod:`llmtokens.metrics`.

All take a list of ``Prediction`` (ranks the rated test items only) or the result of
:func:`~llmtokens.metrics.rank_all` (ranks the whole catalogue).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np
import pandas as pd

from ..errors import DataError
from ..runtime.arrays import Floats, Mask
from .lists import Predictions, Rankings, as_rankings

Result = float | pd.Series


@dataclass(frozen=True, eq=False)
class Relevance:
    """Which entries of the lists are relevant, and which of those stand in the first k places."""

    lists: Rankings
    relevant: Mask
    hit: Mask

    @classmethod
    def of(cls, predictions: Predictions, least: float, k: int | None) -> Relevance:
        if not isinstance(least, Real):
            raise DataError(f"found relevant={least!r}; expected the least rating of a liked item")
        lists = as_rankings(predictions)
        if k is not None:
            lists.check(k)
        relevant = lists.rating >= least
        if not relevant.any():
            known = lists.rating[~np.isnan(lists.rating)]
            if not len(known):
                raise DataError(
                    "found no true ratings in the lists; expected those of a testset that was held "
                    "out: rank_all leaves out what a user rated in training"
                )
            raise DataError(
                f"found true ratings from {known.min():g} to {known.max():g}; expected some of at "
                f"least relevant={least:g}: set relevant to what counts as liked on this scale"
            )
        return cls(lists, relevant, relevant if k is None else relevant & (lists.rank <= k))

    @cached_property
    def n_relevant(self) -> Floats:
        """Relevant items per user, NaN for none: NaN then runs through what is made of it."""
        count = self.lists.per_user(self.relevant)
        return np.where(count > 0, count, np.nan)

    @cached_property
    def hits(self) -> Floats:
        return self.lists.per_user(self.hit)

    def result(self, values: Floats, per_user: bool) -> float | pd.Series:
        return self.lists.result(np.where(np.isnan(self.n_relevant), np.nan, values), per_user)


def _at(k: int, predictions: Predictions, relevant: float) -> Relevance:
    """Lists that are cut at ``k``, which cannot be left out."""
    if k is None:
        raise DataError("found k=None; expected the length of the lists, such as 10")
    return Relevance.of(predictions, relevant, k)


def precision_at_k(
    predictions: Predictions, k: int = 10, *, relevant: float = 4.0, per_user: bool = False
) -> Result:
    """Share of the first k places that hold a relevant item: hits / k.

    Parameters
    ----------
    predictions : iterable of Prediction, or Rankings
        Rated test items only, or the whole catalogue: see :mod:`llmtokens.metrics`.
    k : int, default=10
        Length of the list; at most the size of the catalogue.
    relevant : float, default=4.0
        The least rating of a relevant item.
    per_user : bool, default=False
        Return each user's value, NaN without relevant items.

    Returns
    -------
    float or Series indexed by user

    Raises
    ------
    DataError
        For no predictions, k out of range, or if nobody has a relevant item.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 5, 4.9), ("b", 2, 4.5), ("c", 4, 3.0)]
    >>> precision_at_k([Prediction("u", i, r, est, {}) for i, r, est in rows], k=2)
    0.5
    """
    found = _at(k, predictions, relevant)
    return found.result(found.hits / k, per_user)


def recall_at_k(
    predictions: Predictions, k: int = 10, *, relevant: float = 4.0, per_user: bool = False
) -> Result:
    """Share of a user's relevant items that stand in the first k places: hits / relevant.

    Parameters, returns and errors are those of :func:`precision_at_k`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 5, 4.9), ("b", 2, 4.5), ("c", 4, 3.0)]
    >>> recall_at_k([Prediction("u", i, r, est, {}) for i, r, est in rows], k=1)
    0.5
    """
    found = _at(k, predictions, relevant)
    return found.result(found.hits / found.n_relevant, per_user)


def f1_at_k(
    predictions: Predictions, k: int = 10, *, relevant: float = 4.0, per_user: bool = False
) -> Result:
    """Harmonic mean of a user's precision and recall at k: 2 hits / (k + relevant).

    Parameters, returns and errors are those of :func:`precision_at_k`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 5, 4.9), ("b", 2, 4.5), ("c", 4, 3.0)]
    >>> f1_at_k([Prediction("u", i, r, est, {}) for i, r, est in rows], k=2)
    0.5
    """
    found = _at(k, predictions, relevant)
    return found.result(2 * found.hits / (k + found.n_relevant), per_user)


def hit_rate_at_k(
    predictions: Predictions, k: int = 10, *, relevant: float = 4.0, per_user: bool = False
) -> Result:
    """Share of users with a relevant item in the first k places.

    Parameters, returns and errors are those of :func:`precision_at_k`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 2, 4.9), ("b", 5, 4.5)]
    >>> hit_rate_at_k([Prediction("u", i, r, est, {}) for i, r, est in rows], k=1)
    0.0
    """
    found = _at(k, predictions, relevant)
    return found.result((found.hits > 0).astype(np.float64), per_user)


def map_at_k(
    predictions: Predictions,
    k: int | None = 10,
    *,
    relevant: float = 4.0,
    per_user: bool = False,
) -> Result:
    """Mean average precision: the precision at each hit, summed over the first k places.

    The sum is divided by min(k, relevant items), so that a perfect list has 1. With ``k=None``
    the whole list counts: scikit-learn's ``average_precision_score``, where no scores are equal.
    Other parameters, returns and errors are those of :func:`precision_at_k`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 5, 4.9), ("b", 2, 4.5), ("c", 4, 3.0)]
    >>> round(map_at_k([Prediction("u", i, r, est, {}) for i, r, est in rows], k=3), 4)  # 1, 2/3
    0.8333
    """
    found = Relevance.of(predictions, relevant, k)
    lists, nth = found.lists, np.cumsum(found.relevant)
    count = lists.per_user(found.relevant)
    before = np.cumsum(count) - count
    precision = (nth - before[lists.user]) / lists.rank
    most = found.n_relevant if k is None else np.minimum(found.n_relevant, k)
    return found.result(lists.per_user(found.hit, precision) / most, per_user)


def mrr(
    predictions: Predictions,
    k: int | None = None,
    *,
    relevant: float = 4.0,
    per_user: bool = False,
) -> Result:
    """Mean reciprocal rank: 1 / rank of a user's first relevant item, 0 if it is beyond k.

    With ``k=None``, the default, the whole list counts. Other parameters, returns and errors are
    those of :func:`precision_at_k`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 2, 4.9), ("b", 5, 4.5)]
    >>> mrr([Prediction("u", i, r, est, {}) for i, r, est in rows])
    0.5
    """
    found = Relevance.of(predictions, relevant, k)
    reciprocal = np.zeros(len(found.n_relevant))
    user, rank = found.lists.user[found.hit], found.lists.rank[found.hit]
    np.maximum.at(reciprocal, user, 1 / rank)
    return found.result(reciprocal, per_user)


def ndcg_at_k(
    predictions: Predictions,
    k: int | None = 10,
    *,
    relevant: float | None = 4.0,
    per_user: bool = False,
) -> Result:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen, ACM TOIS 2002).

    DCG = sum over the first k places of gain / log2(rank + 1), divided by the DCG of the best
    order there is. With ``k=None`` the whole list counts.

    Parameters
    ----------
    relevant : float or None, default=4.0
        An item's gain is 1 if it is rated at least this, else 0. With None its gain is the rating
        itself, 0 where unrated: the form of scikit-learn's ``ndcg_score``; ratings must not be
        negative then, and the users without a positive one are left out.

    Notes
    -----
    Other parameters, returns and errors are those of :func:`precision_at_k`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 2, 4.9), ("b", 5, 4.5)]
    >>> round(ndcg_at_k([Prediction("u", i, r, est, {}) for i, r, est in rows], k=2), 4)
    0.6309
    """
    if relevant is None:
        lists = as_rankings(predictions)
        gain = np.nan_to_num(lists.rating, nan=0.0)
        known = lists.rating[~np.isnan(lists.rating)]
        if len(known) and (known.min() < 0 or known.max() == 0):
            raise DataError(
                f"found ratings from {known.min():g} to {known.max():g}; a gain must not be below "
                "0, nor all of them 0: set relevant"
            )
        found = Relevance.of(lists, np.nextafter(0, 1), k)
    else:
        found = Relevance.of(predictions, relevant, k)
        lists, gain = found.lists, found.relevant.astype(np.float64)
    dcg = lists.per_user(found.hit, gain / np.log2(lists.rank + 1))
    best = np.lexsort((-gain, lists.user))
    at = np.arange(len(gain)) - np.searchsorted(lists.user, lists.user) + 1
    ideal = np.zeros_like(dcg)
    use = gain[best] > 0 if k is None else (gain[best] > 0) & (at <= k)
    np.add.at(ideal, lists.user[use], gain[best][use] / np.log2(at[use] + 1))
    return found.result(np.divide(dcg, ideal, out=np.zeros_like(dcg), where=ideal > 0), per_user)


def auc(predictions: Predictions, *, relevant: float = 4.0, per_user: bool = False) -> Result:
    """Chance that a relevant item outscores one that is not, equal scores counting half.

    The area under a user's ROC curve, by the sum of ranks (Mann & Whitney 1947): scikit-learn's
    ``roc_auc_score`` user by user. Users whose items are all relevant have no value either. Other
    parameters, returns and errors are those of :func:`precision_at_k`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("a", 5, 4.9), ("b", 2, 4.5), ("c", 4, 3.0)]
    >>> auc([Prediction("u", i, r, est, {}) for i, r, est in rows])
    0.5
    """
    found = Relevance.of(predictions, relevant, None)
    n_other = found.lists.n_candidates - found.n_relevant
    # The best that the relevant items' ranks can sum to is 1 + 2 + ... + n_relevant.
    passed = found.lists.per_user(found.relevant, found.lists.mid_rank)
    passed -= found.n_relevant * (found.n_relevant + 1) / 2
    pairs = found.n_relevant * n_other
    values = 1 - np.divide(passed, pairs, out=np.full_like(passed, np.nan), where=pairs > 0)
    return found.result(values, per_user)
