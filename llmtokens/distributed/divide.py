"""Ratings from pieces of a table to shards of users, wherever there are processes to do it.

A process reads a piece, checks it and numbers its ids as they appear there. Whoever asked is told
the ids alone, and numbers them as they appear in all pieces, one after the other: as Surprise
would. With these numbers the piece is written in the order of users, and every shard gathers its
users' ratings from all pieces, a user's ratings in the order of the table. So nobody ever holds
more ratings than a piece or a shard has; of ids, whoever asked holds all.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..algorithms.bpmf.shards import ShardRatings, users_a_shard
from ..algorithms.drift import gaps_between
from ..data.ids import plain_ids
from ..data.ratings import LARGEST, deviations
from ..data.times import seconds
from ..errors import DataError, sample
from ..runtime.arrays import Floats, Rows
from ..runtime.exact import exact_sum
from . import disk
from .pieces import COLUMNS, TIME, Piece

_RATED = np.dtype([("user", "<i4"), ("item", "<i4"), ("value", "<f8"), ("time", "<f8")])


class Coded(NamedTuple):
    """A piece with numbers for ids, and the ids, in the order in which they appear in it."""

    rated: NDArray[Any]
    users: list[Any]
    items: list[Any]
    timed: bool


class Names(NamedTuple):
    """The ids of a piece, and how many ratings each has."""

    users: list[Any]
    items: list[Any]
    user_counts: Rows
    item_counts: Rows
    timed: bool


class Numbered(NamedTuple):
    """All ids by their numbers, and how many ratings each has; whether these have times."""

    user_ids: list[Any]
    item_ids: list[Any]
    user_ptr: Rows
    item_counts: Rows
    timed: bool
    n_pieces: int

    @property
    def n(self) -> int:
        return int(self.user_ptr[-1])

    @property
    def bounds(self) -> list[int]:
        """The first user of each shard, and how many users there are."""
        n_users = len(self.user_ids)
        return [*range(0, n_users, users_a_shard(n_users, self.n, len(self.item_ids))), n_users]


class Share(NamedTuple):
    """Users of a shard, and where their ratings are among all.

    Attributes
    ----------
    shard : int
    ptr : ndarray of shape (n_users + 1,)
    """

    shard: int
    first: int
    end: int
    ptr: Rows
    n_items: int
    n_users: int


class Gathered(NamedTuple):
    """What a shard's ratings are: their exact sum, the largest one, a digest of all, and pairs of
    numbers that stand twice."""

    total: Fraction
    largest: float
    digest: str
    twice: list[tuple[int, int]]


class Measured(NamedTuple):
    """Of a shard's ratings: the exact sum of squared deviations, and of their times how many there
    are, usual gaps and a digest."""

    squares: Fraction
    n_times: int
    gaps: Floats
    digest: str


def number(
    pieces: list[Piece], scale: tuple[float, float], folder: disk.Folder, run: Any
) -> Numbered:
    """Number all ids, and leave the pieces in the folder, in the order of users.

    Parameters
    ----------
    run : Here or OnWorkers
        Who does the work.

    Raises
    ------
    DataError
        For ids that are missing, ratings that are NaN, outside the scale or beyond 1e30, or no
        ratings at all: with the name of the piece, and the first offenders.
    """
    ids: tuple[dict[Any, int], dict[Any, int]] = {}, {}
    counts, timed, written = (_Counts(), _Counts()), None, []
    for k, read in enumerate(_in_turn(pieces, scale, run)):
        names, maps = run.result(read.names), []
        if len(names.users):
            timed = _same_kind(read.name, names.timed, timed)
        for known, count, own, n in zip(ids, counts, names[:2], names[2:4], strict=True):
            codes = np.array([known.setdefault(raw, len(known)) for raw in own], np.int32)
            count.add(codes, n)
            maps.append(codes)
        written.append(read.run.submit(_sorted, read.coded, *maps, folder.piece(k)))
    for done in written:
        run.result(done)
    if not ids[0]:
        raise DataError("found no ratings: expected at least one to fit on")
    ptr = np.concatenate([[0], np.cumsum(counts[0].of(len(ids[0])))])
    return Numbered(
        plain_ids(ids[0]), plain_ids(ids[1]), ptr, counts[1].of(len(ids[1])), bool(timed),
        len(pieces),
    )  # fmt: skip


def gather(numbered: Numbered, folder: disk.Folder, run: Any) -> list[Gathered]:
    """Write the ratings of all shards in their order.

    Raises
    ------
    DataError
        For pairs that are rated twice.
    """
    columns = {"user": "<i4", "item": "<i4", "value": "<f8"}
    columns |= {"time": "<f8"} if numbered.timed else {}
    for name, dtype in columns.items():
        disk.create(folder.array(name), dtype, (numbered.n,))
    tasks = [run.submit(_gathered, share, numbered.n_pieces, list(columns), folder)
             for share in shares(numbered)]  # fmt: skip
    made = [run.result(task) for task in tasks]
    twice = next((found.twice for found in made if found.twice), None)
    if twice:
        names = sample((numbered.user_ids[u], numbered.item_ids[i]) for u, i in twice)
        raise DataError(
            f"found pairs that are rated twice, such as (user, item) {names}; keep one rating "
            "of each, say the last: frame.drop_duplicates(['user', 'item'], keep='last')"
        )
    for k in range(numbered.n_pieces):
        folder.piece(k).unlink(missing_ok=True)
    return made


def shares(numbered: Numbered) -> list[Share]:
    bounds, (n_users, n_items) = numbered.bounds, (len(numbered.user_ids), len(numbered.item_ids))
    return [
        Share(k, first, end, numbered.user_ptr[first : end + 1], n_items, n_users)
        for k, (first, end) in enumerate(pairwise(bounds))
    ]


def measured(
    share: Share, mean: float, largest: float, timed: bool, folder: disk.Folder
) -> Measured:
    """What is known of a shard's ratings when the mean of all is."""
    at = slice(*share.ptr[[0, -1]].tolist())
    value = disk.mapped(folder.array("value"))[at]
    squares = exact_sum(deviations(value, mean, largest) ** 2)
    if not timed:
        return Measured(squares, 0, np.zeros(0), "")
    times = disk.mapped(folder.array("time"))[at]
    user = disk.mapped(folder.array("user"))[at]
    gaps = gaps_between(user, times, share.n_users)
    return Measured(squares, int(np.isfinite(times).sum()), gaps, _digest(times))


def write_shard(
    share: Share, mean: float, largest: float, std: float, timed: bool, folder: disk.Folder
) -> None:
    """Write a shard's standardised ratings, and their times."""
    at = slice(*share.ptr[[0, -1]].tolist())
    item = np.array(disk.mapped(folder.array("item"))[at])
    deviation = deviations(disk.mapped(folder.array("value"))[at], mean, largest)
    y = (deviation / std).astype(np.float32)
    arrays = ShardRatings.of(share.ptr - share.ptr[0], item, y, share.n_items)._asdict()
    arrays["deviation"] = deviation
    if timed:
        arrays["times"] = disk.mapped(folder.array("time"))[at]
    disk.write_ratings(folder, share.shard, arrays)


def write_keys(share: Share, first: int, folder: disk.Folder) -> None:
    """Write the pairs that have a time, and these, in the order of the pairs."""
    at = slice(*share.ptr[[0, -1]].tolist())
    user, item, times = (disk.mapped(folder.array(name))[at] for name in ("user", "item", "time"))
    known = np.flatnonzero(np.isfinite(times))
    keys = user[known].astype(np.int64) * share.n_items + item[known]
    order = np.argsort(keys)
    disk.write_at(folder.array("keys"), first, keys[order])
    disk.write_at(folder.array("moments"), first, times[known][order])


# -- what runs where the pieces are --------------------------------------------------------------


class _Counts:
    """Numbers of ratings, by number of an id: grows as there are more of them."""

    def __init__(self) -> None:
        self._counts = np.zeros(1024, np.int64)

    def add(self, codes: NDArray[np.int32], counts: Rows) -> None:
        most, n = int(codes.max(initial=-1)) + 1, len(self._counts)
        if most > n:
            self._counts = np.pad(self._counts, (0, max(most, 2 * n) - n))
        self._counts[codes] += counts

    def of(self, n: int) -> Rows:
        return self._counts[:n]


class _Read(NamedTuple):
    """A piece, who codes it, and what that is to come to."""

    name: str
    run: Any
    coded: Any
    names: Any


def _in_turn(pieces: list[Piece], scale: tuple[float, float], run: Any) -> Iterator[_Read]:
    """The pieces, one after the other, while some more are being read."""
    ahead: deque[_Read] = deque()
    for piece in pieces:
        own = run.here if piece.here else run
        coded = own.submit(_coded, piece.name, piece.read, *scale)
        ahead.append(_Read(piece.name, own, coded, own.submit(_names, coded)))
        if len(ahead) > run.ahead:
            yield ahead.popleft()
    yield from ahead


def _coded(name: str, read: Any, low: float, high: float) -> Coded:
    frame = read()
    value = _values(name, frame, low, high)
    user, users = _codes(name, frame["user"])
    item, items = _codes(name, frame["item"])
    timed = TIME in frame.columns
    rated = np.zeros(len(frame), _RATED)
    rated["user"], rated["item"], rated["value"] = user, item, value
    if timed:
        rated["time"] = seconds(frame[TIME].reset_index(drop=True), f"{name}: {TIME}")
    return Coded(rated, users, items, timed)


def _names(coded: Coded) -> Names:
    counts = [np.bincount(coded.rated[side], minlength=len(ids))
              for side, ids in (("user", coded.users), ("item", coded.items))]  # fmt: skip
    return Names(coded.users, coded.items, counts[0], counts[1], coded.timed)


def _sorted(coded: Coded, users: NDArray[np.int32], items: NDArray[np.int32], path: Any) -> None:
    rated = coded.rated.copy()  # the task before keeps its result
    rated["user"], rated["item"] = users[rated["user"]], items[rated["item"]]
    disk.write_whole(path, rated[np.argsort(rated["user"], kind="stable")])


def _gathered(share: Share, n_pieces: int, columns: list[str], folder: disk.Folder) -> Gathered:
    parts = [_between(folder.piece(k), share.first, share.end) for k in range(n_pieces)]
    rated = np.concatenate(parts)
    rated = rated[np.argsort(rated["user"], kind="stable")]
    digest = hashlib.sha256(np.ascontiguousarray(share.ptr))
    for name in columns:
        column = np.ascontiguousarray(rated[name])
        disk.write_at(folder.array(name), int(share.ptr[0]), column)
        if name != "time":
            digest.update(memoryview(column).cast("B"))
    pair = rated["user"].astype(np.int64) * share.n_items + rated["item"]
    order = np.argsort(pair, kind="stable")
    again = np.sort(order[1:][np.diff(pair[order]) == 0])[:6]
    twice = [divmod(int(pair[k]), share.n_items) for k in again]
    return Gathered(
        exact_sum(rated["value"]), float(np.abs(rated["value"]).max()), digest.hexdigest(), twice
    )


def _between(path: Any, first: int, end: int) -> NDArray[Any]:
    """Ratings of some users, of a piece in the order of users."""
    rated = disk.mapped(path)
    low, high = (_at(rated["user"], user) for user in (first, end))
    return np.array(rated[low:high])


def _at(users: NDArray[np.int32], user: int) -> int:
    """Where the ratings of a user, or of those behind, begin: without reading all."""
    low, high = 0, len(users)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if users[middle] < user else (low, middle)
    return low


def _digest(column: NDArray[Any]) -> str:
    return hashlib.sha256(memoryview(np.ascontiguousarray(column)).cast("B")).hexdigest()


def _same_kind(name: str, timed: bool, before: bool | None) -> bool:
    if before is not None and timed != before:
        raise DataError(
            f"{name} {'has' if timed else 'lacks'} the column {TIME}, unlike the pieces before; "
            "expected it in all of them or in none"
        )
    return timed


def _values(name: str, frame: pd.DataFrame, low: float, high: float) -> Floats:
    try:
        value: Floats = frame["rating"].to_numpy(np.float64, na_value=np.nan)
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
    large = int(np.sum(np.abs(value) > LARGEST))
    if large:
        raise DataError(
            f"{name} has {large} ratings beyond {LARGEST:g}; drop or replace them before fitting"
        )
    return value


def _codes(name: str, column: Any) -> tuple[Any, list[Any]]:
    """Numbers of ids, and these, as they appear."""
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
    return own, uniques.tolist()
