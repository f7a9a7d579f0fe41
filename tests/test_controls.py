"""Controls keep everything about tokens but what they say."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from surprise import Dataset, Reader

from llmtokens import LLMTokens
from llmtokens.controls import Popularity, UserMean, random_like, shuffled
from llmtokens.errors import DataError, LLMTokensWarning
from llmtokens.metrics import rank_all


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng(0)
    return LLMTokens.from_embeddings(range(500), rng.normal(size=(500, 6)) * [9, 5, 3, 2, 1, 0.1])


def test_shuffled_tokens_are_the_same_rows_and_no_id_keeps_its_own(tokens):
    other = shuffled(tokens)
    assert other.ids == tokens.ids
    assert sorted(map(tuple, other.vectors)) == sorted(map(tuple, tokens.vectors))
    assert (other.vectors != tokens.vectors).any(axis=1).all()


@pytest.mark.parametrize("n", [2, 3])
def test_even_the_smallest_tables_are_shuffled_without_a_fixed_row(n):
    tokens = LLMTokens.from_embeddings(range(n), np.eye(n))
    for seed in range(20):
        assert (shuffled(tokens, seed).vectors != tokens.vectors).any(axis=1).all()


def test_random_tokens_have_the_variances_of_the_real_ones_and_nothing_else(tokens):
    other = random_like(tokens)
    assert other.vectors.dtype == np.float32
    np.testing.assert_allclose(other.vectors.std(axis=0), tokens.vectors.std(axis=0), rtol=0.15)
    across = np.corrcoef(other.vectors.T, tokens.vectors.T)[:6, 6:]
    assert abs(across).max() < 0.2


@pytest.mark.parametrize("control", [shuffled, random_like])
def test_a_control_is_repeatable_and_leaves_the_tokens_alone(tokens, control):
    before = tokens.vectors.copy()
    first, again, other = control(tokens, 1), control(tokens, 1), control(tokens, 2)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert (first.vectors != other.vectors).any()
    np.testing.assert_array_equal(tokens.vectors, before)
    assert not first.vectors.flags.writeable


def test_the_user_mean_is_the_shrunk_mean_of_the_user_alone():
    rows = [("a", 1, 5.0), ("a", 2, 4.0), ("b", 1, 1.0), ("b", 3, 2.0), ("b", 2, 1.0)]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    algo = UserMean(shrinkage=2).fit(Dataset.load_from_df(frame, Reader()).build_full_trainset())
    mean = 13 / 5
    assert algo.predict("a", 1).est == pytest.approx(mean + (9 - 2 * mean) / 4)
    assert algo.predict("b", "never seen").est == pytest.approx(mean + (4 - 3 * mean) / 5)
    assert algo.predict("nobody", 1).est == pytest.approx(mean)


def test_popularity_lists_what_most_have_rated_and_estimates_the_items_mean():
    rows = [
        ("a", 1, 1.0),
        ("b", 1, 1.0),
        ("c", 1, 1.0),
        ("a", 2, 5.0),
        ("b", 2, 4.0),
        ("c", 3, 5.0),
    ]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    algo = Popularity(shrinkage=2).fit(Dataset.load_from_df(frame, Reader()).build_full_trainset())
    mean = 17 / 6
    assert algo.predict("c", 2).est == pytest.approx(mean + (9 - 2 * mean) / 4)
    assert algo.predict("c", "never seen").est == pytest.approx(mean)
    lists = rank_all(algo, [("nobody", 3, 5.0), ("c", 2, 4.0)]).to_frame()
    assert lists[lists["user"] == "nobody"]["item"].tolist() == [1, 2, 3]
    assert lists[lists["user"] == "c"]["item"].tolist() == [2]


def test_ratings_all_alike_are_told_where_estimates_are_all_there_is_and_not_for_popularity():
    rows = [("ann", 1, 1), ("ann", 2, 1), ("bob", 1, 1)]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    with pytest.warns(LLMTokensWarning, match="all 3 ratings are 1"):
        UserMean().fit(trainset)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lists = rank_all(Popularity().fit(trainset), [("cid", 2, 1)])
    assert lists.to_frame()["item"].tolist() == [1, 2]


@pytest.mark.parametrize("control", [UserMean, Popularity])
def test_a_negative_shrinkage_is_refused(control):
    frame = pd.DataFrame([("a", 1, 5.0)], columns=["user", "item", "rating"])
    trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    with pytest.raises(DataError, match="0 or more"):
        control(shrinkage=-1).fit(trainset)
