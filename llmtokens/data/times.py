"""Times as numbers, whatever they were written as."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError


def moment(at: Any) -> float:
    """A time as a number: one, a date, or "now", in seconds since 1970.

    Raises
    ------
    DataError
        For anything else.
    """
    value = time.time() if isinstance(at, str) and at == "now" else float(seconds([at])[0])
    if not np.isfinite(value):
        raise DataError(f'found at={at!r}; expected a number, a date, or "now"')
    return value


def seconds(times: Any) -> NDArray[np.float64]:
    """Numbers as they are, dates (also ISO 8601 text) as seconds since 1970; NaN for anything else.

    Text that is a number is one, unless dates stand beside it: then it might be a year.

    >>> seconds(["1970-01-02", None, "1970-01-01T00:01Z", "soon"]).tolist()
    [86400.0, nan, 60.0, nan]
    >>> seconds(["3", 4.5]).tolist()
    [3.0, 4.5]
    """
    column = pd.Series(times).infer_objects()
    if not pd.api.types.is_datetime64_any_dtype(column):
        numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
        if numbers.notna().sum() == column.notna().sum():
            return np.asarray(numbers, np.float64)
        texts = column.where(numbers.isna(), None)
        column = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    unit = column.dt.unit  # nanoseconds would end in the year 2262
    epoch, second = pd.Timestamp(0, tz=column.dt.tz).as_unit(unit), pd.Timedelta(1, "s")
    since = (column - epoch) / second.as_unit(unit)
    return np.asarray(since, np.float64)
