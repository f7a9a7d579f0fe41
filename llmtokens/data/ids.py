"""Raw ids: as Surprise has them, from files (text) or frames (any type), and how they meet.

The rule for what is one id, wherever ids of two sources meet: a whole number, the same as a float,
and the text of either are one (1, 1.0, "1" and "1.0"); any other id is what ``str`` makes of it
("007" is not 7). One table must not hold the same id in two ways.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import pandas as pd

from ..errors import DataError, LLMTokensWarning, sample
from ..runtime.arrays import Floats, Rows
from ..runtime.locks import cached_property

_WHOLE_FLOAT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


def id_text(raw: Hashable) -> str:
    """What an id reads like; two ids are one where this is equal.

    >>> [id_text(raw) for raw in (1, 1.0, "1", "1.0", "007", 1.5)]
    ['1', '1', '1', '1', '007', '1.5']
    """
    if isinstance(raw, str):
        whole = _WHOLE_FLOAT.fullmatch(raw)
        return whole.group(1) if whole else raw
    if isinstance(raw, (float, np.floating)) and float(raw).is_integer():
        return str(int(raw))
    try:
        return str(raw)
    except ValueError:  # a whole number of thousands of digits
        return hex(raw)  # type: ignore[arg-type]


def as_written(ids: list[Hashable], others: Iterable[Hashable]) -> list[Hashable]:
    """Ids in the type of the others, where those are all text or all whole numbers.

    >>> as_written([7], ["1", "x"]), as_written(["7", "x"], [1, 2])
    (['7'], [7, 'x'])
    """
    types = set(map(type, others))
    texts = [id_text(raw) for raw in ids]
    if len(types) != 1 or len(set(texts)) < len(texts):
        return ids
    if types == {str}:
        return [*texts]
    if types == {int}:
        return [
            int(text) if _WHOLE.fullmatch(text) else raw
            for raw, text in zip(ids, texts, strict=True)
        ]
    return ids


class IdIndex:
    """Rows of raw ids: exact match first, then by :func:`id_text` where only one id reads so.

    >>> index = IdIndex([10, "b"])
    >>> index.rows([10, "10", 10.0, "10.0", "c"]).tolist()
    [0, 0, 0, 0, -1]
    """

    def __init__(self, ids: Sequence[Hashable]) -> None:
        self._ids = ids
        self.exact = {raw: row for row, raw in enumerate(ids)}

    @cached_property
    def _by_text(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        for row, raw in enumerate(self._ids):
            text = id_text(raw)
            rows[text] = -1 if text in rows else row
        return rows

    def row(self, raw: Hashable) -> int:
        """The row of one id, -1 where it is not in the table."""
        row = self.exact.get(raw)
        return self._by_text.get(id_text(raw), -1) if row is None else row

    def rows(self, ids: Iterable[Hashable]) -> Rows:
        """The rows of many ids, -1 where absent, shape (n,)."""
        return np.array([self.row(raw) for raw in ids], np.int64)


def plain_id(raw: Hashable) -> Hashable:
    """An id as a plain Python object: what NumPy's scalars hold."""
    return raw.item() if isinstance(raw, np.generic) else raw


def plain_ids(ids: Iterable[Hashable]) -> list[Hashable]:
    """Ids as plain Python objects, none missing, none twice.

    Raises
    ------
    DataError
        Naming the first ids that are missing (None or NaN) or stand twice; also for what cannot be
        an id, such as a list.
    """
    plain = list(map(plain_id, ids))
    missing = [k for k, raw in enumerate(plain) if is_missing(raw)]
    if missing:
        raise DataError(f"found rows without an id, at positions {sample(missing)}; drop them")
    seen: set[Hashable] = set()
    try:
        twice = [raw for raw in plain if raw in seen or seen.add(raw)]  # type: ignore[func-returns-value]
    except TypeError as error:
        raise DataError(
            f"found an id that is none ({error}); expected raw ids such as str or int"
        ) from error
    if twice:
        raise DataError(
            f"found {len(twice)} duplicate ids, the first being {sample(twice)}; expected one row "
            "per id: drop the duplicates or join what they say"
        )
    return plain


def table_ids(ids: Iterable[Hashable], what: str) -> list[Hashable]:
    """Ids of a table's rows: plain objects, none missing, none twice in any form.

    Raises
    ------
    DataError
        As :func:`plain_ids`; also where one id is there in two forms, such as 1 and "1".
    """
    plain = plain_ids(ids)
    require_one_type(plain, what)
    return plain


def require_one_type(ids: Iterable[Hashable], what: str) -> None:
    """Raise DataError where the same id is there in two types, such as 1 and "1"."""
    ids = list(ids)
    if len(set(map(type, ids))) < 2 and not any(isinstance(x, str) and "." in x for x in ids):
        return
    seen: dict[str, Hashable] = {}
    twice = [
        (seen[text], raw)
        for raw in ids
        if (text := id_text(raw)) in seen or seen.setdefault(text, raw) is not raw
    ]
    if twice:
        raise DataError(
            f"{what}: found {len(twice)} ids in two forms, such as {sample(twice[0])}; expected "
            "one: make them all of one type, as with frame[column].astype(str)"
        )


def id_column(column: pd.Series, what: str) -> pd.Series:
    """Ids of a table: whole floats as int, the types of NumPy and pandas as plain ones, and blank
    texts as what they are: none.

    Raises
    ------
    DataError
        If the same id is there in two types, or something is no id.

    Warns
    -----
    LLMTokensWarning
        For floats that cannot have been ids: with fractions, or too large to be exact.

    >>> id_column(pd.Series([1.0, 2.0]), "the frame").tolist()
    [1, 2]
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        if pd.api.types.is_string_dtype(column.cat.categories.dtype):
            blank = [x for x in column.cat.categories if isinstance(x, str) and not x.strip()]
            column = column.cat.remove_categories(blank) if blank else column
            require_one_type(column.cat.categories, what)
            return column
        column = column.astype(column.cat.categories.dtype)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu":
        return column
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        values = column.to_numpy(np.float64, na_value=np.nan)
        known = values[~np.isnan(values)]
        if len(known) and (np.abs(known) < 2**53).all() and (known == np.floor(known)).all():
            if len(known) == len(values):
                return pd.Series(values.astype(np.int64), index=column.index)
            whole = [x if math.isnan(x) else int(x) for x in values.tolist()]
            return pd.Series(whole, index=column.index, dtype=object)
        if column.dtype.kind == "f":
            _warn_of_floats(known, what)
        return (
            column.astype("int64") if column.dtype.kind in "iu" and column.notna().all() else column
        )
    try:
        codes, distinct = pd.factorize(column.astype(object))
    except TypeError as error:
        raise DataError(
            f"{what}: found ids that are none ({error}); expected numbers or text"
        ) from error
    require_one_type(distinct, what)
    plain = [_nan_if_blank(_plain_whole(raw)) for raw in distinct]
    if all(a is b for a, b in zip(plain, distinct, strict=True)):
        return column
    made = np.empty(len(plain) + 1, dtype=object)
    made[:-1], made[-1] = plain, np.nan
    return pd.Series(made[codes], index=column.index, dtype=object).infer_objects()


def same_kind(columns: Sequence[tuple[pd.Series, bool]]) -> list[pd.Series]:
    """Ids that were read from text as ``int`` where they, and those of other tables, all are.

    Each column comes with whether it is from text; "1.0" counts as whole, "007" does not.
    """
    found: list[Rows | None] = []
    for column, from_text in columns:
        if pd.api.types.is_integer_dtype(column.dtype):
            found.append(None)
        elif not from_text:
            return [_as_text(column, text) for column, text in columns]
        else:
            codes, distinct = pd.factorize(column)
            texts = [id_text(raw) for raw in distinct]
            if (codes < 0).any() or not all(map(_WHOLE.fullmatch, texts)):
                return [_as_text(column, text) for column, text in columns]
            found.append(np.array([int(x) for x in texts], np.int64)[codes])
    return [
        _as_text(column, False) if whole is None else pd.Series(whole, index=column.index)
        for (column, _), whole in zip(columns, found, strict=True)
    ]


def _as_text(column: pd.Series, from_text: bool) -> pd.Series:
    """Ids of a text as they read, where those of another table are no whole numbers."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(object)
    return column.astype(str).astype(object) if from_text and column.dtype.kind in "iu" else column


def _warn_of_floats(known: Floats, what: str) -> None:
    odd = known[(known != np.floor(known)) | (np.abs(known) >= 2**53)]
    if len(odd):
        warnings.warn(
            f"{what}: found ids that are floats, such as {float(odd[0])!r}, with fractions or too "
            "large to be exact; expected whole numbers or text: read the column as text, as with "
            "pd.read_csv(path, dtype=str)",
            LLMTokensWarning,
            stacklevel=5,
        )


def _nan_if_blank(raw: Hashable) -> Hashable:
    return np.nan if isinstance(raw, str) and not raw.strip() else raw


def _plain_whole(raw: Hashable) -> Hashable:
    raw = plain_id(raw)
    return int(raw) if isinstance(raw, float) and raw.is_integer() else raw


def as_column(values: Iterable[Hashable]) -> pd.Series:
    """Ids or names as a column of their own type; as objects where no one type holds them all.

    >>> as_column([1, 2]).dtype, as_column([1, "b"]).dtype
    (dtype('int64'), dtype('O'))
    """
    column = pd.Series(list(values), dtype=object)
    try:
        return column.infer_objects()
    except UnicodeEncodeError:  # half of a surrogate pair, which no string type of pandas holds
        return column


def is_missing(raw: Hashable) -> bool:
    """Whether an id is none: None, NaN, or what pandas has for them.

    >>> [is_missing(raw) for raw in (None, float("nan"), pd.NA, 0, "")]
    [True, True, True, False, False]
    """
    if raw is None or (isinstance(raw, float) and math.isnan(raw)):
        return True
    return type(raw).__name__ in ("NAType", "NaTType")
