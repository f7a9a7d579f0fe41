"""What users are like just now: LLMTokensSVD with timestamps."""

from __future__ import annotations

import numpy as np
import pytest
from surprise import accuracy
from test_times import FRAME, SHUFFLED, TAU, TEST, TRAIN, loaded

import llmtokens
from llmtokens import LLMTokensSVD
from llmtokens.errors import DataError, LLMTokensWarning

SMALL = {"n_factors": 4, "n_epochs": 10, "random_state": 0}


def rmse(algo) -> float:
    return accuracy.rmse(algo.test(TEST), verbose=False)


@pytest.fixture(scope="module")
def fitted():
    return LLMTokensSVD(timestamps=FRAME, **SMALL).fit(TRAIN)


@pytest.fixture(scope="module")
def without():
    return LLMTokensSVD(**SMALL).fit(TRAIN)


def test_times_help_and_what_is_shuffled_is_worth_nothing(fitted, without):
    other = LLMTokensSVD(timestamps=SHUFFLED, **SMALL).fit(TRAIN)
    assert rmse(fitted) < rmse(without) - 0.08
    assert rmse(other) == pytest.approx(rmse(without), abs=0.005)
    assert TAU / 4 < fitted.model_.drift_tau < TAU * 4


def test_a_moment_far_from_all_ratings_is_none_in_particular(fitted):
    uid, iid = FRAME["user"][0], "unheard of"
    usual = fitted.predict(uid, iid).est
    own = FRAME[FRAME["user"] == uid]["timestamp"]
    assert fitted.predict(uid, iid, at=own.max() + 1e7).est == pytest.approx(usual, abs=1e-9)
    assert fitted.predict(uid, iid, at=own.iloc[5]).est != pytest.approx(usual, abs=1e-3)


def test_the_drift_is_the_mean_of_the_dense_gaussian_process(fitted):
    model = fitted.model_
    row = 3
    items, values, _ = model.ratings.of_user(row)
    times = model.timestamps.of_pairs(
        [model.users.ids[row]] * len(items), [model.items.ids[i] for i in items]
    )
    left = values - model.score(np.full(len(items), row), items)[0]
    asked = np.array([times.min() - 10, times.mean(), times.max() + 10])

    def covariance(a, b):
        gaps = np.abs(a[:, None] - b)
        return model.drift_variance * np.exp(-gaps / model.drift_tau)

    dense = covariance(times, times) + np.eye(len(times))
    expected = covariance(asked, times) @ np.linalg.solve(dense, left)
    np.testing.assert_allclose(model.drift_at(np.full(3, row), asked), expected, atol=1e-8)


def test_a_saved_model_knows_the_moments(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    loaded_ = llmtokens.load(tmp_path / "m")
    assert [p.est for p in loaded_.test(TEST[:50])] == [p.est for p in fitted.test(TEST[:50])]


def test_what_is_folded_in_shifts_what_comes_next():
    algo = LLMTokensSVD(timestamps=FRAME, **SMALL).fit(TRAIN)
    items = FRAME["item"].unique()
    algo.fold_in("new", dict.fromkeys(items[:5], 6.0), timestamps=[0, 1e6, 2e6, 3e6, 3e6 + 10])
    usual, soon = (algo.predict("new", items[9], at=at).est for at in (9e9, 3e6 + 20))
    assert soon > usual + 0.1


def test_ratings_without_a_time_have_no_such_term():
    some = FRAME.iloc[: len(FRAME) // 2]
    with pytest.warns(LLMTokensWarning, match=r"no timestamp for \d+ of \d+ .* just then"):
        algo = LLMTokensSVD(timestamps=some, **SMALL).fit(TRAIN)
    timed = set(zip(some["user"], some["item"], strict=True))
    pairs = [(u, i) for u, i, _ in TEST if (u, i) not in timed][:20]
    model = algo.model_
    for uid, iid in pairs:
        plain = model.score(model.users.rows([uid]), model.items.rows([iid]))[0][0]
        assert algo.predict(uid, iid, clip=False).est == pytest.approx(plain, abs=1e-12)


def test_times_of_other_ids_are_refused():
    other = FRAME.assign(user=FRAME["user"] + 1000)
    with pytest.raises(DataError, match=r"no timestamp for (\d+) of \1 .* build timestamps"):
        LLMTokensSVD(timestamps=other, **SMALL).fit(loaded(FRAME).build_full_trainset())
