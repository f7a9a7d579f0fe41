"""A table is the same in pieces, on several threads and by compiled code as it is in one go."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from dialects import tables as dialects
from hypothesis import HealthCheck, given, settings

from llmtokens.datasets import scan, tables
from llmtokens.datasets.scan import Quoting
from llmtokens.errors import LLMTokensError

KINDS = {"user": "id", "item": "id", "rating": "number"}
ROWS = [(f"u{k % 7}", k % 5, k % 10 / 2, "a, b" if k % 3 else 'a "b"\nc') for k in range(400)]
TABLE = pd.DataFrame(ROWS, columns=["user", "item", "rating", "title"])


def in_pieces(call, large=scan.LARGE):
    """The result of compiled code, which looks at small pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "SMALL", 0)
        patch.setattr(scan, "PIECE", 64)
        patch.setattr(scan, "LARGE", large)
        return call()


def outcome(raw, **given):
    """The table, or what was said of it, and all warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = tables.parse(raw, "the file", KINDS, others=True, **given).frame.to_dict("list")
        except LLMTokensError as error:
            found = str(error)
    return str(found), [str(x.message) for x in said]


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(written=dialects())
def test_any_dialect_reads_the_same(written):
    assert in_pieces(lambda: outcome(written.data)) == outcome(written.data)


@pytest.mark.parametrize("large", [0, scan.LARGE])
def test_a_row_with_a_line_break_may_lie_in_two_pieces(large):
    raw = TABLE.to_csv(index=False).encode()
    frame = in_pieces(lambda: tables.parse(raw, "the file", KINDS, others=True).frame, large)
    assert frame.astype(object).equals(TABLE.astype(object))
    assert len(scan._bounds(raw, 0)) == 2 < len(in_pieces(lambda: scan._bounds(raw, 0)))


@pytest.mark.parametrize(
    "row", ["u1;2", 'u1;2;3;"open', "u1;2;3;t;5", "u1;2;3;t;;", '"u1;2', ";;;", ""]
)
@pytest.mark.parametrize("at", [0, 5, 31, 32, 33, 63])
def test_a_faulty_row_is_found_in_any_piece(row, at):
    lines = [f"u{k};{k};{k % 5};t" for k in range(64)]
    lines[at : at + 1] = [row, row]
    raw = "\n".join(["user;item;rating;title", *lines]).encode()
    assert in_pieces(lambda: outcome(raw)) == outcome(raw)
    for quoting in Quoting:
        look = partial(scan.scan, raw, ord(";"), quoting, 23, 4, [3, 0])
        for name, value in vars(look()).items():
            np.testing.assert_array_equal(vars(in_pieces(look))[name], value, err_msg=name)


@pytest.mark.parametrize(
    "cells",
    [
        ["0", "-1", "123456789012345678"],
        ["0", "-0"],
        ["007"],
        ["1234567890123456789"],
        ["-"],
        [""],
        ["12a4"],
        ["1.0"],
    ],
)
def test_whole_numbers_are_those_that_read_back_as_they_were_written(cells):
    raw = "\n".join(cells).encode() + b"\n"
    for call in (in_pieces, lambda look: look()):
        found = call(lambda: scan.scan(raw, ord(","), Quoting.NONE, 0, 1, [0]))
        values = np.empty(found.rows, np.int64)
        read, data = call(lambda: scan.kernel("whole_numbers", raw))
        kept = [x for x in cells if x]
        whole = all(x.lstrip("-").isdigit() and str(int(x)) == x and len(x) < 19 for x in kept)
        assert read(data, found.starts[0], found.ends[0], values) == whole
        assert not whole or values.tolist() == [int(x) for x in kept]


def test_decimals_are_pythons_floats_to_the_last_bit():
    rng = np.random.default_rng(0)
    digits = rng.integers(0, 10**15, 2000)
    cells = [
        f"{'-' * (k % 2)}{str(x)[: k % 15]}.{str(x)[k % 15 :]}"
        for k, x in enumerate(digits.tolist())
    ]
    raw = "\n".join([*cells, "+4", ".5", "3."]).encode()
    for call in (in_pieces, lambda look: look()):
        found = call(lambda: scan.scan(raw, ord(","), Quoting.NONE, 0, 1, [0]))
        values = np.empty(found.rows)
        read, data = call(lambda: scan.kernel("decimals", raw))
        assert read(data, found.starts[0], found.ends[0], values)
        assert values.tolist() == [*map(float, cells), 4.0, 0.5, 3.0]


@pytest.mark.parametrize("cell", ["1e3", "4,5", "inf", "NA", " 1", ".", "-", "1234567890123456.5"])
def test_other_numbers_are_left_to_those_who_know_more_ways_to_write_them(cell):
    raw = f"{cell}\n".encode()
    read, data = scan.kernel("decimals", raw)
    assert not read(data, np.array([0]), np.array([len(cell)]), np.empty(1))


def test_distinct_cells_are_numbered_as_they_appear():
    rng = np.random.default_rng(1)
    cells = [f"{'long name ' * (k % 3)}{k}" for k in rng.integers(0, 3000, 8000).tolist()]
    raw = "\n".join(cells).encode()
    places = {x: k for k, x in enumerate(dict.fromkeys(cells))}
    for call in (in_pieces, lambda look: look()):
        found = call(lambda: scan.scan(raw, ord(","), Quoting.NONE, 0, 1, [0]))
        codes = np.empty(found.rows, np.int32)
        number, data = call(lambda: scan.kernel("distinct", raw))
        firsts = number(data, found.starts[0], found.ends[0], codes)
        assert codes.tolist() == [places[x] for x in cells]
        assert [cells[k] for k in firsts] == [*places]
