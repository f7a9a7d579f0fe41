"""Inputs as people bring them, a kind each: the true values, or a word that says what is wrong.

After public bug reports of pandas, Surprise, cornac and sentence-transformers, and the files of
IMDb, Last.fm, Book-Crossing, MyAnimeList, Amazon and RecBole.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from surprise import Dataset, Reader

from llmtokens import HashingEncoder, LLMTokens, LLMTokensContent, LLMTokensEASE, LLMTokensSVD
from llmtokens.cli import main
from llmtokens.datasets import load_items, load_ratings, synthetic
from llmtokens.errors import DataError, FileFormatError, LLMTokensWarning
from llmtokens.tokens.blocks import CategoryBlock

SMALL = synthetic(40, 60, 800)
FRAME = SMALL.ratings[["user", "item", "rating"]]


@pytest.fixture
def write(tmp_path):
    def written(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


def rows(path, **form):
    return [tuple(row[:3]) for row in load_ratings(path, **form).dataset.raw_ratings]


def tokens_of(frame, text="{title}", **more):
    return LLMTokens.from_frame(frame, text, encoder=HashingEncoder(), **more)


# -- a surplus cell shifts every column


@pytest.mark.parametrize("end", [",", ",,"])
def test_surplus_cells_that_are_empty_shift_nothing(write, end):
    body = "".join(f"7,{k},2.5,1260759144{end}\n" for k in range(12))
    assert rows(write("user,item,rating,timestamp\n" + body)) == [(7, k, 2.5) for k in range(12)]


def test_one_row_with_a_surplus_cell_is_told_and_shifts_nothing(write):
    more = "".join(f"{k},{k + 7},3.5\n" for k in range(2, 30))
    with pytest.warns(LLMTokensWarning, match="the first in line 2"):
        found = rows(write("user,item,rating\n1,31,2.5,\n" + more))
    assert found[:2] == [(1, 31, 2.5), (2, 9, 3.5)]


def test_surplus_cells_of_items_shift_nothing(write):
    body = "".join(f"{k},Heat {k},Crime,\n" for k in range(12))
    found = load_items(write("item,title,genres\n" + body))
    assert found["item"].tolist() == list(range(12))
    assert found["title"][3] == "Heat 3"
    assert set(found["genres"]) == {"Crime"}


def test_a_surplus_cell_that_says_something_is_an_error_with_its_line(write):
    with pytest.raises(FileFormatError, match="line 3 has 4 cells"):
        load_items(write("item,title,genres\n1,Heat,Crime\n2,Good, the Bad,Western\n"))


# -- quotes where the format has none


def test_quotes_in_a_table_with_tabs_are_text(write):
    names = {3: '"Heroes', 40: '"Weird Al" Yankovic', 41: '12" mix'}
    body = "".join(f"{k}\t{k}\t{k % 5 + 1}\t{names.get(k, 'A')}\n" for k in range(1, 60))
    path = write("user\titem\trating\tartist\n" + body, "artists.tsv")
    assert len(rows(path)) == 59
    assert load_items(path)["artist"].tolist()[39] == names[40]


def test_a_quoted_cell_of_several_lines_in_a_table_with_tabs_is_named(write):
    with pytest.raises(FileFormatError, match="quote in line 2"):
        load_items(write('item\ttitle\n1\t"Two\nlines"\n2\tB\n', "x.tsv"))


# -- lists of labels in one cell


@pytest.mark.parametrize(
    "cells",
    [
        ["Crime|Drama", "Drama|War", "War", r"\N"],
        ["Crime, Drama", "Drama, War", "War", None],
        ["Crime,Drama", "Drama,War", "War", ""],
        ["['Crime', 'Drama']", "['Drama', 'War']", "[]", "['War']"],
        ["[{'id': 1, 'name': 'Crime'}]", "[{'id': 2, 'name': 'Drama'}, {'id': 3, 'name': 'War'}]"],
        [["Crime", "Drama"], ["War"], [], None],
    ],
)
def test_labels_are_one_each_however_a_cell_lists_them(cells):
    frame = pd.DataFrame({"item": range(len(cells)), "title": [*"abcd"[: len(cells)]]})
    frame["genre"] = pd.Series(cells, dtype=object)
    vocabulary = tokens_of(frame, categorical=["genre"]).projection.blocks[1].vocabulary
    assert sorted(vocabulary) == ["Crime", "Drama", "War"]


# -- ratings outside the declared scale, columns in the wrong order


@pytest.mark.parametrize("columns", [["user", "item", "rating"], ["user", "rating", "item"]])
def test_ratings_outside_the_scale_are_counted_and_shown(columns):
    tens = FRAME.assign(rating=2 * FRAME["rating"])
    trainset = Dataset.load_from_df(tens[columns], Reader()).build_full_trainset()
    with pytest.warns(LLMTokensWarning, match=r"of 800 ratings are outside .* go from .*order"):
        LLMTokensSVD(n_epochs=1).fit(trainset)


# -- ids that are whole floats, one id in two types


def test_whole_floats_their_text_and_whole_numbers_are_one_id():
    floats = load_ratings(FRAME.astype({"item": float}), SMALL.items)
    assert set(floats.ratings["item"]) <= set(floats.items["item"])
    texts = load_ratings(FRAME.assign(item=FRAME["item"].map("{}.0".format)), SMALL.items)
    tokens = tokens_of(SMALL.items)
    assert (tokens.align(texts.ratings["item"]) == tokens.align(FRAME["item"])).all()


def test_lists_hold_ids_in_the_type_of_the_trainset():
    frame = FRAME.astype({"user": str, "item": str})
    trainset = Dataset.load_from_df(frame, Reader(rating_scale=(0.5, 5))).build_full_trainset()
    algo = LLMTokensEASE(tokens_of(SMALL.items)).fit(trainset)
    listed = algo.recommend("1", n=60)["item"]
    assert {type(x) for x in listed} == {str}
    assert set(listed).isdisjoint(frame["item"][frame["user"] == "1"])


def test_one_id_in_two_types_is_refused():
    frame = FRAME.astype({"item": object})
    frame.loc[:399, "item"] = frame.loc[:399, "item"].map(str)
    with pytest.raises(DataError, match="in two forms"):
        load_ratings(frame)


# -- times in milliseconds, as dates, as years


@pytest.mark.parametrize(
    ("times", "first"),
    [
        ([1260759144000, 1260759205000], 1260759144),
        (["2009-12-14T02:52:24Z", "2009-12-14"], 1260759144),
        ([20091214, 20091215], 1260748800),
        ([2009, 2011], 1230768000),
    ],
)
def test_times_are_seconds_whatever_they_count(times, first):
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [3, 4.0], "timestamp": times})
    assert load_ratings(frame).ratings["timestamp"][0] == first


def test_a_half_life_is_one_in_any_unit():
    tokens, found = tokens_of(SMALL.items), []
    for unit in (1, 1000):
        table = SMALL.ratings.assign(timestamp=SMALL.ratings["timestamp"] * unit)
        data = load_ratings(table)
        algo = LLMTokensContent(tokens, timestamps=data.ratings, half_life=180 * 86_400)
        algo.fit(data.dataset.build_full_trainset())
        found.append([algo.predict(1, item).est for item in range(1, 30)])
    np.testing.assert_allclose(*found)


# -- what means "not rated"; all ratings alike


@pytest.mark.parametrize("mark", [-1, 99])
def test_what_means_not_rated_is_named_with_its_cure_and_left_out(mark):
    frame = FRAME.assign(rating=FRAME["rating"].where(FRAME.index % 3 > 0, mark))
    with pytest.raises(DataError, match=f"267 of 800 ratings are {mark}.*missing_rating={mark}"):
        load_ratings(frame)
    assert len(load_ratings(frame, missing_rating=mark).ratings) == 533


def test_ratings_all_alike_get_the_model_for_them_named():
    trainset = load_ratings(FRAME.assign(rating=1.0)).dataset.build_full_trainset()
    with pytest.warns(LLMTokensWarning, match=r"LLMTokensEASE\(implicit=True\)"):
        LLMTokensSVD(n_epochs=1).fit(trainset)


# -- the wrong object


@pytest.mark.parametrize(
    ("given", "call"),
    [
        (SMALL.dataset, "build_full_trainset"),
        (SMALL, r"data\.dataset\.build_full_trainset"),
        (FRAME, r"load_ratings\(\.\.\.\)\.dataset\.build_full_trainset"),
    ],
)
def test_what_is_no_trainset_is_told_how_to_become_one(given, call):
    with pytest.raises(DataError, match=call):
        LLMTokensSVD(n_epochs=1).fit(given)


def test_ratings_of_any_form_are_loaded():
    triples = list(FRAME.itertuples(index=False, name=None))
    for given in (triples, SMALL.dataset, SMALL):
        assert len(load_ratings(given).ratings) == 800


# -- cells that are no number


@pytest.mark.parametrize(
    ("cell", "like"),
    [("4 stars", "with its unit"), ("80%", "percentage"), ("4-May", "line 3"), ("yes", "line 3")],
)
def test_a_cell_that_is_no_number_is_shown_with_its_line(write, cell, like):
    with pytest.raises(DataError, match=f"line 3: '{cell}'") as caught:
        load_ratings(write(f"user,item,rating\n1,2,3\n1,3,{cell}\n1,4,5\n"))
    assert like in str(caught.value)


def test_decimal_commas_are_read_or_told(write):
    assert rows(write("user;item;rating\nann;31;2,5\nbob;32;3,0\n"))[0] == ("ann", 31, 2.5)
    with pytest.raises(FileFormatError, match="decimal comma"):
        load_ratings(write("user,item,rating\nann,31,2,5\nbob,1029,3,0\n"))


# -- the wrong separator or no header


@pytest.mark.parametrize("by", [";", "\t", "|", "::", ","])
def test_separators_are_found(write, by):
    text = "user,item,rating\nann,7,4\nbob,8,3\n".replace(",", by)
    assert rows(write(text)) == [("ann", 7, 4.0), ("bob", 8, 3.0)]


def test_a_file_without_a_header_is_read_and_told(write):
    with pytest.warns(LLMTokensWarning, match="there is no header line"):
        assert rows(write("1::1193::5::978300760\n1::661::3::978302109\n"))[0] == (1, 1193, 5.0)


# -- a quote after a backslash


def test_where_a_quote_after_a_backslash_could_end_its_cell_all_cells_in_quotes_decide(write):
    head = '"item","title","genres","plot"\n"1","Heat","Crime","A heist"\n'
    items = load_items(write(head + '"2","\\"",",0","Dune"\n'))
    assert items.iloc[1].tolist()[1:] == ['"', ",0", "Dune"]
    with pytest.warns(LLMTokensWarning, match="follow a backslash, as in line 3"):
        load_items(write(head + '"2","\\"",",a","e"\n"3","\\",",a","e"\n'))


# -- column names that are no Python names


@pytest.mark.parametrize("name", ["Book-Title", "movie_title:token_seq", "class", "2nd title"])
def test_any_name_of_a_column_goes_into_a_template(name):
    frame = pd.DataFrame({"ISBN": ["01", "02", "03"], name: ["Emma", "Dune", "Ulysses"]})
    tokens = tokens_of(frame, f"{{ISBN}}: {{{name}}}", id="ISBN")
    assert list(tokens.ids) == ["01", "02", "03"]


# -- many labels


def test_as_many_labels_as_rows_cost_what_is_there():
    n = 20_000  # a dense table of these would take 1.6 GB
    frame = pd.DataFrame({"item": range(n), "author": [f"A {k // 2}" for k in range(n)]})
    features, _ = CategoryBlock.learn(frame, "author").features(frame)
    assert features.nnz == n


# -- command line dead ends


def test_the_command_line_advises_in_its_own_words(write, capsys, monkeypatch):
    path = write(FRAME.assign(rating=FRAME["rating"].where(FRAME.index % 3 > 0, -1)).to_csv())
    model = str(path.with_suffix(".safetensors"))
    monkeypatch.setattr(sys, "argv", ["llmtokens", "fit", str(path), "-o", model])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code
    assert "--missing-rating" in told
    assert "missing_rating=" not in told


def test_nothing_is_said_where_nothing_is_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_ratings(SMALL.ratings, SMALL.items)
        LLMTokensSVD(tokens_of(SMALL.items), n_epochs=1).fit(data.dataset.build_full_trainset())
