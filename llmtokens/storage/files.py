"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import StorageError

_LONGEST_START = 200  # bytes of a name; most file systems take 255


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[str]:
    """A name beside ``path`` to write to; the file is moved to ``path`` when the block ends.

    It gets the permissions of the file it replaces, or those of any new file. A symbolic link stays
    one: the file it leads to is replaced.

    Raises
    ------
    StorageError
        If anything fails on the way, such as a folder that is missing, full or read-only, or a
        device or pipe of that name; an older file is left as it was, and no scraps stay. (A process
        that is killed cannot tidy up: it may leave one hidden file, ``.<name>.*.tmp``, which can be
        deleted.)
    """
    temporary = None
    try:
        target = Path(os.path.realpath(path))
        old = _replaceable(target)
        beside = target.with_name(_hidden(target.name))
        mode = 0o666 if old is None else old | stat.S_IRUSR | stat.S_IWUSR
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        temporary = str(beside)
        os.close(handle)
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        if old is not None:
            os.chmod(temporary, old)
        os.replace(temporary, target)
    except Exception as error:
        raise _not_written(Path(path), error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def opened_regular(path: str | Path) -> BinaryIO:
    """A file to read from; a pipe, which might keep its reader waiting for ever, is an OSError."""
    # Windows has no such flag, and no such files
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise OSError("it is no regular file")
    return file


def _replaceable(target: Path) -> int | None:
    """The permissions of what will be replaced, None where there is nothing; else an OSError."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("there is a folder of that name")
    if not stat.S_ISREG(mode):
        raise OSError("what has that name is no regular file")
    return stat.S_IMODE(mode)


def _hidden(name: str) -> str:
    """A name for a temporary file, not longer than a file system takes."""
    start = os.fsdecode(os.fsencode(name)[:_LONGEST_START])
    return f".{start}.{secrets.token_hex(8)}.tmp"


def require_place(path: str | Path) -> None:
    """Ask whether a file can be written at ``path`` before the work whose result goes there.

    Raises
    ------
    StorageError
        If it cannot.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
        _replaceable(target)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: Exception) -> StorageError:
    return StorageError(
        f"could not write {str(path)!r} ({error}); nothing at that place was changed. "
        "Check that the folder exists, is writable and has room"
    )


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Raises
    ------
    StorageError
        As :func:`written_whole`.
    """
    with (
        written_whole(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        file.write(text)
