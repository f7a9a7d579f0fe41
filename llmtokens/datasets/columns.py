"""Columns of tables as the library wants them: numbers, seconds, and ids of one kind."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data import times
from ..errors import DataError, sample


def numbers(column: pd.Series) -> np.ndarray:
    """Float64 values; what is no number becomes NaN, for the check to report."""
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)


def seconds(frame: pd.DataFrame, column: str | None, source: str) -> np.ndarray:
    """Times as numbers, ISO dates as seconds since 1970; NaN where there are none."""
    if column is None or (column == "timestamp" and column not in frame):
        return np.full(len(frame), np.nan)
    if column not in frame:
        raise DataError(f"{source}: no column {column!r}; there are {sample(frame.columns, 12)}.")
    values = frame[column]
    if pd.api.types.is_integer_dtype(values.dtype) and not values.isna().any():
        return values.to_numpy(dtype="int64")
    read = times.seconds(values)
    unread = values[np.isnan(read) & values.notna().to_numpy()]
    if len(unread):
        raise DataError(
            f"{source}: {column!r} holds {len(unread)} times that are neither seconds nor ISO "
            f"dates, such as {sample(unread, 3)}; convert them with pandas.to_datetime."
        )
    return read


def same_kind(columns: list[tuple[pd.Series, bool]]) -> list[pd.Series]:
    """Make ids read from text files ``int`` where they, and those of typed tables, all are."""
    whole = all(
        _is_whole(column) if from_text else pd.api.types.is_integer_dtype(column.dtype)
        for column, from_text in columns
    )
    return [
        column.astype("int64") if whole and from_text else column for column, from_text in columns
    ]


def _is_whole(column: pd.Series) -> bool:
    distinct = column.unique()
    return all(
        isinstance(x, str) and x.isdecimal() and x.isascii() and len(x) < 19 and str(int(x)) == x
        for x in distinct
    )
