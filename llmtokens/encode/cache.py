"""The embedding cache: work that was done once is never done again.

One SQLite file, ``embeddings.sqlite``, in the user's cache folder or in the folder that the
environment variable ``LLMTOKENS_CACHE_DIR`` names. A row is kept under the encoder's name and
revision and the SHA-256 of the text; the text itself is never written. (A hash hides a text, but
whoever already has it can find out that it is there.) Numbers are plain little-endian float32
with a checksum: nothing in the file is ever executed.

Several processes may share the file. Every batch is one transaction, so a run that is killed loses
the batch at hand and nothing else. The cache may fail in any way without harm to the work: it then
warns and steps aside, a damaged file is renamed and begun anew, a damaged row is encoded again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import LLMTokensWarning
from ..runtime.arrays import Singles

FILE_NAME = "embeddings.sqlite"
_BUSY_SECONDS = 60.0  # how long a writer waits for another process
_KEYS_PER_QUERY = 500  # below the limit of 999 variables of old SQLite builds
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = """CREATE TABLE embeddings (
    encoder TEXT NOT NULL, text BLOB NOT NULL, crc INTEGER NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (encoder, text))"""

_T = TypeVar("_T")


def cache_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The one given, else ``$LLMTOKENS_CACHE_DIR``, else the cache folder of the user."""
    if folder is None:
        folder = os.environ.get("LLMTOKENS_CACHE_DIR") or None
    if folder is None:
        import platformdirs

        folder = platformdirs.user_cache_dir("llmtokens")
    return Path(folder).expanduser()


class EmbeddingCache:
    """Rows of float32 by encoder and text hash, in one SQLite file.

    No method raises for a file that cannot be read or written: they warn once and go on. An
    instance belongs to one thread; any number of instances may share the file.

    Parameters
    ----------
    folder : path, optional
        None: ``$LLMTOKENS_CACHE_DIR``, else the cache folder of the user.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.path = cache_folder(folder) / FILE_NAME
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file the connection has open
        self._off: str | None = None  # None, "write" (read only) or "all"

    def read(self, encoder: str, keys: Sequence[bytes]) -> dict[bytes, Singles]:
        """The sound rows among ``keys``, each of shape (dim,)."""

        def work(db: sqlite3.Connection) -> dict[bytes, Singles]:
            rows = {}
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                some = keys[start : start + _KEYS_PER_QUERY]
                query = (
                    "SELECT text, crc, vector FROM embeddings "
                    f"WHERE encoder = ? AND text IN ({','.join('?' * len(some))})"
                )
                for key, crc, blob in db.execute(query, (encoder, *some)):
                    if not isinstance(blob, bytes) or not blob or len(blob) % 4:
                        continue
                    if crc != zlib.crc32(key + blob):
                        continue
                    row = np.frombuffer(blob, "<f4").astype(np.float32)
                    if np.isfinite(row).all():
                        rows[key] = row
            return rows

        return self._attempt(work, {})

    def write(self, encoder: str, rows: dict[bytes, Singles]) -> None:
        """Keep rows, all or none; rows already there are replaced."""

        def work(db: sqlite3.Connection) -> None:
            blobs = ((key, row.astype("<f4").tobytes()) for key, row in rows.items())
            with db:  # one transaction
                db.executemany(
                    "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?)",
                    [(encoder, key, zlib.crc32(key + blob), blob) for key, blob in blobs],
                )

        if self._off is None:
            self._attempt(work, None)

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):  # nothing is lost by a close that fails
                db.close()

    def _attempt(self, work: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        for last in (False, True):
            if self._off == "all":
                break
            try:
                return work(self._open())
            except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
                self.close()
                damaged = isinstance(error, UnicodeDecodeError)  # in a name, or SQLite's message
                damaged |= getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
                if damaged and self._off is None and not last:
                    self._move_aside(error)
                else:
                    self._step_aside(error)
        return otherwise

    def _open(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        if self._off == "write":  # read only: without locks and side files, which cannot be made
            uri = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
            self._db = sqlite3.connect(uri, uri=True)
            _check_schema(self._db)
            return self._db
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        stat = self.path.stat()
        self._file = (stat.st_dev, stat.st_ino)
        _set_up(self._db)
        return self._db

    def _move_aside(self, error: Exception) -> None:
        number = 1
        while (aside := self.path.with_name(f"{FILE_NAME}.corrupt-{number}")).exists():
            number += 1
        try:
            stat = self.path.stat()
            if (stat.st_dev, stat.st_ino) != self._file:
                return  # another process has already begun a new file
            for side in ("-wal", "-shm"):  # first, or the new file would be taken to own them
                self.path.with_name(FILE_NAME + side).unlink(missing_ok=True)
            self.path.rename(aside)
        except OSError as trouble:
            return self._step_aside(trouble)
        self._warn(f"{self.path} is damaged ({error}); it is now {aside.name}, a new one is begun")

    def _step_aside(self, error: Exception) -> None:
        if self._off is None and _can_still_be_read(self.path):
            self._off = "write"
            self._warn(f"cannot write {self.path} ({error}); new embeddings will not be kept")
        else:
            if self._off is None:
                self._warn(f"cannot use {self.path} ({error}); going on without the cache")
            self._off = "all"

    @staticmethod
    def _warn(message: str) -> None:
        warnings.warn(f"embedding cache: {message}", LLMTokensWarning, stacklevel=2)


def _set_up(db: sqlite3.Connection) -> None:
    """Write-ahead log (readers never wait) and the table; safe for two processes at once."""
    for wait in (0.01, 0.05, 0.2, 1.0, None):
        try:
            _check_schema(db, new=True)  # before anything is changed: it may be somebody else's
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # the switch to WAL does not wait by itself
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if wait is None or code != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(wait)
    db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine costs rows, not the file
    db.execute(_SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS", 1))
    db.commit()
    _check_schema(db)


def _check_schema(db: sqlite3.Connection, new: bool = False) -> None:
    """Raise unless the one table is ours: views, triggers and computed columns can run for ever."""
    found = [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    if [str(sql).split() for sql in found] != [_SCHEMA.split()] and (found or not new):
        raise sqlite3.DatabaseError("it holds other tables than this library writes")


def _can_still_be_read(path: Path) -> bool:
    try:
        return path.stat().st_size > 0 and os.access(path, os.R_OK)
    except OSError:
        return False
