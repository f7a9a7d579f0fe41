"""Times as seconds since 1970, whatever they were written as, and weights by age.

Numbers say by their size what they count: seconds until the year 5138 are below 1e11, and so
milliseconds from 1973 on are above, and so on by the thousand. Whole numbers from 1900 to 2100 are
years, those that read as yyyymm are months, as yyyymmdd days, and as yyyymmddhhmmss moments.
Smaller numbers, as of generated data, stay as they are. One column counts in one unit.
"""

from __future__ import annotations

import datetime
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, LLMTokensWarning, sample
from ..runtime.arrays import Floats, Mask

_MISSING = (
    "",
    "\\N",
    "NA",
    "N/A",
    "NaN",
    "nan",
    "NULL",
    "null",
    "None",
    "none",
    "NaT",
    "<NA>",
    "-",
)
_UNITS = (
    ("seconds", 1e8, 1e11, 1.0),
    ("milliseconds", 1e11, 1e14, 1e3),
    ("microseconds", 1e14, 1e17, 1e6),
    ("nanoseconds", 1e17, 1e19, 1e9),
)
_FORMATS = (
    "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%m %d, %Y", "%b %d %Y",
    "%d %b %Y, %H:%M", "%d-%b-%Y %H:%M:%S", "%b %d, %Y %I:%M %p",
    "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %Y",
    "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d",
)  # fmt: skip
_DAY_AND_MONTH = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})((?:,? .*)?)")


def seconds(
    times: Any, what: str = "timestamps", where: Callable[[int], str] | None = None
) -> Floats:
    """Seconds since 1970, NaN where there is no time.

    Parameters
    ----------
    times : list, Series or array
        Numbers of seconds, milliseconds, microseconds or nanoseconds; years; yyyymm; yyyymmdd;
        dates and datetimes, with a zone or, if without, in UTC; text of any of these.
    what : str
        What they are called in messages.
    where : callable, optional
        From a position to its place, such as "line 3".

    Raises
    ------
    DataError
        For what is no time, or times written in two ways, naming the fewer of them.

    Warns
    -----
    LLMTokensWarning
        Where 0 or -1 stands among times, which is taken for none; where all numbers are such as
        spreadsheets count days by.

    Examples
    --------
    >>> seconds(["1970-01-02", None, "1970-01-01T00:01Z"]).tolist()
    [86400.0, nan, 60.0]
    >>> seconds([1260759144000, 1260759179000]).tolist()
    [1260759144.0, 1260759179.0]
    >>> seconds(["3", 4.5]).tolist()
    [3.0, 4.5]
    """
    place = where or (lambda row: f"row {row}")
    column = pd.Series(times).reset_index(drop=True)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        days = isinstance(column.dtype, pd.ArrowDtype) and column.dtype.type is datetime.date
        return _since_1970(column.astype("datetime64[s]") if days else column)
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        since: Floats = np.asarray(column.dt.total_seconds(), np.float64)
        return since
    if isinstance(column.dtype, pd.PeriodDtype):
        return _since_1970(pd.Series(column.dt.to_timestamp()))
    if column.dtype.kind == "c":
        raise DataError(f"{what}: found complex numbers; expected seconds, dates or ISO text")
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _in_unit(column.to_numpy(np.float64, na_value=np.nan), what, place)
    column = column.astype(object)
    codes, distinct = pd.factorize(column)
    if len(distinct) * 2 < len(column):  # days, mostly: few that stand in many rows
        firsts = np.full(len(distinct), len(column))
        np.minimum.at(firsts, codes[codes >= 0], np.flatnonzero(codes >= 0))
        own = seconds(pd.Series(distinct, dtype=object), what, lambda k: place(int(firsts[k])))
        return np.append(own, np.nan)[codes]
    column = column.map(lambda x: x.strip() if isinstance(x, str) else x)
    column = column.where(~column.isin(_MISSING), None)
    present = column.notna().to_numpy(dtype=bool)
    try:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except OverflowError as error:
        raise DataError(f"{what}: found a time that is none ({error}); drop it") from error
    are = present & ~np.isnan(numbers)
    if are.sum() == present.sum():
        return _in_unit(numbers, what, place)
    read = _dates(column.where(~are, None), what, place)
    unread = np.flatnonzero(present & np.isnan(read))
    if not len(unread):
        return read
    if are.any() and not are[unread].all():
        unread = np.flatnonzero(present & ~are & np.isnan(read))
    elif are.sum() * 2 > present.sum():
        unread = np.flatnonzero(present & ~are)
    cells = [column[k] for k in unread[:3]]
    if len(unread) == present.sum():
        raise DataError(
            f"{what}: {len(unread)} times are neither seconds nor ISO dates, such as "
            f"{sample(cells)}{_ambiguous(column[present])}; convert them with pandas.to_datetime"
        )
    raise DataError(
        f"{what}: {len(unread)} of {int(present.sum())} times are not written as the others, the "
        f"first in {place(int(unread[0]))}: {sample(cells)} are neither seconds nor ISO dates like "
        "the rest; write all in one way, or convert them with pandas.to_datetime"
    )


def _since_1970(column: pd.Series) -> Floats:
    unit = column.dt.unit  # nanoseconds would end in the year 2262
    epoch, second = pd.Timestamp(0, tz=column.dt.tz).as_unit(unit), pd.Timedelta(1, "s")
    since = (column - epoch) / second.as_unit(unit)
    return np.asarray(since, np.float64)


def _in_unit(values: Floats, what: str, place: Callable[[int], str]) -> Floats:
    """Numbers in seconds, by the unit that their size says."""
    known = ~np.isnan(values)
    size = np.abs(values[known])
    if not known.any() or (size.min() >= 1e8 and size.max() < 1e11):
        return values
    if (size >= 25_569).all() and (size < 73_051).all():
        _warn_of_serial_days(values[known], what)
        return values
    absent = (values == 0) | (values == -1)
    size = np.abs(values)
    kinds = {name: (size >= least) & (size < end) for name, least, end, _ in _UNITS}
    large = np.logical_or.reduce(list(kinds.values()))
    whole = known & (values == np.floor(values))
    kinds["years"] = whole & (values >= 1900) & (values <= 2100)
    kinds["months (yyyymm)"] = whole & _reads_as_day(values * 100 + 1)
    kinds["days (yyyymmdd)"] = whole & _reads_as_day(values)
    with np.errstate(invalid="ignore"):  # of what is infinite
        moments = whole & _reads_as_day(values // 10**6) & _reads_as_clock(values % 10**6)
    kinds["moments (yyyymmddhhmmss)"] = moments  # as milliseconds they would be after 2570
    kinds["milliseconds"] = kinds["milliseconds"] & ~moments
    most = max(kinds, key=lambda name: int(kinds[name].sum()))
    strange = known & ~kinds[most] & ~absent
    if most == "seconds" and not (strange & large).any():
        dated = kinds["years"] | kinds["months (yyyymm)"] | kinds["days (yyyymmdd)"]
        if not strange.any() or (strange & ~dated).any():  # others are early, or generated
            return values if strange.any() else _without_marks(values, absent, what)
    elif not (kinds[most] & large).any() and strange.sum() * 10 > known.sum():
        return values
    if strange.any():
        rows = np.flatnonzero(strange)
        seem = sample((name for name, rows_of in kinds.items() if rows_of[rows[0]]), 1)
        raise DataError(
            f"{what}: {len(rows)} of {int(known.sum())} times are not {most} as the others are, "
            f"the first in {place(int(rows[0]))}: {sample((_shown(values[k]) for k in rows), 3)}"
            f"{f' ({seem}?)' if seem else ''}; write all in one unit"
        )
    values = _without_marks(values, absent, what)
    if most == "years":
        return _calendar(values, np.where(np.isnan(values), np.nan, 1), 1)
    if most == "months (yyyymm)":
        return _calendar(values // 100, values % 100, np.where(np.isnan(values), np.nan, 1))
    if most == "days (yyyymmdd)":
        return _calendar(values // 10_000, values // 100 % 100, values % 100)
    if most == "moments (yyyymmddhhmmss)":
        days, clock = values // 10**6, values % 10**6
        since = _calendar(days // 10_000, days // 100 % 100, days % 100)
        return since + clock // 10_000 * 3600 + clock // 100 % 100 * 60 + clock % 100
    return values / next(per for name, _, _, per in _UNITS if name == most)


def _without_marks(values: Floats, absent: Mask, what: str) -> Floats:
    """NaN for 0 and -1, where all others are times."""
    if not absent.any():
        return values
    warnings.warn(
        f"{what}: {int(absent.sum())} times are {_shown(values[absent][0])}, which is taken for "
        "no time",
        LLMTokensWarning,
        stacklevel=4,
    )
    return np.where(absent, np.nan, values)


def _warn_of_serial_days(values: Floats, what: str) -> None:
    """Numbers as spreadsheets have for the years 1970 to 2100: days since the end of 1899."""
    warnings.warn(
        f"{what}: the numbers go from {_shown(values.min())} to {_shown(values.max())} and are "
        "taken for seconds; if a spreadsheet counted days, convert them with "
        "pandas.to_datetime(column, unit='D', origin='1899-12-30')",
        LLMTokensWarning,
        stacklevel=4,
    )


def _shown(value: float) -> float | int:
    return int(value) if value == np.floor(value) else float(value)


def _reads_as_day(values: Floats) -> Mask:
    with np.errstate(invalid="ignore"):
        month, day = values // 100 % 100, values % 100
        right = (values >= 19_000_101) & (values <= 21_001_231)
        return right & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)


def _reads_as_clock(values: Floats) -> Mask:
    with np.errstate(invalid="ignore"):
        return (values < 240_000) & (values // 100 % 100 < 60) & (values % 100 < 60)


def _calendar(year: Any, month: Any, day: Any) -> Floats:
    """Seconds at the beginning of days."""
    known = ~np.isnan(year)
    parts = pd.DataFrame({"year": year, "month": month, "day": day})[known].astype(np.int64)
    out = np.full(len(year), np.nan)
    try:
        out[known] = _since_1970(pd.to_datetime(parts))
    except ValueError as error:
        raise DataError(f"found a day that no month has ({error}); expected yyyymmdd") from error
    return out


def _dates(column: pd.Series, what: str, place: Callable[[int], str]) -> Floats:
    """Dates and their text; NaN for what is neither."""
    texts = column.map(lambda x: x.removesuffix(" UTC") if isinstance(x, str) else x)
    read = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    missing = column.isna().sum()
    if read.isna().sum() == missing:
        return _since_1970(read)
    if read.isna().all():
        for how in (*_FORMATS, *_day_or_month_first(column.dropna())):
            other = pd.to_datetime(texts, utc=True, format=how, errors="coerce")
            if other.isna().sum() == missing:
                return _since_1970(other)
    return _since_1970(read)


def _day_or_month_first(column: pd.Series) -> list[str]:
    """The formats of dates such as 31/12/2005, if the numbers say which is the day."""
    parts = [_DAY_AND_MONTH.fullmatch(x) if isinstance(x, str) else None for x in column]
    if not all(parts):
        return []
    first = max(int(x.group(1)) for x in parts if x)
    second = max(int(x.group(3)) for x in parts if x)
    if (first > 12) == (second > 12):
        return []
    _, by, _, year, rest = parts[0].groups()  # type: ignore[union-attr]
    date = by.join(["%d", "%m"] if first > 12 else ["%m", "%d"]) + by
    date += "%Y" if len(year) == 4 else "%y"
    clocks = (" %H:%M", " %H:%M:%S", ", %H:%M", " %I:%M %p", " %I:%M:%S %p")
    return [date + (clock if rest else "") for clock in clocks]


def _ambiguous(column: pd.Series) -> str:
    if all(isinstance(x, str) and _DAY_AND_MONTH.fullmatch(x) for x in column):
        return " (which is the day and which the month does not show)"
    return ""


def moment(at: Any) -> float:
    """A time as a number: one, a date, or "now", in seconds since 1970.

    Raises
    ------
    DataError
        For anything else.
    """
    if isinstance(at, str) and at == "now":
        return time.time()
    try:
        value = float(seconds([at])[0])
    except DataError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(f'found at={at!r}; expected a number, a date, or "now"')
    return value


def recency(n: int, timestamps: Sequence[float] | None, half_life: float | None) -> Floats:
    """Weights that halve with every ``half_life`` before the newest rating, shape (n,).

    >>> recency(3, [0, 5, 10], half_life=5.0).tolist()
    [0.25, 0.5, 1.0]

    Raises
    ------
    DataError
        If only one of the two is given, or they cannot be used.
    """
    if timestamps is None and half_life is None:
        return np.ones(n)
    if timestamps is None or half_life is None:
        raise DataError("timestamps and half_life go together; found only one of them")
    times = checked_times(n, timestamps)
    return decayed(times.max(initial=-np.inf) - times, checked_half_life(half_life))


def checked_times(n: int, timestamps: Sequence[float]) -> Floats:
    """Times of ``n`` ratings as numbers, in their order.

    Raises
    ------
    DataError
        If there are more or fewer, or some are neither numbers nor dates.
    """
    if isinstance(timestamps, Mapping):
        raise DataError(
            f"found timestamps of type {type(timestamps).__name__}; expected a list, in the order "
            "of the ratings"
        )
    times = seconds(timestamps)
    bad = int(np.sum(~np.isfinite(times)))
    if times.shape != (n,) or bad:
        raise DataError(
            f"found timestamps of shape {times.shape}, {bad} of them neither numbers nor dates; "
            f"expected {n} finite numbers or dates (as text: ISO 8601; others: pandas.to_datetime)"
        )
    return times


def decayed(age: Floats, half_life: float) -> Floats:
    """Weights by age: halved by every half-life, and never quite nothing."""
    return np.maximum(0.5 ** (age / half_life), 1e-9)


def checked_half_life(half_life: Any) -> float:
    """A half-life as a number; a length of time, such as a timedelta, in seconds.

    Raises
    ------
    DataError
        Unless it is positive.
    """
    number = half_life
    if isinstance(half_life, (timedelta, np.timedelta64)):  # that of pandas is one of the former
        number = pd.Timedelta(half_life).total_seconds()
    if isinstance(number, bool) or not (isinstance(number, Real) and 0 < float(number) < np.inf):
        raise DataError(
            f"found half_life={half_life!r}; expected a positive number, or a length of time"
        )
    return float(number)
