"""Ratings of which some have no time: told by each algorithm, and no order made up for them."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest

from llmtokens import (
    HashingEncoder,
    LLMTokens,
    LLMTokensBPMF,
    LLMTokensContent,
    LLMTokensEASE,
    LLMTokensSVD,
)
from llmtokens.datasets import load_ratings, synthetic
from llmtokens.errors import DataError, LLMTokensWarning

DATA = synthetic(30, 40, 600)
TRAIN = DATA.dataset.build_full_trainset()
TOKENS = LLMTokens.from_frame(DATA.items, "{title}", encoder=HashingEncoder())
GONE = DATA.ratings.index % 5 == 0  # 120 ratings, and all of the last user's
GONE |= DATA.ratings["user"] == DATA.ratings["user"].iloc[-1]
WITHOUT_ORDER = {
    "svd": (LLMTokensSVD, {"n_epochs": 2, "random_state": 0}),
    "bpmf": (LLMTokensBPMF, {"n_factors": 2, "n_samples": 2, "burn_in": 1, "random_state": 0}),
}
IN_ORDER = {
    "ease": (LLMTokensEASE, {"l2": 50.0}),
    "content": (LLMTokensContent, {"half_life": 1e6}),
}


def missing(form):
    times = DATA.ratings["timestamp"]
    made = {
        "NaN": times.astype(float).mask(GONE),
        "NaT": pd.to_datetime(times, unit="s").mask(GONE),
        "blank": times.astype(str).mask(GONE, ""),
        "None": times.astype(object).mask(GONE, None),
    }
    return DATA.ratings.assign(timestamp=made[form])


def fitted(kinds, name, timestamps):
    cls, parameters = kinds[name]
    return cls(TOKENS, timestamps=timestamps, **parameters).fit(TRAIN)


@pytest.mark.parametrize("form", ["NaN", "NaT", "blank", "None"])
@pytest.mark.parametrize("name", WITHOUT_ORDER)
def test_where_a_rating_needs_no_time_those_without_are_counted(name, form):
    told = f"no timestamp for {GONE.sum()} of 600 ratings, .* just then"
    with pytest.warns(LLMTokensWarning, match=told):
        some = fitted(WITHOUT_ORDER, name, missing(form))
    with pytest.warns(LLMTokensWarning, match=told):
        fewer = fitted(WITHOUT_ORDER, name, DATA.ratings[~GONE])
    assert [p.est for p in some.test(TRAIN.build_testset())] == [
        p.est for p in fewer.test(TRAIN.build_testset())
    ]


@pytest.mark.parametrize("form", ["NaN", "NaT", "blank", "None"])
@pytest.mark.parametrize("name", IN_ORDER)
def test_where_order_counts_the_line_that_is_advised_is_enough(name, form):
    with pytest.raises(DataError, match=f"no timestamp for {GONE.sum()} of 600") as caught:
        fitted(IN_ORDER, name, missing(form))
    frame = load_ratings(missing(form)).ratings
    line = re.search(r"frame\['timestamp'\] = .*\.median\(\)\)", str(caught.value))[0]
    exec(line, {"frame": frame})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        algo = fitted(IN_ORDER, name, frame)
    assert len(algo.recommend(1, n=3)) == 3
    user = DATA.ratings["user"][0]
    own = DATA.ratings["user"] == user
    usual = DATA.ratings["timestamp"][own & ~GONE].median()
    np.testing.assert_array_equal(frame["timestamp"][own & GONE], usual)


@pytest.mark.parametrize("name", [*WITHOUT_ORDER, *IN_ORDER])
def test_times_none_of_which_are_known_are_refused(name):
    frame = DATA.ratings.assign(timestamp=np.nan)
    with pytest.raises(DataError, match="no timestamp for 600 of 600 ratings"):
        fitted(WITHOUT_ORDER | IN_ORDER, name, frame)
