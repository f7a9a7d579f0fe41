"""Ranking measures against scikit-learn and by hand; rank_all against a slow loop."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, make
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    ndcg_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from surprise import SVD, AlgoBase, BaselineOnly, Dataset, NormalPredictor, Prediction, Reader
from surprise.model_selection import train_test_split

import llmtokens
from llmtokens import metrics
from llmtokens.algorithms.base import TokenAlgoBase
from llmtokens.datasets import load_movielens
from llmtokens.errors import DataError, NotFittedError
from llmtokens.metrics import (
    auc,
    f1_at_k,
    hit_rate_at_k,
    map_at_k,
    mrr,
    ndcg_at_k,
    precision_at_k,
    rank_all,
    rank_rated,
    recall_at_k,
)
from llmtokens.recommend.interface import FittedModel

MEASURES = [precision_at_k, recall_at_k, f1_at_k, hit_rate_at_k, map_at_k, mrr, ndcg_at_k]


def predicted(*rows):
    return [Prediction(u, i, r, est, {}) for u, i, r, est in rows]


BY_HAND = predicted(  # ranked a b c d, relevant a and c; ranked y x, relevant x
    ("u", "c", 4, 3.0), ("u", "a", 5, 4.9), ("u", "b", 2, 4.5), ("u", "d", None, 1.0),
    ("v", "x", 4.5, 2.0), ("v", "y", 3.5, 3.0),
    ("w", "a", 1, 3.0),
)  # fmt: skip


def dense(seed, n_users=7, n_items=30, ties=False):
    """Every user has rated everything; as predictions and as arrays."""
    rng = np.random.RandomState(seed)
    rating = rng.randint(1, 6, (n_users, n_items)).astype(float)
    score = rng.rand(n_users, n_items)
    if ties:
        score = np.round(score, 1)
    made = [
        Prediction(u, i, rating[u, i], score[u, i], {})
        for u in range(n_users)
        for i in rng.permutation(n_items).tolist()
    ]
    return made, rating, score


@pytest.mark.parametrize(
    ("measure", "u", "v"),
    [
        (precision_at_k, 1 / 2, 1 / 2),
        (recall_at_k, 1 / 2, 1.0),
        (f1_at_k, 1 / 2, 2 / 3),
        (hit_rate_at_k, 1.0, 1.0),
        (map_at_k, 1 / 2, 1 / 2),
        (mrr, 1.0, 1 / 2),
        (ndcg_at_k, 1 / (1 + 1 / math.log2(3)), 1 / math.log2(3)),
    ],
)
def test_values_at_two_are_those_worked_out_by_hand(measure, u, v):
    values = measure(BY_HAND, k=2, per_user=True)
    assert isinstance(values, pd.Series)
    assert values.index.tolist() == ["u", "v", "w"]
    assert values["u"] == pytest.approx(u)
    assert values["v"] == pytest.approx(v)
    assert np.isnan(values["w"]), "nothing relevant: no value"
    mean = measure(BY_HAND, k=2)
    assert isinstance(mean, float)
    assert mean == pytest.approx((u + v) / 2)


def test_auc_counts_pairs_by_hand():
    values = auc(BY_HAND, per_user=True)
    assert values["u"] == pytest.approx(3 / 4)  # a > b, a > d, c > d, but c < b
    assert values["v"] == 0.0
    assert np.isnan(values["w"])


@pytest.mark.parametrize("k", [1, 5, 30])
def test_ndcg_equals_scikit_learn(k):
    made, rating, score = dense(k)
    binary = ndcg_at_k(made, k=k, per_user=True)
    graded = ndcg_at_k(made, k=k, relevant=None, per_user=True)
    for u in range(len(rating)):
        expected = ndcg_score([rating[u] >= 4], [score[u]], k=k, ignore_ties=True)
        assert binary[u] == pytest.approx(expected)
        expected = ndcg_score([rating[u]], [score[u]], k=k, ignore_ties=True)
        assert graded[u] == pytest.approx(expected)
    assert ndcg_at_k(made, k=30) == pytest.approx(ndcg_at_k(made, k=None))


@pytest.mark.parametrize("ties", [False, True])
def test_auc_equals_scikit_learn(ties):
    made, rating, score = dense(1, ties=ties)
    values = auc(made, per_user=True)
    for u in range(len(rating)):
        assert values[u] == pytest.approx(roc_auc_score(rating[u] >= 4, score[u]))


def test_average_precision_over_the_whole_list_equals_scikit_learn():
    made, rating, score = dense(2)
    values = map_at_k(made, k=None, per_user=True)
    for u in range(len(rating)):
        assert values[u] == pytest.approx(average_precision_score(rating[u] >= 4, score[u]))


def test_precision_equals_scikit_learn():
    made, rating, score = dense(3)
    values = precision_at_k(made, k=6, per_user=True)
    for u in range(len(rating)):
        shown = np.argsort(np.argsort(-score[u])) < 6
        assert values[u] == pytest.approx(precision_score(rating[u] >= 4, shown))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_every_measure_lies_between_zero_and_one_and_a_perfect_order_has_the_best(seed, k):
    made, _, _ = dense(seed, n_users=3, n_items=12, ties=True)
    perfect = [p._replace(est=p.r_ui) for p in made]
    for measure in MEASURES:
        value, best = measure(made, k=k, relevant=3), measure(perfect, k=k, relevant=3)
        assert 0 <= value <= best + 1e-12 <= 1 + 1e-9
    for measure in (map_at_k, mrr, ndcg_at_k, hit_rate_at_k):
        assert measure(perfect, k=k, relevant=3) == pytest.approx(1)
    assert auc(perfect, relevant=3) == 1


def test_the_order_of_the_predictions_does_not_matter_even_with_ties():
    made, _, _ = dense(5, ties=True)
    for measure in MEASURES:
        forth, back = measure(made, k=5, per_user=True), measure(made[::-1], k=5, per_user=True)
        pd.testing.assert_series_equal(forth, back.loc[forth.index])


def test_a_model_without_an_opinion_ranks_as_chance_does_whatever_the_order_of_the_data():
    relevant_first = [
        Prediction(user, item, 5 if item < 100 else 1, 3.0, {})
        for user in range(2)
        for item in range(1000)
    ]
    assert precision_at_k(relevant_first, k=200) == pytest.approx(0.1, abs=0.06)
    assert auc(relevant_first) == 0.5


def test_a_list_shorter_than_k_counts_its_missing_places_as_misses():
    made = predicted(("u", "a", 5, 4.0), ("v", "a", 5, 4.0), ("v", "b", 1, 3.0))
    assert precision_at_k(made, k=2, per_user=True)["u"] == 0.5
    assert recall_at_k(made, k=2, per_user=True)["u"] == 1.0


def test_a_pair_that_stands_twice_counts_once_with_its_last_rating():
    made = predicted(("u", "a", 1, 4.0), ("u", "b", 1, 3.0), ("u", "a", 5, 4.0))
    assert len(rank_rated(made).to_frame()) == 2
    assert precision_at_k(made, k=1) == 1.0


@pytest.mark.parametrize("measure", MEASURES)
def test_k_above_the_catalogue_is_an_error(measure):
    with pytest.raises(DataError, match="found k=7 and a catalogue of 6 items"):
        measure(BY_HAND, k=7)
    for k in (0, -1, 2.5, "3"):
        with pytest.raises(DataError, match="expected an integer of at least 1"):
            measure(BY_HAND, k=k)


@pytest.mark.parametrize("measure", [*MEASURES, auc])
def test_no_relevant_item_at_all_is_an_error_that_shows_the_ratings(measure):
    with pytest.raises(DataError, match=r"ratings from 1 to 5; expected some .* relevant=6"):
        measure(dense(0)[0], relevant=6)
    with pytest.raises(DataError, match="found no true ratings in the lists"):
        measure(predicted(*[("u", item, None, 3.0) for item in range(10)]))
    with pytest.raises(DataError, match="found no predictions"):
        measure([])


def test_auc_where_everything_is_relevant_is_an_error():
    with pytest.raises(DataError, match="no user has a value"):
        auc(predicted(("u", "a", 5, 4.0), ("u", "b", 5, 3.0)))


def test_graded_gain_refuses_negative_ratings():
    with pytest.raises(DataError, match="ratings from -3 to 3"):
        ndcg_at_k(predicted(("u", "a", -3, 3.0), ("u", "b", 3, 3.0)), relevant=None)


def test_broken_predictions_are_named():
    with pytest.raises(DataError, match=r"estimates that are NaN .*\('u', 'a'\)"):
        rank_rated(predicted(("u", "a", 3, float("nan"))))
    with pytest.raises(DataError, match="expected Surprise Predictions"):
        rank_rated([("u", "a", 3.0)])


# -- the whole catalogue ---------------------------------------------------------------------------


RATINGS = pd.DataFrame(
    [("ann", "a", 5), ("ann", "b", 3), ("bob", "a", 4), ("bob", "c", 2), ("cem", "d", 5)],
    columns=["user", "item", "rating"],
)


class ByTable(AlgoBase):
    """Scores from a table of raw ids; 3 for all others."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def predict(self, uid, iid, r_ui=None, clip=True, verbose=False):
        est = self.table.get((uid, iid), 3.0)
        return Prediction(uid, iid, r_ui, min(max(est, 1), 5) if clip else est, {})


def fitted(table):
    data = Dataset.load_from_df(RATINGS, Reader(rating_scale=(1, 5)))
    return ByTable(table).fit(data.build_full_trainset())


def test_rank_all_ranks_what_the_user_has_not_rated_in_training_cold_items_included():
    algo = fitted({("ann", "d"): 4.0, ("ann", "c"): 3.5, ("ann", "new"): 2.0, ("ann", "a"): 9.0})
    lists = rank_all(algo, [("ann", "new", 5.0)])
    frame = lists.to_frame()
    assert frame["item"].tolist() == ["d", "c", "new"]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["rating"].isna().tolist() == [True, True, False]
    assert mrr(lists) == pytest.approx(1 / 3)
    assert auc(lists) == 0.0
    assert lists.n_candidates.tolist() == [3]
    assert sorted(lists.items) == ["a", "b", "c", "d", "new"]


def test_ranking_the_rated_items_only_is_another_and_easier_question():
    algo = fitted({("ann", "d"): 4.0, ("ann", "c"): 3.5, ("ann", "new"): 2.0})
    testset = [("ann", "new", 5.0)]
    assert precision_at_k(algo.test(testset), k=1) == 1.0
    assert precision_at_k(rank_all(algo, testset), k=1) == 0.0


def test_rank_all_does_not_clip_where_clipping_would_tie_the_best():
    algo = fitted({("ann", "c"): 7.0, ("ann", "d"): 6.0})
    assert rank_all(algo, [("ann", "d", 5.0)]).to_frame()["score"].tolist() == [7.0, 6.0]


def test_a_new_user_gets_the_whole_catalogue():
    lists = rank_all(fitted({}), [("stranger", "a", 5.0), ("stranger", "b", 1.0)])
    assert lists.n_candidates.tolist() == [4]


def test_a_test_pair_that_is_in_training_too_is_left_out():
    lists = rank_all(fitted({}), [("ann", "a", 5.0), ("ann", "d", 5.0)])
    assert set(lists.to_frame()["item"]) == {"c", "d"}
    assert recall_at_k(lists, k=2) == 1.0


def test_items_narrow_the_catalogue_and_must_hold_the_test_items():
    lists = rank_all(fitted({}), [("ann", "new", 5.0)], items=["new", "newer"])
    assert sorted(lists.items) == ["new", "newer"]
    with pytest.raises(DataError, match=r"1 items of the testset .* 'new'; items has 'a'"):
        rank_all(fitted({}), [("ann", "new", 5.0)], items=["a", "d"])


def test_keeping_few_entries_changes_no_measure_up_to_that_many(ml_small_folder: Path):
    data = load_movielens(ml_small_folder).dataset
    data.raw_ratings = data.raw_ratings[:8_000]
    trainset, testset = train_test_split(data, random_state=0)
    algo = BaselineOnly(verbose=False).fit(trainset)
    few, all_kept = rank_all(algo, testset, n=10), rank_all(algo, testset, n=10_000)
    assert len(few.rank) < len(all_kept.rank) / 10
    for measure in (*MEASURES, auc):
        one, other = measure(few, per_user=True), measure(all_kept, per_user=True)
        pd.testing.assert_series_equal(one, other)


def test_rank_all_equals_a_slow_loop_on_real_ratings(ml_small_folder: Path):
    data = load_movielens(ml_small_folder).dataset
    data.raw_ratings = data.raw_ratings[:3_000]
    trainset, testset = train_test_split(data, random_state=0)
    algo = SVD(n_epochs=5, random_state=0).fit(trainset)
    lists = rank_all(algo, testset)
    values, areas = ndcg_at_k(lists, per_user=True), auc(lists, per_user=True)
    items = {i for _, i, _ in data.build_full_trainset().build_testset()}
    for user in list(values.dropna().index)[:5]:
        seen = {trainset.to_raw_iid(i) for i, _ in trainset.ur[trainset.to_inner_uid(user)]}
        unseen = sorted(items - seen)
        liked = {i for u, i, r in testset if u == user and r >= 4}
        truth = np.array([i in liked for i in unseen])
        score = np.array([algo.predict(user, i, clip=False).est for i in unseen])
        assert values[user] == pytest.approx(ndcg_score([truth], [score], k=10, ignore_ties=True))
        assert areas[user] == pytest.approx(roc_auc_score(truth, score))


class Sums(FittedModel):
    def score(self, users, items):
        return np.where(items == 0, np.nan, 1.0 * users + items), {}


class Additive(TokenAlgoBase):
    """Ours: scores above the scale, impossible for the first item."""

    def _learn(self, ratings, users, items):
        return Sums(ratings, users, items)


def test_our_algorithms_are_scored_by_rows_and_agree_with_their_own_predictions():
    data = Dataset.load_from_df(RATINGS, Reader(rating_scale=(1, 5)))
    algo = Additive().fit(data.build_full_trainset())
    frame = rank_all(algo, [("cem", "a", 4.0), ("ann", "d", 5.0), ("new", "x", 5.0)]).to_frame()
    known = frame[frame.user != "new"]
    for user, item, score in zip(known.user, known.item, known.score):  # noqa: B905
        said = algo.predict(user, item, clip=False)
        assert said.est == score or said.details["was_impossible"]
    assert known["score"].max() > 5
    strangers = frame[frame.user == "new"]
    counts = RATINGS["item"].value_counts().reindex(strangers["item"], fill_value=0)
    assert counts.is_monotonic_decreasing
    assert strangers["score"].astype(int).tolist() == counts.tolist()
    assert len(frame) == 4 + 3 + 5


class OwnTest(BaselineOnly):
    def test(self, testset, verbose=False):
        return [Prediction(u, i, r, 2.5, {}) for u, i, r in testset]


def test_an_algorithm_with_a_test_of_its_own_is_asked_through_it():
    data = Dataset.load_from_df(RATINGS, Reader(rating_scale=(1, 5)))
    algo = OwnTest(verbose=False).fit(data.build_full_trainset())
    assert set(rank_all(algo, [("ann", "d", 5.0)]).score) == {2.5}


def test_rank_all_counts_what_was_folded_in_as_training(tmp_path):
    algo = make("LLMTokensSVD").fit(DATA.dataset.build_full_trainset())
    algo.fold_in("newcomer", {1: 5.0, 2: 1.0})
    algo.fold_in_item("newest", "a storm at sea", {3: 4.0})
    algo.save(tmp_path / "model")
    for one in (algo, llmtokens.load(tmp_path / "model")):
        lists = rank_all(one, [("newcomer", 3, 5.0), (3, 3, 4.0)], n=1000)
        assert "newest" in lists.items
        frame = lists.to_frame()
        listed = set(frame.loc[frame["user"] == "newcomer", "item"])
        assert set(lists.items) - listed == {1, 2}
        assert "newest" not in set(frame.loc[frame["user"] == 3, "item"])


def test_bad_arguments_to_rank_all_are_errors():
    with pytest.raises(NotFittedError, match="NormalPredictor is not fitted"):
        rank_all(NormalPredictor(), [("ann", "a", 5.0)])
    with pytest.raises(DataError, match="empty testset"):
        rank_all(fitted({}), [])
    with pytest.raises(DataError, match="n=0"):
        rank_all(fitted({}), [("ann", "d", 5.0)], n=0)
    with pytest.raises(DataError, match=r"NaN or infinite.*\('ann', 'd'\)"):
        rank_all(fitted({("ann", "d"): float("nan")}), [("ann", "d", 5.0)])


# -- liked or not ------------------------------------------------------------------------------


@pytest.mark.parametrize("relevant", [3.0, 4.0, 4.5])
def test_classification_is_that_of_scikit_learn(relevant):
    rng = np.random.default_rng(int(10 * relevant))
    truth = rng.integers(1, 11, 400) / 2
    estimate = np.clip(truth + rng.normal(0, 1.2, 400), 0.5, 5).round(1)  # some are equal
    rows = [
        Prediction(k % 17, k, r, est, {})
        for k, (r, est) in enumerate(zip(truth, estimate, strict=True))
    ]
    found = metrics.classification(rows, relevant=relevant)
    liked, said = truth >= relevant, estimate >= relevant
    expected = {
        "accuracy": accuracy_score(liked, said),
        "precision": precision_score(liked, said),
        "recall": recall_score(liked, said),
        "f1": f1_score(liked, said),
        "roc_auc": roc_auc_score(liked, estimate),
    }
    assert found.to_dict() == pytest.approx(expected, abs=0)
    for which, value in expected.items():
        assert metrics.classification(rows, relevant, which) == value


def test_where_nothing_is_said_to_be_liked_precision_is_0():
    rows = [Prediction("u", i, r, 1.0 + r / 9, {}) for i, r in enumerate((5, 4, 2, 1))]
    found = metrics.classification(rows)
    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)
    assert (found["accuracy"], found["roc_auc"]) == (0.5, 1.0)


@pytest.mark.parametrize("ratings", [(5, 4, 4.5), (1, 2, 3)])
def test_pairs_of_one_kind_alone_cannot_be_told_apart(ratings):
    rows = [Prediction("u", i, r, 3.0, {}) for i, r in enumerate(ratings)]
    with pytest.raises(DataError, match="least relevant=4 and some below: set relevant"):
        metrics.classification(rows)
