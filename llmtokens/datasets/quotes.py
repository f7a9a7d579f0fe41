"""What quotes mean in a text table: the marks of a cell, or parts of it."""

from __future__ import annotations

import contextlib
import csv
import re
import warnings
from collections.abc import Callable, Sequence

from ..errors import FileFormatError, LLMTokensWarning
from .scan import Quoting, Scan, scan

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*|\d{4}-\d\d-\d\d.*")


def is_number(cell: str) -> bool:
    """Whether a number or a date stands in a cell."""
    return bool(_NUMBER.fullmatch(cell.strip()))


def quoting(
    data: bytes,
    sep: str,
    start: int,
    width: int,
    columns: Sequence[int],
    padded: bool,
    titles: bool | None,
    source: str,
) -> tuple[Quoting, Scan]:
    """What quotes mean in this file, and the scan that goes with it.

    ``titles`` is whether there are some in the header, None where there is none.
    """

    def look(quoting: Quoting) -> Scan:
        return scan(data, ord(sep), quoting, start, width, columns, padded)

    def line(offset: int) -> int:
        return data.count(b"\n", 0, offset) + 1

    if b'"' not in data:
        return Quoting.NONE, look(Quoting.NONE)
    quoted = look(Quoting.DOUBLED)
    if b'\\"' in data and (escaped := look(Quoting.ESCAPED)).fits:
        if not quoted.fits or escaped.quoted > quoted.quoted:
            return Quoting.ESCAPED, escaped
        _warn_if_cells_differ(quoted, escaped, line, source)
    rarely = sep not in ",;"  # formats that mostly do without quotes
    optional = quoted.quoted - quoted.needed
    if quoted.fits and quoted.spans is None and (not optional or titles):
        _warn_of_backslashes(data, start, source)
        return Quoting.DOUBLED, quoted
    plain = look(Quoting.NONE)
    if quoted.fits and quoted.spans is not None:
        if sep == "\t" or plain.consistent:
            raise FileFormatError(
                f"{source}: the quote in line {line(quoted.spans)} opens a cell that goes on in "
                "the next line; if the quote is a part of the text, write the file with another "
                "separator or without quotes; if the cell has several lines, join them"
            )
        _warn_of_rows_in_cells(data, sep, start, width, source)
        _warn_of_backslashes(data, start, source)
        return Quoting.DOUBLED, quoted
    if quoted.fits:
        partial = quoted.needless == optional and not quoted.needed
        if rarely and plain.consistent and partial and quoted.commas < optional:
            if 2 * quoted.quoted > plain.rows:
                warnings.warn(
                    f"{source}: the quotes around {quoted.quoted} cells are taken for text, as "
                    "other cells of the same columns have none; if they are marks, write the file "
                    "anew with quotes around all texts or around none",
                    LLMTokensWarning,
                    stacklevel=2,
                )
            return Quoting.NONE, plain
        if rarely or not quoted.needed:
            warnings.warn(
                f"{source}: the quotes around {quoted.quoted} cells are taken for marks, not text, "
                "and left out",
                LLMTokensWarning,
                stacklevel=2,
            )
        _warn_of_backslashes(data, start, source)
        return Quoting.DOUBLED, quoted
    closed = _in_quotes(data, sep, start)
    if plain.fits and (closed * 2 < plain.rows if rarely else not closed):
        return Quoting.NONE, plain
    if quoted.unclosed is not None:
        raise FileFormatError(
            f"{source}: the quote in line {line(quoted.unclosed)} opens a cell and is not closed "
            "where it ends; write a quote inside a quoted cell twice, or take the mark away"
        )
    return Quoting.DOUBLED, quoted


def _warn_if_cells_differ(
    quoted: Scan, escaped: Scan, line: Callable[[int], int], source: str
) -> None:
    """Say it where a quote after a backslash may end its cell, or be a part of it."""
    if quoted.rows == escaped.rows:
        apart = (quoted.starts != escaped.starts).any(axis=0)
        if not apart.any():
            return
        offset = int(quoted.offsets[apart.argmax()])
    else:
        offset = int(quoted.offsets[0])
    warnings.warn(
        f"{source}: quotes that follow a backslash, as in line {line(offset)}, are taken to end "
        "their cell; if they are a part of it, write them twice and without the backslash",
        LLMTokensWarning,
        stacklevel=3,
    )


def _warn_of_rows_in_cells(data: bytes, sep: str, start: int, width: int, source: str) -> None:
    """Say it where lines inside quotes look like rows: two stray quotes have others between."""
    lines = data[start:].decode("utf-8", "replace").splitlines(keepends=True)
    rows, before = csv.reader(lines, delimiter=sep), data.count(b"\n", 0, start)
    with contextlib.suppress(csv.Error):  # of a cell that is longer than the module reads
        for row in rows:
            for k, cell in enumerate(row):
                first, *inner = (line.split(sep) for line in cell.split("\n")[:-1] or [""])
                ends = len(first) == width - k and k + 1 < width and any(map(is_number, first))
                if ends or any(len(x) == width and any(map(is_number, x)) for x in inner):
                    warnings.warn(
                        f"{source}: a quote opens a cell that ends in line "
                        f"{before + rows.line_num} and holds what looks like rows of the table; if "
                        "quotes are parts of texts, write the file without quotes around cells, or "
                        "each of them twice in a cell in quotes",
                        LLMTokensWarning,
                        stacklevel=3,
                    )
                    return


def _warn_of_backslashes(data: bytes, start: int, source: str) -> None:
    if b"\\" in data and data.find(b"\\\\", start) >= 0:
        warnings.warn(
            f"{source}: two backslashes in a row are kept as they are; if the file writes one as "
            "two, replace them",
            LLMTokensWarning,
            stacklevel=3,
        )


def _in_quotes(data: bytes, sep: str, start: int) -> int:
    """How many cells of one line stand between quotes."""
    by = re.escape(sep.encode())
    pattern = rb"(?:(?<=\n)|(?<=" + by + rb'))[ ]?"[^"\n]*"(?=' + by + rb"|\r?\n|\Z)"
    return sum(1 for _ in re.finditer(pattern, data[max(start - 1, 0) :]))
