"""Tables of ratings in pieces, read one by one: files of Parquet, Dask and pandas frames."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..data.ids import same_kind
from ..datasets import tables
from ..errors import DataError, FileFormatError, MissingExtraError, StorageError, sample

COLUMNS = ["user", "item", "rating"]
TIME = "timestamp"
ROWS = 1 << 20  # of a piece, about
MISSING = (
    "{what} needs {package}, which is not installed; run: pip install 'llmtokens[distributed]'"
)


class Piece(NamedTuple):
    """Some rows of a table.

    Attributes
    ----------
    name : str
        Of what they are from, as a reader would look it up.
    read : callable
        Returns a frame; for a process that sees the files.
    here : bool
        Whether the rows are in this process already.
    """

    name: str
    read: Callable[[], pd.DataFrame]
    here: bool = False


def pieces(ratings: Any) -> list[Piece]:
    """In order.

    Raises
    ------
    DataError
        For what is no table of ratings, or lacks a column.
    FileFormatError, StorageError
        For a file that is not whole Parquet, or cannot be opened.
    MissingExtraError
        Where Parquet cannot be read.
    """
    if isinstance(ratings, pd.DataFrame):
        frame = ratings[_require("the frame", list(ratings.columns))]
        starts = range(0, max(len(frame), 1), ROWS)
        return [Piece("the frame", partial(_slice, frame, k), here=True) for k in starts]
    if isinstance(ratings, (str, Path)):
        path = Path(ratings)
        if path.is_file() and path.suffix.lower() not in (".parquet", ".pq"):
            return [Piece(repr(str(path)), partial(_text, path))]
        return _parquet(path)
    if hasattr(ratings, "partitions") and hasattr(ratings, "columns"):
        wanted = _require("the Dask DataFrame", list(ratings.columns))
        return [
            Piece(f"partition {k} of the Dask DataFrame", ratings[wanted].partitions[k].compute)
            for k in range(ratings.npartitions)
        ]
    raise DataError(
        f"found ratings of type {type(ratings).__name__}; expected a folder of Parquet files, "
        "a Dask DataFrame or a pandas DataFrame, with the columns user, item and rating"
    )


def parquet_files(folder: Path) -> list[Path]:
    """The file, or those of a folder, in the order in which Dask numbers them.

    Raises
    ------
    StorageError
        If there are none.
    """
    files = [folder]
    if folder.is_dir():  # of those in it, some may be folders, as Dask and Spark name theirs
        files = sorted((x for x in folder.rglob("*.parquet") if not x.is_dir()), key=_natural)
    if not files or not files[0].exists():
        raise StorageError(
            f"found no Parquet files at {str(folder)!r}; expected a folder of *.parquet, or one"
        )
    return files


def row_groups(path: Path) -> tuple[list[str], list[range]]:
    """Columns of a Parquet file, and runs of its row groups, of about a million rows each.

    Raises
    ------
    FileFormatError, StorageError
        If it is not whole, or cannot be opened.
    MissingExtraError
        Without pyarrow.
    """
    found = _read(path, lambda file: (file.schema_arrow.names, [
        file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)
    ]))  # fmt: skip
    names, counts = found
    runs, first, rows = [], 0, 0
    for k, count in enumerate(counts):
        if rows and rows + count > ROWS:
            runs.append(range(first, k))
            first, rows = k, 0
        rows += count
    return names, [*runs, range(first, len(counts))]


def read_groups(path: Path, groups: range, columns: list[str]) -> pd.DataFrame:
    """Some rows of a Parquet file.

    Raises
    ------
    FileFormatError, StorageError
        If it is not whole, or cannot be opened.
    """
    # what pandas has written beside the columns would make an index of some
    read: pd.DataFrame = _read(
        path,
        lambda file: file.read_row_groups(list(groups), columns).to_pandas(ignore_metadata=True),
    )
    return read


def _parquet(folder: Path) -> list[Piece]:
    _pyarrow()
    found = []
    for path in parquet_files(folder):
        names, runs = row_groups(path)
        wanted = _require(repr(str(path)), names)
        found += [Piece(repr(str(path)), partial(read_groups, path, run, wanted)) for run in runs]
    return found


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(MISSING.format(what="Parquet", package="pyarrow")) from error
    return pyarrow


def _read(path: Path, read: Callable[[Any], Any]) -> Any:
    pyarrow = _pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            return read(file)
    except (pyarrow.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # the system's word, not that of the reader
            raise StorageError(f"could not read {str(path)!r} ({error}); check the path") from error
        raise FileFormatError(
            f"{str(path)!r} is not a whole Parquet file ({error!s:.200}); restore it from a "
            "copy, or write it again"
        ) from error


def _slice(frame: pd.DataFrame, first: int) -> pd.DataFrame:
    return frame.iloc[first : first + ROWS]


def _text(path: Path) -> pd.DataFrame:
    """A text of ratings, as :func:`~llmtokens.datasets.load_ratings` reads it."""
    frame = tables.read(path, {"user": "id", "item": "id", "rating": "number"}).frame
    sides = {side: same_kind([(frame[side], True)])[0] for side in ("user", "item")}
    return frame.assign(**sides)


def _natural(path: Path) -> tuple[list[Any], str]:
    """Sorts part.10 after part.9, as Dask does, which writes and reads them in this order."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], str(path)


def _require(name: str, found: list[str]) -> list[str]:
    """The columns to read."""
    if any(found.count(column) != 1 for column in COLUMNS):
        raise DataError(
            f"{name} has the columns {sample(found)}; expected user, item and rating, each once"
        )
    return [*COLUMNS, TIME] if found.count(TIME) == 1 else COLUMNS
