"""load_ratings and load_items: anybody's files and frames as RatingData."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ..data.ids import id_column, id_text, same_kind
from ..data.times import seconds
from ..errors import AlignmentError, DataError, LLMTokensWarning
from ..errors import sample as first_of
from ..runtime.arguments import pandas_of
from . import cells, tables
from .dialect import Form
from .ratings import RatingData, check_ratings, check_unique
from .tables import Kind, Table

Given = str | os.PathLike[str] | pd.DataFrame
Duplicates = Literal["keep", "first", "last", "mean", "error"]
Missing = float | str | Sequence[float | str] | None


def load_ratings(
    ratings: Given,
    items: Given | None = None,
    users: Given | None = None,
    *,
    user: str = "user",
    item: str = "item",
    rating: str | None = "rating",
    timestamp: str | None = "timestamp",
    rating_scale: tuple[float, float] | None = None,
    missing_rating: Missing = None,
    duplicates: Duplicates = "keep",
    sep: str | None = None,
    encoding: str | None = None,
    header: bool | Sequence[str] | None = None,
) -> RatingData:
    """Ratings, and texts of items and users, from files or DataFrames.

    Parameters
    ----------
    ratings : path or DataFrame
        One row a rating. Files are text with a separator between cells, one JSON object a line, or
        Parquet; text and JSON also packed (gz, bz2, xz, zip). How a text is written is told from
        its bytes, see Notes. A list of rows, or a Surprise ``Dataset``, is taken as well.
    items, users : path or DataFrame, optional
        One row an item (a user); every column is kept, and the id column is named as in
        ``ratings``; where it is not, ``items=load_items("items.csv", item="sku")``. Without them,
        the ids of the ratings are all there is.
    user, item, rating, timestamp : str
        The column names in your tables; in the result they are ``user item rating timestamp``.
        ``rating=None`` is for data without ratings, such as purchases: every pair is a 1, and
        counts once, on a scale from 0 to 1; rows without a user or an item, as of guests, are left
        out with a warning. Rank with ``LLMTokensEASE(implicit=True)``.
        The timestamp may be missing where it is not named: then it is NaN. Times in other units
        and dates become seconds since 1970, see :func:`llmtokens.data.times.seconds`.
    rating_scale : (low, high), optional
        The lowest and highest possible rating; by default the data's own range.
    missing_rating : number, str or list of them, optional
        What stands for "not rated", such as -1: such rows are left out, and those without any
        rating, too.
    duplicates : {"keep", "first", "last", "mean", "error"}
        What becomes of pairs that are rated more than once: all stay (as in Surprise; with a
        warning), the first or the last row, or their mean.
    sep, encoding : str, optional
        Of the text files, where they are not to be told from their bytes.
    header : bool or list of str, optional
        Whether the file of ratings has a line with names, or the names to use for one without.

    Notes
    -----
    The separator (comma, semicolon, tab, ``::``, pipe or space), the encoding, whether there is a
    header and whether quotes are marks is found from the whole file, by the rules in
    :mod:`llmtokens.datasets.dialect`. What is not written in one way throughout is an error that
    names the line. Numbers may have decimal commas. Empty cells and ``\\N`` are missing, among
    numbers NA, NULL and the like, too. HTML entities in texts are decoded.

    Ids of a DataFrame, of Parquet and of JSON stay as they are, but that whole floats become
    ``int``. Those of a text are ``int`` where every one of them is a whole number (in all tables),
    otherwise ``str``: "007" keeps its zeros.

    Raises
    ------
    DataError
        A missing column, no rows, an id without value or in two types, a rating that is no number,
        NaN, infinite or outside the scale, an item or user with two rows, times of two kinds.
    AlignmentError
        No rated item is among the items, or no user among the users.
    StorageError, FileFormatError
        A file that cannot be opened, or is not written in one way throughout.
    MissingExtraError
        A Parquet file, and no pyarrow.

    Warns
    -----
    LLMTokensWarning
        Whatever had to be decided and could have been meant otherwise: no header line, an
        encoding that is not UTF-8, pairs rated twice, purchases without a user.

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
    if duplicates not in get_args(Duplicates):
        raise DataError(
            f"found duplicates={duplicates!r}; expected one of {first_of(get_args(Duplicates))}"
        )
    form, ratings = Form(sep, encoding, header), pandas_of(ratings)
    if not isinstance(ratings, (str, os.PathLike, pd.DataFrame)):
        ratings = _rows_as_frame(ratings, [user, item, rating or "rating", timestamp])
    kinds: dict[str, Kind] = {user: "id", item: "id"}
    if len(kinds) < 2:
        raise DataError(f"found user={user!r} and item={item!r}; expected two columns")
    if rating is not None:
        kinds[rating] = "number"
    optional: dict[str, Kind] = {}
    if timestamp is not None:
        (optional if timestamp == "timestamp" else kinds)[timestamp] = "time"
    table = _opened(ratings, "ratings", kinds, optional, others=False, form=form)
    frame, source = table.frame, table.source
    made = pd.DataFrame(
        {
            "user": id_column(frame[user], f"{source}, {user!r}").reset_index(drop=True),
            "item": id_column(frame[item], f"{source}, {item!r}").reset_index(drop=True),
            "rating": _ratings(table, rating, missing_rating),
            "timestamp": _times(table, timestamp),
        }
    )
    if rating is None:
        made = _with_ids(made, source)
    elif missing_rating is not None:
        rated = made["rating"].notna()
        if not rated.any():
            raise DataError(
                f"{source}: without missing_rating={missing_rating!r} there are no ratings left"
            )
        made = made[rated].reset_index(drop=True)
    scale = check_ratings(made, rating_scale or ((0.0, 1.0) if rating is None else None), source)
    if rating is None:
        made = made.drop_duplicates(["user", "item"], keep="last", ignore_index=True)
    sides = {}
    for own, column, side in (("item", item, items), ("user", user, users)):
        made, sides[own] = describe(made, table.is_text, side, own, column, form)
    if rating is not None:
        made = _once(made, duplicates, source)
    name = "ratings" if isinstance(ratings, pd.DataFrame) else Path(ratings).name.split(".")[0]
    return RatingData(made, sides["item"], sides["user"], scale, name)


def load_items(
    items: Given,
    *,
    item: str = "item",
    sep: str | None = None,
    encoding: str | None = None,
    header: bool | Sequence[str] | None = None,
) -> pd.DataFrame:
    """A table of items alone, its ids in the column "item", as :func:`load_ratings` reads it.

    Under their own name they stay beside it, for templates.

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
    ['item', 'isbn', 'title']
    """
    side = _side(items, "item", item, Form(sep, encoding, header))
    side.frame["item"] = same_kind([(side.frame["item"], side.is_text)])[0]
    check_unique(side.frame, "item", side.source)
    return side.frame


def _opened(
    given: Given,
    role: str,
    kinds: dict[str, Kind],
    optional: dict[str, Kind],
    *,
    others: bool,
    form: Form,
) -> Table:
    given = pandas_of(given)
    if isinstance(given, pd.DataFrame):
        table = tables.of_frame(given, f"the {role} frame")
    elif isinstance(given, (str, os.PathLike)):
        table = tables.read(given, kinds, optional, others=others, form=form)
    else:
        raise DataError(
            f"found {role} of type {type(given).__name__}; expected the path of a file, or a "
            "pandas DataFrame"
        )
    return tables.require(table, list(kinds))


def _side(given: Given, own: str, column: str, form: Form) -> Table:
    """A table of items or users; ``own`` is our name of its column of ids, which is added."""
    table = _opened(given, f"{own}s", {column: "id"}, {}, others=True, form=form)
    frame, source = table.frame.reset_index(drop=True), table.source
    ids = id_column(frame[column], f"{source}, {column!r}")
    if own != column:
        if own in frame and not frame[own].astype(object).equals(ids.astype(object)):
            raise DataError(f"{source}: both {column!r} and {own!r} are there; drop or rename one.")
        frame = frame.drop(columns=own, errors="ignore")
        frame.insert(list(frame.columns).index(column), own, ids)
    else:
        frame[own] = ids
    return Table(frame, source, table.is_text, table.where)


def describe(
    made: pd.DataFrame, is_text: bool, side: Given | None, own: str, column: str, form: Form
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ratings and the items (or users), ids of both of one kind."""
    if side is None:
        rated = same_kind([(made[own], is_text)])[0]
        made = made.assign(**{own: rated})
        return made, pd.DataFrame({own: rated.drop_duplicates().reset_index(drop=True)})
    if isinstance(side, pd.DataFrame) and column not in side and own in side:
        column = own  # as load_items gives it
    table = _side(side, own, column, Form(encoding=form.encoding))
    frame, source = table.frame, table.source
    if column != own:
        frame = frame.drop(columns=column)
    rated, described = same_kind([(made[own], is_text), (frame[own], table.is_text)])
    frame[own] = described
    check_unique(frame, own, source)
    known = set(map(id_text, described))
    rated_ids = rated.drop_duplicates().tolist()
    if not any(id_text(x) in known for x in rated_ids):
        raise AlignmentError(
            f"{source}: none of its {len(frame)} ids in {column!r} ({first_of(described)}) is "
            f"among the {len(rated_ids)} of the ratings ({first_of(rated_ids)}): expected the same "
            "ids in both."
        )
    _warn_of_near_misses([x for x in rated_ids if id_text(x) not in known], known, source)
    return made.assign(**{own: rated}), frame


def _warn_of_near_misses(unknown: list[Any], known: set[str], source: str) -> None:
    """Say which ids would be known without leading zeros, blanks or the case of their letters."""
    plain: dict[str, str] = {}
    for text in known:
        plain.setdefault(_bare(text), text)
    near = [(raw, plain[_bare(id_text(raw))]) for raw in unknown if _bare(id_text(raw)) in plain]
    if near:
        raw, other = near[0]
        warnings.warn(
            f"{source}: {len(near)} ids of the ratings are not there as they are, but otherwise "
            f"written, such as {raw!r} as {other!r}; these have no row and no text: write ids the "
            "same way in both, as with dtype=str where they are read",
            LLMTokensWarning,
            stacklevel=4,
        )


def _bare(text: str) -> str:
    return text.strip().casefold().lstrip("0")


def _ratings(table: Table, rating: str | None, missing: Missing) -> Any:
    """Ratings as float64, NaN where there is none or one that says so."""
    if rating is None:
        return np.ones(len(table.frame))
    column = table.frame[rating]
    if missing is None:
        return cells.numbers(column, rating, table.source, table.where)
    marks = [missing] if isinstance(missing, (str, float, int)) else list(missing)
    words = {x.strip() for x in marks if isinstance(x, str)}
    if column.dtype == object and words:
        column = column.where(~column.isin(words), None)
    values = cells.numbers(column, rating, table.source, table.where)
    numbers = [number for mark in marks if (number := _as_number(mark)) is not None]
    return np.where(np.isin(values, numbers), np.nan, values)


def _as_number(mark: float | str) -> float | None:
    try:
        return float(mark)
    except (TypeError, ValueError):
        return None


def _with_ids(made: pd.DataFrame, source: str) -> pd.DataFrame:
    """What users did with items; guests, who have no id, did nothing that can be learned."""
    absent = made[["user", "item"]].isna()
    kept = ~absent.any(axis=1)
    if kept.all() or not kept.any():
        return made
    told = [f"{n} have no {side}" for side, n in absent.sum().items() if n]
    warnings.warn(
        f"{source}: {len(made) - kept.sum()} of {len(made)} rows are left out: {', '.join(told)}",
        LLMTokensWarning,
        stacklevel=3,
    )
    return made[kept].reset_index(drop=True)


def _times(table: Table, timestamp: str | None) -> Any:
    """Seconds: int64 where all are whole, else float64 with NaN for none."""
    if timestamp is None or timestamp not in table.frame:
        return np.full(len(table.frame), np.nan)
    what = f"{table.source}: {timestamp!r}"
    found = seconds(table.frame[timestamp], what, table.where)
    with np.errstate(invalid="ignore"):
        whole = np.abs(found) < 2**53
        if whole.all() and (found == np.floor(found)).all():
            return found.astype(np.int64)
    return found


def _once(made: pd.DataFrame, duplicates: Duplicates, source: str) -> pd.DataFrame:
    """The ratings, pairs that stand several times treated as told."""
    pair = ["user", "item"]
    again = made.duplicated(pair).to_numpy()
    if not again.any():
        return made
    user, item = (made[name][again].tolist()[0] for name in pair)
    found = (
        f"{source}: {int(again.sum())} ratings are of pairs that were rated before, such as user "
        f"{user!r} and item {item!r}"
    )
    if duplicates == "error":
        raise DataError(f"{found}; drop them, or pass duplicates='last', 'first' or 'mean'")
    if duplicates == "keep":
        warnings.warn(
            f"{found}; all are kept, so that one can be in a trainset and one in its testset: "
            "pass duplicates='last', 'first' or 'mean' to have each pair once",
            LLMTokensWarning,
            stacklevel=3,
        )
        return made
    if duplicates == "mean":
        means = made.groupby(pair, sort=False)["rating"].transform("mean")
        made, duplicates = made.assign(rating=means), "last"
    return made.drop_duplicates(pair, keep=duplicates, ignore_index=True)


def _rows_as_frame(given: Any, names: Sequence[str | None]) -> pd.DataFrame:
    """The rows of a list, or of Surprise's Dataset, as a frame with these columns."""
    if isinstance(given, RatingData):
        return given.ratings.set_axis([x or f"column {k}" for k, x in enumerate(names)], axis=1)
    rows = getattr(given, "raw_ratings", given)
    if hasattr(given, "all_ratings") and hasattr(given, "to_raw_uid"):
        rows = [(given.to_raw_uid(u), given.to_raw_iid(i), r) for u, i, r in given.all_ratings()]
    if isinstance(rows, (list, tuple)) and rows:
        widths = {len(row) if isinstance(row, (list, tuple)) else 0 for row in rows}
        if len(widths) == 1 and widths <= {3, 4}:
            columns = [x or f"column {k}" for k, x in enumerate(names)][: widths.pop()]
            return pd.DataFrame(list(rows), columns=columns)
    raise DataError(
        f"found ratings of type {type(given).__name__}; expected the path of a file, a pandas "
        "DataFrame, a Surprise Dataset, or a list of (user, item, rating) or (user, item, rating, "
        "timestamp)"
    )
