"""load_ratings: anybody's CSV, TSV or Parquet files, or DataFrames, as RatingData."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import (
    AlignmentError,
    DataError,
    FileFormatError,
    LLMTokensError,
    MissingExtraError,
    StorageError,
)
from ..errors import sample as first_of
from .columns import numbers, same_kind, seconds
from .ratings import RatingData, check_ratings, check_unique
from .unpack import UNREADABLE, check_compressed, check_parquet, check_width, open_table

Table = str | os.PathLike[str] | pd.DataFrame

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip")


def load_ratings(
    ratings: Table,
    items: Table | None = None,
    users: Table | None = None,
    *,
    user: str = "user",
    item: str = "item",
    rating: str | None = "rating",
    timestamp: str | None = "timestamp",
    rating_scale: tuple[float, float] | None = None,
) -> RatingData:
    """Ratings, and texts of items and users, from files or DataFrames.

    Parameters
    ----------
    ratings : path or DataFrame
        One row a rating. Files are CSV, TSV (``.csv .tsv .tab``, also compressed, UTF-8, with
        a header line) or Parquet. A pair rated twice is kept twice, as Surprise does.
    items, users : path or DataFrame, optional
        One row an item (a user); every column is kept, and the id column is named as in
        ``ratings``. Without them, the ids of the ratings are all there is.
    user, item, rating, timestamp : str
        The column names in your tables; in the result they are ``user item rating timestamp``.
        ``rating=None`` is for data without ratings, such as purchases: every pair is a 1, and
        counts once, on a scale from 0 to 1. Rank with ``LLMTokensEASE(implicit=True)``.
        The timestamp may be missing where it is not named: then it is NaN. Dates (ISO 8601)
        become seconds since 1970.
    rating_scale : (low, high), optional
        The lowest and highest possible rating; by default the data's own range.

    Notes
    -----
    Ids of a DataFrame or Parquet file stay as they are. Those of a CSV file are ``int`` where
    every one of them is a plain whole number (in all tables), otherwise ``str``: "007" keeps
    its zeros.

    Raises
    ------
    DataError
        A missing column, no rows, an id without value, a rating that is NaN, infinite or
        outside the scale, an item or user with two rows.
    AlignmentError
        No rated item is among the items, or no user among the users.
    StorageError, FileFormatError
        A file that cannot be opened, or not be read as what its name says.
    MissingExtraError
        A Parquet file, and no pyarrow.

    Examples
    --------
    >>> import pandas as pd
    >>> from llmtokens.datasets import load_ratings
    >>> ratings = pd.DataFrame({"who": ["ann", "bob"], "book": [7, 8], "stars": [4, 2]})
    >>> books = pd.DataFrame({"book": [7, 8], "title": ["Emma", "Persuasion"]})
    >>> data = load_ratings(ratings, books, user="who", item="book", rating="stars",
    ...                     rating_scale=(1, 5))
    >>> data.dataset.raw_ratings
    [('ann', 7, 4.0, None), ('bob', 8, 2.0, None)]
    """
    source = _source(ratings, "ratings")
    wanted = [user, item] if rating is None else [user, item, rating]
    frame = _table(ratings, source, ids=(user, item), needs=wanted)
    table = pd.DataFrame(
        {
            "user": frame[user].reset_index(drop=True),
            "item": frame[item].reset_index(drop=True),
            "rating": np.ones(len(frame)) if rating is None else numbers(frame[rating]),
            "timestamp": seconds(frame, timestamp, source),
        }
    )
    scale = check_ratings(table, rating_scale or ((0.0, 1.0) if rating is None else None), source)
    if rating is None:
        table = table.drop_duplicates(["user", "item"], keep="last", ignore_index=True)
    sides = {}
    for own, column, side in (("item", item, items), ("user", user, users)):
        table, sides[own] = _describe(table, ratings, side, own, column)
    name = "ratings" if isinstance(ratings, pd.DataFrame) else Path(ratings).name.split(".")[0]
    return RatingData(table, sides["item"], sides["user"], scale, name)


def load_items(items: Table, *, item: str = "item") -> pd.DataFrame:
    """A table of items alone, its ids in the column "item", as :func:`load_ratings` reads it.

    Raises
    ------
    DataError
        For a missing column or duplicate ids.
    StorageError, FileFormatError, MissingExtraError
        As in :func:`load_ratings`.

    Examples
    --------
    >>> frame = pd.DataFrame({"isbn": ["0441172717"], "title": ["Dune"]})
    >>> load_items(frame, item="isbn").columns.tolist()
    ['item', 'title']
    """
    source = _source(items, "items")
    frame = _table(items, source, ids=(item,), needs=[item]).rename(columns={item: "item"})
    ids = same_kind([(frame["item"], _is_text_file(items))])[0]
    frame = frame.assign(item=ids).reset_index(drop=True)
    check_unique(frame, "item", source)
    return frame


def _describe(
    table: pd.DataFrame, ratings: Table, side: Table | None, own: str, column: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ratings and the items (or users), ids of both of one kind; ``own`` is our column name."""
    if side is None:
        rated = same_kind([(table[own], _is_text_file(ratings))])[0]
        table = table.assign(**{own: rated})
        return table, pd.DataFrame({own: rated.drop_duplicates().reset_index(drop=True)})
    source = _source(side, f"{own}s")
    frame = _table(side, source, ids=(column,), needs=[column])
    if own != column and own in frame:
        raise DataError(f"{source}: both {column!r} and {own!r} are there; drop or rename one.")
    frame = frame.rename(columns={column: own}).reset_index(drop=True)
    rated, described = same_kind(
        [(table[own], _is_text_file(ratings)), (frame[own], _is_text_file(side))]
    )
    frame[own] = described
    check_unique(frame, own, source)
    known = {str(x) for x in described}
    rated_ids = rated.drop_duplicates().tolist()
    if not any(str(x) in known for x in rated_ids):
        raise AlignmentError(
            f"{source}: none of its {len(frame)} ids in {column!r} ({first_of(described)}) is "
            f"among the {len(rated_ids)} of the ratings ({first_of(rated_ids)}): expected the same "
            "ids in both."
        )
    return table.assign(**{own: rated}), frame


def _source(table: Table, role: str) -> str:
    return f"the {role} frame" if isinstance(table, pd.DataFrame) else os.fspath(table)


def _suffix(path: Table) -> str:
    suffixes = [s.lower() for s in Path(str(path)).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _is_text_file(table: Table) -> bool:
    return not isinstance(table, pd.DataFrame) and _suffix(table) in _SEPARATORS


def _table(table: Table, source: str, ids: tuple[str, ...], needs: list[str]) -> pd.DataFrame:
    frame = table if isinstance(table, pd.DataFrame) else _read(table, source, ids)
    missing = [column for column in needs if column not in frame]
    if missing:
        raise DataError(
            f"{source}: no column {first_of(missing)}; there are {first_of(frame.columns, 12)}. "
            "Name yours with user, item, rating or timestamp."
        )
    if frame.empty:
        raise DataError(f"{source}: the table has columns and no rows.")
    return frame


def _read(path: str | os.PathLike[str], source: str, ids: tuple[str, ...]) -> pd.DataFrame:
    suffix = _suffix(path)
    try:
        if suffix in _PARQUET:
            check_parquet(path)
            return pd.read_parquet(path)
        if suffix in _SEPARATORS:
            check_compressed(path)
            with open_table(path) as stream:
                check_width(stream, _SEPARATORS[suffix], source)
            # An empty cell is missing; "NA", "None" and "null" are ids and titles to somebody.
            return pd.read_csv(
                path,
                sep=_SEPARATORS[suffix],
                dtype=dict.fromkeys(ids, str),
                keep_default_na=False,
                na_values=[""],
            )
    except ImportError as error:
        raise MissingExtraError(
            f"{source}: reading Parquet needs pyarrow: pip install pyarrow."
        ) from error
    except OSError as error:
        raise StorageError(f"{source}: cannot be read ({error}); check the path.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{source}: the file is empty.") from error
    except LLMTokensError:
        raise
    except (*UNREADABLE, TypeError, ArithmeticError, AttributeError) as error:
        kind = "Parquet" if suffix in _PARQUET else "UTF-8 text with one header line"
        raise FileFormatError(f"{source}: is not {kind}: {error}") from error
    known = " ".join([*_SEPARATORS, *_PARQUET])
    raise DataError(f"{source}: files are {known}. Read it with pandas and pass the DataFrame.")
