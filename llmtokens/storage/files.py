"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import StorageError


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[str]:
    """A name beside ``path`` to write to; the file is moved to ``path`` when the block ends.

    It gets the permissions of the file it replaces, or those of any new file.

    Raises
    ------
    StorageError
        If anything fails on the way, such as a folder that is missing, full or read-only; an older
        file is left as it was, and no scraps stay. (A process that is killed cannot tidy up: it
        may leave one hidden file, ``.<name>.*.tmp``, which can be deleted.)
    """
    path = Path(path)
    temporary = None
    try:
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        old = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        mode = 0o666 if old is None else old | stat.S_IRUSR | stat.S_IWUSR
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        temporary = str(beside)
        new = stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, new if old is None else old)  # safetensors makes a file of its own
        os.replace(temporary, path)
    except Exception as error:
        raise _not_written(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def require_place(path: str | Path) -> None:
    """Ask whether a file can be written at ``path`` before the work whose result goes there.

    Raises
    ------
    StorageError
        If it cannot.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError("there is a folder of that name")
        with tempfile.TemporaryFile(dir=path.parent):
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
