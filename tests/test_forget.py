"""A user is forgotten: nothing of theirs is left, and nobody else notices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, DATA, USER_TOKENS, make

import llmtokens
from llmtokens import LLMTokensEASE, LLMTokensSVD
from llmtokens.errors import DataError

TRAIN = DATA.dataset.build_full_trainset()
USER = int(DATA.ratings["user"].iloc[0])
OTHERS = [int(user) for user in DATA.ratings["user"].unique() if user != USER]
PAIRS = [(user, int(item), None) for user in OTHERS[:20] for item in DATA.items["item"][:20]]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nobody_else_is_predicted_otherwise(name, tmp_path):
    algo = make(name).fit(TRAIN)
    before = algo.test(PAIRS)
    assert algo.forget(USER) is algo
    assert algo.test(PAIRS) == before
    assert USER not in algo.users_.ids
    assert algo.ratings_.n == len(DATA.ratings) - sum(DATA.ratings["user"] == USER)
    assert algo.predict(USER, 1).details["cold_user"]
    algo.save(tmp_path / "model")
    again = llmtokens.load(tmp_path / "model")
    assert again.test(PAIRS) == before
    assert USER not in again.users_.ids


@pytest.mark.parametrize("name", ["LLMTokensEASE", "LLMTokensSVD", "LLMTokensBPMF"])
def test_whoever_was_forgotten_can_come_back_as_somebody_new(name):
    algo = make(name).fit(TRAIN).forget(USER)
    algo.fold_in(USER, {1: 5.0, 2: 1.0})
    assert algo.ratings_.of_user(algo.users_.row(USER))[1].tolist() == [5.0, 1.0]
    algo.partial_fit([(USER, 3, 4.0), ("another", 4, 2.0)])
    assert algo.recommend("another", n=2)["basis"].tolist() == ["ratings"] * 2


def test_weights_learned_later_leave_out_who_was_forgotten():
    """Of EASE, whose weights are brought up to date from the rows they were learned from."""
    algo = make("LLMTokensEASE").fit(TRAIN)
    algo.fold_in("late", {1: 5.0})
    algo.forget("late").forget(USER)
    algo.partial_fit([(OTHERS[0], "new item", 4.0)])
    left = DATA.ratings[DATA.ratings["user"] != USER]
    assert algo.interactions_.shape[0] == left["user"].nunique()
    assert algo.learned_.shape[0] == algo.interactions_.shape[0]


def test_tokens_and_times_go_as_well(tmp_path):
    times = DATA.ratings.assign(timestamp=np.arange(len(DATA.ratings)))
    algo = LLMTokensSVD(
        n_factors=4, n_epochs=2, user_tokens=USER_TOKENS, timestamps=times, random_state=0
    )
    algo.fit(TRAIN).save(tmp_path / "with")
    algo = llmtokens.load(tmp_path / "with").forget(USER)
    assert USER not in algo.user_tokens
    assert USER in USER_TOKENS  # the table that was handed over is another's
    assert USER not in algo.model_.timestamps.users.exact
    others = times[times["user"] != USER].head(50)
    np.testing.assert_array_equal(
        algo.model_.timestamps.of_pairs(others["user"], others["item"]), others["timestamp"]
    )


def test_an_unknown_user_and_the_only_one_are_refused():
    algo = make("LLMTokensEASE").fit(TRAIN)
    with pytest.raises(DataError, match="found the user 'nobody', who is unknown"):
        algo.forget("nobody")
    one = pd.DataFrame({"user": [1, 1], "item": [1, 2], "rating": [3.0, 4.0]})
    from surprise import Dataset, Reader

    alone = LLMTokensEASE(l2=1.0).fit(Dataset.load_from_df(one, Reader()).build_full_trainset())
    with pytest.raises(DataError, match="whose ratings are all there are; expected others"):
        alone.forget(1)
