"""How large tables may become: a small file must not fill the memory, nor take for ever."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, sample

_RATIO = 100  # ratings and titles shrink to a third or a tenth
_ALWAYS = 1 << 26  # 64 MiB, whatever they were unpacked from
_CHUNK = 1 << 20
_OPEN: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}

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


def read_bytes(path: Path, source: str) -> bytes:
    """What a file holds, unpacked if its first bytes say that it is packed."""
    packed = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PK\x03\x04"):
        return _only_member(path, packed, source)
    opened = next((how for start, how in _OPEN.items() if magic.startswith(start)), None)
    if opened is None:
        return path.read_bytes()
    chunks, unpacked = [], 0
    with opened(path) as stream:
        while chunk := stream.read(_CHUNK):
            unpacked += len(chunk)
            check_size(unpacked, packed, source)
            chunks.append(chunk)
    return b"".join(chunks)


def _only_member(path: Path, packed: int, source: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir()
            and not member.filename.startswith("__MACOSX/")
            and not member.filename.split("/")[-1].startswith(".")
        ]
        if any(x.filename in ("xl/workbook.xml", "mimetype") for x in members):
            raise FileFormatError(
                f"{source}: is a workbook, not text; save it as CSV, or read it with "
                "pandas.read_excel and pass the DataFrame"
            )
        if len(members) != 1:
            names = sample((member.filename for member in members), 6)
            raise FileFormatError(
                f"{source}: holds {len(members)} files ({names or 'none'}); expected one table: "
                "unpack it and name one of them, or load_movielens if it is MovieLens"
            )
        check_size(members[0].file_size, packed, source)
        return archive.read(members[0])


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
