"""Feedback on disk: one line of JSON each, on its way to the platter before anybody is thanked."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from ..data.ids import id_text
from ..errors import FileFormatError, LLMTokensWarning, StorageError
from ..storage.files import written_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Feedback:
    """What somebody thought of an item.

    Attributes
    ----------
    user, item : raw ids
    rating : float
        What the model learned; of a click, what a click counted for.
    click : bool
    time : float
        Seconds since 1970.
    """

    user: Hashable
    item: Hashable
    rating: float
    click: bool
    time: float


class FeedbackLog:
    """A file that grows by whole lines, and belongs to one process at a time.

    A line is there, on the disk itself, when :meth:`append` returns. A process that is killed while
    it writes leaves at most a part of a line at the end, of which nobody was told: it is cut off
    when the file is opened.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    StorageError
        If it cannot be opened, or another process has it.
    FileFormatError
        If a whole line is not one that was written here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = self._opened()
        self._records = list(self._read())

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Feedback]:
        """From the oldest to the newest."""
        return iter(self._records)

    def append(self, record: Feedback) -> None:
        """Write one line, to the disk.

        Raises
        ------
        StorageError
            If it cannot be written; the file is as it was.
        """
        line = json.dumps(asdict(record)).encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(line)
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise _not_written(self.path, error) from error
        self._records.append(record)

    def drop(self, user: Hashable) -> None:
        """Write the file anew, without the lines of one user.

        Raises
        ------
        StorageError
            If it cannot be written; the file is as it was.
        """
        gone = id_text(user)
        kept = [record for record in self._records if id_text(record.user) != gone]
        if len(kept) == len(self._records):
            return
        with written_whole(self.path) as temporary, open(temporary, "wb") as file:
            file.writelines(json.dumps(asdict(record)).encode() + b"\n" for record in kept)
        self._file.close()
        self._file, self._records = self._opened(), kept

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _opened(self) -> FileIO:
        try:
            is_new = not self.path.exists()
            file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (kept until close)
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_new:
                _sync_folder(self.path.parent)
        except BlockingIOError as error:
            raise StorageError(
                f"{str(self.path)!r} is in use by another server; expected one for each model: "
                "stop that one, or serve a copy of the model"
            ) from error
        except OSError as error:
            raise _not_written(self.path, error) from error
        return file

    def _read(self) -> Iterator[Feedback]:
        self._file.seek(0)
        *lines, torn = self._file.read().split(b"\n")
        if torn:
            self._file.truncate(sum(map(len, lines)) + len(lines))
            warnings.warn(
                f"{str(self.path)!r} ended in a part of a line, which was being written when a "
                "server was stopped, and which nobody was told of; it is cut off",
                LLMTokensWarning,
                stacklevel=4,
            )
        for number, line in enumerate(lines, 1):
            try:
                record = Feedback(**json.loads(line))
            except (ValueError, TypeError, RecursionError):
                record = None
            if record is None or not _sound(record):
                raise FileFormatError(
                    f"{str(self.path)!r}, line {number}: found {line[:60]!r}; expected feedback as "
                    "JSON: remove the line, or restore the file from a copy"
                )
            yield record


def _sound(record: Feedback) -> bool:
    ids = all(type(raw) in (str, int, float) for raw in (record.user, record.item))
    numbers = (record.rating, record.time)
    return (
        ids
        and type(record.click) is bool
        and all(type(x) in (int, float) and math.isfinite(x) for x in numbers)
    )


def _sync_folder(folder: Path) -> None:
    """So that a new file is found again after a power cut."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _not_written(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"could not write {str(path)!r} ({error}); nothing was taken in. Check that the folder "
        "exists, is writable and has room"
    )
