"""Ratings from tables that come in pieces: folders of Parquet files, Dask and pandas frames."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..data.ids import plain_ids, same_kind
from ..data.ratings import Ratings, checked_scale
from ..data.times import seconds
from ..datasets import tables
from ..errors import (
    DataError,
    FileFormatError,
    MissingExtraError,
    StorageError,
    sample,
)
from ..runtime.arrays import Floats

COLUMNS = ["user", "item", "rating"]
TIME = "timestamp"
_ROWS = 1 << 20  # that are read, or put in order, at once
MISSING = (
    "{what} needs {package}, which is not installed; run: pip install 'llmtokens[distributed]'"
)


class Table(NamedTuple):
    """Ratings, and when each was made; None where nobody says."""

    ratings: Ratings
    times: Floats | None


def read(ratings: Any, scale: Any, client: Any = None) -> Table:
    """All ratings as arrays, ids numbered as they appear, as Surprise would number them.

    Raises
    ------
    DataError
        For missing columns or ids, ratings that are NaN, outside the scale or beyond 1e30, no
        ratings at all, and pairs that are rated twice: with the name of the piece, and the first
        offenders; for a scale that is none.
    FileFormatError, StorageError
        For a file that is not whole Parquet, or cannot be opened.
    """
    low, high = checked_scale(scale)
    ids: tuple[dict[Any, int], dict[Any, int]] = {}, {}
    users, items, values = array("i"), array("i"), array("d")  # grow without a second copy
    times, timed = array("d"), None
    for name, frame in _pieces(ratings, client):
        values.frombytes(_values(name, frame, low, high).tobytes())
        users.frombytes(_codes(name, frame["user"], ids[0]).tobytes())
        items.frombytes(_codes(name, frame["item"], ids[1]).tobytes())
        timed = _same_kind(name, TIME in frame.columns, timed)
        if timed:
            times.frombytes(seconds(frame[TIME].reset_index(drop=True)).tobytes())
    user, item, value = (np.frombuffer(x, x.typecode) for x in (users, items, values))
    del users, items, values  # so that each is freed when it has been put in order
    if not len(user):
        raise DataError("found no ratings: expected at least one to fit on")
    counts = np.bincount(user)
    ptr = np.concatenate([[0], np.cumsum(counts)])
    value = _by_user(user, ptr, value)
    item = _by_user(user, ptr, item)
    when = _by_user(user, ptr, np.frombuffer(times, np.float64)) if timed else None
    user = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    made = Ratings(user, item, value, ptr, (low, high), plain_ids(ids[0]), plain_ids(ids[1]))
    made.check()
    _check_pairs(made)
    return Table(made, when)


def _same_kind(name: str, timed: bool, before: bool | None) -> bool:
    if before is not None and timed != before:
        raise DataError(
            f"{name} {'has' if timed else 'lacks'} the column {TIME}, unlike the pieces before; "
            "expected it in all of them or in none"
        )
    return timed


def _pieces(ratings: Any, client: Any) -> Iterator[tuple[str, pd.DataFrame]]:
    if isinstance(ratings, pd.DataFrame):
        yield "the frame", _columns("the frame", ratings)
    elif isinstance(ratings, (str, Path)):
        path = Path(ratings)
        if path.is_file() and path.suffix.lower() not in (".parquet", ".pq"):
            yield repr(str(path)), _text(path)
        else:
            yield from _parquet(path)
    elif hasattr(ratings, "partitions") and hasattr(ratings, "columns"):
        for k in range(ratings.npartitions):
            name = f"partition {k} of the Dask DataFrame"
            part = _columns(name, ratings.partitions[k])
            yield name, part.compute() if client is None else client.compute(part).result()
    else:
        raise DataError(
            f"found ratings of type {type(ratings).__name__}; expected a folder of Parquet files, "
            "a Dask DataFrame or a pandas DataFrame, with the columns user, item and rating"
        )


def _text(path: Path) -> pd.DataFrame:
    """A text of ratings, as :func:`~llmtokens.datasets.load_ratings` reads it."""
    frame = tables.read(path, {"user": "id", "item": "id", "rating": "number"}).frame
    sides = {side: same_kind([(frame[side], True)])[0] for side in ("user", "item")}
    return frame.assign(**sides)


def _parquet(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(MISSING.format(what="Parquet", package="pyarrow")) from error
    files = [folder]
    if folder.is_dir():  # of those in it, some may be folders, as Dask and Spark name theirs
        files = sorted((x for x in folder.rglob("*.parquet") if not x.is_dir()), key=_natural)
    if not files or not files[0].exists():
        raise StorageError(
            f"found no Parquet files at {str(folder)!r}; expected a folder of *.parquet, or one"
        )
    for path in files:
        try:
            file = parquet.ParquetFile(path)
            wanted = _require(repr(str(path)), file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
                # what pandas has written beside the columns would make an index of some
                yield repr(str(path)), batch.to_pandas(ignore_metadata=True)
        except (pyarrow.ArrowException, OSError) as error:
            if getattr(error, "errno", None):  # the system's word, not that of the reader
                raise StorageError(
                    f"could not read {str(path)!r} ({error}); check the path"
                ) from error
            raise FileFormatError(
                f"{str(path)!r} is not a whole Parquet file ({error!s:.200}); restore it from a "
                "copy, or write it again"
            ) from error


def _natural(path: Path) -> tuple[list[Any], str]:
    """Sorts part.10 after part.9, as Dask does, which writes and reads them in this order."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], str(path)


def _columns(name: str, frame: Any) -> Any:
    return frame[_require(name, list(frame.columns))]


def _require(name: str, found: list[str]) -> list[str]:
    """The columns to read."""
    if any(found.count(column) != 1 for column in COLUMNS):
        raise DataError(
            f"{name} has the columns {sample(found)}; expected user, item and rating, each once"
        )
    return [*COLUMNS, TIME] if found.count(TIME) == 1 else COLUMNS


def _values(name: str, frame: pd.DataFrame, low: float, high: float) -> Any:
    try:
        value = frame["rating"].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name} has ratings that are not numbers ({error})") from error
    bad = np.flatnonzero(~((value >= low) & (value <= high)))
    if len(bad):
        rows = frame.iloc[bad[:6]][COLUMNS].astype(object).itertuples(index=False, name=None)
        raise DataError(
            f"{name} has {len(bad)} ratings that are NaN or outside the scale from {low:g} to "
            f"{high:g}, the first (user, item, rating) being {sample(rows)}; drop them, or pass "
            "the rating_scale they have"
        )
    return value


def _codes(name: str, column: Any, known: dict[Any, int]) -> Any:
    """Numbers of ids; new ones are added to ``known`` as they appear."""
    plain = column.astype(object) if column.dtype == "category" else column
    try:
        own, uniques = pd.factorize(plain)
    except TypeError as error:
        raise DataError(
            f"{name} has {column.name} ids that cannot be ids ({error}); expected numbers or text"
        ) from error
    if len(own) and own.min() < 0:
        row = int(np.flatnonzero(own < 0)[0])
        raise DataError(
            f"{name} has no {column.name} id in row {row}, the first of such; drop them"
        )
    codes = [known.setdefault(raw, len(known)) for raw in uniques.tolist()]
    return np.array(codes, np.int32)[own]


def _by_user(user: Any, ptr: Any, column: Any) -> Any:
    """A column in the order of users, and of one user's ratings as they came."""
    made, free = np.empty_like(column), ptr[:-1].copy()
    for first in range(0, len(user), _ROWS):
        order = np.argsort(user[first : first + _ROWS], kind="stable") + first
        ordered = user[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        counts, own = np.diff(starts, append=len(ordered)), ordered[starts]
        made[np.repeat(free[own] - starts, counts) + np.arange(len(ordered))] = column[order]
        free[own] += counts
    return made


def _check_pairs(ratings: Ratings) -> None:
    """No user rates an item twice: the later rating might be meant, or the mean."""
    for first in range(0, ratings.n_users, 4096):
        at = slice(*ratings.user_ptr[[first, min(first + 4096, ratings.n_users)]])
        pair = ratings.user[at].astype(np.int64) * ratings.n_items + ratings.item[at]
        order = np.argsort(pair, kind="stable")
        again = order[1:][np.diff(pair[order]) == 0]
        if len(again):
            found = [divmod(int(pair[k]), ratings.n_items) for k in sorted(again[:6].tolist())]
            names = sample((ratings.user_ids[u], ratings.item_ids[i]) for u, i in found)
            raise DataError(
                f"found pairs that are rated twice, such as (user, item) {names}; keep one rating "
                "of each, say the last: frame.drop_duplicates(['user', 'item'], keep='last')"
            )
