"""Beyond accuracy, groups, calibration and errors per user."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from surprise import BaselineOnly, Dataset, Prediction, Reader, accuracy

from llmtokens import LLMTokens
from llmtokens.errors import AlignmentError, DataError
from llmtokens.metrics import (
    average_popularity,
    catalogue_coverage,
    exposure_gini,
    group_gap,
    interval_coverage,
    intra_list_diversity,
    mae,
    mrr,
    novelty,
    popularity_lift,
    precision_at_k,
    rank_all,
    reliability,
    rmse,
)

RATINGS = pd.DataFrame(
    [("ann", "a", 5), ("ann", "b", 3), ("bob", "a", 4), ("bob", "c", 2), ("cem", "a", 5)],
    columns=["user", "item", "rating"],
)


@pytest.fixture
def trainset():
    return Dataset.load_from_df(RATINGS, Reader()).build_full_trainset()


def shown(lists):
    """Predictions that put these items on top, in this order."""
    return [
        Prediction(user, item, None, 5.0 - place / 10, {})
        for user, items in lists.items()
        for place, item in enumerate(items)
    ]


def spread(std, n=20_000, told=None):
    errors = np.random.RandomState(0).normal(0, std, n)
    told = std if told is None else told
    return [Prediction("u", k, 3 + e, 3.0, {"std": told}) for k, e in enumerate(errors.tolist())]


def test_coverage_is_the_share_of_items_anybody_sees():
    made = shown({"u": ["a", "b", "c"], "v": ["a", "c", "b"], "w": ["a", "d"]})
    assert catalogue_coverage(made, k=1) == 1 / 4
    assert catalogue_coverage(made, k=2) == 4 / 4


def test_gini_is_zero_for_equal_exposure_and_nearly_one_for_a_monopoly():
    assert exposure_gini(shown({"u": ["a", "b"], "v": ["b", "a"]}), k=1) == 0
    items = [f"i{k}" for k in range(100)]
    assert exposure_gini(shown({"u": items, "v": items}), k=1) == pytest.approx(0.99)
    times = np.array([3, 1, 0, 2])
    lists = {"u": "abcd", "v": "adbc", "w": "adcb"}
    by_pairs = np.abs(times[:, None] - times).sum() / (2 * len(times) * times.sum())
    assert exposure_gini(shown(lists), k=2) == pytest.approx(by_pairs)


def test_novelty_is_the_information_in_bits(trainset):
    values = novelty(shown({"u": ["a", "cold"], "v": ["b", "a"]}), trainset, k=2, per_user=True)
    assert values["u"] == pytest.approx((0 + 2) / 2)  # known to all three; to nobody: log2(4)
    assert values["v"] == pytest.approx((1 + 0) / 2)


def test_popularity_is_counted_in_training_ratings(trainset):
    made = shown({"ann": ["c", "a"], "bob": ["b", "a"], "stranger": ["a", "b"]})
    assert average_popularity(made, trainset, k=1) == pytest.approx((1 + 1 + 3) / 3)
    lift = popularity_lift(made, trainset, k=1, per_user=True)
    assert lift["ann"] == pytest.approx(1 / ((3 + 1) / 2) - 1)
    assert np.isnan(lift["stranger"])
    assert popularity_lift(made, trainset, k=1) == pytest.approx(-0.5)


def test_diversity_is_one_minus_the_mean_cosine_of_the_pairs():
    rng = np.random.RandomState(0)
    ids = list(range(20))
    tokens = LLMTokens.from_embeddings(ids, rng.rand(20, 6))
    lists = {"u": [3, 4, 5, 6], "v": [7, "no token", 8], "w": ["no token", 1, 2]}
    values = intra_list_diversity(shown(lists), tokens, k=3, per_user=True)
    for user, items in {"u": [3, 4, 5], "v": [7, 8], "w": [1, 2]}.items():
        unit = [tokens.vectors[i] / np.linalg.norm(tokens.vectors[i]) for i in items]
        pairs = [1 - unit[a] @ unit[b] for a in range(len(unit)) for b in range(a)]
        assert values[user] == pytest.approx(np.mean(pairs), abs=1e-6)
    alone = intra_list_diversity(shown({"u": [1, 2], "v": [3, "x"]}), tokens, k=2, per_user=True)
    assert np.isnan(alone["v"])


def test_tokens_of_other_items_are_an_error():
    tokens = LLMTokens.from_embeddings(["x", "y"], [[1.0, 0], [0, 1]])
    with pytest.raises(AlignmentError, match="lists have 'a', 'b' and the tokens have 'x', 'y'"):
        intra_list_diversity(shown({"u": ["a", "b"]}), tokens, k=2)


def test_k_above_the_catalogue_or_above_what_was_kept_is_an_error(trainset):
    made = shown({"u": ["a", "b"]})
    for measure in (catalogue_coverage, exposure_gini):
        with pytest.raises(DataError, match="k=3 and a catalogue of 2"):
            measure(made, k=3)
    with pytest.raises(DataError, match="k=3 and a catalogue of 2"):
        novelty(made, trainset, k=3)
    lists = rank_all(BaselineOnly(verbose=False).fit(trainset), [("cem", "b", 5.0)], n=1)
    assert catalogue_coverage(lists, k=1) == pytest.approx(1 / 3)
    with pytest.raises(DataError, match=r"kept to rank 1; call rank_all with n=2"):
        catalogue_coverage(lists, k=2)


# -- groups ----------------------------------------------------------------------------------------


MADE = [
    Prediction("a", 1, 5, 4.0, {}), Prediction("a", 2, 1, 3.0, {}),
    Prediction("b", 1, 1, 4.0, {}), Prediction("b", 2, 5, 3.0, {}),
    Prediction("c", 1, 5, 4.0, {}),
]  # fmt: skip


def test_the_gap_is_between_the_means_of_the_groups():
    groups = pd.Series({"a": "f", "b": "m", "c": "f", "unused": "x"})
    assert group_gap(MADE, groups, mrr) == pytest.approx(1 - 1 / 2)
    table = group_gap(MADE, groups, mrr, per_group=True)
    assert table["users"].to_dict() == {"f": 2, "m": 1}
    assert table["mean"].to_dict() == {"f": 1.0, "m": 0.5}
    assert table.loc["m", "difference"] == pytest.approx(0.5 - 2.5 / 3)
    assert group_gap(MADE, groups, precision_at_k, k=1) == 1.0
    assert group_gap(MADE, groups, mae) == pytest.approx(2.5 - (1.5 + 1) / 2)


def test_groups_may_be_categories_and_ids_may_be_text():
    made = [Prediction(1, "i", 5, 4.0, {}), Prediction(2, "i", 5, 3.0, {})]
    groups = pd.Series(
        pd.Categorical(["lo", "hi"], categories=["lo", "mid", "hi"]), index=["1", "2"]
    )
    assert group_gap(made, groups, mae) == 1.0
    assert group_gap(made, groups, mae, per_group=True).index.tolist() == ["lo", "hi"]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_missing_group_is_an_error_that_names_the_users(missing):
    with pytest.raises(DataError, match=r"1 of 3 users without a group: 'b'.*fillna"):
        group_gap(MADE, {"a": "f", "b": missing, "c": "m"}, mae)
    with pytest.raises(DataError, match="2 of 3 users without a group: 'b', 'c'"):
        group_gap(MADE, {"a": "f"}, mae)


def test_groups_that_cannot_be_compared_are_an_error():
    with pytest.raises(DataError, match="found one group, 'f'"):
        group_gap(MADE, dict.fromkeys("abc", "f"), mae)
    with pytest.raises(DataError, match="more than one group: 'a'"):
        group_gap(MADE, pd.Series(["f", "m", "m", "m"], index=["a", "a", "b", "c"]), mae)
    with pytest.raises(DataError, match="no user with a value in the groups 'm'"):
        group_gap(
            [*MADE, Prediction("d", 1, 1, 3.0, {})], dict(zip("abcd", "fffm", strict=True)), mrr
        )


# -- errors and calibration ------------------------------------------------------------------------


def test_errors_over_all_are_those_of_surprise():
    assert rmse(MADE) == pytest.approx(accuracy.rmse(MADE, verbose=False))
    assert mae(MADE) == pytest.approx(accuracy.mae(MADE, verbose=False))
    values = rmse(MADE, per_user=True)
    assert values["a"] == pytest.approx(math.sqrt((1 + 4) / 2))
    assert values["c"] == 1
    with pytest.raises(DataError, match="1 predictions without a true rating"):
        rmse([*MADE, Prediction("a", 9, None, 3.0, {})])


def test_a_true_spread_covers_what_it_says_and_a_false_one_does_not():
    right = interval_coverage(spread(0.8))
    assert right.index.tolist() == [0.5, 0.8, 0.95]
    assert right.to_numpy() == pytest.approx([0.5, 0.8, 0.95], abs=0.015)
    assert (interval_coverage(spread(0.8, told=0.4)) < right - 0.1).all()
    assert (interval_coverage(spread(0.8, told=1.6)) > right + 0.04).all()


def test_reliability_sets_the_predicted_beside_the_observed_error():
    table = reliability(spread(0.5) + spread(1.0), n_bins=2)
    assert table["n"].tolist() == [20_000, 20_000]
    assert table["std"].tolist() == pytest.approx([0.5, 1.0])
    assert table["rmse"].to_numpy() == pytest.approx(table["std"].to_numpy(), rel=0.02)


@pytest.mark.parametrize("measure", [interval_coverage, reliability])
def test_predictions_without_a_usable_std_are_an_error(measure):
    with pytest.raises(DataError, match=r'5 of 5 predictions without details\["std"\]'):
        measure(MADE)
    for std in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match=r"standard deviations .*; expected above 0"):
            measure([Prediction("u", "i", 3.0, 3.0, {"std": std})])
    with pytest.raises(DataError, match="without a true rating"):
        measure([Prediction("u", "i", None, 3.0, {"std": 1.0})])


def test_levels_and_bins_out_of_range_are_errors():
    for levels in ((), (0.5, 1.0), (0.0,), (95,)):
        with pytest.raises(DataError, match="between 0 and 1"):
            interval_coverage(spread(1.0, n=3), levels=levels)
    for n_bins in (0, 4):
        with pytest.raises(DataError, match="expected 1 to 3"):
            reliability(spread(1.0, n=3), n_bins=n_bins)
