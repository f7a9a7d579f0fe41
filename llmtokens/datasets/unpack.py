"""How large tables may become: a small file must not fill the memory, nor take for ever."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import FileFormatError

_RATIO = 100  # ratings and titles shrink to a third or a tenth
_ALWAYS = 1 << 26  # 64 MiB, whatever they were unpacked from
_CHUNK = 1 << 20
_WIDEST = 10_000  # columns; pandas takes the square of their number in time
_HEAD = 1 << 24  # bytes of the first two rows
_BOM = b"\xef\xbb\xbf"
_OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

# What damaged files raise, besides OSError
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError,
    ValueError, LookupError,
)  # fmt: skip


def check_size(unpacked: int, packed: int, source: str) -> None:
    """Raise FileFormatError for a size that no honest file has."""
    if unpacked > max(_ALWAYS, _RATIO * packed):
        raise FileFormatError(
            f"{source}: {packed:,} bytes unpack to {unpacked:,} or more, which no ratings or "
            "titles do; if you trust the file, unpack it yourself and pass the folder or the CSV"
        )


def check_compressed(path: str | os.PathLike[str]) -> None:
    """The same for a compressed file, without keeping what is in it."""
    packed, suffix = os.path.getsize(path), Path(path).suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                check_size(member.file_size, packed, str(path))
    if suffix in _OPEN:
        unpacked = 0
        with _OPEN[suffix](path) as stream:
            while chunk := stream.read(_CHUNK):
                unpacked += len(chunk)
                check_size(unpacked, packed, str(path))


def open_table(path: str | os.PathLike[str]) -> BinaryIO:
    """What :func:`check_compressed` has let pass, unpacked."""
    path, suffix = os.path.expanduser(path), Path(path).suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.open(archive.namelist()[0])  # type: ignore[return-value]
    unpacked: BinaryIO = _OPEN.get(suffix, open)(path, "rb")
    return unpacked


def check_width(stream: BinaryIO, separator: str, source: str) -> None:
    """Raise FileFormatError for first rows, which decide on the columns, of too many fields."""
    head, sep = stream.read(_HEAD).removeprefix(_BOM), separator.encode()
    field = re.compile(rb'(?:"[^"]*+(?:""[^"]*+)*+"?)?+[^\r\n%s]*+' % sep)
    blank, at = re.compile(rb"[ \r\n]*+"), 0
    for _ in range(2):  # the names, and the first values: pandas takes what is beyond for an index
        at, width = field.match(head, blank.match(head, at).end()).end(), 1  # type: ignore[union-attr]
        while head[at : at + 1] == sep and width <= _WIDEST:
            at, width = field.match(head, at + 1).end(), width + 1  # type: ignore[union-attr]
        if width > _WIDEST or at == _HEAD:
            raise FileFormatError(
                f"{source}: a row of more than {_WIDEST:,} fields or {_HEAD:,} bytes; if you trust "
                "the file, read it with pandas and pass the DataFrame"
            )


def check_parquet(path: str | os.PathLike[str]) -> None:
    """The same as for compressed files: equal values take next to nothing in Parquet."""
    from pyarrow import parquet

    folder = Path(os.path.expanduser(path))
    files = filter(Path.is_file, folder.rglob("*.parquet")) if folder.is_dir() else [folder]
    for file in files:
        about = parquet.read_metadata(file)
        groups = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
        unpacked = max(sum(groups), 8 * about.num_rows * about.num_columns)
        check_size(unpacked, file.stat().st_size, str(file))
