"""All ratings of a table, divided among shards in a folder: what is known of them as a whole."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ..algorithms.bpmf.model import standard_deviation
from ..data.ids import IdIndex
from ..data.ratings import Ratings
from ..data.timestamps import Timestamps, require_some
from ..errors import DataError
from . import disk, divide
from .pieces import Piece


class Table(NamedTuple):
    """Ratings in files.

    Attributes
    ----------
    ids : Numbered
    scale : tuple of float
    mean, largest, std : float
        Of the ratings; the largest absolute value.
    timestamps : Timestamps, or None
        When they were made, where the table says so, or whoever asked.
    gap : float, or None
        The usual gap between two ratings of a user, where that is known.
    digests : list of str
        Of all ratings, and times.
    """

    folder: disk.Folder
    ids: divide.Numbered
    scale: tuple[float, float]
    mean: float
    largest: float
    std: float
    timestamps: Timestamps | None
    gap: float | None
    digests: list[str]

    @classmethod
    def of(
        cls,
        pieces: list[Piece],
        scale: tuple[float, float],
        folder: disk.Folder,
        given: Any,
        run: Any,
    ) -> Table:
        """Read all pieces; ``given`` are timestamps, for ratings that come without.

        Raises
        ------
        DataError
            For what is wrong with the ratings; if their times are there and given, or no rating
            has one.
        """
        ids = divide.number(pieces, scale, folder, run)
        if ids.timed and given is not None:
            raise DataError(
                "found timestamps=... and a column timestamp; expected one of the two: leave "
                "out either"
            )
        parts = divide.gather(ids, folder, run)
        mean = float(sum((part.total for part in parts), Fraction(0)) / ids.n)
        largest, timed = max(part.largest for part in parts), ids.timed
        timestamps = None
        if given is not None:
            timestamps, timed = Timestamps.of(given), True
            _look_up(timestamps, ids, folder)
        shares = divide.shares(ids)
        tasks = [run.submit(divide.measured, share, mean, largest, timed, folder)
                 for share in shares]  # fmt: skip
        found = [run.result(task) for task in tasks]
        std = standard_deviation(sum((part.squares for part in found), Fraction(0)), ids.n)
        gap = None
        if timed:
            counts = [part.n_times for part in found]
            absent = ids.n - sum(counts)
            first = [(ids.user_ids[0], ids.item_ids[0])] if absent == ids.n else []
            require_some(absent, ids.n, first)
            gaps = np.concatenate([part.gaps for part in found])
            gap = float(np.median(gaps)) if len(gaps) else None
        if ids.timed:
            timestamps = _timestamps(ids, shares, counts, folder, run)
        digests = [x for a, b in zip(parts, found, strict=True) for x in (a.digest, b.digest)]
        return cls(folder, ids, scale, mean, largest, std, timestamps, gap, digests)

    def write_shards(self, run: Any) -> None:
        """Write the ratings as shards have them."""
        timed = self.gap is not None
        tasks = [
            run.submit(
                divide.write_shard, share, self.mean, self.largest, self.std, timed, self.folder
            )
            for share in divide.shares(self.ids)
        ]
        for task in tasks:
            run.result(task)

    @property
    def ratings(self) -> Ratings:
        """The ratings; they stay in their files."""
        user, item, value = (disk.mapped(self.folder.array(x)) for x in ("user", "item", "value"))
        ids = self.ids
        made = Ratings(user, item, value, ids.user_ptr, self.scale, ids.user_ids, ids.item_ids)
        return made.knowing(global_mean=self.mean, item_counts=ids.item_counts)


def _look_up(timestamps: Timestamps, ids: divide.Numbered, folder: disk.Folder) -> None:
    """Write the times that are given of the ratings, shard by shard."""
    disk.create(folder.array("time"), np.float64, (ids.n,))
    users, items = timestamps.users.rows(ids.user_ids), timestamps.items.rows(ids.item_ids)
    for share in divide.shares(ids):
        at = slice(*share.ptr[[0, -1]].tolist())
        user, item = (disk.mapped(folder.array(name))[at] for name in ("user", "item"))
        disk.write_at(folder.array("time"), at.start, timestamps.of_rows(users[user], items[item]))


def _timestamps(
    ids: divide.Numbered,
    shares: list[divide.Share],
    counts: list[int],
    folder: disk.Folder,
    run: Any,
) -> Timestamps:
    """The times of the ratings by pair; they stay in their files."""
    for name, dtype in (("keys", np.int64), ("moments", np.float64)):
        disk.create(folder.array(name), dtype, (sum(counts),))
    starts = np.append(0, np.cumsum(counts)).tolist()
    tasks = [run.submit(divide.write_keys, share, start, folder)
             for share, start in zip(shares, starts, strict=False)]  # fmt: skip
    for task in tasks:
        run.result(task)
    keys, times = disk.mapped(folder.array("keys")), disk.mapped(folder.array("moments"))
    index = IdIndex(ids.user_ids), IdIndex(ids.item_ids)
    return Timestamps(*index, len(ids.item_ids), keys, times)
