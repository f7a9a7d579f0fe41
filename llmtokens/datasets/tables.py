"""One careful reader of tables: text in any dialect, JSON lines and Parquet, packed or not."""

from __future__ import annotations

import ast
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import (
    DataError,
    FileFormatError,
    LLMTokensError,
    LLMTokensWarning,
    MissingExtraError,
    StorageError,
    sample,
)
from . import cells, columns, dialect
from .columns import Kind
from .dialect import Dialect, Form
from .unpack import UNREADABLE, check_parquet, read_bytes

Source = str | os.PathLike[str]

_FOREIGN = (
    ".xlsx", ".xls", ".xlsm", ".ods", ".feather", ".arrow", ".orc", ".pkl", ".pickle", ".h5",
    ".hdf5", ".sas7bdat", ".dta", ".sav", ".rds", ".rdata", ".arff", ".mat", ".npy", ".npz",
)  # fmt: skip
_MANY = 10  # rows that all end in a surplus separator are meant to
_NUMBERED = " Do the rows begin with their number, which has no name in the header?"


@dataclass(frozen=True)
class Table:
    """A frame, and where its rows stand in what it was read from.

    Attributes
    ----------
    frame : DataFrame
    source : str
        The file's name, or "the ratings frame".
    is_text : bool
        Whether it comes from text, in which ids have no type.
    where : callable
        From a row's number to its place in words, such as "line 3".
    """

    frame: pd.DataFrame
    source: str
    is_text: bool
    where: Callable[[int], str]


def read(
    path: Source,
    kinds: Mapping[str, Kind],
    optional: Mapping[str, Kind] = {},
    *,
    others: bool = False,
    form: Form = Form(),  # noqa: B008
) -> Table:
    """Read a file.

    Parameters
    ----------
    path : path
        Text, JSON lines or Parquet, told by the first bytes.
    kinds : dict
        The columns that must be there, and what they hold.
    optional : dict
        Those that may be.
    others : bool
        Whether to read all other columns as well: as numbers where all cells are, or else as text.
    form : Form
        How a text file is written, as far as it shall not be told from its bytes.

    Returns
    -------
    Table
        Ids and times of a text are int64 where all are whole numbers, else text, ids as categories;
        numbers are float64; what is missing is NaN.

    Raises
    ------
    DataError
        For a missing column, no rows, or a cell that is no number where there must be one.
    FileFormatError, StorageError
        For a file that is not what it seems, or cannot be opened.
    MissingExtraError
        For a Parquet file, without pyarrow.
    """
    source, place = os.fspath(path), Path(path).expanduser()
    if place.suffix.lower() in _FOREIGN:
        raise DataError(
            f"{source}: is no text, JSON or Parquet. Read it with pandas and pass the DataFrame."
        )
    try:
        if place.is_dir() or _is_parquet(place):
            check_parquet(place)
            table = of_frame(pd.read_parquet(place), source)
        else:
            raw = read_bytes(place, source)
            if raw.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"{", b"["):
                table = of_frame(_from_json(raw, source), source)
            else:
                return parse(raw, source, kinds, optional, others=others, form=form)
    except ImportError as error:
        raise MissingExtraError(
            f"{source}: reading Parquet needs pyarrow: pip install pyarrow."
        ) from error
    except LLMTokensError:
        raise
    except OSError as error:
        if error.errno is None and not isinstance(error, FileNotFoundError):
            raise FileFormatError(f"{source}: is damaged: {error}") from error
        raise StorageError(f"{source}: cannot be read ({error}); check the path.") from error
    except (*UNREADABLE, TypeError, ArithmeticError, AttributeError) as error:
        what = "is not Parquet" if place.is_dir() or _is_parquet(place) else "is damaged"
        raise FileFormatError(f"{source}: {what}: {error}") from error
    require(table, list(kinds))
    return table


def of_frame(frame: pd.DataFrame, source: str) -> Table:
    """A frame as it is."""
    return Table(frame, source, False, lambda row: f"row {row}")


def require(table: Table, columns: Sequence[str]) -> Table:
    """The table, if it has rows and these columns; those that name its index become columns."""
    frame = table.frame
    if any(name not in frame for name in columns) and any(x in columns for x in frame.index.names):
        frame = frame.reset_index()
        table = Table(frame, table.source, table.is_text, table.where)
    missing = [name for name in columns if name not in frame]
    if missing:
        raise DataError(dialect.missing_columns(missing, list(frame.columns), table.source))
    for name in columns:
        if isinstance(frame[name], pd.DataFrame):
            raise DataError(f"{table.source}: the column {name!r} is there more than once.")
    if frame.empty:
        raise DataError(f"{table.source}: the table has columns and no rows.")
    return table


def parse(
    raw: bytes,
    source: str,
    kinds: Mapping[str, Kind],
    optional: Mapping[str, Kind] = {},
    *,
    others: bool = False,
    form: Form = Form(),  # noqa: B008
) -> Table:
    """Read the text of a file: see :func:`read`."""
    known = {**kinds, **optional}
    looked_at = None if others else list(known)
    found = dialect.find(raw, source, list(kinds), list(known), looked_at, form)
    _check_rows(found, source)

    def where(row: int) -> str:
        return f"line {found.line(row)}"

    kept = {name: known.get(name) for name in found.names if others or name in known}
    made = columns.read(found, kept)
    for name, kind in kept.items():
        column = made[name]
        if kind == "number":
            made[name] = pd.Series(cells.numbers(column, name, source, where), copy=False)
        elif kind == "id":
            _check_words(column, name, source, where)
        elif kind is None and name.startswith("Unnamed: ") and column.isna().all():
            del made[name]  # behind a separator at the end of each line
        elif kind is None:
            made[name] = cells.typed(column, name, source, where)
    return Table(pd.DataFrame(made, copy=False), source, True, where)


def _check_words(column: pd.Series, name: str, source: str, where: cells.Where) -> None:
    """Words for what is missing: an error among numbers, a warning among other ids."""
    if pd.api.types.is_integer_dtype(column.dtype):
        return
    distinct = column.cat.categories
    words = [x for x in cells.WORDS if x in distinct]
    if not words:
        return
    rows = np.flatnonzero(column.isin(words))
    others = distinct.difference(words)
    if all(x.lstrip("-").replace(".0", "").isdecimal() for x in others):
        raise DataError(
            f"{source}: {len(rows)} rows have no {name!r} id, which reads "
            f"{column[rows[0]]!r} in {where(int(rows[0]))} where all others are numbers; drop "
            "these rows"
        )
    cells.warn_of_words(column, name, source, where)


def _check_rows(found: Dialect, source: str) -> None:
    """Rows of too many cells are errors, and of too few where they are more than missing ends."""
    scan, width = found.scan, len(found.names)
    if scan.long is not None:
        at, n = scan.long
        line, row = _line_at(found, at)
        several = f", and {scan.n_long - 1} more rows have too many" if scan.n_long > 1 else ""
        raise FileFormatError(
            f"{source}: line {line} has {n} cells ({sample(row, 8)}) where there are {width} "
            f"columns ({sample(found.names, 8)}){several}.{_why_long(found, row, width)}"
        )
    if scan.broken is not None:
        line, row = _line_at(found, scan.broken)
        raise FileFormatError(
            f"{source}: line {line} ends after {len(row)} cells ({sample(row, 8)}) and goes on in "
            "the next: a cell with a line break and no quotes around it; join the lines"
        )
    if not scan.rows:
        raise DataError(f"{source}: the table has columns and no rows.")
    last = found.names[-1]
    if last.startswith("Unnamed: ") and width > 2 and np.not_equal(*found.cells(last)).any():
        warnings.warn(
            f"{source}: the header ends with a separator, and cells stand below it that have no "
            "name; see that no cell before holds a separator, such as a decimal comma",
            LLMTokensWarning,
            stacklevel=2,
        )
    if scan.n_surplus > 0 and (scan.n_surplus < scan.rows or scan.rows < _MANY):
        line, row = _line_at(found, scan.surplus or 0)
        warnings.warn(
            f"{source}: {scan.n_surplus} of {scan.rows} rows end in a cell that is surplus and "
            f"empty, the first in line {line} ({sample(row, 8)}); it is left out: see that no cell "
            "before it holds a separator",
            LLMTokensWarning,
            stacklevel=2,
        )
    if found.padded and f"{found.sep}  ".encode() in found.data[found.start :]:
        warnings.warn(
            f"{source}: spaces follow every separator; those at the beginning of texts are left "
            "out with them",
            LLMTokensWarning,
            stacklevel=2,
        )
    if scan.short is not None:
        line, row = _line_at(found, scan.short[0])
        warnings.warn(
            f"{source}: {scan.n_short} rows have fewer cells than there are columns, the first in "
            f"line {line} ({sample(row, 8)}); what lacks at their end is taken for missing",
            LLMTokensWarning,
            stacklevel=2,
        )


def _line_at(found: Dialect, at: int) -> tuple[int, list[str]]:
    end = found.data.find(b"\n", at)
    text = found.data[at : len(found.data) if end < 0 else end].decode("utf-8", "replace")
    return found.data.count(b"\n", 0, at) + 1, dialect.split(text, found.sep)


def _why_long(found: Dialect, row: Sequence[str], width: int) -> str:
    digits = [x.strip().lstrip("-").isdecimal() for x in row]
    numbered = found.scan.n_long == found.scan.rows and len(row) == width + 1
    if numbered and row[0].strip() in ("0", "1"):
        return _NUMBERED
    if (
        found.sep == ","
        and 2 * found.scan.n_long > found.scan.rows
        and any(
            a and b and len(y.strip()) <= 2
            for a, b, y in zip(digits, digits[1:], row[1:], strict=False)
        )
    ):
        return (
            " Is there a decimal comma? Write numbers with a point, put them in quotes, or use "
            "another separator"
        )
    if numbered:
        return _NUMBERED
    return " Put quotes around a cell that holds the separator"


# ---- JSON and Parquet


def _is_parquet(path: Path) -> bool:
    if path.suffix.lower() in (".parquet", ".pq"):
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _from_json(raw: bytes, source: str) -> pd.DataFrame:
    """One object a line (as Amazon and Yelp write them), or one list of all of them."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FileFormatError(f"{source}: line {line} is not UTF-8, as JSON must be") from error
    if text.lstrip().startswith("["):
        try:
            records = list(enumerate(json.loads(text), 1))
        except ValueError as error:
            raise FileFormatError(f"{source}: is not JSON: {error}") from error
        place = "object"
    else:
        lines = text.split("\n")
        records = [(k, _object(x, k, source)) for k, x in enumerate(lines, 1) if x.strip()]
        place = "line"
    for k, record in records:
        if not isinstance(record, dict):
            raise FileFormatError(f"{source}: {place} {k} is {record!r:.40}; expected an object")
    if len(records) == 1 and all(isinstance(x, (dict, list)) for x in records[0][1].values()):
        raise FileFormatError(
            f"{source}: is one JSON object of columns; write one object a line: "
            "frame.to_json(path, orient='records', lines=True)"
        )
    names = dict.fromkeys(name for _, record in records for name in record)
    return pd.DataFrame(
        {name: _values([record.get(name) for _, record in records]) for name in names}
    )


def _values(given: list[Any]) -> pd.Series:
    """A column of JSON: of numbers where all that are there are."""
    column = pd.Series(given, dtype=object)
    known = [x for x in given if x is not None]
    if known and all(type(x) in (int, float) and abs(x) < 2**53 for x in known):
        return pd.to_numeric(column)
    return column if len(known) < len(given) else column.infer_objects()


def _object(line: str, k: int, source: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        try:  # Amazon's older files are dictionaries of Python
            return ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise FileFormatError(
                f"{source}: line {k} is no JSON object: {error}; expected one a line"
            ) from error
