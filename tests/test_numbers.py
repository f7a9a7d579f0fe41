"""Columns that are to be numbers: read, or refused with a line of pandas that works on them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from llmtokens import HashingEncoder, LLMTokens
from llmtokens.datasets import load_items
from llmtokens.errors import DataError
from llmtokens.tokens.numbers import numbers

NAN = float("nan")


def refused(cells):
    with pytest.raises(DataError, match="'price' is not numeric") as caught:
        numbers(pd.Series(cells), "price")
    return str(caught.value)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["$12.99", "$1,299.00", "$5", None], [12.99, 1299, 5, NAN]),
        (["12,99 €", "1.299,00 €", "5"], [12.99, 1299, 5]),
        (["1 299,00 €", "3,5 €", "1\u202f250 €"], [1299, 3.5, 1250]),
        (["USD 5", "USD 7.50"], [5, 7.5]),
        (["Rs. 500", "Rs. 1,500.50"], [500, 1500.5]),
        (["1'299.50 CHF", "7 CHF"], [1299.5, 7]),
        (["1,299", 5, -2.5], [1299, 5, -2.5]),
        (["Free", "$5", "$6"], [NAN, 5, 6]),
        (["unknown", "5", None], [NAN, 5, NAN]),
        (["2020-05-01", "2021-01-31"], [2020, 2021]),
        (pd.Series(["£5", "£6"], dtype="category"), [5, 6]),
    ],
)
def test_the_line_that_is_advised_reads_the_column(cells, expected):
    said = refused(cells)
    frame = pd.DataFrame({"price": pd.Series(cells)})
    exec(re.search(r"frame\['price'\] = .*?(?= reads| makes)", said)[0], {"frame": frame, "pd": pd})
    np.testing.assert_array_equal(frame["price"].to_numpy(float), expected)
    np.testing.assert_array_equal(numbers(frame["price"], "price"), expected)


def test_what_was_found_is_counted_and_what_the_line_makes_of_it_is_said():
    said = refused(["12,99 €", "1.299,00 €", 5, None])
    assert "2 of 4 cells are no numbers, such as '12,99 €', '1.299,00 €'; expected numbers" in said
    assert said.endswith("reads '1.299,00 €' as 1299")
    assert refused(["Free", "$5"]).endswith("as 5, and what has no digits as missing")


def test_marks_of_doubt_are_no_units():
    assert refused(["c. 1996", "1997?", 1998]).endswith("as 1996")


def test_sums_in_two_currencies_are_not_taken_for_one():
    assert refused(["$5", "7 €"]).endswith("first see that '$', '€' are one unit")


@pytest.mark.parametrize(
    "cells",
    [["12,99 €", "$12.99"], ["12,99 €", 5.5], ["10-20", "5"], ["-$5", "$3"], ["(5.00)", "3.00"]],
)
def test_no_line_is_advised_that_would_read_some_cells_wrongly(cells):
    said = refused(cells)
    assert "frame[" not in said
    assert said.endswith("write them in one way, with one number a cell")


def test_missing_dates_are_missing_numbers():
    dates = pd.Series(pd.to_datetime(["2020-01-01", None, "2021-01-01"]))
    assert np.isnan(numbers(dates, "released")).tolist() == [False, True, False]
    frame = pd.DataFrame({"item": [1, 2, 3], "title": [*"abc"], "released": dates})
    tokens = LLMTokens.from_frame(frame, "{title}", numeric="released", encoder=HashingEncoder())
    assert np.isnan(tokens.columns["released"]).tolist() == [False, True, False]


def test_prices_of_a_file_are_refused_with_a_line_and_read_after_it(tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text('item,title,price\n1,Mug,"12,99 €"\n2,Tee,"1.299,00 €"\n3,Cap,\n')
    items = load_items(path)
    with pytest.raises(DataError, match="column 'price' is not numeric: 2 of 3 cells") as caught:
        LLMTokens.from_frame(items, "{title}", numeric="price", encoder=HashingEncoder())
    line = re.search(r"frame\['price'\] = .*?(?= reads)", str(caught.value))[0]
    exec(line, {"frame": items})
    tokens = LLMTokens.from_frame(items, "{title}", numeric="price", encoder=HashingEncoder())
    np.testing.assert_array_equal(tokens.columns["price"], [12.99, 1299, NAN])
