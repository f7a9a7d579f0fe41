"""The rows and cells of a text table, found by its bytes.

How many cells a row has, where the quotes open and close, and where the cells of a column lie: what
no reader that is content with whatever it gets would say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.arrays import Bytes
from ..runtime.threads import threads

SMALL = 1 << 17  # bytes that plain Python has read before compiled code is loaded
PIECE = 1 << 21  # bytes that are worth a thread
LARGE = 1 << 31  # bytes whose offsets do not fit into 32 bits
_MOST_PIECES = 16
_COUNTED = 1 << 16  # bytes whose line feeds are counted together, in the processor's cache

Places = NDArray[np.int32] | NDArray[np.int64]


class Quoting(Enum):
    """What a quote at the beginning of a cell means; the values are the kernel's."""

    NONE = 0
    """A part of the text."""
    DOUBLED = 1
    """It opens a cell, in which a quote is written twice."""
    ESCAPED = 2
    """It opens a cell, in which a quote has a backslash before it."""


@dataclass
class Scan:
    """What a table was found to be.

    Attributes
    ----------
    offsets : ndarray of int32 or int64, shape (n_rows,)
        Where the rows begin, those without a value left out.
    starts, ends : ndarray of int32 or int64, shape (n_columns, n_rows)
        Where the cells of the columns asked for do, and end. Quotes around them are left out,
        unless there are some in them, too; cells that are not there are empty.
    n_short, n_long, n_surplus : int
        Rows of fewer cells than there are columns; of more that are not empty; of more, all empty.
    short, long : (offset, cells) or None
        The first of these rows, as is ``surplus``, an offset.
    broken : int or None
        Offset of the first two short rows that, put together, are one.
    unclosed : int or None
        Offset of the first quote that opens a cell and does not close at its end.
    spans : int or None
        Offset of the first quoted cell that holds a line break.
    quoted, needed, needless, commas : int
        Quoted cells; those that must be, as they hold a separator, a line break or a quote; those
        that need not be, in columns where others are not quoted; those with a comma alone.
    """

    offsets: Places
    starts: Places
    ends: Places
    n_short: int = 0
    n_long: int = 0
    n_surplus: int = 0
    short: tuple[int, int] | None = None
    long: tuple[int, int] | None = None
    surplus: int | None = None
    broken: int | None = None
    unclosed: int | None = None
    spans: int | None = None
    quoted: int = 0
    needed: int = 0
    needless: int = 0
    commas: int = 0

    @property
    def rows(self) -> int:
        """Those that hold a value."""
        return len(self.offsets)

    @property
    def consistent(self) -> bool:
        """Whether quotes close and every row has as many cells as there are columns."""
        return self.fits and not self.n_short

    @property
    def fits(self) -> bool:
        """The same, where the last cells of a row may be missing."""
        return self.unclosed is None and not self.n_long and self.broken is None


def kernel(name: str, data: bytes) -> tuple[Callable[..., Any], bytes | Bytes]:
    """A function of :mod:`llmtokens.kernels.cells`, and the bytes as it takes them.

    Plain Python for a small file, which is read sooner than machine code is made.
    """
    from ..kernels import cells

    if len(data) <= SMALL:
        return getattr(cells, name).py_func, data
    return getattr(cells, name), np.frombuffer(data, np.uint8)


def workers(data: bytes) -> AbstractContextManager[Executor | None]:
    """Threads to read these bytes, None where one is enough."""
    return threads(_MOST_PIECES) if len(data) >= 2 * PIECE else nullcontext()


def scan(
    data: bytes,
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
    data : bytes
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
        Whether spaces before a cell are left out.
    """
    find, given = kernel("find_cells", data)
    slots = np.full(width, -1, np.int64)
    slots[list(columns)] = np.arange(len(columns))
    bounds = _bounds(data, start)
    with workers(data) as pool:
        each = map if pool is None else pool.map
        lines = [*each(lambda piece: _lines(data, *piece), pairwise(bounds))]
        places = np.concatenate([[0], np.cumsum(lines, dtype=np.int64)])
        kind = np.int32 if len(data) < LARGE else np.int64  # half the memory to go through
        offsets = np.empty(places[-1], kind)
        starts, ends = np.empty((2, len(columns), places[-1]), kind)

        def look(begin: int, end: int, place: int) -> _Piece:
            piece = _Piece(begin, place, width)
            piece.end = find(
                given, begin, end, sep, quoting.value, padded, slots, place, offsets, starts, ends,
                piece.notes, piece.quoted, piece.needless,
            )  # fmt: skip
            return piece

        pieces = [*each(look, bounds[:-1], bounds[1:], places[:-1].tolist())]
    at, kept = start, list[_Piece]()
    for piece, end in zip(pieces, bounds[1:], strict=True):
        if at >= end:  # the last row has gone on to here
            continue
        kept.append(piece if piece.begin == at else look(at, end, piece.place))
        at = kept[-1].end
        if kept[-1].offset("UNCLOSED") is not None:
            break
    return _together(kept, offsets, starts, ends)


class _Piece:
    """What was found in rows that follow each other, and where the first is written."""

    def __init__(self, begin: int, place: int, width: int) -> None:
        from ..kernels import cells

        self.begin, self.end, self.place = begin, begin, place
        self.notes = np.zeros(cells.N_NOTES, np.int64)
        self.notes[cells.OFFSETS] = -1
        self.quoted, self.needless = np.zeros((2, width), np.int64)

    def note(self, name: str) -> int:
        from ..kernels import cells

        return int(self.notes[getattr(cells, name)])

    def offset(self, name: str) -> int | None:
        at = self.note(name)
        return None if at < 0 else at


def _bounds(data: bytes, start: int) -> list[int]:
    """Beginnings of lines that divide the bytes into pieces."""
    n = min(max((len(data) - start) // PIECE, 1), _MOST_PIECES)
    cuts = [start]
    for k in range(1, n):
        cut = data.find(b"\n", start + (len(data) - start) * k // n) + 1
        if cut > cuts[-1]:
            cuts.append(cut)
    return [x for x in cuts if x < len(data)] + [len(data)]


def _lines(data: bytes, begin: int, end: int) -> int:
    """How many lines there are, which may be more than rows."""
    given = np.frombuffer(data, np.uint8)[begin:end]
    n = sum(
        int(np.count_nonzero(given[k : k + _COUNTED] == ord("\n")))
        for k in range(0, len(given), _COUNTED)
    )
    return n + (len(given) > 0 and given[-1] != ord("\n"))


def _together(pieces: list[_Piece], offsets: Places, starts: Places, ends: Places) -> Scan:
    """What was found in all pieces, their rows moved up to each other."""
    n, total = 0, dict.fromkeys(("SHORT", "LONG", "SURPLUS", "QUOTED", "NEEDED", "COMMAS"), 0)
    for piece in pieces:
        more, place = piece.note("ROWS"), piece.place
        if place > n:
            for of in (offsets, *starts, *ends):
                of[n : n + more] = of[place : place + more]
        n += more
        for name in total:
            total[name] += piece.note(name)
    quoted = sum((piece.quoted for piece in pieces), np.zeros(1, np.int64))
    needless = sum((piece.needless for piece in pieces), np.zeros(1, np.int64))

    def first(name: str) -> int | None:
        return next((x for piece in pieces if (x := piece.offset(name)) is not None), None)

    def first_row(name: str) -> tuple[int, int] | None:
        return next(
            (
                (at, piece.note(f"{name}_CELLS"))
                for piece in pieces
                if (at := piece.offset(f"FIRST_{name}")) is not None
            ),
            None,
        )

    broken = [x for piece in pieces if (x := piece.offset("BROKEN")) is not None]
    for one, other in pairwise(pieces):
        halves = one.note("TAIL_CELLS"), other.note("HEAD_CELLS")
        if min(halves) > 0 and sum(halves) == len(one.quoted) + 1:
            broken.append(one.note("TAIL"))
    return Scan(
        offsets[:n],
        starts[:, :n],
        ends[:, :n],
        n_short=total["SHORT"],
        n_long=total["LONG"],
        n_surplus=total["SURPLUS"],
        short=first_row("SHORT"),
        long=first_row("LONG"),
        surplus=first("FIRST_SURPLUS"),
        broken=min(broken, default=None),
        unclosed=first("UNCLOSED"),
        spans=first("SPANS"),
        quoted=total["QUOTED"],
        needed=total["NEEDED"],
        needless=int(needless[(quoted > 0) & (quoted < n)].sum()),
        commas=total["COMMAS"],
    )
