"""The folder of a fit: ratings that are memory-mapped, samples, and states to go on from.

A folder holds ``shard-<index>.safetensors`` (ratings) and ``rows.safetensors`` (what is known of
users and items), written before the first sweep; ``samples-<index>.npy``, filled as the fit goes
on; for the last checkpoint ``users-<index>-<sweeps>.safetensors`` and ``chain.safetensors``, which
alone says that it is whole; and in the end ``open-<index>.safetensors``. One fit at a time may use
it.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..algorithms.bpmf.features import Known
from ..algorithms.bpmf.shards import Shard, ShardRatings, Shards, users_a_shard
from ..data.ratings import Ratings
from ..errors import DataError, FileFormatError, StorageError
from ..runtime.arrays import Floats, Singles
from ..storage import container as store

try:
    import fcntl
except ImportError:  # Windows: two fits in one folder go unnoticed
    fcntl = None  # type: ignore[assignment]

CHECKPOINT = "chain.safetensors"
ROWS = "rows.safetensors"
CHAIN = "chain"
_LOCK = "lock"
_STATE = re.compile(r"users-\d{5,}-(\d+)\.safetensors")
_RATINGS, _KNOWN, _USERS, _OPEN = "shard", "rows", "users of a chain", "left open"


class Where(NamedTuple):
    """Shards in a folder, and what is not in their files.

    Attributes
    ----------
    bounds : list of int
        The first user of each shard, and how many users there are.
    slots : int
        How many samples will be kept.
    """

    folder: str
    bounds: list[int]
    n_factors: int
    seed: int
    slots: int

    def path(self, name: str) -> Path:
        return Path(self.folder, name)


@contextlib.contextmanager
def opened(folder: str | Path | None) -> Iterator[Path]:
    """The folder, made where it is missing and locked; by default a temporary one.

    Raises
    ------
    DataError
        If another fit is running there.
    StorageError
        If it can be neither made nor locked.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="llmtokens-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"could not make the folder {str(folder)!r} ({error}); choose another"
        ) from error
    with _locked(place):
        yield place


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The system lifts the lock when the process ends, however it ends; the file stays, since one
    that is deleted could still be locked by somebody who opened it before."""
    try:
        file = (folder / _LOCK).open("a")
    except OSError as error:
        raise StorageError(
            f"could not write to the folder {str(folder)!r} ({error}); choose another"
        ) from error
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"another fit is running in the folder {str(folder)!r}; wait for it, or name "
                "another folder"
            ) from error
        except OSError as error:
            raise StorageError(
                f"could not lock the folder {str(folder)!r} ({error}); choose one on a file "
                "system that has locks"
            ) from error
        yield


def write(
    folder: Path,
    ratings: Ratings,
    times: Floats | None,
    std: float,
    known: Known,
    n_factors: int,
    seed: int,
    slots: int,
) -> Where:
    """Write the ratings, standardised, and their times, shard by shard.

    Raises
    ------
    StorageError
        If the folder cannot be written to.
    """
    n_users = ratings.n_users
    size = users_a_shard(n_users, ratings.n, ratings.n_items)
    bounds = [*range(0, n_users, size), n_users]
    where = Where(str(folder.resolve()), bounds, n_factors, seed, slots)
    rows = {"lead": known.lead[: ratings.n_items], "about": known.users[:n_users]}
    store.write(where.path(ROWS), _KNOWN, {}, rows)
    for index, first in enumerate(bounds[:-1]):
        rated = ShardRatings.of_users(ratings, slice(first, bounds[index + 1]), std)
        arrays = rated._asdict()
        if times is not None:
            at = slice(*ratings.user_ptr[[first, bounds[index + 1]]])
            arrays["times"] = times[at]
        store.write(_shard_path(where, index), _RATINGS, {}, arrays)
    return where


class DiskShards(Shards):
    """Some shards of a folder."""

    def __init__(self, where: Where, indices: Sequence[int]) -> None:
        rows = store.read(where.path(ROWS), _KNOWN, mmap=True)[2]
        self.where, shards = where, []
        lead = np.ascontiguousarray(rows["lead"].astype(np.float64))
        for index in indices:
            first, end = where.bounds[index], where.bounds[index + 1]
            arrays = dict(store.read(_shard_path(where, index), _RATINGS, mmap=True)[2])
            times, rated = arrays.pop("times", None), ShardRatings(**arrays)
            shard = Shard(
                index, first, rated, np.array(rows["about"][first:end]), lead, where.n_factors,
                where.seed, times,
            )  # fmt: skip
            shard.kept = self._samples(index, (where.slots, *shard.V.shape))
            shards.append(shard)
        super().__init__(shards)

    def _samples(self, index: int, shape: tuple[int, int, int]) -> Any:
        path = self.where.path(f"samples-{index:05d}.npy")
        try:
            # opened for writing, numpy would fill up what is cut off
            old = np.lib.format.open_memmap(path, "r")
            whole = old.shape == shape and old.dtype == np.float32
        except (OSError, ValueError):
            whole = False
        if not whole and self.where.path(CHECKPOINT).exists():
            raise FileFormatError(
                f"{str(path)!r} is missing or cut short, and with it the samples of the last "
                "checkpoint; delete the folder, and fit anew"
            )
        try:
            if not whole:
                np.lib.format.open_memmap(path, "w+", np.float32, shape)
            made = np.lib.format.open_memmap(path, "r+")
            if hasattr(os, "posix_fallocate"):  # where a disk fills up later, the process would end
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            return made
        except OSError as error:
            raise StorageError(f"could not write {str(path)!r} ({error}); make room") from error

    def save(self, sweeps: int) -> None:
        """Write the state after so many sweeps."""
        self.flush()
        for shard in self.shards:
            arrays = {"alpha": shard.alpha, "plain": shard.links.plain, "open": shard.open}
            if shard.drift is not None:
                arrays |= {"drift": shard.drift.states, "rows": shard.V}
            store.write(_state_path(self.where, shard.index, sweeps), _USERS, {}, arrays)

    def restore(self, sweeps: int) -> None:
        """Go on from there."""
        for shard in self.shards:
            state = store.read(_state_path(self.where, shard.index, sweeps), _USERS)[2]
            shard.alpha[:], shard.open[:] = state["alpha"], state["open"]
            shard.links.plain[:] = state["plain"]
            if shard.drift is not None:  # the next sweep begins with it, given the users' rows
                shard.drift.states[:], shard.V[:] = state["drift"], state["rows"]
                shard.take_off_drift()

    def flush(self) -> None:
        """Write the samples kept so far."""
        for shard in self.shards:
            shard.kept.flush()

    def hand_over(self) -> None:
        """Write what :func:`collected` reads: of many users more than can well be sent."""
        self.flush()
        for shard in self.shards:
            store.write(_open_path(self.where, shard.index), _OPEN, {}, {"open": shard.open})

    def reserve(self, table: Singles) -> None:
        """Samples are in files, until they are collected."""

    def collect(self, table: Singles, n: int) -> Floats:
        self.hand_over()
        return collected(self.where, table, n)


def collected(where: Where, table: Singles, n: int) -> Floats:
    """Fill the table of the users' samples from the files of all shards, and return what these
    leave open."""
    opened = []
    for index, first in enumerate(where.bounds[:-1]):
        kept = np.lib.format.open_memmap(where.path(f"samples-{index:05d}.npy"), "r")
        table[first : where.bounds[index + 1], :n] = kept[:n].transpose(1, 0, 2)
        opened.append(store.read(_open_path(where, index), _OPEN)[2]["open"])
    return np.vstack(opened)


def forget(where: Where, but: int) -> None:
    """Delete the users' states of other checkpoints than the last."""
    for path in Path(where.folder).iterdir():
        state = _STATE.fullmatch(path.name)  # other files may be the user's own
        if state and state[1] != str(but):
            path.unlink(missing_ok=True)


def _shard_path(where: Where, index: int) -> Path:
    return where.path(f"shard-{index:05d}.safetensors")


def _open_path(where: Where, index: int) -> Path:
    return where.path(f"open-{index:05d}.safetensors")


def _state_path(where: Where, index: int, sweeps: int) -> Path:
    return where.path(f"users-{index:05d}-{sweeps}.safetensors")
