"""MovieLens in its three layouts, and Surprise's tools on what was loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from surprise import SVD, BaselineOnly, Dataset, Reader
from surprise.dataset import DatasetAutoFolds
from surprise.model_selection import GridSearchCV, KFold, cross_validate, train_test_split

from llmtokens.datasets import RatingData, load_movielens, load_ratings


@pytest.fixture(scope="module")
def small(ml_small_folder: Path) -> RatingData:
    return load_movielens(ml_small_folder)


def test_ml_latest_small_is_read_whole(small: RatingData) -> None:
    assert len(small.ratings) == 100_836
    assert small.ratings["user"].nunique() == len(small.users) == 610
    assert len(small.items) == 9_742
    assert small.rating_scale == (0.5, 5)
    assert small.name == "ml-latest-small"
    assert list(small.items)[:5] == ["item", "title", "genres", "year", "tags"]


def test_ml_latest_small_texts_are_tidy(small: RatingData) -> None:
    items = small.items.set_index("item")
    assert items.loc[2571, "title"] == "The Matrix"
    assert items.loc[2571, "genres"] == ("Action", "Sci-Fi", "Thriller")
    assert items.loc[2571, "year"] == 1999.0
    assert not items["title"].str.contains(r"\(\d{4}\)\s*$").any()
    assert not items["title"].str.contains(r", (?:The|A|An|Les|La|Le|Il|El|Der|Das|Die)$").any()
    assert int(items["year"].isna().sum()) == 12
    none_listed = items["genres"].map(len) == 0
    assert int(none_listed.sum()) == 34
    assert all(isinstance(x, tuple) for x in [*items["genres"], *items["tags"]])


def test_dataset_equals_what_surprise_reads_from_the_same_file(
    small: RatingData, ml_small_folder: Path
) -> None:
    reader = Reader(rating_scale=(0.5, 5))
    frame = pd.read_csv(ml_small_folder / "ratings.csv")
    theirs = Dataset.load_from_df(frame[["userId", "movieId", "rating"]], reader)
    assert [row[:3] for row in small.dataset.raw_ratings] == [row[:3] for row in theirs.raw_ratings]
    assert [row[3] for row in small.dataset.raw_ratings] == frame["timestamp"].tolist()
    assert type(small.dataset) is DatasetAutoFolds


def test_tag_order_is_frequency_then_alphabet(small: RatingData, ml_small_folder: Path) -> None:
    raw = pd.read_csv(ml_small_folder / "tags.csv")
    own = raw[raw["movieId"] == 296]["tag"].str.lower().str.strip()
    expected = sorted(set(own), key=lambda tag: (-(own == tag).sum(), tag))
    assert list(small.items.set_index("item").loc[296, "tags"]) == expected


def test_every_surprise_tool_works_on_the_dataset(small: RatingData) -> None:
    few = load_ratings(small.ratings.head(3000), rating_scale=small.rating_scale)
    for n_jobs in (1, 2):
        result = cross_validate(BaselineOnly(verbose=False), few.dataset, cv=3, n_jobs=n_jobs)
        assert np.isfinite(result["test_rmse"]).all()
    search = GridSearchCV(SVD, {"n_factors": [2], "n_epochs": [1]}, cv=KFold(2, random_state=0))
    search.fit(few.dataset)
    assert search.best_params["rmse"] == {"n_factors": 2, "n_epochs": 1}
    trainset, testset = train_test_split(few.dataset, test_size=0.25, random_state=0)
    assert trainset.n_ratings + len(testset) == 3000
    assert few.dataset.build_full_trainset().rating_scale == (0.5, 5)


# ---- the other MovieLens layouts, a few true lines each

_100K = {
    "u.data": "196\t242\t3\t881250949\n186\t302\t5\t891717742\n196\t267\t1\t881250950\n",
    "u.item": (
        "242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)"
        "|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "302|Amants du Pont-Neuf, Les (1991) (V)|01-Jan-1991||http://us.imdb.com/"
        "|0|0|0|0|0|0|0|0|1|0|0|0|0|0|1|0|0|0|0\n"
        "303|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/"
        "|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n"
    ),
    "u.user": "186|39|F|executive|00000\n196|49|M|writer|55105\n",
}
_1M = {
    "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
    "movies.dat": (
        "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
        "1193::One Flew Over the Cuckoo's Nest (1975)::Drama\n"
        "2731::400 Blows, The (Les Quatre cents coups) (1959)::Drama\n"
        "2732::Étoile, L' (1989)::Drama\n"
    ),
    "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
}
_10M = {
    "ratings.dat": "1::122::5::838985046\n1::185::4.5::838983525\n",
    "movies.dat": "122::Amélie (2001)::Comedy|Romance\n185::Net, The (1995)::(no genres listed)\n",
    "tags.dat": "15::122::Paris::1\n16::122::paris ::2\n15::122::a::b::3\n15::185::hackers::4\n",
}


def _write(folder: Path, files: dict[str, str], encoding: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode(encoding))
    return folder


def test_ml_100k_layout(tmp_path: Path) -> None:
    data = load_movielens(_write(tmp_path / "ml-100k", _100K, "latin-1"))
    assert data.rating_scale == (1, 5)
    assert data.dataset.raw_ratings[0] == (196, 242, 3.0, 881250949)
    assert data.items["title"].tolist() == [
        "Kolya", "unknown", "Les Amants du Pont-Neuf", "Les Misérables",
    ]  # fmt: skip
    assert data.items["genres"].tolist() == [
        ("Comedy",),
        (),
        ("Drama", "Romance"),
        ("Drama", "Musical"),
    ]
    assert data.items["year"].tolist()[2:] == [1991.0, 1995.0]
    assert np.isnan(data.items.loc[1, "year"])
    assert data.users.loc[1].tolist() == [196, "M", 49, "writer", "55105"]


def test_ml_1m_layout_is_latin_1_and_names_occupations(tmp_path: Path) -> None:
    data = load_movielens(_write(tmp_path / "ml-1m", _1M, "latin-1"))
    assert data.rating_scale == (1, 5)
    assert data.dataset.raw_ratings == [(1, 1193, 5.0, 978300760), (2, 661, 3.0, 978302109)]
    assert data.items["title"].tolist()[2:] == [
        "The 400 Blows (Les Quatre cents coups)", "L'Étoile",
    ]  # fmt: skip
    assert data.items.loc[0, "genres"] == ("Animation", "Children's", "Musical")
    assert data.users["occupation"].tolist() == ["K-12 student", "self-employed"]


def test_ml_10m_layout_has_half_stars_tags_and_utf_8(tmp_path: Path) -> None:
    data = load_movielens(_write(tmp_path / "ml-10M100K", _10M, "utf-8"))
    assert data.rating_scale == (0.5, 5)
    assert data.items["title"].tolist() == ["Amélie", "The Net"]
    assert data.items["genres"].tolist() == [("Comedy", "Romance"), ()]
    assert data.items["tags"].tolist() == [("paris", "a::b"), ("hackers",)]
    assert list(data.users) == ["user"]


def test_windows_line_ends_and_a_latin_1_next_line_character(tmp_path: Path) -> None:
    files = {name: text.replace("\n", "\r\n") for name, text in _1M.items()}
    files["movies.dat"] = files["movies.dat"].replace("One Flew", "One\x85Flew")
    data = load_movielens(_write(tmp_path, files, "latin-1"))
    assert data.items.loc[1, "title"] == "One\x85Flew Over the Cuckoo's Nest"


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("Matrix, The (1999)", "The Matrix"),
        ("Bug's Life, A (1998)", "A Bug's Life"),
        ("American Werewolf in London, An (1981)", "An American Werewolf in London"),
        ("Apartment, The (Appartement, L') (1996)", "The Apartment (L'Appartement)"),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura (The Adventure)"),
        ("Legend, The (Legend of Fong Sai-Yuk, The) (Fong Sai Yuk) (1993)",
         "The Legend (The Legend of Fong Sai-Yuk) (Fong Sai Yuk)"),
        ("Vitelloni, I (a.k.a. Young and the Passionate, The) (1953)",
         "I Vitelloni (a.k.a. The Young and the Passionate)"),
        ("Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
         "The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo)"),
        ("I, Robot (2004)", "I, Robot"),
        ("Paris, Texas (1984)", "Paris, Texas"),
        ("(500) Days of Summer (2009)", "(500) Days of Summer"),
        ("2001: A Space Odyssey (1968) ", "2001: A Space Odyssey"),
        ("Death Note: Desu nôto (2006\u20132007)", "Death Note: Desu nôto"),
        ("Babylon 5", "Babylon 5"),
        ("NaN (2010)", "NaN"),
    ],
)  # fmt: skip
def test_titles_read_as_one_would_say_them(tmp_path: Path, raw: str, title: str) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.5,4\n")
    (tmp_path / "movies.csv").write_text(f'"movieId","title","genres"\n2,"{raw}",Drama\n', "utf-8")
    assert load_movielens(tmp_path).items["title"].tolist() == [title]
