"""When ratings were made, which a trainset does not know."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, sample
from ..runtime.arrays import Floats, Rows
from .ids import IdIndex, plain_id
from .ratings import Ratings
from .times import seconds

_COLUMNS = ["user", "item", "timestamp"]
_FORMS = (
    "a DataFrame with the columns user, item and timestamp, a Dataset that has timestamps, or a "
    "dict {(user, item): timestamp}"
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
    >>> times = Timestamps.of({("u", "a"): 5.0, ("u", "b"): "1970-01-02"})
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
        return self._at(self.users.rows(users), self.items.rows(items))

    def of_ratings(self, ratings: Ratings) -> Floats:
        """The time of each rating of a trainset, NaN where there is none, shape (n,)."""
        users, items = self.users.rows(ratings.user_ids), self.items.rows(ratings.item_ids)
        return self._at(users[ratings.user], items[ratings.item])

    def of_all_ratings(self, ratings: Ratings) -> Floats:
        """The same where each must have one.

        Raises
        ------
        DataError
            If one has none.
        """
        times = self.of_ratings(ratings)
        absent = np.flatnonzero(np.isnan(times))
        if len(absent):
            pairs = sample(
                ((ratings.user_ids[ratings.user[k]], ratings.item_ids[ratings.item[k]])
                 for k in absent), 3)  # fmt: skip
            raise DataError(
                f"found no timestamp for {len(absent)} of {ratings.n} ratings, the first (user, "
                f"item) being {pairs}; expected a number for each pair of the trainset"
            )
        return times

    def _at(self, user: Rows, item: Rows) -> Floats:
        out = np.full(len(user), np.nan)
        wanted = user * self.n_items + item
        place = np.minimum(np.searchsorted(self.keys, wanted), max(len(self.keys) - 1, 0))
        if len(self.keys):
            found = (user >= 0) & (item >= 0) & (self.keys[place] == wanted)
            out[found] = self.times[place[found]]
        return out


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
