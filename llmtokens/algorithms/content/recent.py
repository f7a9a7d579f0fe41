"""When ratings were made, and how much each still says of its user."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...data.ids import IdIndex
from ...data.ratings import Ratings
from ...data.times import seconds
from ...errors import DataError, sample
from ...recommend.ageing import check_half_life, decayed

Timestamps = Any  # a DataFrame, a Surprise Dataset, or a mapping

_COLUMNS = ["user", "item", "timestamp"]
_FORMS = (
    "a DataFrame with the columns user, item and timestamp, a Dataset that has timestamps, or a "
    "dict {(user, item): timestamp}"
)


def recent(
    ratings: Ratings, timestamps: Timestamps | None, half_life: float | None
) -> NDArray[np.float64]:
    """Weights of ratings that halve with every ``half_life`` before their user's newest, (n,).

    Raises
    ------
    DataError
        If only one of the two is given, they are of another form, or a rating has no timestamp.
    """
    if timestamps is None or half_life is None:
        missing = "timestamps" if timestamps is None else "half_life"
        raise DataError(
            f"found {missing}=None; timestamps and half_life go together (a saved model keeps "
            "neither the trainset nor the timestamps: set the attribute before fitting it again)"
        )
    check_half_life(half_life)
    times = times_of(ratings, table(timestamps))
    newest = np.maximum.reduceat(times, ratings.user_ptr[:-1])
    return decayed(newest[ratings.user] - times, half_life)


def table(timestamps: Timestamps) -> pd.DataFrame:
    """User, item and timestamp as float64 (dates in seconds), NaN where there is none."""
    if isinstance(timestamps, pd.DataFrame):
        absent = [name for name in _COLUMNS if name not in timestamps.columns]
        if absent:
            raise DataError(f"found timestamps without the columns {absent}; expected {_FORMS}")
        frame = timestamps[_COLUMNS]
    else:
        rows: Any
        if isinstance(timestamps, Mapping):
            rows = [(key, time) for key, time in timestamps.items()]
            pairs = all(isinstance(key, tuple) and len(key) == 2 for key, _ in rows)
            rows = [(*key, time) for key, time in rows] if pairs else None
        else:
            rows = [(r[0], r[1], r[3]) for r in getattr(timestamps, "raw_ratings", ())]
        if not rows:
            raise DataError(f"found timestamps of {type(timestamps).__name__}; expected {_FORMS}")
        frame = pd.DataFrame(rows, columns=_COLUMNS, dtype=object)
    return frame.assign(timestamp=seconds(frame["timestamp"]))


def times_of(ratings: Ratings, frame: pd.DataFrame) -> NDArray[np.float64]:
    """The time of each rating, shape (n,): of a pair that stands twice, the last one."""
    n_items = ratings.n_items
    user, item = (
        _rows(ids, frame[side])
        for ids, side in ((ratings.user_ids, "user"), (ratings.item_ids, "item"))
    )
    time = frame["timestamp"].to_numpy()
    known = np.flatnonzero((user >= 0) & (item >= 0) & np.isfinite(time))
    known = known[np.argsort(time[known], kind="stable")]
    keys = user[known] * n_items + item[known]
    known = known[np.argsort(keys, kind="stable")]
    keys = np.sort(keys)
    wanted = ratings.user.astype(np.int64) * n_items + ratings.item
    at = np.searchsorted(keys, wanted, side="right") - 1
    absent = np.flatnonzero((at < 0) | (keys[at] != wanted) if len(keys) else np.ones(ratings.n))
    if len(absent):
        pairs = sample(
            ((ratings.user_ids[ratings.user[k]], ratings.item_ids[ratings.item[k]])
             for k in absent), 3)  # fmt: skip
        raise DataError(
            f"found no timestamp for {len(absent)} of {ratings.n} ratings, the first (user, item) "
            f"being {pairs}; expected a number for each pair of the trainset"
        )
    out: NDArray[np.float64] = time[known[at]]
    return out


def _rows(ids: list[Hashable], column: pd.Series) -> NDArray[np.int64]:
    """Rows of a column of ids, -1 where unknown; "1" is 1 where nothing else reads so."""
    codes, distinct = pd.factorize(column)
    plain = [raw.item() if isinstance(raw, np.generic) else raw for raw in distinct]
    rows = np.append(IdIndex(ids).rows(plain), -1)
    return rows[codes]
