"""The folder of a fit: ratings and samples that are memory-mapped, and states to go on from.

A folder holds ratings, column by column (``user.npy``, ``item.npy``, ``value.npy`` and others), and
shard by shard (``shard-<index>.safetensors``); what is known of users and items
(``rows.safetensors``); ``samples-<index>.npy``, filled as the fit goes on; for the last checkpoint
``users-<index>-<sweeps>.safetensors`` and ``chain.safetensors``, which alone says that it is whole;
and in the end the model's rows of users (``samples.npy``, ``open.npy``, ``selection.npy``). One fit
at a time may use it. Files that a model may have mapped are replaced, never changed.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.bpmf.features import Known
from ..algorithms.bpmf.messages import UserRows
from ..algorithms.bpmf.shards import Shard, ShardRatings, Shards
from ..errors import DataError, FileFormatError, StorageError
from ..storage import container as store
from ..storage.files import written_whole

try:
    import fcntl
except ImportError:  # Windows: two fits in one folder go unnoticed
    fcntl = None  # type: ignore[assignment]

CHECKPOINT = "chain.safetensors"
ROWS = "rows.safetensors"
CHAIN = "chain"
_LOCK = "lock"
_STATE = re.compile(r"users-\d{5,}-(\d+)\.safetensors")
_RATINGS, _KNOWN, _USERS = "shard", "rows", "users of a chain"


class Folder(NamedTuple):
    """Where files are, as the client and all workers see it."""

    name: str

    def path(self, name: str) -> Path:
        return Path(self.name, name)

    def array(self, name: str) -> Path:
        return self.path(f"{name}.npy")

    def piece(self, k: int) -> Path:
        return self.path(f"piece-{k:05d}.npy")


class Where(NamedTuple):
    """Shards in a folder, and what is not in their files.

    Attributes
    ----------
    folder : Folder
    bounds : list of int
        The first user of each shard, and how many users there are.
    slots : int
        How many samples will be kept.
    """

    folder: Folder
    bounds: list[int]
    n_factors: int
    seed: int
    slots: int


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
    make_folder(place)
    with _locked(place):
        yield place


def make_folder(folder: Path) -> None:
    """Make a folder, where it is missing.

    Raises
    ------
    StorageError
        If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"could not make the folder {str(folder)!r} ({error}); choose another"
        ) from error


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


# -- arrays in files ------------------------------------------------------------------------------


def create(path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    """A file of an array that several processes will write parts of; one that was there before
    stays as it was for whoever has it open.

    Raises
    ------
    StorageError
        If there is no room.
    """
    form = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with _named(path):
        path.unlink(missing_ok=True)
        with path.open("xb") as file:
            np.lib.format.write_array_header_1_0(file, form)
            size = file.tell() + math.prod(shape) * np.dtype(dtype).itemsize
            file.truncate(size)
            file.flush()
            if hasattr(os, "posix_fallocate"):  # later, a process that has it mapped would end
                os.posix_fallocate(file.fileno(), 0, size)


def write_at(path: Path, row: int, array: NDArray[Any]) -> None:
    """Write rows of such an array, the first being ``row``."""
    with _named(path), path.open("r+b") as file:
        shape, dtype = _header(file)
        file.seek(row * math.prod(shape[1:]) * dtype.itemsize, os.SEEK_CUR)
        file.write(memoryview(np.ascontiguousarray(array, dtype)).cast("B") if array.size else b"")


def write_whole(path: Path, array: NDArray[Any]) -> None:
    """Write an array, in place of one that was there."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array)


def mapped(path: Path) -> Any:
    """An array that stays in its file; as in :func:`llmtokens.storage.container.read`, it is no
    ``np.memmap``."""
    with _named(path), path.open("rb") as file:
        shape, dtype = _header(file)
        n, start = math.prod(shape), file.tell()
        if not n:
            return np.zeros(shape, dtype)
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return np.frombuffer(pages, dtype, n, start).reshape(shape)


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"could not read or write {str(path)!r} ({error}); make room, and check that the "
            "folder is there for all workers"
        ) from error


# -- shards ---------------------------------------------------------------------------------------


def write_ratings(folder: Folder, index: int, arrays: dict[str, Any]) -> None:
    """Write what a shard is made of."""
    store.write(_shard_path(folder, index), _RATINGS, {}, arrays)


def write_known(folder: Folder, known: Known) -> None:
    """Write what is known of users and items."""
    arrays = known._asdict()
    del arrays["parts"]
    said = {"one_space": arrays.pop("one_space")}
    store.write(folder.path(ROWS), _KNOWN, said, arrays)


def read_known(folder: Folder) -> Known:
    """The same, but for how it was made; the arrays stay in the file."""
    _, said, arrays = store.read(folder.path(ROWS), _KNOWN, mmap=True)
    return Known(**arrays, one_space=said["one_space"], parts={})


class DiskShards(Shards):
    """Some shards of a folder."""

    def __init__(self, where: Where, indices: Sequence[int]) -> None:
        known = read_known(where.folder)
        self.where, shards = where, []
        n_items = None
        for index in indices:
            first, end = where.bounds[index], where.bounds[index + 1]
            path = _shard_path(where.folder, index)
            arrays = dict(store.read(path, _RATINGS, mmap=True)[2])
            times, deviation = arrays.pop("times", None), arrays.pop("deviation")
            rated = ShardRatings(**arrays)
            if n_items is None:
                n_items = len(rated.item_ptr) - 1
                lead = np.ascontiguousarray(known.lead[:n_items].astype(np.float64))
            shard = Shard(
                index, first, rated, np.array(known.users[first:end]), lead, where.n_factors,
                where.seed, deviation, times,
            )  # fmt: skip
            shard.kept = self._samples(index, (where.slots, *shard.V.shape))
            shard.fitted = UserRows.zeros(len(shard.V), 0, lead.shape[1], where.n_factors)
            shards.append(shard)
        super().__init__(shards)

    def _samples(self, index: int, shape: tuple[int, int, int]) -> Any:
        path = self.where.folder.path(f"samples-{index:05d}.npy")
        try:
            # opened for writing, numpy would fill up what is cut off
            old = np.lib.format.open_memmap(path, "r")
            whole = old.shape == shape and old.dtype == np.float32
        except (OSError, ValueError):
            whole = False
        if not whole and self.where.folder.path(CHECKPOINT).exists():
            raise FileFormatError(
                f"{str(path)!r} is missing or cut short, and with it the samples of the last "
                "checkpoint; delete the folder, and fit anew"
            )
        if not whole:
            create(path, np.float32, shape)
        return np.lib.format.open_memmap(path, "r+")

    def save(self, sweeps: int) -> None:
        """Write the state after so many sweeps."""
        for shard in self.shards:
            shard.kept.flush()
            arrays = {"alpha": shard.alpha, "plain": shard.links.plain, "open": shard.open}
            if shard.drift is not None:
                arrays |= {"drift": shard.drift.states, "rows": shard.V}
            store.write(_state_path(self.where.folder, shard.index, sweeps), _USERS, {}, arrays)

    def restore(self, sweeps: int) -> None:
        """Go on from there."""
        for shard in self.shards:
            state = store.read(_state_path(self.where.folder, shard.index, sweeps), _USERS)[2]
            shard.alpha[:], shard.open[:] = state["alpha"], state["open"]
            shard.links.plain[:] = state["plain"]
            if shard.drift is not None:  # the next sweep begins with it, given the users' rows
                shard.drift.states[:], shard.V[:] = state["drift"], state["rows"]
                shard.take_off_drift()

    def reserve(self, n_rows: int, slots: int, c: int, k: int) -> UserRows:
        self._cold = UserRows.zeros(n_rows - self.where.bounds[-1], slots, c, k)
        for name, table in self._cold._asdict().items():
            create(self.where.folder.array(name), table.dtype, (n_rows, *table.shape[1:]))
        return self._cold

    def put(self) -> None:
        """Write the shards' rows of the model."""
        folder = self.where.folder
        for shard in self.shards:
            write_at(folder.array("samples"), shard.first, shard.kept.transpose(1, 0, 2))
            write_at(folder.array("open"), shard.first, shard.fitted.open)
            write_at(folder.array("selection"), shard.first, shard.fitted.selection)

    def rows(self, n: int) -> UserRows:
        self.put()
        for name, table in self._cold._asdict().items():
            write_at(self.where.folder.array(name), self.where.bounds[-1], table)
        made = fitted_rows(self.where.folder)
        return made._replace(samples=np.ascontiguousarray(made.samples[:, :n]))  # all, mostly


def fitted_rows(folder: Folder) -> UserRows:
    """The model's rows of users, in their files."""
    return UserRows(*(mapped(folder.array(name)) for name in UserRows._fields))


def forget(folder: Folder, but: int) -> None:
    """Delete the users' states of other checkpoints than the last."""
    for path in Path(folder.name).iterdir():
        state = _STATE.fullmatch(path.name)  # other files may be the user's own
        if state and state[1] != str(but):
            path.unlink(missing_ok=True)


def _shard_path(folder: Folder, index: int) -> Path:
    return folder.path(f"shard-{index:05d}.safetensors")


def _state_path(folder: Folder, index: int, sweeps: int) -> Path:
    return folder.path(f"users-{index:05d}-{sweeps}.safetensors")
