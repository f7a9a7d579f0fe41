"""What cells say: numbers with a point or a comma, missing values, texts with HTML in them."""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, LLMTokensWarning
from ..runtime.arrays import Floats

Where = Callable[[int], str]  # the place of a row, as "line 3"

# What programs write for a missing value. Among numbers each is one; among texts only the first
# two are, as the others may be somebody's title or id.
ALWAYS_MISSING = ("", "\\N")
WORDS = (
    "NA", "N/A", "n/a", "na", "#N/A", "NaN", "nan", "NAN", "NULL", "null", "Null", "None", "none",
    "<NA>", "NaT",
)  # fmt: skip
MARKS = frozenset((*ALWAYS_MISSING, *WORDS, "-", "--", "?", "."))

_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.I)
_COMMA = re.compile(r"[+-]?\d*,\d+|[+-]?\d+", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+", re.ASCII)
_GROUPS_AND_COMMA = re.compile(r"[+-]?\d{1,3}(?:[. \u00a0\u202f]\d{3})*(?:,\d+)?", re.ASCII)
_GROUPS_AND_POINT = re.compile(r"[+-]?\d{1,3}(?:[, \u00a0\u202f']\d{3})*(?:\.\d+)?", re.ASCII)
_SURELY_GROUPS = re.compile(r"[,.]\d{3}[,.]|[ \u00a0\u202f']\d{3}")
_WHOLE = re.compile(r"-?\d+", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0\d|\+", re.ASCII)
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")

_NO_NUMBERS = {
    "dates": pd.api.types.is_datetime64_any_dtype,
    "lengths of time": pd.api.types.is_timedelta64_dtype,
    "complex numbers": pd.api.types.is_complex_dtype,
}
_LOOKS = (
    (re.compile(r"[+-]?\d{1,3}(?:,\d{3})+$"), "a sign between thousands, or a decimal comma?"),
    (re.compile(r"[+-]?\d*,\d+$"), "a decimal comma?"),
    (re.compile(r"[\d.,]+\s*%$"), "a percentage? Take the % away, here and in rating_scale"),
    (re.compile(r"[$€£¥]|[\d.,]+\s*(?:EUR|USD|GBP)$"), "a sum of money?"),
    (re.compile(r"\d+(?:\.\d+)?\s*/\s*\d+$"), "a share, such as 4/5? Keep what is before the /"),
    (re.compile(r"[★☆⭐*]+$"), "stars? Count them"),
    (re.compile(r"[+-]?[\d.,]+\s*(?:stars?|points?)", re.I), "a number with its unit?"),
    (re.compile(r"(?:true|false|yes|no|y|n|t|f)$", re.I), "yes or no? Write 1 and 0"),
    (re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"), "a date? Are the columns in another order?"),
    (re.compile("[\u2212\u2013]\\s*\\d"), "a minus of typography?"),
    (re.compile(r"\".*|.*\"$"), "a quote that is not closed?"),
    (re.compile(r"[A-Za-z]{2}"), "a word? Is it the right column?"),
)  # fmt: skip


def numbers(column: pd.Series, name: str, source: str, where: Where) -> Floats:
    """Values as float64, NaN where one is missing.

    Text may have decimal commas, if all of a column's numbers read so.

    Raises
    ------
    DataError
        Naming the first cell that is no number, its place, and what it looks like.
    """
    for what, holds in _NO_NUMBERS.items():
        if holds(column.dtype):
            raise DataError(
                f"{source}: {name!r} holds {what}; expected numbers. Name another column"
            )
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
        return numbers(column, name, source, where)
    codes, distinct = pd.factorize(column.astype(object))  # few values stand in many cells
    values = np.full(len(distinct) + 1, np.nan)
    texts = [(k, x.strip()) for k, x in enumerate(distinct) if isinstance(x, str)]
    for k, x in enumerate(distinct):
        if not isinstance(x, str):
            values[k] = _number(x)
    texts = [(k, x) for k, x in texts if x not in MARKS]
    read = _read([x for _, x in texts])
    if read is None:
        read = [_plain(x) for _, x in texts]
    values[[k for k, _ in texts]] = read
    wrong = {k for (k, x), value in zip(texts, read, strict=True) if np.isnan(value)}
    wrong |= {
        k
        for k, x in enumerate(distinct)
        if not isinstance(x, str) and np.isnan(values[k]) and not pd.api.types.is_scalar(x)
    }
    if wrong:
        rows = np.flatnonzero(np.isin(codes, list(wrong)))
        cell = distinct[codes[rows[0]]]
        raise DataError(
            f"{source}: {len(rows)} of {len(column)} cells in {name!r} are no numbers, the first "
            f"in {where(int(rows[0]))}: {cell!r:.60}{_looks_like(cell)}"
        )
    return values[codes]


def typed(column: pd.Series, name: str, source: str, where: Where) -> pd.Series:
    """A column of texts as numbers if all of them are; else with HTML entities decoded.

    What marks a missing value among numbers stays among texts, with a warning where it stands
    more than once.
    """
    texts = column.dropna()
    distinct = texts.unique()
    if not len(distinct):
        return column
    if _may_be_numbers(distinct):
        stripped = [x.strip() for x in distinct]
        known = [x for x in stripped if x not in MARKS]
        read = [float(x) for x in known] if all(map(_PLAIN.fullmatch, known)) else None
        if read is None and all(map(_COMMA.fullmatch, known)):
            warnings.warn(
                f"{source}: the cells in {name!r} may be numbers with a decimal comma, or lists, "
                f"such as {known[0]!r}; they are kept as text",
                LLMTokensWarning,
                stacklevel=2,
            )
        if known and read is not None and _safe(known, read):
            of = dict(zip(known, read, strict=True))
            values = column.map(lambda x: of.get(x.strip()) if isinstance(x, str) else None)
            values = values.astype(np.float64)
            whole = values.notna().all() and all(map(_WHOLE.fullmatch, known))
            return values.astype(np.int64) if whole else values
    warn_of_words(column, name, source, where)
    if any("&" in x and _ENTITY.search(x) for x in distinct):
        return column.map(lambda x: _ENTITY.sub(_decoded, x) if isinstance(x, str) else x)
    return column


def warn_of_words(column: pd.Series, name: str, source: str, where: Where) -> None:
    """Say where texts read like a missing value."""
    rows = np.flatnonzero(column.isin(WORDS).to_numpy())
    if len(rows):
        warnings.warn(
            f"{source}: {len(rows)} cells in {name!r} read {column.iloc[rows[0]]!r}, the first in "
            f"{where(int(rows[0]))}, and are kept as text; if that means missing, leave such cells "
            "empty",
            LLMTokensWarning,
            stacklevel=2,
        )


def _safe(texts: list[str], values: list[float]) -> bool:
    """Whether nothing is lost if these texts become numbers; 1e5 may be a name, 1.0e5 is none."""
    if any("e" in x.lower() and "." not in x for x in texts):
        return False
    return not any(map(_LEADING_ZERO.match, texts)) and max(map(abs, values)) < 2**53


def _decoded(match: re.Match[str]) -> str:
    return html.unescape(match.group())


def _may_be_numbers(distinct: NDArray[np.object_]) -> bool:
    """Whether the first values are numbers, so that the others are worth a look."""
    few = [x.strip() for x in distinct[:50]]
    return all(x in MARKS or x[:1].isdigit() or x[:1] in "+-.," for x in few)


def _read(texts: list[str]) -> list[float] | None:
    """Numbers that are all written in one way; None where they are not."""
    if all(map(_PLAIN.fullmatch, texts)):
        return [float(x) for x in texts]
    if all(map(_COMMA.fullmatch, texts)) and not all(
        _GROUPED.fullmatch(x) for x in texts if "," in x
    ):
        return [float(x.replace(",", ".")) for x in texts]
    sure = any(map(_SURELY_GROUPS.search, texts))
    if sure and all(map(_GROUPS_AND_COMMA.fullmatch, texts)):
        return [float(re.sub(r"[^\d,+-]", "", x).replace(",", ".")) for x in texts]
    if sure and all(map(_GROUPS_AND_POINT.fullmatch, texts)):
        return [float(re.sub(r"[^\d.+-]", "", x)) for x in texts]
    return None


def _plain(text: str) -> float:
    return float(text) if _PLAIN.fullmatch(text) or _INFINITE.fullmatch(text) else np.nan


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _looks_like(cell: object) -> str:
    if not isinstance(cell, str):
        return f" ({type(cell).__name__})"
    text = cell.strip()
    found = next((what for pattern, what in _LOOKS if pattern.match(text)), "")
    return f" ({found})" if found else ""
