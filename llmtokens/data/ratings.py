"""A Surprise ``Trainset`` as contiguous arrays.

Surprise keeps ratings in dictionaries of lists of tuples, and hands them out one by one through a
generator. Kernels want arrays; this is the one bridge between the two.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ..errors import DataError, LLMTokensWarning, sample
from ..runtime.arrays import Floats, Mask, Rows
from ..runtime.exact import exact_sum
from ..runtime.locks import cached_property
from .ids import IdIndex, is_missing

if TYPE_CHECKING:
    from surprise import Trainset


Rated = tuple[Rows, Floats, Floats]

LARGEST = 1e30  # beyond, squares overflow
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Ratings:
    """Ratings sorted by user, with inner ids, as arrays.

    Attributes
    ----------
    user, item : ndarray of int32, shape (n,)
        Inner ids, users ascending, a user's items in the order of the trainset: the order of
        ``Trainset.all_ratings``.
    value : ndarray of float64, shape (n,)
        The ratings, on the user's own scale.
    user_ptr : ndarray of int64, shape (n_users + 1,)
        The ratings of user ``u`` are ``[user_ptr[u]:user_ptr[u + 1]]``.
    scale : tuple of float
        Lowest and highest rating, as the reader of the data set states them.
    user_ids, item_ids : list
        Raw ids, by inner id.
    weight : ndarray of float64, shape (n,), or None
        How much a rating counts where old ones were told to count less; None: 1 each.
    events : dict of str to ndarray of bool, shape (n,)
        By kind of event, such as "view" or "buy", which ratings are of pairs that had one; empty
        where kinds are not known.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    value: Floats
    user_ptr: Rows
    scale: tuple[float, float]
    user_ids: list[Hashable]
    item_ids: list[Hashable]
    weight: Floats | None = None
    events: Mapping[str, Mask] = field(default_factory=dict)

    def knowing(self, **properties: Any) -> Ratings:
        """The same, with some of the properties that would be worked out when first asked for."""
        made = replace(self)
        vars(made).update(properties)
        return made

    @property
    def n(self) -> int:
        return len(self.value)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @cached_property
    def global_mean(self) -> float:
        return float(exact_sum(self.value) / self.n)

    @cached_property
    def deviation(self) -> Floats:
        """Ratings less their mean, 0 where they differ by rounding alone, shape (n,)."""
        return deviations(self.value, self.global_mean, float(np.abs(self.value).max()))

    @cached_property
    def user_counts(self) -> Rows:
        """Ratings per user, shape (n_users,)."""
        return np.diff(self.user_ptr)

    @cached_property
    def item_counts(self) -> Rows:
        """Ratings per item, shape (n_items,)."""
        return np.bincount(self.item, minlength=self.n_items).astype(np.int64)

    @cached_property
    def item_ptr(self) -> Rows:
        """The ratings of item ``i`` are ``by_item[item_ptr[i]:item_ptr[i + 1]]``."""
        return np.concatenate([[0], np.cumsum(self.item_counts)]).astype(np.int64)

    @cached_property
    def by_item(self) -> Rows:
        """Positions of the ratings in item order, users ascending, shape (n,)."""
        shape = (self.n_users, self.n_items)
        by_user = sparse.csr_array((np.arange(self.n), self.item, self.user_ptr), shape=shape)
        by_item: Rows = by_user.tocsc().data  # a sort by counting
        return by_item

    def stars(self, values: Floats) -> Floats:
        """Ratings as :func:`stars`, by the lowest and the highest of these."""
        return stars(values, float(self.value.min()), float(self.value.max()))

    def of_user(self, user: int) -> Rated:
        """Items, values and weights of a user's ratings; none for a row without."""
        if user >= self.n_users:
            return self._rated(self.item, slice(0, 0))
        return self._rated(self.item, slice(self.user_ptr[user], self.user_ptr[user + 1]))

    def of_item(self, item: int) -> Rated:
        """Users, values and weights of an item's ratings; none for a row without."""
        if item >= self.n_items:
            return self._rated(self.user, slice(0, 0))
        return self._rated(self.user, self.by_item[self.item_ptr[item] : self.item_ptr[item + 1]])

    def seen(self, user: int, kinds: bool | str | Sequence[str]) -> NDArray[np.int32]:
        """Items that a user has rated, those with events of some kinds, or none for False."""
        if user >= self.n_users:
            return self.item[:0]
        at = slice(self.user_ptr[user], self.user_ptr[user + 1])
        if isinstance(kinds, (bool, np.bool_)):
            return self.item[at] if kinds else self.item[:0]
        wanted = [kinds] if isinstance(kinds, str) else kinds
        return self.item[at][np.any([self.events[kind][at] for kind in wanted], axis=0)]

    def require_kinds(self, kinds: Any) -> None:
        """Raise DataError for what :meth:`seen` cannot leave out."""
        if isinstance(kinds, (bool, np.bool_)):
            return
        wanted = [kinds] if isinstance(kinds, str) else kinds
        several = isinstance(wanted, (list, tuple, set, frozenset))
        if several and wanted and all(kind in list(self.events) for kind in wanted):
            return
        found = f"found exclude_seen={kinds!r}; expected True, False"
        if not self.events:
            raise DataError(
                f"{found}: kinds of events are known to a model that was fitted on data from "
                "load_events"
            )
        raise DataError(f"{found}, or one or several of {sample(self.events)}")

    def only(self, users: Rows) -> Ratings:
        """The ratings of these users, who become the first, the second and so on."""
        counts = self.user_counts[users]
        ends = np.cumsum(counts)
        at = np.arange(counts.sum()) + np.repeat(self.user_ptr[users] - ends + counts, counts)
        return replace(
            self,
            user=np.repeat(np.arange(len(users), dtype=np.int32), counts),
            item=self.item[at],
            value=self.value[at],
            user_ptr=np.append(0, ends),
            user_ids=[self.user_ids[user] for user in users],
            weight=None if self.weight is None else self.weight[at],
            events={kind: had[at] for kind, had in self.events.items()},
        )

    def with_events(self, events: pd.DataFrame) -> Ratings:
        """The same, knowing of further events: a frame of raw ``user`` and ``item``, and ``event``.

        Those of pairs without a rating are left out.
        """
        user = IdIndex(self.user_ids).rows(events["user"].tolist())
        item = IdIndex(self.item_ids).rows(events["item"].tolist())
        known = (user >= 0) & (item >= 0)
        pair = np.where(known, user * self.n_items + item, -1)
        own = self.user.astype(np.int64) * self.n_items + self.item
        kinds, none = events["event"].astype(str).to_numpy(), np.zeros(self.n, bool)
        return replace(
            self,
            events=dict(self.events)
            | {
                kind: self.events.get(kind, none) | np.isin(own, pair[kinds == kind])
                for kind in dict.fromkeys(kinds.tolist())
            },
        )

    def _rated(self, others: NDArray[np.int32], at: Any) -> Rated:
        value = self.value[at]
        weight = np.ones(len(value)) if self.weight is None else self.weight[at]
        return others[at].astype(np.int64), value, weight

    def merged(
        self,
        user: Rows,
        item: Rows,
        value: Floats,
        weight: Floats,
        user_ids: list[Hashable],
        item_ids: list[Hashable],
    ) -> tuple[Ratings, Changes]:
        """With further ratings, each in place of an older one of the same pair; and what changed.

        ``user`` and ``item`` are inner ids in the longer lists ``user_ids`` and ``item_ids``.
        """
        n_items = len(item_ids)
        order = np.argsort(user, kind="stable")
        user, item, value, weight = user[order], item[order], value[order], weight[order]
        touched = np.zeros(len(user_ids), bool)
        touched[user] = True
        near = np.flatnonzero(touched[self.user])
        pair = self.user[near].astype(np.int64) * n_items + self.item[near]
        keep = np.ones(self.n, bool)
        gone = near[np.isin(pair, user * n_items + item)]
        keep[gone] = False
        own = np.ones(self.n) if self.weight is None else self.weight
        changes = Changes.between(
            (self.user[gone], self.item[gone], self.value[gone], own[gone]),
            (user, item, value, weight),
        )
        users = self.user[keep]
        at = np.searchsorted(users, user, side="right")
        users = np.insert(users, at, user)
        weights = None
        if self.weight is not None or np.any(weight != 1):
            weights = np.insert(own[keep], at, weight)
        ratings = Ratings(
            user=users,
            item=np.insert(self.item[keep], at, item),
            value=np.insert(self.value[keep], at, value),
            user_ptr=np.concatenate(
                [[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))]
            ).astype(np.int64),
            scale=self.scale,
            user_ids=user_ids,
            item_ids=item_ids,
            weight=weights,
            events={
                kind: np.insert(had[keep], at, np.isin(user * n_items + item, pair[had[near]]))
                for kind, had in self.events.items()
            },
        )
        return ratings, changes

    @classmethod
    def from_trainset(cls, trainset: Trainset) -> Ratings:
        """Read a trainset; that of :func:`~llmtokens.datasets.load_events` has ``events``, too.

        Raises
        ------
        DataError
            If the trainset is empty, or holds a rating that is NaN, infinite or no number.

        Warns
        -----
        LLMTokensWarning
            Of ratings outside the scale, and of those without the id of their user or item.
        """
        _require_trainset(trainset)
        if trainset.n_ratings == 0:
            raise DataError("the trainset is empty: expected at least one rating to fit on")
        # to look somebody up in a defaultdict is to add them, with no ratings
        rated = {user: ratings for user, ratings in trainset.ur.items() if ratings}
        users = np.fromiter(rated.keys(), np.int64, len(rated))
        lists = list(rated.values())
        if np.any(np.diff(users) < 0):
            order = np.argsort(users, kind="stable")
            users, lists = users[order], [lists[k] for k in order]
        counts = np.zeros(trainset.n_users, np.int64)
        counts[users] = [len(ratings) for ratings in lists]
        n = int(counts.sum())
        flat = _numbers(lists, 2 * n).reshape(n, 2)
        ratings = cls(
            user=np.repeat(np.arange(trainset.n_users, dtype=np.int32), counts),
            item=flat[:, 0].astype(np.int32),
            value=np.ascontiguousarray(flat[:, 1]),
            user_ptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            scale=checked_scale(trainset.rating_scale),
            user_ids=_raw_ids(trainset._raw2inner_id_users, trainset.n_users),
            item_ids=_raw_ids(trainset._raw2inner_id_items, trainset.n_items),
        )
        ratings.check()
        ratings.warn_of_scale()
        ratings.warn_of_missing_ids()
        events = getattr(trainset, "events", None)
        return ratings if events is None else ratings.with_events(events)

    def warn_of_scale(self) -> None:
        """Warn of ratings outside the scale, where estimates never are."""
        low, high = self.scale
        outside = np.flatnonzero((self.value < low) | (self.value > high))
        if len(outside):
            k = outside[0]
            pair = (self.user_ids[self.user[k]], self.item_ids[self.item[k]], float(self.value[k]))
            values = self.value[outside]
            warnings.warn(
                f"{len(outside)} of {self.n} ratings are outside the rating scale from {low:g} to "
                f"{high:g}: they go from {values.min():g} to {values.max():g}, the first (user, "
                f"item, rating) being {pair}; estimates end at the scale. Pass the true one, as "
                "Reader(rating_scale=(low, high)), and check the order of the columns: user, item, "
                "rating",
                LLMTokensWarning,
                stacklevel=4,
            )

    def warn_of_missing_ids(self) -> None:
        """Warn where None or NaN is a user or an item, as after a merge of frames."""
        sides = ("user", self.user_ids, self.user), ("item", self.item_ids, self.item)
        for side, ids, rows in sides:
            missing = [row for row, raw in enumerate(ids) if is_missing(raw)]
            if missing:
                warnings.warn(
                    f"{int(np.isin(rows, missing).sum())} of {self.n} ratings have no {side} id "
                    f"({ids[missing[0]]!r}) and are taken for those of one {side}; drop them",
                    LLMTokensWarning,
                    stacklevel=4,
                )

    def check(self) -> None:
        """Raise DataError for ratings that cannot be computed with, naming the first."""
        if not (self.value.max() <= LARGEST and self.value.min() >= -LARGEST):
            bad = np.flatnonzero(~(np.abs(self.value) <= LARGEST))
            where = sample(
                (self.user_ids[self.user[k]], self.item_ids[self.item[k]], float(self.value[k]))
                for k in bad[:6]
            )
            raise DataError(
                f"found {len(bad)} ratings that are NaN, infinite or beyond {LARGEST:g}, "
                f"the first (user, item, rating) being {where}; drop or replace them before "
                "fitting"
            )


def stars(values: Floats, low: float, high: float) -> Floats:
    """Ratings between .05, the lowest given, and 1, the highest: what was chosen at all has some
    weight."""
    return 0.05 + 0.95 * (values - low) / (high - low) if high > low else np.ones(len(values))


@dataclass(frozen=True)
class Changes:
    """Ratings that came, and those that went, which have weights below 0.

    What came as it had been is not among them: it changes nothing.

    Attributes
    ----------
    user, item : ndarray of int64, shape (n,)
    value, weight : ndarray of float64, shape (n,)
    """

    user: Rows
    item: Rows
    value: Floats
    weight: Floats

    @classmethod
    def between(cls, gone: Sequence[Any], come: Sequence[Any]) -> Changes:
        """From users, items, values and weights of both."""
        rows = np.array([np.append(a, b) for a, b in zip(gone[:3], come[:3], strict=True)])
        distinct, at = np.unique(rows, axis=1, return_inverse=True)
        weight = np.zeros(distinct.shape[1])
        np.add.at(weight, at.ravel(), np.append(-gone[3], come[3]))
        user, item, value = distinct[:, np.abs(weight) > _ROUNDING]
        weight = weight[np.abs(weight) > _ROUNDING]
        return cls(user.astype(np.int64), item.astype(np.int64), value, weight)

    def of_user(self, user: int) -> Rated:
        """Items, values and weights of a user's changes."""
        at = slice(*np.searchsorted(self.user, [user, user + 1]))
        return self.item[at], self.value[at], self.weight[at]

    def of_item(self, item: int) -> Rated:
        """Users, values and weights of an item's changes."""
        order = self._by_item
        at = order[slice(*np.searchsorted(self.item, [item, item + 1], sorter=order))]
        return self.user[at], self.value[at], self.weight[at]

    @cached_property
    def _by_item(self) -> Rows:
        return np.argsort(self.item, kind="stable")


def deviations(values: Floats, mean: float, largest: float) -> Floats:
    """Some ratings less the mean of all, 0 where they differ by rounding alone; ``largest``: the
    absolute value of that of all."""
    y = values - mean
    y[np.abs(y) <= _ROUNDING * largest] = 0.0
    return y


def checked_scale(scale: Any) -> tuple[float, float]:
    """The lowest and the highest possible rating.

    Raises
    ------
    DataError
        Unless these are two finite numbers, the lower first.
    """
    try:
        low, high = (float(bound) for bound in scale)
        right = bool(np.isfinite(low) and np.isfinite(high) and low <= high)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise DataError(
            f"found the rating scale {scale!r}; expected (lowest, highest), both finite: pass it "
            "as rating_scale=..., with Surprise to its Reader"
        )
    return low, high


def _require_trainset(given: Any) -> None:
    """Raise DataError for what is not a trainset, with the call that makes one."""
    if hasattr(given, "ur") and hasattr(given, "all_ratings"):
        return
    name = type(given).__name__
    if hasattr(given, "build_full_trainset"):
        remedy = "pass dataset.build_full_trainset(), or the trainset of a split"
    elif hasattr(given, "dataset") and hasattr(given, "ratings"):
        name, remedy = "RatingData", "pass data.dataset.build_full_trainset()"
    elif hasattr(given, "columns") or isinstance(given, (list, tuple, str)):
        remedy = (
            "pass load_ratings(...).dataset.build_full_trainset(), with load_ratings from "
            "llmtokens.datasets"
        )
    else:
        remedy = "make one with Surprise's Dataset and its build_full_trainset()"
    raise DataError(f"found a {name} to fit on; expected a Surprise Trainset: {remedy}")


def _numbers(lists: Sequence[Sequence[tuple[int, float]]], n: int) -> Floats:
    """Items and ratings in turn."""
    first = next(iter(lists[0]))[1]
    try:
        if np.asarray(first).dtype.kind in "cmM":
            raise TypeError(type(first).__name__)
        return np.fromiter(chain.from_iterable(chain.from_iterable(lists)), np.float64, count=n)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"found ratings that are no numbers, such as {first!r} ({error}); expected numbers, as "
            "of frame[rating].astype(float)"
        ) from error


def _raw_ids(raw2inner: dict[Hashable, int], n: int) -> list[Hashable]:
    ids: list[Hashable] = [None] * n
    for raw, inner in raw2inner.items():
        ids[inner] = raw
    return ids
