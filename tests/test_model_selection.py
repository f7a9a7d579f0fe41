from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surprise import SVD, BaselineOnly, Dataset, Reader
from surprise.dataset import DatasetAutoFolds
from surprise.model_selection import (
    GridSearchCV,
    PredefinedKFold,
    RandomizedSearchCV,
    cross_validate,
)

from llmtokens import LLMTokensEASE
from llmtokens.compare import compare, full_ranking
from llmtokens.datasets import load_movielens, synthetic
from llmtokens.errors import DataError
from llmtokens.metrics import ndcg_at_k, rank_all
from llmtokens.model_selection import (
    ColdItemKFold,
    ColdItemTimeSplit,
    ColdUserKFold,
    FewShotItemKFold,
    FewShotUserKFold,
    GlobalTimeSplit,
    NextItemSplit,
    TimeSplit,
    replay,
)


def as_data(rows):
    """A Surprise Dataset with these (user, item, rating, timestamp) as they are."""
    frame = pd.DataFrame({"user": ["u"], "item": ["i"], "rating": [1.0]})
    data = DatasetAutoFolds(reader=Reader(rating_scale=(1, 5)), df=frame)
    data.raw_ratings = [tuple(row) for row in rows]
    return data


def grid(n_users=6, n_items=10, seed=0):
    """Most pairs rated once, in random order."""
    rng = random.Random(seed)
    pairs = [(u, i) for u in range(n_users) for i in range(n_items) if (u + i) % 4]
    rng.shuffle(pairs)
    return [(u, i, float(rng.randint(1, 5)), t) for t, (u, i) in enumerate(pairs)]


def folds(cv, rows):
    """Each fold as two sorted lists of (user, item, rating), ids as text."""
    return [(train_rows(train), plain(test)) for train, test in cv.split(as_data(rows))]


def train_rows(trainset):
    return plain(
        (trainset.to_raw_uid(u), trainset.to_raw_iid(i), r) for u, i, r in trainset.all_ratings()
    )


def plain(rows):
    return sorted((str(u), str(i), r) for u, i, r in rows)


KFOLDS = [
    (ColdItemKFold, 1, 0),
    (ColdUserKFold, 0, 0),
    (FewShotItemKFold, 1, 5),
    (FewShotUserKFold, 0, 5),
]


@pytest.mark.parametrize(("cv", "column"), [(ColdItemKFold, 1), (ColdUserKFold, 0)])
def test_cold_folds_hold_out_every_rating_exactly_once_and_share_no_id(cv, column):
    rows = grid()
    made = folds(cv(3, random_state=0), rows)
    everything = plain(row[:3] for row in rows)
    assert sorted(row for _, test in made for row in test) == everything
    for train, test in made:
        assert sorted(train + test) == everything
        assert not {row[column] for row in train} & {row[column] for row in test}
    sizes = [len({row[column] for row in test}) for _, test in made]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("cv", "column"), [(FewShotItemKFold, 1), (FewShotUserKFold, 0)])
def test_few_shot_folds_give_exactly_n_ratings_of_each_tested_id(cv, column):
    rows = grid(n_users=9, n_items=9)
    for train, test in folds(cv(3, n_given=2, random_state=0), rows):
        assert sorted(train + test) == plain(row[:3] for row in rows)
        given_counts = Counter(row[column] for row in train)
        assert {given_counts[tested] for tested in {row[column] for row in test}} == {2}


def test_an_item_with_no_more_than_n_given_ratings_is_not_tested_on():
    sizes = {"many": 4, "few": 2, "more": 5}
    rows = [(u, item, 3.0, None) for item, n in sizes.items() for u in range(n)]
    tested = set()
    for train, test in folds(FewShotItemKFold(2, n_given=2, random_state=1), rows):
        assert sum(row[1] == "few" for row in train) == 2
        tested |= {row[1] for row in test}
    assert tested == {"many", "more"}


def test_few_shot_with_nothing_given_is_cold():
    rows = grid()
    assert folds(FewShotItemKFold(3, n_given=0, random_state=4), rows) == folds(
        ColdItemKFold(3, random_state=4), rows
    )


def test_a_larger_n_given_keeps_the_ratings_of_a_smaller_one():
    rows = grid(n_users=9, n_items=9)
    for fewer, more in zip(
        folds(FewShotItemKFold(3, n_given=1, random_state=0), rows),
        folds(FewShotItemKFold(3, n_given=4, random_state=0), rows),
        strict=True,
    ):
        assert set(fewer[0]) < set(more[0])
        assert set(more[1]) < set(fewer[1])


@pytest.mark.parametrize(("cv", "column"), [(FewShotItemKFold, 1), (FewShotUserKFold, 0)])
def test_splits_that_reserve_the_same_number_test_the_same_ratings(cv, column):
    sizes = [9] * 6 + [3] * 3
    rows = [(u, i, 1.0 + (u + i) % 5, None) for i, n in enumerate(sizes) for u in range(n)]
    if column == 0:
        rows = [(i, u, r, t) for u, i, r, t in rows]
    made = {n: folds(cv(3, n, 0, n_reserved=4), rows) for n in (0, 1, 4)}
    assert [test for _, test in made[0]] == [test for _, test in made[4]]
    for n, found in made.items():
        for fold, (train, test) in enumerate(found):
            counts = Counter(row[column] for row in train)
            held = {row[column] for row in test}
            assert {counts[raw] for raw in held} == {n}
            assert Counter(row[column] for row in test) == dict.fromkeys(held, 5)
            assert all(counts[str(raw)] == 3 for raw in (6, 7, 8))
            assert set(made[0][fold][0]) <= set(train) <= set(made[4][fold][0])
    tested = {row[column] for _, test in made[0] for row in test}
    assert tested == {str(raw) for raw in range(6)}
    assert made[4] == folds(cv(3, 4, 0), rows)


@pytest.mark.parametrize(("cv", "column", "_"), KFOLDS)
def test_same_seed_same_folds_and_another_seed_others(cv, column, _):
    rows = grid(n_users=12, n_items=12)
    first = folds(cv(3, random_state=7), rows)
    assert folds(cv(3, random_state=7), rows) == first
    assert folds(cv(3, random_state=np.random.RandomState(7)), rows) == first
    assert folds(cv(3, random_state=8), rows) != first


@pytest.mark.parametrize(("cv", "column", "_"), KFOLDS)
def test_folds_depend_neither_on_the_order_of_the_ratings_nor_on_the_type_of_the_ids(cv, column, _):
    rows = grid(n_users=12, n_items=12)
    first = folds(cv(3, random_state=7), rows)
    assert folds(cv(3, random_state=7), rows[::-1]) == first
    assert folds(cv(3, random_state=7), [(str(u), str(i), r, t) for u, i, r, t in rows]) == first


def test_without_a_seed_the_global_generator_is_used_as_in_surprise():
    np.random.seed(5)
    first = folds(ColdItemKFold(3), grid())
    second = folds(ColdItemKFold(3), grid())
    np.random.seed(5)
    assert folds(ColdItemKFold(3), grid()) == first != second


def test_splitting_leaves_the_data_as_it_was():
    data = as_data(grid())
    before = list(data.raw_ratings)
    list(FewShotItemKFold(3, n_given=1, random_state=0).split(data))
    assert data.raw_ratings == before


def test_the_folds_are_exactly_as_many_as_announced():
    for cv in (ColdItemKFold(4), FewShotUserKFold(3, n_given=1), TimeSplit(2)):
        assert cv.get_n_folds() == cv.n_splits == len(folds(cv, grid()))


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(1, 13), min_size=2, max_size=60),
    n_splits=st.integers(1, 5),
)
def test_time_split_never_learns_from_the_present_or_the_future(times, n_splits):
    rows = [(k, k, 3.0, t) for k, t in enumerate(times)]
    cuts = {sorted(times)[k * len(times) // (n_splits + 1)] for k in range(n_splits + 1)}
    if len(cuts) <= n_splits:
        with pytest.raises(DataError, match="share one timestamp"):
            folds(TimeSplit(n_splits), rows)
        return
    made = folds(TimeSplit(n_splits), rows)
    when = {str(k): t for k, t in enumerate(times)}
    earlier: set = set()
    for train, test in made:
        assert max(when[u] for u, _, _ in train) < min(when[u] for u, _, _ in test)
        assert earlier <= set(train)
        earlier = set(train) | set(test)
    assert len(earlier) == len(rows)


def test_time_split_cuts_the_ratings_into_equal_parts():
    rows = [("u", k, 3.0, float(100 - k)) for k in range(100)]
    made = folds(TimeSplit(4), rows)
    assert [(len(train), len(test)) for train, test in made] == [
        (20, 20), (40, 20), (60, 20), (80, 20),
    ]  # fmt: skip


def test_timestamps_read_as_text_are_ordered_as_numbers():
    rows = [("u", k, 3.0, str(t)) for k, t in enumerate([900, 1000, 99, 10000])]
    (train, test), = folds(TimeSplit(1), rows)  # fmt: skip
    assert {i for _, i, _ in train} == {"0", "2"}
    assert {i for _, i, _ in test} == {"1", "3"}


def test_equal_timestamps_that_leave_a_fold_empty_name_the_fold():
    rows = [("u", k, 3.0, t) for k, t in enumerate([1, 1, 2, 2, 2, 2, 2, 2])]
    with pytest.raises(DataError, match=r"fold 1 of 3 has no ratings to test on.*timestamp"):
        TimeSplit(3).split(as_data(rows))
    rows = [("u", k, 3.0, 7) for k in range(8)]
    with pytest.raises(DataError, match="fold 1 of 1 has no ratings to train on"):
        TimeSplit(1).split(as_data(rows))


def test_cold_item_time_split_tests_only_items_not_rated_before_the_cut():
    rows = [
        ("u1", "old", 3.0, 1), ("u2", "old", 4.0, 2),
        ("u1", "new", 5.0, 3), ("u2", "new", 5.0, 4),
        ("u3", "old", 2.0, 5), ("u3", "newer", 2.0, 6),
    ]  # fmt: skip
    (_, first), (train, second) = folds(ColdItemTimeSplit(2), rows)
    assert first == [("u1", "new", 5.0), ("u2", "new", 5.0)]
    assert len(train) == 4
    assert second == [("u3", "newer", 2.0)]


def test_a_window_without_new_items_names_the_fold():
    rows = [("u", "i", 3.0, t) for t in range(10)]
    with pytest.raises(DataError, match="fold 1 of 2 has no ratings to test on: no item is new"):
        ColdItemTimeSplit(2).split(as_data(rows))


@pytest.mark.parametrize("missing", [None, float("nan"), "", float("inf")])
@pytest.mark.parametrize("cv", [TimeSplit(), ColdItemTimeSplit()])
def test_missing_timestamps_are_an_error_that_says_how_to_get_them(cv, missing):
    rows = [("u", k, 3.0, k) for k in range(9)] + [("u", "last", 3.0, missing)]
    with pytest.raises(DataError, match=r"for 1 of 10 .*\('u', 'last'\);.*datasets.*load_from_df"):
        cv.split(as_data(rows))


def test_times_are_split_in_any_form_and_what_is_none_is_named():
    days = [f"2024-01-{k:02d}" for k in range(9, 0, -1)]
    rows = [("u", k, 3.0, day) for k, day in enumerate(days)]
    (train, test), = folds(TimeSplit(1), rows)  # fmt: skip
    assert {int(i) for _, i, _ in train} == {5, 6, 7, 8}
    assert {int(i) for _, i, _ in test} == {0, 1, 2, 3, 4}
    with pytest.raises(DataError, match="1 of 10 times are not written as the others.*'yesterday'"):
        TimeSplit().split(as_data([("u", k, 3.0, t) for k, t in enumerate([*days, "yesterday"])]))


def test_data_from_a_frame_has_no_timestamps_and_says_so():
    frame = pd.DataFrame({"u": [1, 2], "i": [1, 2], "r": [3.0, 4.0]})
    data = Dataset.load_from_df(frame, Reader())
    with pytest.raises(DataError, match="no timestamp for 2 of 2 ratings.*load_from_df drops them"):
        TimeSplit(1).split(data)


def test_more_folds_than_ids_are_an_error():
    with pytest.raises(DataError, match="found 10 items; expected at least n_splits"):
        ColdItemKFold(11).split(as_data(grid()))
    with pytest.raises(DataError, match="found 0 users"):
        ColdUserKFold(2).split(as_data([]))


def test_a_fold_of_items_with_too_few_ratings_names_the_fold():
    rows = [(u, i, 3.0, None) for i in range(3) for u in range(4)]
    with pytest.raises(DataError, match=r"fold 1 of 3 has no ratings to test on: .* n_given=4"):
        FewShotItemKFold(3, n_given=4).split(as_data(rows))


@pytest.mark.parametrize("n_splits", [1, 0, -1, 2.5, "5", None])
def test_n_splits_out_of_range_is_an_error(n_splits):
    with pytest.raises(DataError, match=r"found n_splits=.*at least 2"):
        ColdItemKFold(n_splits).split(as_data(grid()))


def test_n_given_out_of_range_is_an_error():
    with pytest.raises(DataError, match="found n_given=-1"):
        FewShotUserKFold(3, n_given=-1).split(as_data(grid()))


def test_data_with_folds_of_its_own_is_an_error(tmp_path):
    file = tmp_path / "part"
    file.write_text("1 1 3 0\n")
    data = Dataset.load_from_folds(
        [(str(file), str(file))], Reader(line_format="user item rating timestamp")
    )
    assert len(list(PredefinedKFold().split(data))) == 1
    with pytest.raises(DataError, match="without raw_ratings"):
        ColdItemKFold(2).split(data)


@pytest.mark.slow
def test_every_iterator_serves_surprise_on_real_ratings(ml_small_folder: Path):
    data = load_movielens(ml_small_folder).dataset
    algo = BaselineOnly(verbose=False)
    for cv in (
        ColdItemKFold(2, random_state=0),
        ColdUserKFold(2, random_state=0),
        FewShotItemKFold(2, random_state=0),
        FewShotUserKFold(2, random_state=0),
        TimeSplit(2),
        ColdItemTimeSplit(2),
    ):
        result = cross_validate(algo, data, cv=cv, measures=["rmse"])
        assert result["test_rmse"].shape == (2,)
        assert (result["test_rmse"] > 0.7).all()
        assert (result["test_rmse"] < 1.3).all()


def test_cold_items_are_harder_than_few_shot_ones_on_real_ratings(ml_small_folder: Path):
    data = load_movielens(ml_small_folder).dataset
    algo = BaselineOnly(verbose=False)
    cold = cross_validate(algo, data, cv=ColdItemKFold(3, random_state=0))["test_rmse"].mean()
    few = cross_validate(algo, data, cv=FewShotItemKFold(3, random_state=0))["test_rmse"].mean()
    assert few < cold - 0.02


def test_the_searches_take_them_and_two_jobs_find_what_one_finds(ml_small_folder: Path):
    data = load_movielens(ml_small_folder).dataset
    data.raw_ratings = data.raw_ratings[:10_000]
    cv = FewShotItemKFold(2, n_given=1, random_state=0)
    space = {"n_factors": [2, 4], "n_epochs": [2], "random_state": [0]}
    one = GridSearchCV(SVD, space, cv=cv, measures=["rmse"])
    one.fit(data)
    two = GridSearchCV(SVD, space, cv=cv, measures=["rmse"], n_jobs=2)
    two.fit(data)
    assert one.cv_results["mean_test_rmse"] == pytest.approx(two.cv_results["mean_test_rmse"])
    some = RandomizedSearchCV(SVD, space, n_iter=1, cv=cv, measures=["rmse"], random_state=0)
    some.fit(data)
    assert some.best_score["rmse"] in one.cv_results["mean_test_rmse"]


def test_the_last_rating_of_each_user_is_held_out_and_nothing_else():
    rows = grid()
    ((train, test),) = folds(NextItemSplit(), rows)
    assert sorted(train + test) == plain(row[:3] for row in rows)
    last = {}
    for u, i, r, t in rows:
        if u not in last or t > last[u][3]:
            last[u] = (u, i, r, t)
    assert test == plain(row[:3] for row in last.values())


def test_folds_of_next_items_go_back_one_rating_of_each_user_at_a_time():
    rows = grid()
    made = folds(NextItemSplit(3), rows)
    assert [len(test) for _, test in made] == [6, 6, 6]
    held = [{tuple(row) for row in test} for _, test in made]
    assert not (held[0] & held[1])
    assert not (held[1] & held[2])
    place = {(str(u), str(i)): t for u, i, _, t in rows}
    for earlier, later in itertools.pairwise(held):
        at = {u: place[u, i] for u, i, _ in later}
        assert all(place[u, i] < at[u] for u, i, _ in earlier)


def test_a_user_with_one_rating_is_never_tested_on_what_comes_next():
    rows = [("a", "x", 3.0, 1), ("b", "x", 3.0, 1), ("b", "y", 4.0, 2)]
    ((train, test),) = folds(NextItemSplit(), rows)
    assert test == [("b", "y", 4.0)]
    assert len(train) == 2


def test_ratings_of_one_moment_come_in_the_order_of_the_data():
    rows = [("a", "x", 3.0, 7), ("a", "y", 4.0, 7), ("a", "w", 1.0, 7)]
    ((_, test),) = folds(NextItemSplit(), rows)
    assert test == [("a", "w", 1.0)]


def test_after_a_global_cut_each_known_user_is_tested_on_the_first_new_item():
    rows = [
        ("a", "x", 3.0, 1), ("b", "y", 3.0, 2), ("c", "x", 3.0, 3), ("b", "x", 2.0, 4),
        ("a", "x", 1.0, 5), ("a", "w", 4.0, 6), ("d", "w", 4.0, 7), ("a", "y", 4.0, 8),
    ]  # fmt: skip
    ((train, test),) = folds(GlobalTimeSplit(share=0.5), rows)
    assert len(train) == 4
    assert test == [("a", "w", 4.0)]  # "x" is not new to a; b and c do not come again; d is unknown


@pytest.mark.parametrize("share", [0, 1, -0.1, "half"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(DataError, match="share="):
        GlobalTimeSplit(share=share).split(as_data(grid()))


def test_what_comes_next_is_compared_over_the_full_catalogue():
    data = synthetic(n_users=30, n_items=40, n_ratings=500)
    splits = {"last": NextItemSplit(), "cut": GlobalTimeSplit(0.3)}
    measures = {"ndcg@10": full_ranking(ndcg_at_k, k=10, relevant=0.0)}
    result = compare(
        {"EASE": LLMTokensEASE(l2=50.0)}, data, splits, measures, progress=False
    ).table  # fmt: skip
    assert set(result["split"]) == {"last", "cut"}
    assert result["value"].between(0, 1).all()


def test_replay_measures_each_block_before_it_is_learned():
    data = synthetic(n_users=30, n_items=40, n_ratings=500).dataset
    algo = LLMTokensEASE(l2=50.0)
    found = replay(algo, data, every=125)
    assert algo.ratings_.n == 500
    rows = sorted(data.raw_ratings, key=lambda row: row[3])
    again = LLMTokensEASE(l2=50.0).fit(data.construct_trainset(rows[:250]))
    lists = rank_all(again, [row[:3] for row in rows[250:375]])
    assert found["ndcg@10"][0] == ndcg_at_k(lists, k=10, relevant=0.0)
    again.partial_fit(pd.DataFrame(rows[250:375]))
    lists = rank_all(again, [row[:3] for row in rows[375:]])
    assert found["ndcg@10"][1] == ndcg_at_k(lists, k=10, relevant=0.0)


def test_replay_does_not_rank_again_what_a_user_has_rated():
    rows = [(u, i, 3.0, t) for t, (u, i) in enumerate([("a", "x"), ("b", "x"), ("b", "y")] * 2)]
    found = replay(LLMTokensEASE(l2=1.0), as_data(rows), every=1, start=0.5)
    assert found.empty
