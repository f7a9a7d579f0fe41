"""Kernels of text tables: where their cells are, and what these say, byte by byte."""

from __future__ import annotations

import numpy as np

from .compiled import njit

# What quotes at the beginning of a cell are
TEXT, DOUBLED, ESCAPED = range(3)

# What is noted of rows: how many there are of a kind, numbers of cells, and offsets
ROWS, LINES, SHORT, LONG, SURPLUS, QUOTED, NEEDED, COMMAS = range(8)
SHORT_CELLS, LONG_CELLS, HEAD_CELLS, TAIL_CELLS = range(8, 12)
FIRST_SHORT, FIRST_LONG, FIRST_SURPLUS, BROKEN, UNCLOSED, SPANS, TAIL = range(12, 19)
N_NOTES = 19
OFFSETS = slice(12, 19)  # -1 where there is none

_TAB, _LINE, _RETURN, _SPACE, _QUOTE, _COMMA, _PLUS = 9, 10, 13, 32, 34, 44, 43
_MINUS, _POINT, _ZERO, _NINE, _BACKSLASH = 45, 46, 48, 57, 92
_MOST_DIGITS = 18  # of a whole number in 64 bits
_BYTES = 7  # of a cell that are a key by themselves, its length before them
_LONG = 1 << 60  # marks the keys of longer ones
_SPREAD, _POSITIVE = 0x1E3779B97F4A7C15, (1 << 62) - 1
_EXACT_DIGITS = 15  # of one that a float holds, as it does the powers of ten up to 22


@njit(nogil=True)
def find_cells(
    data: np.ndarray,
    begin: int,
    end: int,
    sep: int,
    quoting: int,
    padded: bool,
    slots: np.ndarray,
    row: int,
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    notes: np.ndarray,
    quoted: np.ndarray,
    needless: np.ndarray,
) -> int:
    """Go through the rows that begin between two offsets, and return where the last one ends.

    Those that hold a value are written from ``row`` on: where they begin to ``rows`` (n,), where
    their cells do and end, without quotes, to ``starts`` and ``ends`` (n_slots, n), for the columns
    whose ``slots`` (n_columns,) are not -1. A quoted cell with quotes in it keeps its own, so that
    it is told from text. ``quoted`` and ``needless`` (n_columns,) count quoted cells, and those
    that need no quotes. At a quote that is not closed it ends.
    """
    size, width, at = len(data), len(slots), begin
    first = row
    before = 0  # cells of the row before, if it is a short one
    while at < end:
        head, cell, extra, more = at, 0, -1, True
        while more:
            if padded:  # no separator stands before the first cell, whose spaces are its own
                to = at
                while to < size and data[to] != sep and (data[to] == _SPACE or data[to] == _TAB):
                    to += 1
                if cell > 0 or (quoting != TEXT and to < size and data[to] == _QUOTE):
                    at = to
            start = at
            stop = -1
            if quoting != TEXT and at < size and data[at] == _QUOTE:
                marks, breaks, lines, commas = False, False, False, False
                at += 1
                while at < size:
                    byte = data[at]
                    if byte == _QUOTE:
                        if at + 1 == size or data[at + 1] != _QUOTE:
                            break
                        marks = True
                        at += 1
                    elif byte == _BACKSLASH and quoting == ESCAPED and at + 1 < size:
                        if data[at + 1] == _QUOTE:
                            marks = True
                            at += 1
                        elif data[at + 1] == _BACKSLASH:
                            at += 1
                    elif byte == sep:
                        breaks = True
                    elif byte == _LINE:
                        breaks = lines = True
                    if byte == _COMMA:
                        commas = True
                    at += 1
                stop = at
                at += 1
                closed = at == size or (
                    at < size
                    and (
                        data[at] == sep
                        or data[at] == _LINE
                        or (data[at] == _RETURN and (at + 1 == size or data[at + 1] == _LINE))
                    )
                )
                if not closed:
                    notes[UNCLOSED] = start
                    notes[ROWS] = row - first
                    notes[TAIL_CELLS] = 0
                    return size
                notes[QUOTED] += 1
                if breaks or marks:
                    notes[NEEDED] += 1
                elif commas:
                    notes[COMMAS] += 1
                if lines and notes[SPANS] < 0:
                    notes[SPANS] = start
                if cell < width:
                    quoted[cell] += 1
                    needless[cell] += not (breaks or marks)
                if marks:
                    stop += 1
                else:
                    start += 1
            while at < size and data[at] != sep and data[at] != _LINE:
                at += 1
            more = at < size and data[at] == sep
            if stop < 0:
                stop = at
                if not more and stop > start and data[stop - 1] == _RETURN:
                    stop -= 1
            if cell < width:
                slot = slots[cell]
                if slot >= 0:
                    starts[slot, row] = start
                    ends[slot, row] = stop
            elif cell == width:
                extra = start
            cell += 1
            if more:
                at += 1
        tail = at  # of the row
        at += 1
        notes[LINES] += 1
        if _is_hollow(data, head, tail, sep):
            before = 0
            continue
        rows[row] = head
        for k in range(cell, width):
            if slots[k] >= 0:
                starts[slots[k], row] = ends[slots[k], row] = tail
        row += 1
        if cell == width:
            before = 0
        elif cell < width:
            notes[SHORT] += 1
            if notes[FIRST_SHORT] < 0:
                notes[FIRST_SHORT], notes[SHORT_CELLS] = head, cell
            if before and before + cell == width + 1 and notes[BROKEN] < 0:
                notes[BROKEN] = notes[TAIL]
            before = cell
            if notes[LINES] == 1:
                notes[HEAD_CELLS] = cell
        else:
            before = 0
            if _is_hollow(data, extra, tail, sep):
                notes[SURPLUS] += 1
                if notes[FIRST_SURPLUS] < 0:
                    notes[FIRST_SURPLUS] = head
            else:
                notes[LONG] += 1
                if notes[FIRST_LONG] < 0:
                    notes[FIRST_LONG], notes[LONG_CELLS] = head, cell
        notes[TAIL] = head
    notes[ROWS] = row - first
    notes[TAIL_CELLS] = before
    return min(at, size)


@njit(nogil=True)
def _is_hollow(data: np.ndarray, begin: int, end: int, sep: int) -> bool:
    """Whether there is nothing but separators and spaces."""
    for at in range(begin, end):
        byte = data[at]
        if byte != sep and byte != _SPACE and byte != _TAB and byte != _RETURN:
            return False
    return True


@njit(nogil=True)
def whole_numbers(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, values: np.ndarray
) -> bool:
    """Read cells that are whole numbers, each as it is written by the number itself.

    False as soon as one is not; 007, -0 and numbers beyond 18 digits are not.
    """
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        minus = end - start > 1 and data[start] == _MINUS
        if minus:
            start += 1
        digits = end - start
        if digits < 1 or digits > _MOST_DIGITS:
            return False
        if data[start] == _ZERO and (digits > 1 or minus):
            return False
        value = 0
        for at in range(start, end):
            digit = int(data[at]) - _ZERO
            if digit < 0 or digit > 9:
                return False
            value = 10 * value + digit
        values[row] = -value if minus else value
    return True


@njit(nogil=True)
def decimals(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, values: np.ndarray) -> bool:
    """Read cells that are decimal numbers of at most 15 digits, NaN where one is empty.

    False as soon as one is something else. A quotient of whole numbers that floats hold exactly is
    rounded once, so that the values are those of Python's ``float``.
    """
    for row in range(len(starts)):
        at, end = starts[row], ends[row]
        if at == end:
            values[row] = np.nan
            continue
        minus = data[at] == _MINUS
        if minus or data[at] == _PLUS:
            at += 1
        value, digits, power, point = 0, 0, 1.0, False
        while at < end:
            byte = int(data[at])
            if byte == _POINT and not point:
                point = True
            elif byte < _ZERO or byte > _NINE:
                return False
            else:
                value = 10 * value + byte - _ZERO
                digits += 1
                if point:
                    power *= 10.0
            at += 1
            if digits > _EXACT_DIGITS:
                return False
        if digits == 0:
            return False
        values[row] = -(value / power) if minus else value / power
    return True


@njit(nogil=True)
def distinct(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Number the cells by what they hold, in the order of appearance; returns the first rows."""
    bits, n = 10, 0
    table = np.full((1 << bits, 2), -1, np.int64)  # of keys and codes
    firsts = np.empty(1 << bits, np.int64)
    for row in range(len(starts)):
        start, end = int(starts[row]), int(ends[row])
        key, short = end - start, end - start <= _BYTES
        if short:
            for at in range(start, end):
                key = (key << 8) | int(data[at])
        else:  # FNV-1a, Fowler, Noll and Vo
            key = 2166136261
            for at in range(start, end):
                key = ((key ^ int(data[at])) * 16777619) & 0xFFFFFFFF
            key |= _LONG
        place = ((key * _SPREAD) & _POSITIVE) >> (62 - bits)
        while True:
            code = table[place, 1]
            if code < 0:
                table[place, 0], table[place, 1] = key, n
                firsts[n] = row
                code = n
                n += 1
                break
            if table[place, 0] == key:
                first = firsts[code]
                if short or _same(data, start, end, starts[first], ends[first]):
                    break
            place = (place + 1) & ((1 << bits) - 1)
        codes[row] = code
        if 2 * n == 1 << bits:
            bits += 2
            before, table = table, np.full((1 << bits, 2), -1, np.int64)
            for k in range(len(before)):
                if before[k, 1] >= 0:
                    place = ((int(before[k, 0]) * _SPREAD) & _POSITIVE) >> (62 - bits)
                    while table[place, 1] >= 0:
                        place = (place + 1) & ((1 << bits) - 1)
                    table[place] = before[k]
            more = np.empty(1 << bits, np.int64)
            more[:n] = firsts[:n]
            firsts = more
    return firsts[:n].copy()


@njit(nogil=True)
def _same(data: np.ndarray, start: int, end: int, other: int, other_end: int) -> bool:
    if end - start != other_end - other:
        return False
    k = start
    while k < end and data[k] == data[other + k - start]:
        k += 1
    return k == end


@njit(nogil=True)
def joined(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, out: np.ndarray
) -> None:
    """The bytes of these rows' cells, a zero behind each."""
    to = 0
    for row in rows:
        for at in range(starts[row], ends[row]):
            out[to] = data[at]
            to += 1
        out[to] = 0
        to += 1
