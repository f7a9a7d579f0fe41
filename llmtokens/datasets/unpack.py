"""How large compressed data may become: a small file must not fill the memory."""

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

from ..errors import FileFormatError

_RATIO = 100  # ratings and titles shrink to a third or a tenth
_ALWAYS = 1 << 26  # 64 MiB, whatever they were unpacked from
_CHUNK = 1 << 20
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
