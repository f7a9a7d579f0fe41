"""Loading ratings and texts: anybody's files and frames."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llmtokens import LLMTokensEASE
from llmtokens.datasets import load_ratings
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
