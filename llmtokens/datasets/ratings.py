"""RatingData: ratings, the texts of items and users, and the Surprise ``Dataset`` of both."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import pandas as pd
from surprise import Reader
from surprise.dataset import DatasetAutoFolds

from ..errors import DataError, LLMTokensWarning, sample

_FEW = 0.2  # of all that is bought comes back


@dataclass(frozen=True, eq=False, repr=False)
class RatingData:
    """Ratings with what is known about the items and users: what every loader here returns.

    Parameters
    ----------
    ratings : DataFrame, one row a rating
        ``user``, ``item`` (raw ids), ``rating`` (float64) and ``timestamp`` (seconds since 1970,
        NaN where unknown), in the order of the source. A pair rated twice stays twice, as it
        does in Surprise.
    items : DataFrame, one row an item
        ``item`` and whatever describes it. MovieLens gives ``title``, ``genres`` (a tuple of
        str), ``year`` (float64, NaN where unknown) and ``tags`` (a tuple of str). Items without
        ratings are there too, and rated items may be missing.
    users : DataFrame, one row a user
        ``user`` and whatever describes them; ``user`` alone where nothing does.
    rating_scale : (low, high)
    name : str

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
    >>> data
    RatingData('synthetic': 1,000 ratings from 0.5 to 5, 50 users, 80 items)
    >>> data.dataset.build_full_trainset().n_ratings
    1000
    """

    ratings: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame
    rating_scale: tuple[float, float]
    name: str

    @cached_property
    def dataset(self) -> DatasetAutoFolds:
        """The ratings as an ordinary Surprise ``DatasetAutoFolds``, built on first use.

        Raw ids are those of the frames, as Python ``int`` or ``str``. Unlike
        ``Dataset.load_from_df``, it keeps the timestamps: each row of ``raw_ratings`` is
        ``(user, item, rating, timestamp)``, the last None where unknown.
        """
        columns = ["user", "item", "rating"]
        reader = Reader(rating_scale=self.rating_scale)
        dataset = DatasetAutoFolds(reader=reader, df=self.ratings.iloc[:0][columns])
        dataset.df = self.ratings[columns]
        dataset.raw_ratings = list(
            zip(
                shared_objects(self.ratings["user"]),
                shared_objects(self.ratings["item"]),
                shared_objects(self.ratings["rating"]),
                _timestamps(self.ratings),
                strict=True,
            )
        )
        return dataset

    def _repr_html_(self) -> str:
        """For a notebook: what there is, and the first ratings and items."""
        first = self.ratings.head().to_html(index=False), self.items.head().to_html(index=False)
        return f"<p>{escape(repr(self))}</p>{first[0]}{first[1]}"

    def __repr__(self) -> str:
        low, high = self.rating_scale
        return (
            f"{type(self).__name__}({self.name!r}: {len(self.ratings):,} ratings from {low:g} to "
            f"{high:g}, {self.ratings['user'].nunique():,} users, {len(self.items):,} items)"
        )


def shared_objects(column: pd.Series) -> list[object]:
    """The column as Python objects, equal values being one object.

    25 million ratings have few distinct ids and values; one object each instead of one a row
    saves gigabytes, and comparing them by identity makes the dictionaries of Surprise faster.
    """
    codes, distinct = pd.factorize(column)
    objects = np.empty(len(distinct), dtype=object)
    objects[:] = [x.item() if isinstance(x, np.generic) else x for x in distinct]
    shared: list[object] = objects[codes].tolist()
    return shared


def _timestamps(ratings: pd.DataFrame) -> list[float | None]:
    if "timestamp" not in ratings:
        return [None] * len(ratings)
    column = ratings["timestamp"]
    values: list[float | None] = column.tolist()
    if column.isna().any():
        return [None if unknown else t for t, unknown in zip(values, column.isna(), strict=True)]
    return values


def check_ratings(
    ratings: pd.DataFrame, rating_scale: tuple[float, float] | None, source: str
) -> tuple[float, float]:
    """The rating scale of checked ratings: the one given, or else the data's own range."""
    if ratings.empty:
        raise DataError(f"{source}: there are no ratings.")
    for column in ("user", "item"):
        missing = ratings[column].isna().to_numpy()
        if missing.any():
            rows = np.flatnonzero(missing)
            raise DataError(
                f"{source}: {len(rows)} ratings have no {column} id; the first are in rows "
                f"{sample(rows.tolist())} (counted from 0). Drop them."
            )
    values = ratings["rating"].to_numpy()
    finite = np.isfinite(values)
    if not finite.all():
        raise DataError(
            f"{source}: {_offenders(ratings, ~finite)} not finite numbers. "
            "Drop them: one such rating would spoil every prediction."
        )
    if rating_scale is None:
        _check_marks(values, source)
        return float(values.min()), float(values.max())
    low, high = check_scale(rating_scale)
    outside = (values < low) | (values > high)
    if outside.any():
        raise DataError(
            f"{source}: {_offenders(ratings, outside)} outside the rating scale "
            f"{low:g} to {high:g}. Give the true rating_scale, or None to take the data's range."
        )
    return low, high


def _check_marks(values: np.ndarray, source: str) -> None:
    """Raise where -1, 99 or the like stand for "not rated"; warn where 0 may."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 4:
        return
    low, high, span = distinct[0], distinct[-1], distinct[-2] - distinct[1]
    for value, n, alone in (
        (low, counts[0], low in (-1, -9, -99, -999) and distinct[1] >= 0),
        (high, counts[-1], high in (9, 99, 999) and high - distinct[-2] > max(span, 1)),
    ):
        if alone:
            raise DataError(
                f"{source}: {n} of {len(values)} ratings are {value:g}, the others from "
                f"{distinct[distinct != value].min():g} to {distinct[distinct != value].max():g}: "
                f'if it stands for "not rated", pass missing_rating={value:g}; if it is a rating, '
                "give the rating_scale"
            )
    if low < 0 < high and (distinct % 1 == 0).all() and np.sum(values < 0) < _FEW * len(values):
        warnings.warn(
            f"{source}: {np.sum(values < 0)} of {len(values)} ratings are below 0, and all are "
            f"whole, from {low:g} to {high:g}: if they are quantities, and what was sent back, "
            "rating=None makes a 1 of every pair, and load_events has weights that take back; if "
            "they are ratings, give the rating_scale",
            LLMTokensWarning,
            stacklevel=4,
        )
    if low == 0 and distinct[1] >= 0.5 and high >= 5 and counts[0] > max(counts[1:].max(), 1):
        warnings.warn(
            f"{source}: {counts[0]} of {len(values)} ratings are 0, more than of any other; if it "
            'stands for "not rated", pass missing_rating=0; if it is a rating, give the '
            "rating_scale",
            LLMTokensWarning,
            stacklevel=4,
        )


def check_scale(rating_scale: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = rating_scale
        valid = bool(np.isfinite([low, high]).all()) and low < high
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise DataError(
            f"rating_scale must be two finite numbers, the lower first; got {rating_scale!r}."
        )
    return low, high


def check_unique(frame: pd.DataFrame, column: str, source: str) -> None:
    """Raise where an id is missing or has more than one row."""
    ids = frame[column]
    missing = np.flatnonzero(ids.isna().to_numpy())
    if len(missing):
        raise DataError(
            f"{source}: {len(missing)} rows have no {column} id; the first are rows "
            f"{sample(missing.tolist())} (counted from 0)."
        )
    twice = ids[ids.duplicated()].drop_duplicates().tolist()
    if twice:
        raise DataError(
            f"{source}: {len(twice)} {column} ids have more than one row: {sample(twice)}. "
            f"Keep one row for each, as with frame.drop_duplicates({column!r})."
        )


def _offenders(ratings: pd.DataFrame, wrong: np.ndarray) -> str:
    rows = np.flatnonzero(wrong)
    first = ratings.iloc[rows[:3]]
    shown = "; ".join(
        f"row {row} (user {user!r}, item {item!r}): {value:g}"
        for row, user, item, value in zip(
            rows[:3].tolist(), first["user"], first["item"], first["rating"], strict=True
        )
    )
    more = "; ..." if len(rows) > 3 else ""
    return f"{len(rows)} of {len(ratings)} ratings [{shown}{more}] are"
