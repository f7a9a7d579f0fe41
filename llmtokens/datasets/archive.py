"""Where a MovieLens data set lies: a folder, a zip archive, Surprise's folder, or the network."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import pandas as pd
from surprise.builtin_datasets import get_dataset_dir

from ..errors import DataError, FileFormatError, LLMTokensError, StorageError, sample
from . import tables
from .dialect import Form
from .unpack import UNREADABLE, check_size

_URL = "https://files.grouplens.org/datasets/movielens/{}.zip"
NAMES = (
    "ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small",
)  # fmt: skip
_RATINGS = ("u.data", "ratings.dat", "ratings.csv")
_TIMEOUT = 60  # seconds without a byte


class Source:
    """The files of a folder or zip archive: at its top, or in the one sub-folder with ratings.

    A zip archive is read in place: no member is ever written to a path of its own choice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = None if path.is_dir() else zipfile.ZipFile(path)
            names = self._zip.namelist() if self._zip else _near_files(path)
        except OSError as error:
            raise StorageError(f"{path}: cannot be read ({error}); check the path.") from error
        except UNREADABLE as error:
            raise FileFormatError(f"{path}: neither a folder nor a zip archive.") from error
        self._members = self._choose([PurePosixPath(x) for x in names if not x.endswith("/")])

    def _choose(self, files: list[PurePosixPath]) -> dict[str, str]:
        """The files of the shallowest folder with ratings in it, by their last name."""
        folders = {file.parent for file in files if file.name in _RATINGS}
        depth = min((len(folder.parts) for folder in folders), default=0)
        homes = sorted(folder for folder in folders if len(folder.parts) == depth)
        if len(homes) > 1:
            shown = sample(str(home) for home in homes)
            raise FileFormatError(f"{self}: holds several data sets ({shown}); name one of them.")
        home = homes[0] if homes else PurePosixPath()
        return {file.name: str(file) for file in files if file.parent == home}

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip:
            self._zip.close()

    def __contains__(self, file: str) -> bool:
        return file in self._members

    def __str__(self) -> str:
        return str(self._path)

    def listing(self) -> str:
        return sample(sorted(self._members), 8) or "no files"

    def open(self, file: str) -> BinaryIO:
        member = self._members[file]
        if self._zip:
            size = self._zip.getinfo(member).file_size
            check_size(size, self._path.stat().st_size, f"{self}: {file}")
        try:
            if self._zip:
                return cast(BinaryIO, self._zip.open(member))
            return (self._path / member).open("rb")
        except (OSError, *UNREADABLE) as error:
            raise StorageError(f"{self}: {file} cannot be read: {error}") from error

    def table(
        self,
        file: str,
        kinds: Mapping[str, tables.Kind],
        sep: str = ",",
        header: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Columns of a file; ``header`` are the names where it has none."""
        with self.open(file) as stream:
            raw = stream.read()
        form = Form(sep, header=True if header is None else header)
        return tables.parse(raw, f"{self}: {file}", kinds, form=form).frame

    def lines(self, file: str) -> list[str]:
        """The lines of a small file: UTF-8 where it is, else the latin-1 of the older sets."""
        with self.open(file) as stream:
            content = stream.read()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
        # Not splitlines(): in latin-1, \x85 is a character of a title and no line break.
        return [line for line in text.replace("\r\n", "\n").split("\n") if line]


def _near_files(folder: Path) -> list[str]:
    """Files at most two folders down: Surprise keeps ml-100k in ml-100k/ml-100k."""
    files = [p for pattern in ("*", "*/*", "*/*/*") for p in folder.glob(pattern) if p.is_file()]
    return [p.relative_to(folder).as_posix() for p in files]


def find(name_or_folder: str | os.PathLike[str], *, download: bool) -> tuple[str, Source]:
    """The name and the files of a data set."""
    text = os.fspath(name_or_folder)
    if text in NAMES and (folder := _builtin(text, download=download)):
        return text, Source(folder)
    path = Path(text).expanduser()
    if path.exists():
        return path.resolve().stem if path.is_file() else path.resolve().name, Source(path)
    if text in NAMES:
        raise StorageError(
            f"{text} is not in {get_dataset_dir()} (set SURPRISE_DATA_FOLDER to use another "
            "folder). Pass download=True to fetch it from grouplens.org, or the path of a folder "
            "or zip archive that you have."
        )
    if path.parent == Path():
        raise DataError(
            f"{text!r} is neither a file nor a folder, nor a known name: {', '.join(NAMES)}."
        )
    raise StorageError(f"{text}: no such folder or archive. Pass the path of one, or a name.")


def _builtin(name: str, *, download: bool) -> Path | None:
    home = Path(get_dataset_dir())
    folder = home / name
    for place in (folder, home / f"{name}.zip"):
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            return place
    if not download:
        return None
    _fetch(_URL.format(name), folder)
    return folder


def _fetch(url: str, folder: Path) -> None:
    """Download and unpack beside ``folder``, then rename: it is there whole or not at all."""
    print(f"Downloading {url} to {folder} ...")
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as scratch:
            archive, unpacked = Path(scratch, "download.zip"), Path(scratch, folder.name)
            with (
                urllib.request.urlopen(url, timeout=_TIMEOUT) as response,
                archive.open("wb") as file,
            ):
                shutil.copyfileobj(response, file)
            with zipfile.ZipFile(archive) as content:
                content.extractall(unpacked, members=list(_safe(content, url)))
            if folder.exists():  # empty, or _builtin would have taken it
                folder.rmdir()
            os.replace(unpacked, folder)
    except LLMTokensError:
        raise
    except (OSError, HTTPException) as error:
        raise StorageError(f"{url}: could not be fetched into {folder}: {error}") from error
    except UNREADABLE as error:
        raise FileFormatError(f"{url}: what came is no zip archive: {error}") from error


def _safe(content: zipfile.ZipFile, url: str) -> Iterator[zipfile.ZipInfo]:
    for member in content.infolist():
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
            raise FileFormatError(f"{url}: holds a file outside its folder: {member.filename!r}.")
        check_size(member.file_size, max(member.compress_size, 0), f"{url}: {member.filename}")
        yield member
