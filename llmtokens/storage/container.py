"""The one file format of the library: safetensors with a checked JSON payload.

Layout, version 3
-----------------
A file is a plain safetensors file. Its metadata holds ``format`` ("llmtokens"), ``version``,
``kind`` ("tokens", or the class name of an algorithm) and ``sha256``, the digest of everything
below. The tensor ``__json__`` (uint8) is the UTF-8 text of a JSON object; the other tensors are
arrays. There is no pickle and no code in it, and no path is ever read from it. Files are written
beside their destination and moved over it when complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, FileFormatError, StorageError, sample
from .files import opened_regular, written_whole

VERSION = 3
_FORMAT = "llmtokens"
_JSON = "__json__"
ID_TYPES = (str, int, float)
_LONGEST_HEADER = 1 << 20  # those of the library take a few thousand bytes
_DTYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNED = 8  # bytes at which arrays start


def write(
    path: str | Path, kind: str, payload: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write one file, whole or not at all.

    Parameters
    ----------
    path : str or Path
    kind : str
        What the file holds; :func:`read` insists on it.
    payload : mapping
        Anything JSON can say.
    arrays : mapping of str to ndarray

    Raises
    ------
    DataError
        If the payload is not JSON (say, an id that is neither text nor number).
    StorageError
        If the folder is missing, full or read-only; an older file at ``path`` is left as it was.
    """
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
        encoded = text.encode("utf-8", "surrogatepass")
    except (TypeError, ValueError) as error:
        if "set_int_max_str_digits" in str(error):
            error = ValueError("an id is a whole number of thousands of digits; use a text instead")
        raise DataError(f"cannot be written as JSON: {error}") from error
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    tensors[_JSON] = np.frombuffer(encoded, np.uint8)
    metadata = {"format": _FORMAT, "version": str(VERSION), "kind": kind}
    metadata["sha256"] = _digest(metadata, tensors)
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        _write_tensors(file, metadata, tensors)


def read(
    path: str | Path, kind: str | None = None, *, mmap: bool = False
) -> tuple[str, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a file written by :func:`write`: its kind, payload and arrays.

    The arrays are copies, whatever becomes of the file. With ``mmap`` they stay on disk instead,
    and processes that load the same file share its pages; then the file must be replaced as a
    whole, as ``save`` does: one that is overwritten in place changes the arrays, or ends the
    process. (They are no ``np.memmap``, which joblib would send to its workers as a path and an
    offset: by then there may be another file in that place.)

    Raises
    ------
    StorageError
        If the file cannot be opened, or is no regular one.
    FileFormatError
        If it is not ours, is of another kind, newer than this library, cut short or changed.
    """
    path = Path(path)
    metadata, tensors = _tensors(path, mmap)
    if metadata.get("format") != _FORMAT:
        raise FileFormatError(f"{str(path)!r} is a safetensors file, but not one of llmtokens")
    found = metadata.get("version", "")
    if found != str(VERSION):
        raise FileFormatError(
            f"{str(path)!r} has format version {found[:20]!r}; this llmtokens reads {VERSION}: "
            "build and save it again with this version, or upgrade llmtokens if the file is newer"
        )
    expected = metadata.pop("sha256", "")
    if _digest(metadata, tensors) != expected or _JSON not in tensors:
        raise FileFormatError(
            f"{str(path)!r} is damaged: its checksum differs from the one it carries. "
            "Restore it from a copy, or write it again"
        )
    written = metadata.get("kind", "")
    if kind is not None and written != kind:
        raise FileFormatError(f"{str(path)!r} holds {written!r}; expected {kind!r}")
    try:
        payload = json.loads(tensors.pop(_JSON).tobytes().decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{str(path)!r} does not hold JSON: {error}") from error
    return written, payload, tensors


def jsonable_ids(ids: list[Any]) -> list[Any]:
    """Raw ids with their types kept, in a form JSON can say.

    Raises
    ------
    DataError
        For an id that is neither str, int, float nor bool.
    """
    bad = [
        raw
        for raw in ids
        if not isinstance(raw, ID_TYPES) or (isinstance(raw, float) and not math.isfinite(raw))
    ]
    if bad:
        raise DataError(
            f"found ids that a file cannot hold: {sample(bad)}; expected str, int or float ids, "
            "none missing"
        )
    return ids


def _write_tensors(
    file: BinaryIO, metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]
) -> None:
    """What safetensors writes, always in one order: the same arrays give the same bytes."""
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in order:
        array = tensors[name]
        begin, end = end, end + array.nbytes
        kind = _NAMES[array.dtype.str]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in order:
        if tensors[name].size:
            file.write(memoryview(tensors[name]).cast("B"))


def _tensors(path: Path, mapped: bool) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    try:
        with opened_regular(path) as file:  # once: it may be replaced at any moment
            metadata, entries, start = _header(file)
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if mapped else None
            tensors = {name: _array(file, pages, start, e) for name, e in entries.items()}
    except OSError as error:
        raise StorageError(f"could not read {str(path)!r} ({error}); check the path") from error
    except (
        ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
    ) as error:  # fmt: skip
        raise FileFormatError(
            f"{str(path)!r} is not a whole safetensors file ({error!s:.200}); it is damaged, cut "
            "short, or was written by something else"
        ) from error
    return metadata, tensors


def _header(file: BinaryIO) -> tuple[dict[str, str], dict[str, Any], int]:
    """Metadata, what the file says of its arrays, and where their bytes start."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= size - 8:
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    if length > _LONGEST_HEADER:  # parsed, it may take thirty times the memory
        raise ValueError(f"a header of {length} bytes; expected at most {_LONGEST_HEADER}")
    entries = json.loads(file.read(length))
    metadata = entries.pop("__metadata__", {})
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("metadata that is not text")
    for name in entries:
        name.encode()  # a ValueError for half of a surrogate pair
    spans = [entry["data_offsets"] for entry in entries.values()]
    claimed = sum(end - begin for begin, end in spans)
    if claimed != size - 8 - length:  # bytes in no array, or in several
        raise ValueError(f"{size - 8 - length} bytes of arrays; the header says {claimed!r:.30}")
    return metadata, entries, 8 + length


def _array(
    file: BinaryIO, pages: mmap.mmap | None, start: int, entry: Mapping[str, Any]
) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), np.dtype(_DTYPES[entry["dtype"]])
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"an array of the shape {shape!r:.60}")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{end - begin} bytes for an array of the shape {shape!r:.60}")
    if 0 in shape:
        return np.zeros(shape, dtype)
    if pages is not None:
        return np.frombuffer(pages, dtype, math.prod(shape), start + begin).reshape(shape)
    array = np.empty(shape, dtype)
    file.seek(start + begin)
    if file.readinto(memoryview(array).cast("B")) != end - begin:  # type: ignore[attr-defined]
        raise ValueError("it became shorter while it was read")
    return array


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(memoryview(array).cast("B") if array.size else b"")
    return digest.hexdigest()
