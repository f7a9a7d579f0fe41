import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, full, make
from surprise import Dataset, Reader

from llmtokens.data.ratings import Ratings
from llmtokens.errors import DataError, LLMTokensWarning


def trainset(rows, scale=(1, 5)):
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    return Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()


@pytest.fixture
def interleaved():
    return trainset([("b", 1, 3.0), ("a", 2, 5.0), ("b", 2, 1.0), ("c", 1, 4.0), ("a", 1, 2.0)])


def test_ratings_come_in_the_order_of_all_ratings(interleaved):
    ratings = Ratings.from_trainset(interleaved)
    rows = list(
        zip(ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist(), strict=True)
    )
    assert rows == list(interleaved.all_ratings())
    assert ratings.global_mean == interleaved.global_mean


def test_both_orders_point_at_the_same_ratings(interleaved):
    ratings = Ratings.from_trainset(interleaved)
    for inner in range(ratings.n_items):
        at = ratings.by_item[ratings.item_ptr[inner] : ratings.item_ptr[inner + 1]]
        pairs = list(zip(ratings.user[at].tolist(), ratings.value[at].tolist(), strict=True))
        assert pairs == sorted(interleaved.ir[inner])
    for inner in range(ratings.n_users):
        at = slice(ratings.user_ptr[inner], ratings.user_ptr[inner + 1])
        pairs = list(zip(ratings.item[at].tolist(), ratings.value[at].tolist(), strict=True))
        assert pairs == interleaved.ur[inner]


def test_new_ratings_stand_after_their_users_old_ones_and_replace_those_of_the_same_pair(
    interleaved,
):
    ratings = Ratings.from_trainset(interleaved)
    new = [(0, 2, 2.5), (3, 0, 1.5), (4, 1, 3.5), (0, 0, 4.5), (3, 1, 0.5)]
    user, item, value = (np.array(column) for column in zip(*new, strict=True))
    merged, changes = ratings.merged(
        user, item, value, np.array([1, 1, 1, 0.5, 1]), [*"bacde"], [1, 2, 3]
    )
    rows = zip(merged.user.tolist(), merged.item.tolist(), merged.value.tolist(), strict=True)
    assert list(rows) == [
        (0, 1, 1.0), (0, 2, 2.5), (0, 0, 4.5), (1, 1, 5.0), (1, 0, 2.0), (2, 0, 4.0),
        (3, 0, 1.5), (3, 1, 0.5), (4, 1, 3.5),
    ]  # fmt: skip
    assert merged.user_ptr.tolist() == [0, 3, 5, 6, 8, 9]
    assert merged.weight.tolist() == [1, 1, 0.5, 1, 1, 1, 1, 1, 1]
    assert (merged.user.dtype, merged.item.dtype) == (np.int32, np.int32)
    assert [merged.of_item(i)[0].tolist() for i in range(3)] == [[0, 1, 2, 3], [0, 1, 3, 4], [0]]
    assert [x.tolist() for x in changes.of_user(0)] == [[0, 0, 2], [3.0, 4.5, 2.5], [-1, 0.5, 1]]
    assert [x.tolist() for x in changes.of_item(1)] == [[3, 4], [0.5, 3.5], [1, 1]]
    again = merged.merged(user, item, value, np.array([1, 1, 1, 0.5, 1]), [*"bacde"], [1, 2, 3])
    assert len(again[1].user) == 0  # all is as it was


def test_some_users_have_the_ratings_they_had_among_all(interleaved):
    ratings = Ratings.from_trainset(interleaved)
    some = ratings.only(np.array([2, 0]))
    rows = zip(some.user.tolist(), some.item.tolist(), some.value.tolist(), strict=True)
    assert list(rows) == [(0, 0, 4.0), (1, 0, 3.0), (1, 1, 1.0)]
    assert some.user_ids == ["c", "b"]
    assert some.user_ptr.tolist() == [0, 1, 3]


def test_looking_up_who_is_not_there_changes_nothing():
    rows = [("b", 1, 3.0), ("a", 2, 4.0), ("b", 2, 5.0)]
    plain, looked_at = full(rows), full(rows)
    for key in ("nobody", 10**6, None):
        assert looked_at.ur[key] == looked_at.ir[key] == []
    one, two = (Ratings.from_trainset(trainset) for trainset in (plain, looked_at))
    for name in ("user", "item", "value", "user_ptr"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in ALGORITHMS:
        if "no tokens" in name:
            there, here = (make(name).fit(t).predict("a", 1) for t in (looked_at, plain))
            assert there == here


def test_raw_ids_keep_their_types(interleaved):
    ratings = Ratings.from_trainset(interleaved)
    assert (ratings.user_ids, ratings.item_ids) == (["b", "a", "c"], [1, 2])


def test_reading_changes_nothing_in_the_trainset(interleaved):
    before = {u: list(r) for u, r in interleaved.ur.items()}
    Ratings.from_trainset(interleaved)
    assert dict(interleaved.ur) == before
    assert interleaved._global_mean is None


def test_users_out_of_order_are_put_in_order(interleaved):
    interleaved.ur = dict(reversed(interleaved.ur.items()))
    ratings = Ratings.from_trainset(interleaved)
    assert ratings.user.tolist() == [0, 0, 1, 1, 2]
    assert ratings.value.tolist() == [3.0, 1.0, 5.0, 2.0, 4.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_rating_that_is_no_number_is_named(bad):
    with pytest.raises(DataError, match=r"1 ratings.*\('b', 7"):
        Ratings.from_trainset(trainset([("a", 1, 3.0), ("b", 7, bad)]))


def test_a_broken_rating_scale_is_named():
    with pytest.raises(DataError, match="rating_scale"):
        Ratings.from_trainset(trainset([("a", 1, 3.0)], scale=(5, 1)))


def test_duplicate_pairs_are_kept_as_surprise_keeps_them():
    assert Ratings.from_trainset(trainset([("a", 1, 3.0), ("a", 1, 5.0)])).n == 2


@pytest.mark.parametrize(
    "value", [np.complex128(3 + 1j), np.complex64(3), np.datetime64("2020-01-01"), "4 stars"]
)
def test_ratings_that_are_no_numbers_are_refused(value, interleaved):
    for user in interleaved.ur:
        interleaved.ur[user] = [(item, value) for item, _ in interleaved.ur[user]]
    with pytest.raises(DataError, match="found ratings that are no numbers, such as"):
        Ratings.from_trainset(interleaved)


@pytest.mark.parametrize("none", [None, np.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize("side", ["user", "item"])
def test_ratings_of_nobody_or_nothing_are_told(none, side):
    frame = pd.DataFrame({"user": [1, 2, 2], "item": [7, 8, 9], "rating": [1.0, 2.0, 3.0]})
    frame[side] = pd.Series([1, none, 3], dtype=object)
    trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    with pytest.warns(LLMTokensWarning, match=f"1 of 3 ratings have no {side} id"):
        Ratings.from_trainset(trainset)
