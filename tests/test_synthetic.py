"""The generated data set: sizes, determinism, and the signal that its texts carry."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from surprise import SVD, BaselineOnly
from surprise.model_selection import cross_validate

from llmtokens.datasets import RatingData, synthetic
from llmtokens.errors import DataError


@pytest.fixture(scope="module")
def data() -> RatingData:
    return synthetic()


def test_sizes_are_exact_and_nobody_rates_an_item_twice(data: RatingData) -> None:
    assert (len(data.ratings), len(data.users), len(data.items)) == (40_000, 600, 1_200)
    assert data.ratings["user"].nunique() == 600
    assert not data.ratings.duplicated(["user", "item"]).any()
    assert data.ratings["user"].value_counts().min() >= 10


def test_ratings_look_like_movielens(data: RatingData) -> None:
    ratings = data.ratings["rating"]
    assert set(ratings * 2) == set(range(1, 11))
    assert 3.3 < ratings.mean() < 3.8
    assert 0.9 < ratings.std() < 1.1
    popularity = data.ratings["item"].value_counts()
    assert popularity.max() > 10 * popularity.median()
    assert popularity.head(120).sum() > 0.35 * len(ratings)


def test_surprise_has_its_movielens_figures(data: RatingData) -> None:
    for algorithm in (BaselineOnly(verbose=False), SVD(random_state=0)):
        rmse = cross_validate(algorithm, data.dataset, measures=["rmse"], cv=3)["test_rmse"]
        assert 0.83 < rmse.mean() < 0.92


def test_same_seed_same_frames(data: RatingData) -> None:
    again, other = synthetic(), synthetic(random_state=1)
    pd.testing.assert_frame_equal(data.ratings, again.ratings)
    pd.testing.assert_frame_equal(data.items, again.items)
    pd.testing.assert_frame_equal(data.users, again.users)
    assert not data.ratings["rating"].equals(other.ratings["rating"])
    assert not data.items["title"].equals(other.items["title"])


def test_default_seed_gives_the_frames_it_always_gave() -> None:
    small = synthetic(n_users=50, n_items=80, n_ratings=1000)
    text = "".join(
        frame.to_csv(index=False, lineterminator="\n")
        for frame in (small.ratings, small.items, small.users)
    )
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "b356a645dddc297ec6f285ec5536020ed73e1f5fa6998b00e0685ebc705b8802"
    )


def test_texts_read_as_written(data: RatingData) -> None:
    items = data.items
    assert list(items) == ["item", "title", "genres", "year", "tags", "description"]
    assert items["title"].is_unique
    assert items["description"].str.fullmatch(r"[A-Z][^.]+\. A [^.]+, told [^.]+\.").all()
    texts = [*items["title"], *items["description"], *data.users["profile"]]
    assert not any(re.search(r"  | ,|\ba [aeiou]|\bA [aeiou]|\ban [^aeiou]", t) for t in texts)
    assert all(isinstance(genres, tuple) and 1 <= len(genres) <= 2 for genres in items["genres"])


def test_items_are_rated_after_they_appear(data: RatingData) -> None:
    rated = data.ratings.merge(data.items, on="item")
    assert (pd.to_datetime(rated["timestamp"], unit="s").dt.year >= rated["year"]).all()


def _per_user_slope(data: RatingData, feature: pd.Series) -> float:
    """How alike a user's liking of a feature is in two halves of what the user rated."""
    table = data.ratings.merge(feature.rename("x"), left_on="item", right_index=True)
    item_mean = table.groupby("item")["rating"].transform("mean")
    table["residual"] = (table["rating"] - item_mean) * (table["x"] - table["x"].mean())
    table["half"] = np.arange(len(table)) % 2
    halves = table.groupby(["user", "half"])["residual"].mean().unstack()
    return float(halves.corr().iloc[0, 1])


@pytest.mark.parametrize("word", ["haunting|bleak|grim|sombre", "told (?:slowly|in long|with un)"])
def test_users_have_tastes_that_the_descriptions_tell(data: RatingData, word: str) -> None:
    told = data.items.set_index("item")["description"].str.contains(word).astype(float)
    shuffled = pd.Series(np.random.default_rng(0).permutation(told), index=told.index)
    assert _per_user_slope(data, told) > 0.2
    assert abs(_per_user_slope(data, shuffled)) < 0.15


def test_users_pick_what_they_like(data: RatingData) -> None:
    """Ratings are not missing at random: what a user picks most of is rated above the rest."""
    table = data.ratings.merge(data.items[["item", "genres"]], on="item")
    table["genre"] = table["genres"].str[0]
    table["centred"] = table["rating"] - table.groupby("user")["rating"].transform("mean")
    liking = table.groupby(["user", "genre"])["centred"].agg(["mean", "size"])
    favourite = liking.groupby("user")["size"].rank(method="first", ascending=False) == 1
    assert liking.loc[favourite, "mean"].mean() > 0.1


def test_profiles_name_the_favourite_topics(data: RatingData) -> None:
    crime = data.items.set_index("item")["genres"].map(lambda genres: "Crime" in genres)
    table = data.ratings.assign(crime=data.ratings["item"].map(crime))
    fans = set(data.users.loc[data.users["profile"].str.contains("heists"), "user"])
    share = table.groupby(table["user"].isin(fans))["crime"].mean()
    assert share[True] > 1.2 * share[False]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_users": 0}, "n_users must be from 1"),
        ({"n_topics": 11}, "n_topics must be 1 to 10"),
        ({"n_ratings": 10}, "less than one for each"),
        ({"n_users": 10, "n_items": 10, "n_ratings": 101}, "too many"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        synthetic(**sizes)


def test_small_and_odd_sizes_work() -> None:
    one = synthetic(n_users=1, n_items=1, n_ratings=1, n_topics=1)
    assert len(one.dataset.raw_ratings) == 1
    assert len(synthetic(n_users=7, n_items=300, n_ratings=1001, n_topics=2).ratings) == 1001
