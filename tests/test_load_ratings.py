"""Loading ratings and texts: anybody's files and frames."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llmtokens import LLMTokensEASE
from llmtokens.datasets import load_items, load_ratings
from llmtokens.errors import (
    AlignmentError,
    DataError,
    FileFormatError,
    LLMTokensWarning,
    MissingExtraError,
    StorageError,
)


@pytest.fixture
def books() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": ["ann", "ann", "bob"],
            "item": [7, 8, 7],
            "rating": [5, 2, 3],
            "timestamp": [3, 1, 2],
        }
    )


# ---- the Surprise dataset


def test_ids_that_are_written_otherwise_among_the_items_are_told():
    ratings = pd.DataFrame({"user": [1, 1, 2], "item": ["0012", "b", "c"], "rating": [1.0, 2, 3]})
    items = pd.DataFrame({"item": ["12", "B", "c"], "title": ["x", "y", "z"]})
    with pytest.warns(LLMTokensWarning, match="2 ids of the ratings .* such as '0012' as '12'"):
        load_ratings(ratings, items)


def test_ids_that_pandas_made_floats_are_told():
    ratings = pd.DataFrame({"user": [1234567021.17, 2.0], "item": [1, 2], "rating": [1.0, 2.0]})
    with pytest.warns(LLMTokensWarning, match="ids that are floats, such as 1234567021.17"):
        load_ratings(ratings)


def test_quantities_with_returns_are_told():
    sold = [1.0] * 8 + [2.0, 3.0, 12.0, -2.0]
    ratings = pd.DataFrame({"user": range(12), "item": [1, 2] * 6, "rating": sold})
    with pytest.warns(LLMTokensWarning, match="1 of 12 ratings are below 0.*quantities"):
        load_ratings(ratings)
    assert load_ratings(ratings, rating_scale=(-10, 12)).rating_scale == (-10, 12)


def test_blank_ids_are_missing():
    ratings = pd.DataFrame({"user": [" ", "x"], "item": [1, 2], "rating": [1.0, 2.0]})
    with pytest.raises(DataError, match="1 ratings have no user id"):
        load_ratings(ratings)


@pytest.mark.parametrize("guest", ["", " ", None])
def test_what_guests_bought_is_left_out_counted_and_said(guest, tmp_path):
    bought = pd.DataFrame({"user": [1, guest, 2, guest, 3], "item": [7, 7, 8, 9, None]})
    bought.to_csv(tmp_path / "bought.csv", index=False)
    for given in (bought, tmp_path / "bought.csv"):
        told = "3 of 5 rows are left out: 2 have no user, 1 have no item"
        with pytest.warns(LLMTokensWarning, match=told):
            data = load_ratings(given, rating=None)
        assert data.ratings[["user", "item"]].values.tolist() == [[1, 7], [2, 8]]
        assert data.rating_scale == (0, 1)
    with pytest.raises(DataError, match="2 ratings have no user id"):
        load_ratings(bought.iloc[[1, 3]], rating=None)
    with pytest.raises(DataError, match="2 ratings have no user id"):
        load_ratings(bought.assign(rating=[1, 2, 3, 4, 5]))


def test_rows_and_frames_of_other_libraries_are_taken():
    rows = [{"user": 1, "item": 2, "rating": 3.0}, {"user": 2, "item": 2, "rating": 4.0}]

    class Frame:
        def to_pandas(self):
            return pd.DataFrame(rows)

    for given in (rows, Frame()):
        assert load_ratings(given).ratings["rating"].tolist() == [3.0, 4.0]


def test_raw_ratings_hold_python_values_and_timestamps(books: pd.DataFrame) -> None:
    raw = load_ratings(books).dataset.raw_ratings
    assert raw == [("ann", 7, 5.0, 3), ("ann", 8, 2.0, 1), ("bob", 7, 3.0, 2)]
    assert [type(x) for x in raw[0]] == [str, int, float, int]


def test_numpy_scalars_in_object_columns_become_python_ids() -> None:
    frame = pd.DataFrame({"user": ["a", "b"], "item": [np.int64(1), "x"], "rating": [1.0, 2.0]})
    raw = load_ratings(frame).dataset.raw_ratings
    assert [type(row[1]) for row in raw] == [int, str]


def test_unknown_timestamps_are_none_in_surprise(books: pd.DataFrame) -> None:
    books["timestamp"] = [1.0, np.nan, 2.0]
    assert [row[3] for row in load_ratings(books).dataset.raw_ratings] == [1.0, None, 2.0]
    without = load_ratings(books.drop(columns="timestamp"))
    assert [row[3] for row in without.dataset.raw_ratings] == [None] * 3
    assert without.ratings["timestamp"].isna().all()


def test_without_ratings_every_pair_is_a_one_and_counts_once(books: pd.DataFrame) -> None:
    bought = pd.concat([books, books.tail(1).assign(timestamp=9)]).drop(columns="rating")
    data = load_ratings(bought, rating=None)
    assert data.rating_scale == (0, 1)
    assert data.dataset.raw_ratings == [
        ("ann", 7, 1.0, 3), ("ann", 8, 1.0, 1), ("bob", 7, 1.0, 9),
    ]  # fmt: skip


def test_data_without_ratings_are_ranked_and_scored_inside_their_scale() -> None:
    pairs = [(u, i) for u in "abc" for i in "xyz"] + [(u, i) for u in "def" for i in "tvw"]
    frame = pd.DataFrame([*pairs, ("g", "x"), ("g", "y")], columns=["user", "item"])
    trainset = load_ratings(frame, rating=None).dataset.build_full_trainset()
    algo = LLMTokensEASE(l2=1.0, implicit=True).fit(trainset)
    assert algo.recommend("g", n=1)["item"].item() == "z"
    assert 0 <= algo.predict("g", "w").est < algo.predict("g", "z").est <= 1


# ---- broken tables


def test_missing_column_says_which_there_are(books: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"no column 'stars'; there are 'user', 'item', 'rating'"):
        load_ratings(books, rating="stars")
    with pytest.raises(DataError, match="no column 'when'"):
        load_ratings(books, timestamp="when")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "n/a", None])
def test_a_rating_that_is_no_finite_number_is_named(books: pd.DataFrame, bad: object) -> None:
    books["rating"] = pd.Series([5, bad, 3], dtype=object)
    with pytest.raises(DataError, match=r"1 of 3 ratings \[row 1 \(user 'ann', item 8\)"):
        load_ratings(books)


def test_a_rating_outside_the_scale_is_named(books: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"row 0 \(user 'ann', item 7\): 5\] are outside .* 1 to 4"):
        load_ratings(books, rating_scale=(1, 4))


@pytest.mark.parametrize("scale", [(5, 1), (1, 1), (1, np.inf), (1,), "ab", 5])
def test_a_scale_that_is_none_is_refused(books: pd.DataFrame, scale: object) -> None:
    with pytest.raises(DataError, match="two finite numbers"):
        load_ratings(books, rating_scale=scale)  # type: ignore[arg-type]


def test_scale_is_the_range_of_the_data_by_default(books: pd.DataFrame) -> None:
    assert load_ratings(books).rating_scale == (2.0, 5.0)
    assert load_ratings(books.head(1)).rating_scale == (5.0, 5.0)


def test_no_ratings_missing_ids_and_double_items_are_refused(books: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no rows"):
        load_ratings(books.head(0))
    with pytest.raises(DataError, match="1 ratings have no user id; the first are in rows 1"):
        load_ratings(books.assign(user=["ann", None, "bob"]))
    with pytest.raises(DataError, match="1 item ids have more than one row: 7"):
        load_ratings(books, pd.DataFrame({"item": [7, 8, 7]}))
    with pytest.raises(DataError, match="1 rows have no user id"):
        load_ratings(books, users=pd.DataFrame({"user": ["ann", None]}))


def test_items_that_share_no_id_with_the_ratings_are_refused(books: pd.DataFrame) -> None:
    with pytest.raises(AlignmentError, match=r"\(1, 2\) is among the 2 of the ratings \(7, 8\)"):
        load_ratings(books, pd.DataFrame({"item": [1, 2]}))


def test_a_pair_rated_twice_stays_twice_and_the_caller_s_frame_is_untouched(
    books: pd.DataFrame,
) -> None:
    twice = pd.concat([books, books.head(1)])
    before = twice.copy()
    with pytest.warns(LLMTokensWarning, match="1 ratings are of pairs that were rated before"):
        data = load_ratings(twice, twice[["item"]].drop_duplicates())
    assert len(data.dataset.raw_ratings) == 4
    pd.testing.assert_frame_equal(twice, before)


# ---- anybody's files


def test_csv_and_tsv_with_mapped_columns_give_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"reader": [1, 2], "isbn": ["0345", "9X"], "stars": [4.0, 2.0], "n": [0, 0]}
    )
    titles = pd.DataFrame({"isbn": ["0345", "9X"], "title": ["None", "Emma"]})
    for name, sep in (("r.csv", ","), ("r.tsv", "\t"), ("r.csv.gz", ",")):
        frame.to_csv(tmp_path / name, sep=sep, index=False)
        titles.to_csv(tmp_path / f"t.{name}", sep=sep, index=False)
        with pytest.warns(LLMTokensWarning, match="1 cells in 'title' read 'None'"):
            data = load_ratings(
                tmp_path / name, tmp_path / f"t.{name}", user="reader", item="isbn", rating="stars"
            )
        assert data.dataset.raw_ratings == [(1, "0345", 4.0, None), (2, "9X", 2.0, None)]
        assert data.items.to_dict("list") == {"item": ["0345", "9X"], "title": ["None", "Emma"]}
        assert list(data.ratings) == ["user", "item", "rating", "timestamp"]


def test_ids_are_of_one_kind_in_both_files(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating\n1,10,3\n1,11,4\n")
    (tmp_path / "i.csv").write_text("item,title\n10,Emma\n11,Persuasion\nX1,Unread\n")
    data = load_ratings(tmp_path / "r.csv", tmp_path / "i.csv")
    assert data.ratings["item"].tolist() == ["10", "11"]
    ints = load_ratings(tmp_path / "r.csv", pd.DataFrame({"item": [10, 11]}))
    texts = load_ratings(tmp_path / "r.csv", pd.DataFrame({"item": ["10", "11"]}))
    assert ints.dataset.raw_ratings[0][:2] == (1, 10)
    assert texts.dataset.raw_ratings[0][:2] == (1, "10")


def test_dates_become_seconds(books: pd.DataFrame) -> None:
    iso = books.assign(timestamp=["1970-01-02", "1970-01-01T00:00:30Z", None])
    assert [row[3] for row in load_ratings(iso).dataset.raw_ratings] == [86400.0, 30.0, None]
    with pytest.raises(DataError, match="neither seconds nor ISO dates"):
        load_ratings(books.assign(timestamp=["1970-01-02", "soon", "1970-01-02"]))
    with pytest.raises(DataError, match="'1970' are neither seconds nor ISO dates"):
        load_ratings(books.assign(timestamp=["1970-01-02", "1970", "1970-01-02"]))
    numbers = books.assign(timestamp=["30", "86400", "1e3"])
    assert [row[3] for row in load_ratings(numbers).dataset.raw_ratings] == [30, 86400, 1000]
    days = books.assign(timestamp=pd.to_datetime(["1970-01-02", "1970-01-01", None]))
    assert [row[3] for row in load_ratings(days).dataset.raw_ratings] == [86400.0, 0.0, None]


def test_parquet_keeps_ids_and_needs_pyarrow(
    tmp_path: Path, books: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "books.parquet"
    pytest.importorskip("pyarrow")
    books.to_parquet(path)
    assert load_ratings(path).dataset.raw_ratings == load_ratings(books).dataset.raw_ratings
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(FileFormatError, match=r"broken\.parquet: is not Parquet"):
        load_ratings(tmp_path / "broken.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(MissingExtraError, match="pip install pyarrow"):
        load_ratings(path)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("r.csv", None, StorageError, "cannot be read"),
        ("r.csv", b"", DataError, "empty"),
        ("r.csv", b"user,item,rating\n1,2,3\n1,2,3,4,5\n", FileFormatError, "line 3"),
        ("r.xlsx", b"", DataError, "pass the DataFrame"),
    ],
)
def test_a_bad_file_is_told(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        load_ratings(tmp_path / name)


# ---- files as people bring them


def written(folder: Path, text: str, name: str = "ratings.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


ANN = {"user": "ann", "item": 7, "rating": 4.5}
BOB = {"user": "bob", "item": 8, "rating": 3}
TRUE = [("ann", 7, 4.5, None), ("bob", 8, 3.0, None)]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("user;item;rating\nann;7;4,5\nbob;8;3\n", {}),
        ("user\titem\trating\nann\t7\t4.5\nbob\t8\t3\n", {}),
        ("user::item::rating\nann::7::4.5\nbob::8::3\n", {}),
        ("user|item|rating\nann|7|4.5\nbob|8|3\n", {}),
        ("user, item, rating\nann, 7, 4.5\nbob, 8, 3\n", {}),
        ("sep=;\nuser;item;rating\nann;7;4,5\nbob;8;3,0\n", {}),
        ("\ufeffuser,item,rating\r\nann,7,4.5\r\n\r\nbob,8,3\r\n,,\r\n", {}),
        ("user,item,rating\rann,7,4.5\rbob,8,3\r", {}),
        ('"user","item","rating"\n"ann","7","4,5"\n"bob","8","3"\n', {}),
        ("ann,7,4.5\nbob,8,3\n", {"header": False}),
        ("ann,4.5,7\nbob,3,8\n", {"header": ["user", "rating", "item"]}),
        ("user,item,rating\nann,7.0,4.5\nbob,8.0,3\n", {}),
        ("user~item~rating\nann~7~4.5\nbob~8~3\n", {"sep": "~"}),
        (f"{json.dumps(ANN)}\n{json.dumps(BOB)}\n", {}),
        (json.dumps([ANN, BOB]), {}),
        (f"{ANN!r}\n{BOB!r}\n", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_dialect_is_told_from_the_file(
    tmp_path: Path, text: str, options: dict, encoding: str
) -> None:
    if encoding == "utf-16" and text[:1] in "[{":
        pytest.skip("JSON is UTF-8")
    path = written(tmp_path, text, encoding=encoding)
    assert load_ratings(path, **options).dataset.raw_ratings == TRUE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:\n30878,4,2005-12-26\n", "Netflix Prize"),
        ("<!DOCTYPE html><html></html>", "web page"),
        ("user,item,rating\nann,7,4.5\nbob,8,x\n", "line 3: 'x'"),
        ("user;item;rating\nann;7;4,5\nbob;8;3.5\n", "a decimal comma"),
        ("user,item,rating\nann,7,80%\nbob,8,60%\n", "a percentage"),
        ("user,item,rating\nann,7,4/5\nbob,8,3/5\n", "such as 4/5"),
        ("user,item,rating\nann,7,true\nbob,8,false\n", "yes or no"),
        ("user,item,rating\nann,7,4,5\nbob,8,3,0\n", "decimal comma"),
        ("user,item,rating,note\nann,7,4,a\nb\nbob,8,3,c\n", "fewer cells|goes on in the next"),
        ("user\titem\trating\tname\nann\t7\t4\t\"a\nb\"\nbob\t8\t3\tc\n", "line 2 opens a cell"),
        ("user,item,rating\nann,7,4\n\x00,8,3\n", "NUL byte"),
        ("user,item,rating\n1,7,4\nNULL,8,3\n", "no 'user' id, which reads 'NULL'"),
        ("user,item,rating,timestamp\n1,7,4,1260759144\n2,8,3,1260759144000\n", "milliseconds"),
        ("User,item,rating\n1,7,4\n", "Is 'user' 'User' here"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((LLMTokensWarning, DataError, FileFormatError), match=message):
        load_ratings(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("1,7,4\n2,8,3\n", "utf-8", "there is no header line; the first row is read as user '1'"),
        ("user,item,rating\nJosé,7,4\n", "cp1252", "is not UTF-8 .line 2.; it is read as Windows"),
        ("of 2020\n\nuser,item,rating\n1,7,4\n", "utf-8", "the table begins in line 3"),
        ("user,item,rating\n1,7,4,\n2,8,3\n", "utf-8", "surplus and empty, the first in line 2"),
        ("user,item,rating\n1,7,4\n1,7,3\n", "utf-8", "pairs that were rated before"),
        ("user,item,rating\nNA,7,4\nbob,7,3\n", "utf-8", "cells in 'user' read 'NA'"),
    ],
)
def test_what_had_to_be_decided_is_said(
    tmp_path: Path, text: str, encoding: str, message: str
) -> None:
    with pytest.warns(LLMTokensWarning, match=message):
        load_ratings(written(tmp_path, text, encoding=encoding))


def test_what_means_not_rated_is_left_out_and_twice_rated_is_once(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,rating\n1,7,4\n1,7,2\n1,8,-1\n2,8,\n2,7,5\n")
    for how, rating in (("first", 4.0), ("last", 2.0), ("mean", 3.0)):
        data = load_ratings(path, missing_rating=-1, duplicates=how)
        assert sorted(data.dataset.raw_ratings) == [(1, 7, rating, None), (2, 7, 5.0, None)]
    with pytest.raises(DataError, match="rated before"):
        load_ratings(path, missing_rating=-1, duplicates="error")


def test_backslashes_before_quotes_are_taken_for_what_they_are(tmp_path: Path) -> None:
    rows = '"ISBN";"Title";"Author"\n"01";"The \\"Heart\\"; of it";"A"\n"02";"B &amp; C";"D"\n'
    frame = load_items(written(tmp_path, rows), item="ISBN")
    assert frame["item"].tolist() == ["01", "02"]
    assert frame["Title"].tolist() == ['The "Heart"; of it', "B & C"]


@pytest.mark.parametrize("mark", [-1, 99])
def test_a_value_that_stands_for_not_rated_is_named_with_its_cure(mark: int) -> None:
    frame = pd.DataFrame(
        {"user": [1, 2, 3, 4, 5], "item": [1, 2, 3, 4, 5], "rating": [7, 8, mark, 2, 10]}
    )
    with pytest.raises(DataError, match=f"1 of 5 ratings are {mark}.*missing_rating={mark}"):
        load_ratings(frame)
    assert load_ratings(frame, missing_rating=mark).rating_scale == (2, 10)
    assert load_ratings(frame, rating_scale=(-1, 99)).rating_scale == (-1, 99)


def test_many_zeros_below_a_scale_from_one_are_pointed_out() -> None:
    frame = pd.DataFrame({"user": range(9), "item": 1, "rating": [0, 0, 0, 0, 5, 7, 8, 9, 10]})
    with pytest.warns(LLMTokensWarning, match="4 of 9 ratings are 0.*missing_rating=0"):
        load_ratings(frame)


def test_ratings_of_two_kinds_or_from_minus_one_to_one_are_what_they_are() -> None:
    thumbs = pd.DataFrame({"user": range(4), "item": 1, "rating": [-1, 1, 1, -1]})
    assert load_ratings(thumbs).rating_scale == (-1, 1)
    liked = thumbs.assign(rating=[0, 1, 1, 0])
    assert load_ratings(liked).rating_scale == (0, 1)


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pd.to_datetime([5, 3], unit="s"), "dates"),
        (pd.to_timedelta([5, 3], unit="s"), "lengths of time"),
        ([5 + 0j, 3 + 1j], "complex numbers"),
    ],
)
def test_ratings_that_are_times_or_complex_are_refused(column, what):
    frame = pd.DataFrame({"user": [1, 2], "item": [3, 4], "rating": column})
    with pytest.raises(DataError, match=f"'rating' holds {what}; expected numbers"):
        load_ratings(frame)


def test_items_that_were_read_can_be_given_again_and_named_as_they_were(tmp_path: Path) -> None:
    from llmtokens import HashingEncoder, LLMTokens

    items = load_items(written(tmp_path, "isbn,title\n01,Emma\n02,Dune\n"), item="isbn")
    tokens = LLMTokens.from_frame(items, "{isbn}: {title}", encoder=HashingEncoder(16))
    assert tokens.ids == ["01", "02"]
    rows = pd.DataFrame({"user": ["a", "b"], "isbn": ["01", "02"], "rating": [1.0, 5.0]})
    data = load_ratings(rows, items, item="isbn")
    assert data.items["item"].tolist() == ["01", "02"]
    with pytest.raises(DataError, match="both 'isbn' and 'item' are there"):
        load_ratings(rows, items.assign(item=[1, 2]), item="isbn")


def test_pairs_rated_twice_are_named_by_their_ids_as_they_are() -> None:
    frame = pd.DataFrame({"user": [3, 3], "item": [7, 7], "rating": [1.0, 2.0]})
    with pytest.warns(LLMTokensWarning, match="such as user 3 and item 7;"):
        load_ratings(frame)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user,item,rating\n0,1,31,2.5\n1,1,9,3.0\n", "begin with their number"),
        ("note,user,item,rating\rtwo\nlines,1,1,0.5", "holds a carriage return, too"),
    ],
)
def test_why_a_table_does_not_fit_is_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=said):
        load_ratings(written(tmp_path, text))


def test_a_first_row_that_holds_the_name_by_chance_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "1,Heat,item\n2,Heat,Emma\n3,Emma,Dumbo\n")
    with pytest.warns(LLMTokensWarning, match="is read as the names of the columns"):
        load_items(path)


def test_numbers_of_many_digits_are_read_to_the_last_bit(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,rating\n1,2,0.12345678901234567\n1,3,4.1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_ratings(path).ratings["rating"].tolist() == [0.12345678901234567, 4.1]


def test_quotes_with_rows_between_them_do_not_swallow_these_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "comments.csv"
    rows = '",1,1,3,10\nHeat,1,2,4,11\nfine, good,1,3,4,12\n",1,4,2,13\n'
    path.write_text("comment,user,item,rating,timestamp\n" + rows)
    with pytest.warns(LLMTokensWarning, match="ends in line 5 and holds what looks like rows"):
        load_ratings(path)
    path.write_text('item,title,plot\n1,A,"one, two\nthree, four\nfive"\n2,B,"x"\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_items(path)["plot"][0] == "one, two\nthree, four\nfive"


def test_spaces_that_always_follow_a_comma_are_no_separators(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("1, Heat, Crime, \n2, Emma, Drama, \n, , , \n")
    found = load_items(path, header=["item", "title", "genres", "year"])
    assert found["item"].tolist() == [1, 2]
    assert found["title"].tolist() == ["Heat", "Emma"]


def test_spaces_that_follow_separators_are_not_those_before_the_first_cell(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('title, item, year\nHeat, 1, 7\n lead, 2, 8\n "a, b", 3, 9\n')
    assert load_items(path)["title"].tolist() == ["Heat", " lead", "a, b"]


def test_quotes_around_most_cells_and_not_all_are_told(tmp_path: Path) -> None:
    path = tmp_path / "items.tsv"
    path.write_text("item\ttitle\n" + "".join(f'{k}\t"Heat"\n' for k in range(5)) + "6\t1984\n")
    with pytest.warns(LLMTokensWarning, match="quotes around 5 cells are taken for text"):
        load_items(path)
