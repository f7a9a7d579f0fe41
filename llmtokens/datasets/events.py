"""load_events: views, carts, purchases and the like as ratings that say how much they mean."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from surprise import Trainset
from surprise.dataset import DatasetAutoFolds

from ..algorithms.ease.solver import solve
from ..algorithms.ease.tuning import choose, left_out_scores
from ..data.ids import id_column
from ..data.ratings import stars
from ..data.times import seconds
from ..errors import DataError, LLMTokensWarning, sample
from ..runtime.arguments import pandas_of
from . import dialect, tables
from .dialect import Form
from .load import Given, describe
from .ratings import RatingData

_TRIED = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # weights, that of the commonest event being 1
_ROUNDS = 2  # over all kinds of events
_JUDGES = 1000  # users on whose next items weights are learned
_ITEMS = 1000  # the commonest, on which they are learned
_SURE = 3.0  # standard errors by which they must be better than equal ones: many are tried


class EventDataset(DatasetAutoFolds):
    """A Surprise data set whose trainsets have ``events``: which pairs had which kinds of them.

    Parameters
    ----------
    ratings : DatasetAutoFolds
    events : DataFrame
        ``user item event``.
    """

    def __init__(self, ratings: DatasetAutoFolds, events: pd.DataFrame) -> None:
        self.__dict__.update(vars(ratings))
        self.events = events

    def construct_trainset(self, raw_trainset: Any) -> Trainset:
        """As Surprise does it, and the events; those of pairs not in it are never looked at."""
        trainset = super().construct_trainset(raw_trainset)
        trainset.events = self.events
        return trainset


@dataclass(frozen=True, eq=False, repr=False)
class EventData(RatingData):
    """What :func:`load_events` makes of events: a :class:`RatingData` and how it came about.

    Parameters
    ----------
    weights : dict
        What an event of each kind counts for.
    dropped : DataFrame
        ``reason`` and ``events``, how many were left out for it.
    events : DataFrame
        ``user item event timestamp``, those that were kept, in order of time.
    """

    weights: dict[Hashable, float]
    dropped: pd.DataFrame
    events: pd.DataFrame

    @cached_property
    def dataset(self) -> EventDataset:
        """As of every :class:`RatingData`; what is fitted on it knows the kinds of events, for
        ``recommend(exclude_seen="buy")``."""
        kinds = self.events[["user", "item", "event"]].drop_duplicates(ignore_index=True)
        return EventDataset(super().dataset, kinds)

    def pairs(self, event: Hashable) -> list[tuple[Hashable, Hashable]]:
        """The (user, item) pairs with an event of this kind.

        Raises
        ------
        DataError
            If there is no such kind.
        """
        if event not in self.weights:
            raise DataError(f"found event={event!r}; expected one of {sample(self.weights)}")
        mine = self.events[self.events["event"] == event]
        return list(dict.fromkeys(zip(mine["user"].tolist(), mine["item"].tolist(), strict=True)))


def load_events(
    events: pd.DataFrame | str | os.PathLike[str],
    *,
    event: str = "event",
    weights: Mapping[Hashable, float] | None = None,
    half_life: float | None = None,
    user: str = "user",
    item: str = "item",
    timestamp: str = "timestamp",
    items: Given | None = None,
    sep: str | None = None,
    encoding: str | None = None,
    header: bool | Sequence[str] | None = None,
) -> EventData:
    """Events of many kinds as one rating a pair: the sum of what each of them counts for.

    Parameters
    ----------
    events : DataFrame, or path
        One row an event. Events of one pair at different times add up. Files are read as by
        :func:`load_ratings`.
    event, user, item, timestamp : str
        The column names in your table. Times are numbers or dates; dates count in seconds.
    weights : mapping, optional
        What an event of each kind counts for, such as ``{"view": 1, "cart": 3, "buy": 5}``; kinds
        that are not named are left out, and a negative one takes back, as a refund does: pairs
        whose events add up to 0 or less are left out, too. None: learned, the commonest kind
        counting for 1, such that ``LLMTokensEASE`` ranks what users come to view, to buy and so on
        next highest; equal, where no others are better beyond doubt. The result has them as
        ``weights``.
    half_life : float, optional
        In seconds: an event that is so much older than the newest of all counts half as much.
    items : path or DataFrame, optional
        One row an item, as in :func:`load_ratings`.
    sep, encoding, header : optional
        Of a file, as in :func:`load_ratings`.

    Returns
    -------
    EventData
        With a rating for each pair, at the time of its last event; the scale is from 0 to the
        largest.

    Warns
    -----
    LLMTokensWarning
        If weights name a kind that the table writes otherwise; if several kinds of events count
        alike, as no weights that were tried are beyond doubt better; and as :func:`load_ratings`
        about files and ids.

    Raises
    ------
    AlignmentError
        For items of which no event is.
    DataError
        For missing columns, weights that are no numbers or 0, or where no event is left.
    StorageError, FileFormatError
        For a file that cannot be opened, or is not written in one way throughout.
    MissingExtraError
        For a Parquet file, and no pyarrow.

    Examples
    --------
    >>> rows = [("ann", "tent", "view", 1), ("ann", "tent", "buy", 2), ("bob", "tent", "view", 3),
    ...         ("bob", None, "view", 4), ("bob", "rope", "search", 5)]
    >>> frame = pd.DataFrame(rows, columns=["user", "item", "event", "timestamp"])
    >>> data = load_events(frame, weights={"view": 1, "buy": 5})
    >>> data.ratings.values.tolist()
    [['ann', 'tent', 6.0, 2.0], ['bob', 'tent', 1.0, 3.0]]
    >>> data.dropped.values.tolist()
    [['no item', 1], ['event without a weight', 1]]
    """
    named = {"user": user, "item": item, "event": event, "timestamp": timestamp}
    form, is_text, source = Form(sep, encoding, header), False, "the events frame"
    events = pandas_of(events)
    if not isinstance(events, (str, os.PathLike, pd.DataFrame)):
        raise DataError(
            f"found events of type {type(events).__name__}; expected the path of a file, a pandas "
            "DataFrame, or a list of dicts"
        )
    if not isinstance(events, pd.DataFrame):
        kinds: dict[str, tables.Kind] = {user: "id", item: "id", event: "text", timestamp: "time"}
        read = tables.read(events, kinds, form=form)
        events, source, is_text = read.frame, read.source, read.is_text
    absent = [column for column in named.values() if column not in events]
    if absent:
        raise DataError(dialect.missing_columns(absent, list(events.columns), source))
    table = pd.DataFrame({own: events[column] for own, column in named.items()})
    for own in ("user", "item"):
        table[own] = id_column(table[own], f"{source}, {named[own]!r}")
    table["timestamp"] = seconds(table["timestamp"])
    table, dropped = _kept(table.reset_index(drop=True), weights)
    if table.empty:
        raise DataError(
            f"found no event to keep: {dropped.to_dict('records')}; look at the columns"
        )
    sides = {}
    for own, column, side in (("user", user, None), ("item", item, items)):
        table, sides[own] = describe(table, is_text, side, own, column, form)
    table = table.sort_values("timestamp", kind="stable", ignore_index=True)
    counted = _learned(table) if weights is None else {k: float(v) for k, v in weights.items()}
    value = table["event"].map(counted).to_numpy(np.float64)
    if half_life is not None:
        if not 0 < half_life < np.inf:
            raise DataError(f"found half_life={half_life!r}; expected a positive number")
        value = value * 0.5 ** (
            (table["timestamp"].max() - table["timestamp"].to_numpy()) / half_life
        )
    ratings = (
        table.assign(rating=value)
        .groupby(["user", "item"], sort=False)
        .agg(rating=("rating", "sum"), timestamp=("timestamp", "max"))
        .reset_index()
    )
    taken_back = ratings["rating"] <= 0
    if taken_back.any():
        dropped.loc[len(dropped)] = "pair whose events add up to 0 or less", int(taken_back.sum())
        ratings = ratings[~taken_back].reset_index(drop=True)
    if ratings.empty:
        raise DataError("found no pair whose events add up to more than 0; look at the weights")
    scale = 0.0, float(ratings["rating"].max())
    return EventData(
        ratings, sides["item"], sides["user"], scale, "events", counted, dropped, table
    )


def _warn_of_near_kinds(named: list[Hashable], found: list[Hashable]) -> None:
    """Say which weights are of kinds that the table writes otherwise."""
    written = {str(kind).strip().casefold(): kind for kind in found if kind not in named}
    for kind in named:
        if kind not in found and (other := written.get(str(kind).strip().casefold())) is not None:
            warnings.warn(
                f"found no event of the kind {kind!r} that weights name, but {other!r}, which they "
                "do not: its events are left out",
                LLMTokensWarning,
                stacklevel=4,
            )


def _kept(
    table: pd.DataFrame, weights: Mapping[Hashable, float] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The events that can be used, and how many cannot, by reason; the first reason counts."""
    if weights is not None:
        values = list(weights.values())
        if not np.isfinite(values).all() or 0 in values or not max(values, default=0) > 0:
            raise DataError(
                f"found weights={dict(weights)!r}; expected numbers by kind, above 0, or below it "
                "for what takes back, such as a refund"
            )
        _warn_of_near_kinds(list(weights), table["event"].dropna().unique().tolist())
    reasons = {
        "no user": table["user"].isna(),
        "no item": table["item"].isna(),
        "no kind of event": table["event"].isna(),
        "no time": table["timestamp"].isna(),
    }
    if weights is not None:
        reasons["event without a weight"] = ~table["event"].isin(list(weights))
    reasons["logged twice"] = table.duplicated()
    left, counts = np.ones(len(table), bool), {}
    for reason, mask in reasons.items():
        counts[reason] = int(np.sum(mask.to_numpy() & left))
        left &= ~mask.to_numpy()
    dropped = pd.DataFrame(
        [(reason, n) for reason, n in counts.items() if n], columns=["reason", "events"]
    )
    return table[left], dropped


def _learned(table: pd.DataFrame) -> dict[Hashable, float]:
    """Weights with which EASE ranks the next items of users highest.

    Learned kind by kind, the commonest staying at 1, on the last item that each user came to view,
    and the last that they came to buy, and so on, every kind of target counting alike. Where no
    weights are better than equal ones beyond doubt, they are equal.
    """
    common = table["item"].value_counts().index[:_ITEMS]
    table = table[table["item"].isin(common)].reset_index(drop=True)
    kinds = table["event"].value_counts().index.tolist()
    weights = dict.fromkeys(kinds, 1.0)
    targets = [made for kind in kinds if (made := _Targets.of(table, kinds, kind)) is not None]
    if len(kinds) == 1 or not targets:
        return weights
    share = np.concatenate([np.full(made.n, 1 / (made.n * len(targets))) for made in targets])

    def gains(tried: dict[Hashable, float]) -> np.ndarray:
        return share * np.concatenate([made.gains(list(tried.values())) for made in targets])

    best = equal = gains(weights)
    for _, kind, value in product(range(_ROUNDS), kinds[1:], _TRIED):
        tried = weights | {kind: value}
        found = gains(tried)
        if found.sum() > best.sum() + 1e-9:
            weights, best = tried, found
    whose = np.concatenate([made.user for made in targets])  # one user has several targets
    better = np.bincount(whose, best - equal)[np.unique(whose)]
    noise = float(np.std(better)) * np.sqrt(len(better))
    if better.sum() > _SURE * noise:
        return weights
    warnings.warn(
        f"no weights are better than equal ones beyond doubt, so that {sample(kinds)} count alike; "
        f"pass weights={{{kinds[0]!r}: 1.0, ...}} to have it otherwise",
        LLMTokensWarning,
        stacklevel=3,
    )
    return dict.fromkeys(kinds, 1.0)


@dataclass(frozen=True, eq=False)
class _Targets:
    """The last item that users came to do something with, and what everybody had done before.

    Attributes
    ----------
    seen : sparse array, shape (n_users, n_items)
        Pairs of which there were events.
    counts : ndarray, shape (n_kinds, nnz)
        How many, by kind.
    user, item : ndarray of int, shape (n,)
        Who came to what.
    """

    seen: sparse.csr_array
    counts: np.ndarray
    user: np.ndarray
    item: np.ndarray

    @property
    def n(self) -> int:
        return len(self.item)

    @classmethod
    def of(cls, table: pd.DataFrame, kinds: list[Hashable], wanted: Hashable) -> _Targets | None:
        """Of events in order of time; what a user did from the first moment with the target on is
        left out. None where nobody did anything before."""
        user, users = pd.factorize(table["user"])
        item, items = pd.factorize(table["item"])
        first = pd.Series(np.arange(len(table))).groupby([user, item]).transform("min").to_numpy()
        cut = np.full(len(users), len(table))
        mine = np.flatnonzero(table["event"] == wanted)
        newest = pd.Series(first[mine]).groupby(user[mine]).max()
        cut[newest.index] = newest.to_numpy()
        before = np.flatnonzero(np.arange(len(table)) < cut[user])
        judges = np.intersect1d(user[before], user[mine])
        if len(judges) == 0:
            return None
        judges = judges[np.linspace(0, len(judges) - 1, min(len(judges), _JUDGES)).astype(int)]
        pairs, at = np.unique(user[before] * len(items) + item[before], return_inverse=True)
        codes = pd.Categorical(table["event"], kinds).codes[before]
        counts = [np.bincount(at[codes == k], minlength=len(pairs)) for k in range(len(kinds))]
        where = np.divmod(pairs, len(items))
        seen = sparse.csr_array(
            (np.ones(len(pairs), np.float32), where), shape=(len(users), len(items))
        )
        return cls(seen, np.array(counts), judges, item[cut[judges]])

    def gains(self, weights: list[float]) -> np.ndarray:
        """The reciprocal rank of every target, equal scores sharing theirs, shape (n,)."""
        rated = self.seen.copy()
        sums = np.array(weights) @ self.counts
        rated.data = stars(sums, sums.min(), sums.max()).astype(np.float32)
        items = solve(rated, self.no_text, 0.0, self.l2, _ITEMS)
        scores = left_out_scores(items, rated[self.user])
        scores[self.seen[self.user].nonzero()] = -np.inf
        at = scores[np.arange(self.n), self.item][:, None]
        above = np.sum(scores > at, axis=1) + (np.sum(scores == at, axis=1) - 1) / 2
        return 1 / (1 + above)

    @property
    def no_text(self) -> np.ndarray:
        return np.zeros((self.seen.shape[1], 0), np.float32)

    @cached_property
    def l2(self) -> float:
        """Best for events that all count alike."""
        return choose(self.seen, self.no_text, None, None, _ITEMS)[0]
