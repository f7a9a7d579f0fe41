"""When ratings were made, which a trainset does not know."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, FileFormatError, LLMTokensWarning, sample
from ..runtime.arrays import Floats, Rows
from ..storage.container import jsonable_ids
from ..storage.models import Array, Layout, check
from .ids import IdIndex, plain_id, plain_ids
from .ratings import Ratings
from .times import seconds

_LAYOUT: Layout = {"keys": Array(("pairs",), "int"), "times": Array(("pairs",))}
_COLUMNS = ["user", "item", "timestamp"]
_FORMS = (
    "a DataFrame with the columns user, item and timestamp, a Dataset that has timestamps, or a "
    "dict {(user, item): timestamp}"
)
_COMPLETE = (
    "expected one for each, as the order of a user's ratings counts: drop these, or fill in the "
    "user's usual time, in frame = load_ratings(...).ratings: frame['timestamp'] = "
    "frame['timestamp'].fillna(frame.groupby('user')['timestamp'].transform('median'))"
    ".fillna(frame['timestamp'].median())"
)


@dataclass(frozen=True, eq=False)
class Timestamps:
    """The time of each pair of user and item: of one that stands twice, the last.

    Attributes
    ----------
    users, items : IdIndex
    keys : ndarray of int64, shape (n,)
        ``user * n_items + item``, increasing.
    times : ndarray of float64, shape (n,)
        As they were given; dates in seconds since 1970.

    Examples
    --------
    >>> times = Timestamps.of({("u", "a"): "1970-01-01", ("u", "b"): "1970-01-02"})
    >>> times.of_pairs(["u", "u", "v"], ["b", "c", "a"]).tolist()
    [86400.0, nan, nan]
    """

    users: IdIndex
    items: IdIndex
    n_items: int
    keys: Rows
    times: Floats

    @classmethod
    def of(cls, given: Any) -> Timestamps:
        """From a DataFrame, a Surprise Dataset, or a mapping; rows without a time are left out.

        Raises
        ------
        DataError
            If it is of another form.
        """
        if isinstance(given, cls):
            return given
        frame = _frame(given)
        time = seconds(frame["timestamp"])
        (user, users), (item, items) = (pd.factorize(frame[side]) for side in _COLUMNS[:2])
        known = np.flatnonzero((user >= 0) & (item >= 0) & np.isfinite(time))
        keys = user[known].astype(np.int64) * len(items) + item[known]
        order = np.lexsort((time[known], keys))
        keys, time = keys[order], time[known][order]
        last = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
        return cls(
            IdIndex([plain_id(raw) for raw in users]),
            IdIndex([plain_id(raw) for raw in items]),
            len(items),
            keys[last],
            time[last],
        )

    def of_pairs(self, users: Iterable[Hashable], items: Iterable[Hashable]) -> Floats:
        """The times of pairs of raw ids, NaN where there is none, shape (n,).

        Ids match exactly, or through ``str(id)`` where only one id of the table reads so.
        """
        return self.of_rows(self.users.rows(users), self.items.rows(items))

    def with_pairs(
        self, users: Sequence[Hashable], items: Sequence[Hashable], times: Floats
    ) -> Timestamps:
        """With further pairs, none twice, each in place of an older one."""
        (all_users, user), (all_items, item) = (
            _joined(self.users, users),
            _joined(self.items, items),
        )
        n = len(all_items.exact)
        own = self.keys // max(self.n_items, 1) * n + self.keys % max(self.n_items, 1)
        keys = user * n + item
        order, kept = np.argsort(keys), ~np.isin(own, keys)
        keys, own, old = keys[order], own[kept], self.times[kept]
        at = np.searchsorted(own, keys)
        return Timestamps(
            all_users, all_items, n, np.insert(own, at, keys), np.insert(old, at, times[order])
        )

    def without_user(self, user: Hashable) -> Timestamps:
        """Without the times and the id of one user."""
        gone = self.users.row(user)
        if gone < 0:
            return self
        who, item = np.divmod(self.keys, max(self.n_items, 1))
        kept = who != gone
        who = who[kept] - (who[kept] > gone)
        users = IdIndex([raw for row, raw in enumerate(self.users.exact) if row != gone])
        return Timestamps(
            users, self.items, self.n_items, who * self.n_items + item[kept], self.times[kept]
        )

    def of_ratings(self, ratings: Ratings) -> Floats:
        """The time of each rating of a trainset, NaN where there is none, shape (n,)."""
        rated = np.flatnonzero(np.bincount(ratings.item, minlength=ratings.n_items))
        items = np.full(ratings.n_items, -1)
        items[rated] = self.items.rows([ratings.item_ids[k] for k in rated.tolist()])
        users = self.users.rows(ratings.user_ids)
        return self.of_rows(users[ratings.user], items[ratings.item])

    def of_all_ratings(self, ratings: Ratings) -> Floats:
        """The same where the order of a user's ratings counts, so that each must have one.

        Raises
        ------
        DataError
            If one has none.
        """
        times = self.of_ratings(ratings)
        if np.isnan(times).any():
            raise DataError(f"{untimed(*_absent(ratings, times))}; {_COMPLETE}")
        return times

    def of_some_ratings(self, ratings: Ratings) -> Floats:
        """The same where one without says nothing of its moment: how many these are is told.

        Raises
        ------
        DataError
            If none has one.
        """
        times = self.of_ratings(ratings)
        require_some(*_absent(ratings, times))
        return times

    # -- as parts of a file --------------------------------------------------------------------

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A JSON payload and arrays, from which :meth:`from_parts` makes the same table."""
        ids = {
            "users": jsonable_ids(list(self.users.exact)),
            "items": jsonable_ids(list(self.items.exact)),
        }
        return ids, {"keys": self.keys, "times": self.times}

    @classmethod
    def from_parts(cls, payload: Any, arrays: Mapping[str, Any]) -> Timestamps:
        """The table whose parts these are.

        Raises
        ------
        FileFormatError
            If they are not those of one.
        """
        if not isinstance(payload, dict) or payload.keys() != {"users", "items"}:
            raise FileFormatError("'timestamps' has no lists of users and items")
        if not all(isinstance(ids, list) for ids in payload.values()):
            raise FileFormatError("'timestamps' has no lists of users and items")
        users, items = (plain_ids(jsonable_ids(payload[side])) for side in ("users", "items"))
        check(_LAYOUT, arrays, {})
        keys, times = np.array(arrays["keys"], np.int64), np.array(arrays["times"], np.float64)
        if np.any(np.diff(keys) <= 0) or np.any((keys < 0) | (keys >= len(users) * len(items))):
            raise FileFormatError("'keys' of the timestamps are not increasing pairs of their ids")
        return cls(IdIndex(users), IdIndex(items), len(items), keys, times)

    def of_rows(self, user: Rows, item: Rows) -> Floats:
        """The times of pairs of the table's own rows, -1 where there is none, shape (n,)."""
        out = np.full(len(user), np.nan)
        wanted = user * self.n_items + item
        place = np.minimum(np.searchsorted(self.keys, wanted), max(len(self.keys) - 1, 0))
        if len(self.keys):
            found = (user >= 0) & (item >= 0) & (self.keys[place] == wanted)
            out[found] = self.times[place[found]]
        return out


def untimed(n_absent: int, n: int, pairs: Iterable[Any]) -> str:
    """What is said of ratings without a time; ``pairs``: of users and items, theirs.

    >>> untimed(1, 3, [("ann", "Heat")])
    "found no timestamp for 1 of 3 ratings, the first (user, item) being ('ann', 'Heat')"
    """
    first = sample(pairs, 3)
    return f"found no timestamp for {n_absent} of {n} ratings" + (
        f", the first (user, item) being {first}" if first else ""
    )


def require_some(n_absent: int, n: int, pairs: Iterable[Any]) -> None:
    """Tell how many ratings have no time, where a rating needs none.

    Raises
    ------
    DataError
        If none has one.

    Warns
    -----
    LLMTokensWarning
        If some have none.
    """
    if n_absent == n:
        raise DataError(
            f"{untimed(n_absent, n, pairs)}; expected some of these pairs: build timestamps from "
            "the same ids"
        )
    if n_absent:
        warnings.warn(
            f"{untimed(n_absent, n, pairs)}; these say nothing of what their users are like just "
            "then, and all else that they say",
            LLMTokensWarning,
            stacklevel=7,
        )


def _absent(
    ratings: Ratings, times: Floats
) -> tuple[int, int, Iterator[tuple[Hashable, Hashable]]]:
    """How many ratings have no time, of how many, and their users and items."""
    rows = np.flatnonzero(np.isnan(times))
    pairs = ((ratings.user_ids[ratings.user[k]], ratings.item_ids[ratings.item[k]]) for k in rows)
    return len(rows), ratings.n, pairs


def _joined(known: IdIndex, ids: Sequence[Hashable]) -> tuple[IdIndex, Rows]:
    """The ids with further ones among them, and the rows of these."""
    rows = known.rows(ids)
    new = list(dict.fromkeys(raw for raw, row in zip(ids, rows, strict=True) if row < 0))
    if new:
        known = IdIndex([*known.exact, *new])
        rows = known.rows(ids)
    return known, rows


def _frame(given: Any) -> pd.DataFrame:
    """Columns user, item and timestamp."""
    if isinstance(given, pd.DataFrame):
        absent = [name for name in _COLUMNS if name not in given.columns]
        if absent:
            raise DataError(f"found timestamps without the columns {absent}; expected {_FORMS}")
        return given[_COLUMNS]
    rows: Any
    if isinstance(given, Mapping):
        pairs = all(isinstance(key, tuple) and len(key) == 2 for key in given)
        rows = [(*key, time) for key, time in given.items()] if pairs else None
    else:
        rows = [(r[0], r[1], r[3]) for r in getattr(given, "raw_ratings", ())]
    if not rows:
        raise DataError(f"found timestamps of {type(given).__name__}; expected {_FORMS}")
    return pd.DataFrame(rows, columns=_COLUMNS, dtype=object)
