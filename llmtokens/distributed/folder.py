"""The folder of a fit, which no other fit may be using."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError, StorageError

try:
    import fcntl
except ImportError:  # Windows: two fits in one folder go unnoticed
    fcntl = None  # type: ignore[assignment]

_LOCK = "lock"


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
