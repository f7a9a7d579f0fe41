"""Labels in one cell: found as people write them, and no name torn in silence."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from llmtokens import LLMTokens
from llmtokens.datasets import load_movielens
from llmtokens.errors import DataError, LLMTokensWarning
from llmtokens.tokens.blocks import CategoryBlock
from llmtokens.tokens.labels import as_text, labels

NAMES = ["ABBA", "Blur", "Crosby, Stills & Nash", "Earth, Wind & Fire", "Neil Young", "Cher"]


def vocabulary(cells, separator=None):
    frame = pd.DataFrame({"genre": pd.Series(list(cells), dtype=object)})
    return list(CategoryBlock.learn(frame, "genre", separator).vocabulary)


@pytest.mark.parametrize(
    "cells",
    [
        ["Action|Crime", "Crime|Drama", "Drama"],
        ["Action, Crime", "Crime, Drama", "Drama"],
        ["Action,Crime", "Crime,Drama", "Drama"],
        ["Action,Crime", "Crime, Drama", "Drama"],
        ["Action; Crime", "Crime; Drama", "Drama"],
        ["Action | Crime", "Crime | Drama", " Drama "],
        ["['Action', 'Crime']", "['Crime', 'Drama']", "[]"],
        ['["Action", "Crime"]', '["Crime", "Drama"]', "[]"],
        ["['Action' 'Crime']", "['Crime'\n 'Drama']", "[]"],
        ["('Action', 'Crime')", "('Crime', 'Drama')", "{}"],
        ["[{'id': 1, 'name': 'Action'}, {'id': 2, 'name': 'Crime'}]", "[{'name': 'Drama'}]"],
        ['[{"id": 1, "name": "Action"}]', '[{"id": 2, "name": "Crime"}, {"name": "Drama"}]'],
        [[{"id": 1, "name": "Action"}], [{"id": 2, "name": "Crime"}], {"name": "Drama"}],
        [["Action", "Crime"], ("Drama", None), {"Crime"}, np.nan],
        [np.array(["Action", "Crime"]), np.array(["Drama"]), np.array([]), np.array("Crime")],
        ["Action, Crime", "Crime, Drama", "Drama", r"\N", "NULL", "NA", None, "nan"],
    ],
)
def test_labels_are_found_however_they_are_written(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vocabulary(cells) == ["Action", "Crime", "Drama"]


def test_a_name_with_a_comma_is_one_label():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        artists = [*NAMES, *(f"Artist {k}" for k in range(20))]
        assert set(vocabulary(artists)) == set(artists)


def test_among_lists_a_name_with_a_comma_stays_whole():
    cells = ["Rock, Pop", "Pop, Soul", "Soul", "Rock", "Crosby, Stills & Nash"]
    block = CategoryBlock.learn(pd.DataFrame({"x": cells}), "x")
    assert block.vocabulary == ("Crosby, Stills & Nash", "Pop", "Rock", "Soul")
    new = block.features(pd.DataFrame({"x": ["Crosby, Stills & Nash", "Soul, Rock", "Jazz, Pop"]}))
    assert (new[0].toarray() > 0).astype(int).tolist() == [[1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0]]


def test_what_is_not_clear_is_said_with_counts():
    authors = [f"{a}, {b}" for a in ("King", "Smith", "Woolf") for b in ("Anna", "John", "Zoe")]
    with pytest.warns(LLMTokensWarning, match="9 labels for 9 rows; 9 hold ', '") as caught:
        assert vocabulary(authors) == sorted(authors)
    assert "separator=', '" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vocabulary(authors, separator="") == sorted(authors)
        assert len(vocabulary(authors, separator=", ")) == 6


def test_lists_with_slashes_are_lists_and_names_with_slashes_are_names():
    assert vocabulary(["Action/Crime", "Crime/Drama", "Drama", "Action"]) == [
        "Action", "Crime", "Drama",
    ]  # fmt: skip
    with pytest.warns(LLMTokensWarning, match="2 hold '/'"):
        assert vocabulary(["AC/DC", "Blur", "Cher", "W/O"]) == ["AC/DC", "Blur", "Cher", "W/O"]


def test_lists_written_in_two_ways_are_not_read_as_one_in_silence():
    with pytest.warns(LLMTokensWarning, match=r"split at '\|'; 1 of 4 cells hold ', ?' instead"):
        assert "Drama, War" in vocabulary(["Drama|War", "War|Crime", "War", "Drama, War"])


def test_a_name_with_a_pipe_is_not_torn_in_silence():
    with pytest.warns(LLMTokensWarning, match=r"'\|', such as 'AC\|DC'"):
        vocabulary(["AC|DC", "Blur", "Cher"])
    assert vocabulary(["AC|DC", "Blur", "Cher"], separator="") == ["AC|DC", "Blur", "Cher"]


def test_the_labels_of_movielens_are_those_of_its_genres(ml_small_folder):
    genres = load_movielens(str(ml_small_folder)).items["genres"]
    expected = vocabulary(genres)
    assert 18 <= len(expected) <= 20
    for separator in ("|", ", ", ",", "; "):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert vocabulary(genres.map(separator.join)) == expected


def test_a_column_may_be_named_without_a_list():
    frame = pd.DataFrame({"item": [1, 2, 3], "genres": ["a, b", "b", "a"], "year": [1.0, 2, 3]})
    named = LLMTokens.from_frame(frame, categorical="genres", numeric="year")
    listed = LLMTokens.from_frame(frame, categorical=["genres"], numeric=["year"])
    np.testing.assert_array_equal(named.vectors, listed.vectors)
    with pytest.raises(DataError, match="found separator=3"):
        LLMTokens.from_frame(frame, categorical="genres", separator=3)


def test_how_cells_were_split_is_kept_in_the_file(tmp_path):
    frame = pd.DataFrame({"item": [1, 2, 3], "genres": ["a, b", "b", "a"]})
    LLMTokens.from_frame(frame, categorical="genres").save(tmp_path / "t.safetensors")
    read = LLMTokens.load(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(read.transform(frame), read.vectors)
    payload, arrays = read.to_parts()
    del payload["blocks"][0]["separator"]  # as files before it was there
    old = LLMTokens.from_parts(payload, arrays, None)
    assert old.projection.blocks[0].separator == "|"


def test_lists_in_text_read_as_a_person_would_write_them():
    assert as_text("[{'id': 16, 'name': 'Animation'}, {'name': 'War'}]") == "Animation, War"
    assert as_text("['Drama', 'War']") == "Drama, War"
    assert (as_text("[REC]"), as_text("[1984]"), as_text("(500) Days")) == (
        "[REC]",
        "[1984]",
        "(500) Days",
    )
    assert as_text(r"\N") == ""
    assert labels("[" * 10_000 + "]" * 10_000) != []
