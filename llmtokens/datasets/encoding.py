"""The bytes of a text table as UTF-8, with lines that end in a line feed."""

from __future__ import annotations

import codecs
import re
import warnings

from ..errors import DataError, FileFormatError, LLMTokensWarning

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip


def check_text(raw: bytes, source: str) -> None:
    """Raise FileFormatError for what begins as pages, workbooks, archives and databases do."""
    head = raw[:64].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise FileFormatError(
            f"{source}: is a web page or XML, not a table; was a page saved instead of the file?"
        )
    if raw.startswith((b"\xd0\xcf\x11\xe0", b"PK\x03\x04")):
        raise FileFormatError(
            f"{source}: is a workbook or archive, not text; save it as CSV, or read it with "
            "pandas.read_excel and pass the DataFrame"
        )
    if raw.startswith(b"SQLite format 3"):
        raise FileFormatError(f"{source}: is a database; read it with pandas.read_sql")


def as_utf8(raw: bytes, encoding: str | None, source: str) -> bytes:
    """The text as UTF-8, without a mark before it."""
    if encoding is not None:
        try:
            text = raw.decode(encoding)
        except LookupError as error:
            raise DataError(f"{source}: found encoding={encoding!r}; expected one of Python's, "
                            "such as utf-8, latin-1 or cp1251") from error  # fmt: skip
        except UnicodeError as error:
            raise FileFormatError(f"{source}: is not {encoding}: {error}") from error
        return text.removeprefix("\ufeff").encode("utf-8", "replace")
    for mark, name in _MARKS:
        if raw.startswith(mark):
            try:
                text = raw[len(mark) :].decode(name)
            except UnicodeError as error:
                raise FileFormatError(f"{source}: is not {name}, as it says: {error}") from error
            return raw[len(mark) :] if name == "utf-8" else text.encode("utf-8", "replace")
    if b"\0" in raw:
        return _without_nul(raw)
    if raw.isascii():
        return raw
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return _not_utf8(raw, error.start, source)
    return raw


def _without_nul(raw: bytes) -> bytes:
    """What is UTF-16 by its zeros."""
    few = raw[: 1 << 16]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if few[first::2].count(0) > 0.4 * len(few) / 2 and len(raw) % 2 == 0:
            try:
                text = raw.decode(name)
            except UnicodeError:
                continue
            if "\0" not in text:
                return text.encode("utf-8", "replace")
    return raw


def _not_utf8(raw: bytes, first: int, source: str) -> bytes:
    """Windows-1252, with a warning, unless most of it is UTF-8."""
    text = raw.decode("utf-8", "surrogateescape")
    wrong = sum(1 for _ in re.finditer("[\udc80-\udcff]+", text))
    right = sum(1 for _ in re.finditer("[^\x00-\x7f\udc80-\udcff]+", text))
    line = raw.count(b"\n", 0, first) + 1
    shown = raw[max(raw.rfind(b"\n", 0, first) + 1, first - 20) : first + 12]
    if right > wrong:
        raise FileFormatError(
            f"{source}: is UTF-8 in {right} places and not in {wrong}, the first in line {line} "
            f"({shown!r}); mend these, or pass the encoding it has"
        )
    try:
        name, text = "Windows-1252", raw.decode("cp1252")
    except UnicodeDecodeError:
        name, text = "Latin-1", raw.decode("latin-1")
    as_read = shown.decode("cp1252", "replace").split("\n")[0].strip()
    warnings.warn(
        f"{source}: is not UTF-8 (line {line}); it is read as {name}, so that this line has "
        f"{as_read!r}. If that is wrong, pass encoding=, such as 'cp1251' or 'cp1250'",
        LLMTokensWarning,
        stacklevel=2,
    )
    return text.encode("utf-8")


def line_ends(data: bytes) -> tuple[bytes, bool]:
    """Lines that end in a line feed, and whether a carriage return stands elsewhere."""
    if b"\r" not in data:
        return data, False
    data = data.replace(b"\r\r\n", b"\r\n")
    alone = data.count(b"\r") != data.count(b"\r\n")
    if alone and b"\n" not in data:  # as on a Mac of old
        return data.replace(b"\r", b"\n"), False
    return data, alone
