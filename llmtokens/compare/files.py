"""Text files, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from ..errors import StorageError


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text beside ``path`` and move it there when complete.

    Raises
    ------
    StorageError
        If the folder is missing, full or read-only; an older file is left as it was.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise StorageError(
            f"could not write {str(path)!r} ({error}); nothing at that place was changed. "
            "Check that the folder exists, is writable and has room"
        ) from error
