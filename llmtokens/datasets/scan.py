"""The rows and cells of a text table, found by its bytes, before pandas reads them.

pandas takes short rows for missing values, rows that are too long for an index, and whatever
follows a stray quote for one cell. So the bytes are looked at first: how many cells a row has,
where the quotes open and close, and of which kind the cells of a column are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from ..runtime.arrays import Bytes, Mask, Rows

_CHUNK = 1 << 18  # bytes looked at together
_SHOWN = 6  # faults that are kept
_LINE, _RETURN, _QUOTE, _SPACE, _BACKSLASH = b'\n\r" \\'
_ZERO, _NINE, _MINUS = b"09-"


class Quoting(Enum):
    """What a quote at the beginning of a cell means."""

    NONE = "a part of the text"
    DOUBLED = "it opens a cell, in which a quote is written twice"
    ESCAPED = "it opens a cell, in which a quote has a backslash before it"


@dataclass
class Column:
    """What the cells of a column are, as far as their first and last bytes tell.

    ``plain``: all are digits, perhaps after a minus, without zeros or spaces before them;
    ``longest``: bytes.
    """

    plain: bool = True
    empty: int = 0
    longest: int = 0


@dataclass
class Scan:
    """What a table was found to be.

    Attributes
    ----------
    rows : int
        Those that hold a value.
    blank : list of (start, end)
        Offsets of the lines that hold none.
    short, long : list of (offset, cells)
        The first rows of fewer cells than there are columns, and of more that are not empty;
        ``n_short`` and ``n_long`` count all of them.
    surplus : int or None
        Offset of the first of ``n_surplus`` rows that have further cells, all empty.
    broken : int or None
        Offset of the first two short rows that, put together, are one.
    unclosed : int or None
        Offset of the first quote that opens a cell and does not close at its end.
    spans : int or None
        Offset of the first quoted cell that holds a line break.
    quoted, needed, needless, commas : int
        Quoted cells; those that must be, as they hold a separator, a line break or a quote; those
        that need not be, in columns where others are not quoted; those with a comma alone.
    columns : list of Column
        Of those that were asked for.
    """

    rows: int = 0
    blank: list[tuple[int, int]] = field(default_factory=list)
    short: list[tuple[int, int]] = field(default_factory=list)
    long: list[tuple[int, int]] = field(default_factory=list)
    n_short: int = 0
    n_surplus: int = 0
    surplus: int | None = None
    n_long: int = 0
    broken: int | None = None
    unclosed: int | None = None
    spans: int | None = None
    quoted: int = 0
    needed: int = 0
    needless: int = 0
    commas: int = 0
    columns: list[Column] = field(default_factory=list)

    @property
    def consistent(self) -> bool:
        """Whether quotes close and every row has as many cells as there are columns."""
        return self.fits and not self.n_short

    @property
    def fits(self) -> bool:
        """The same, where the last cells of a row may be missing."""
        return self.unclosed is None and not self.n_long and self.broken is None


@dataclass(frozen=True)
class _Piece:
    """Whole rows from one place of a file; offsets count from there.

    Row ``k`` has ``widths[k]`` cells, from the cell ``first[k]`` on; ``breaks`` are all bytes that
    are a separator or end a line, those in quoted cells too.
    """

    at: int
    data: Bytes
    starts: Rows
    ends: Rows
    first: Rows
    widths: Rows
    breaks: Rows
    opens: Rows
    closes: Rows
    quotes: Rows
    inner: int  # of the breaks, those in quoted cells


def scan(
    data: Bytes,
    sep: int,
    quoting: Quoting,
    start: int,
    width: int,
    columns: Sequence[int] = (),
    padded: bool = False,
) -> Scan:
    """Look at every row from ``start`` on.

    Parameters
    ----------
    data : ndarray of uint8
    sep : int
        The byte between cells.
    quoting : Quoting
    start : int
        Where the first row begins.
    width : int
        How many columns there are.
    columns : sequence of int
        Those whose cells are looked at.
    padded : bool
        Whether a quote opens a cell after a space, too.
    """
    found = Scan(columns=[Column() for _ in columns])
    quoted, needless = np.zeros(width, np.int64), np.zeros(width, np.int64)
    for piece in _pieces(data, sep, quoting, start, padded):
        if isinstance(piece, int):
            found.unclosed = piece
            break
        kept = _count(found, piece, sep, width)
        for column, of in zip(found.columns, columns, strict=True):
            rows = kept & (piece.widths > of)
            at = piece.first[rows] + of
            _look(column, piece.data, piece.starts[at], piece.ends[at], quoting)
            column.empty += int(kept.sum() - rows.sum())
        if len(piece.opens):
            _judge(found, piece, quoted, needless)
    found.needless = int(needless[(quoted > 0) & (quoted < found.rows)].sum())
    return found


def row_offset(
    data: Bytes, sep: int, quoting: Quoting, start: int, row: int, padded: bool = False
) -> int:
    """Where a row begins, those without a value not counted."""
    for piece in _pieces(data, sep, quoting, start, padded):
        if isinstance(piece, int):
            break
        begin = piece.starts[piece.first][~_hollow(piece, sep)]
        if row < len(begin):
            return piece.at + int(begin[row])
        row -= len(begin)
    return len(data)


def _pieces(
    data: Bytes, sep: int, quoting: Quoting, start: int, padded: bool
) -> Iterator[_Piece | int]:
    """Whole rows, piece by piece; the offset of a quote that is not closed ends them."""
    at, size, none = start, _CHUNK, np.zeros(0, np.int64)
    while at < len(data):
        chunk = data[at : at + size]
        last = at + len(chunk) == len(data)
        opens, closes, quotes, limit = none, none, none, len(chunk)
        if quoting is not Quoting.NONE and (quotes := np.flatnonzero(chunk == _QUOTE)).size:
            opens, closes, stray = _cells_in_quotes(chunk, quotes, sep, quoting, padded)
            if stray is not None:
                if last or stray[1]:
                    yield at + stray[0]
                    return
                limit = stray[0]
        line = chunk == _LINE
        breaks = np.flatnonzero(line | (chunk == sep))
        ends = breaks if limit == len(chunk) else breaks[breaks < limit]
        if len(opens):
            turns = np.zeros(len(chunk), np.int8)
            turns[opens], turns[closes] = 1, -1
            ends = ends[np.cumsum(turns, dtype=np.int8)[ends] == 0]
        if last and chunk[-1] != _LINE:
            ends = np.append(ends, len(chunk))
        lines = np.flatnonzero(np.append(line, True)[ends])
        if not len(lines):
            if last:
                return
            size *= 2
            continue
        ends = ends[: lines[-1] + 1]
        whole = int(ends[-1]) + 1
        inner = int(np.searchsorted(breaks, whole)) - len(ends) + (whole > len(chunk))
        starts = np.concatenate([[0], ends[:-1] + 1])
        first = np.concatenate([[0], lines[:-1] + 1])
        widths = np.diff(lines, prepend=-1)
        before = ends[lines] - 1
        ends[lines] -= (before >= starts[lines]) & (chunk[before] == _RETURN)
        own = slice(0, int(np.searchsorted(opens, whole)))
        yield _Piece(
            at, chunk, starts, ends, first, widths, breaks, opens[own], closes[own], quotes, inner
        )
        at, size = at + whole, _CHUNK


def _cells_in_quotes(
    chunk: Bytes, quotes: Rows, sep: int, quoting: Quoting, padded: bool
) -> tuple[Rows, Rows, tuple[int, bool] | None]:
    """Where quoted cells open and close, and the first that does not.

    Of that one, also whether it is known for sure, as what follows cannot close it any more.
    """
    if quoting is Quoting.ESCAPED:
        escaped = (quotes > 0) & (chunk[quotes - 1] == _BACKSLASH)
        escaped &= ~((quotes > 1) & (chunk[quotes - 2] == _BACKSLASH))
        quotes = quotes[~escaped]
    framed = np.concatenate([[_LINE], chunk, [_LINE]])
    before, after = framed[quotes], framed[quotes + 2]
    if padded:
        before = np.where(before == _SPACE, framed[quotes - 1], before)
    begins = (before == sep) | (before == _LINE)
    stops = (after == sep) | (after == _LINE) | (after == _RETURN)
    joined = np.diff(quotes) == 1
    opening, closing = slice(0, None, 2), slice(1, None, 2)
    twice_before, twice_after = np.append(False, joined), np.append(joined, False)
    if (begins | twice_before)[opening].all() and (stops | twice_after)[closing].all():
        # as in a file that keeps to the rules: every other one opens, if it is not the second
        opens = quotes[opening][~twice_before[opening]]
        closes = quotes[closing][~twice_after[closing]]
        if len(opens) == len(closes):
            return opens, closes, None
        return opens[:-1], closes, (int(opens[-1]), False)
    opened: list[int] = []
    closed: list[int] = []
    k, n = 0, len(quotes)
    begins_, stops_, twice = begins.tolist(), stops.tolist(), twice_after.tolist()
    places = quotes.tolist()
    while k < n:
        if not begins_[k]:  # in the middle of a cell it is text
            k += 1
            continue
        j = k + 1
        while j < n and not (stops_[j] and not twice[j]):
            if not twice[j]:
                return _offsets(opened), _offsets(closed), (places[k], True)
            j += 2
        if j >= n:
            return _offsets(opened), _offsets(closed), (places[k], False)
        opened.append(places[k])
        closed.append(places[j])
        k = j + 1
    return _offsets(opened), _offsets(closed), None


def _offsets(values: list[int]) -> Rows:
    return np.array(values, np.int64)


def _hollow(piece: _Piece, sep: int) -> Mask:
    """Rows that hold nothing but separators and spaces."""
    begin, end = piece.starts[piece.first], piece.ends[piece.first + piece.widths - 1]
    head = piece.data[np.minimum(begin, len(piece.data) - 1)]
    maybe = (begin == end) | (head == sep) | (head == _SPACE) | (head == ord("\t"))
    nothing = bytes([sep]) + b" \t\r"
    for k in np.flatnonzero(maybe).tolist():
        maybe[k] = not piece.data[begin[k] : end[k]].tobytes().strip(nothing)
    return maybe


def _count(found: Scan, piece: _Piece, sep: int, width: int) -> Mask:
    """Which rows hold a value; blank, short and long ones are noted."""
    hollow = _hollow(piece, sep)
    begin, end = piece.starts[piece.first], piece.ends[piece.first + piece.widths - 1]
    for k in np.flatnonzero(hollow).tolist():
        after = begin[k + 1] if k + 1 < len(begin) else end[k] + 2
        found.blank.append((piece.at + int(begin[k]), piece.at + int(after)))
    found.rows += int((~hollow).sum())
    short = np.flatnonzero((piece.widths < width) & ~hollow)
    found.n_short += len(short)
    for k in short[: _SHOWN - len(found.short)].tolist():
        found.short.append((piece.at + int(begin[k]), int(piece.widths[k])))
    pairs = short[1:][
        (np.diff(short) == 1) & (piece.widths[short[1:]] + piece.widths[short[:-1]] == width + 1)
    ]
    if len(pairs) and found.broken is None:
        found.broken = piece.at + int(begin[pairs[0] - 1])
    for k in np.flatnonzero((piece.widths > width) & ~hollow).tolist():
        surplus = piece.data[piece.starts[piece.first[k] + width] : end[k]].tobytes()
        if not surplus.strip(bytes([sep]) + b" \t\r"):
            found.n_surplus += 1
            if found.surplus is None:
                found.surplus = piece.at + int(begin[k])
        else:
            found.n_long += 1
            if len(found.long) < _SHOWN:
                found.long.append((piece.at + int(begin[k]), int(piece.widths[k])))
    return ~hollow


def _look(column: Column, data: Bytes, start: Rows, end: Rows, quoting: Quoting) -> None:
    """Note of which kind these cells are."""
    if not len(start):
        return
    at_end = len(data) - 1
    if quoting is not Quoting.NONE:
        quoted = (data[np.minimum(start, at_end)] == _QUOTE) & (end - start >= 2)
        if quoted.any():
            start, end = start + quoted, end - quoted
    size = end - start
    column.empty += int((size == 0).sum())
    column.longest = max(column.longest, int(size.max()))
    if not column.plain:
        return
    head, tail = data[np.minimum(start, at_end)], data[end - 1]
    minus = head == _MINUS
    if minus.any():
        head = np.where(minus, data[np.minimum(start + 1, at_end)], head)
        size = size - minus
    ones = (head > _ZERO) & (head <= _NINE) & (tail >= _ZERO) & (tail <= _NINE) & (size > 0)
    if not ones.all():
        column.plain = bool((ones | ((head == _ZERO) & (size == 1) & ~minus)).all())


def _judge(found: Scan, piece: _Piece, quoted: Rows, needless: Rows) -> None:
    """Note which quoted cells must be, and which need not."""
    opens, closes = piece.opens, piece.closes

    def inside(places: Rows) -> Rows:
        return np.searchsorted(places, closes) - np.searchsorted(places, opens, side="right")

    must = np.zeros(len(opens), bool)
    if piece.inner or len(piece.quotes) > 2 * len(opens):
        must = (inside(piece.breaks) > 0) | (inside(piece.quotes) > 0)
        lines = piece.breaks[piece.data[piece.breaks] == _LINE]
        spanning = np.flatnonzero(inside(lines) > 0)
        if len(spanning) and found.spans is None:
            found.spans = piece.at + int(opens[spanning[0]])
    found.quoted += len(opens)
    found.needed += int(must.sum())
    if (commas := np.flatnonzero(piece.data == ord(","))).size != len(piece.breaks):
        found.commas += int((~must & (inside(commas) > 0)).sum())
    cell = np.flatnonzero(piece.data[np.minimum(piece.starts, len(piece.data) - 1)] == _QUOTE)
    if len(cell) != len(opens):  # spaces before some
        cell = np.searchsorted(piece.starts, opens, side="right") - 1
    row = np.repeat(np.arange(len(piece.first)), piece.widths)[cell]
    column = cell - piece.first[row]
    within = column < len(quoted)
    quoted += np.bincount(column[within], minlength=len(quoted))
    needless += np.bincount(column[within & ~must], minlength=len(quoted))
