"""What users are like just now: LLMTokensBPMF with timestamps."""

from __future__ import annotations

import numba
import numpy as np
import pandas as pd
import pytest
from sharded import assert_same, workers
from surprise import Dataset, Reader, accuracy
from surprise.model_selection import train_test_split

import llmtokens
from llmtokens.algorithms.bpmf import LLMTokensBPMF, shards
from llmtokens.algorithms.drift import DriftScale, Sequence
from llmtokens.data.times import seconds
from llmtokens.distributed import fit_bpmf
from llmtokens.errors import DataError, LLMTokensWarning
from llmtokens.kernels import drift as kernels

VARIANCE, TAU, NOISE = 0.5, 300.0, 0.5
SMALL = {"n_factors": 2, "n_samples": 60, "burn_in": 40, "random_state": 0}


def planted(n_users=150, n_items=80, each=40, seed=0) -> pd.DataFrame:
    """Users in sessions, whose ratings follow biases and the process, and nothing else."""
    rng = np.random.default_rng(seed)
    bias, rows = 0.5 * rng.standard_normal(n_items), []
    for user in range(n_users):
        gaps = np.where(rng.random(each) < 0.1, 1e5, rng.exponential(60.0, each)).round()
        times = gaps.cumsum()
        covariance = VARIANCE * np.exp(-np.abs(times[:, None] - times) / TAU)
        s = np.linalg.cholesky(covariance + 1e-9 * np.eye(each)) @ rng.standard_normal(each)
        items = rng.permutation(n_items)[:each]
        value = 3 + 0.3 * rng.standard_normal() + bias[items] + s
        value += NOISE * rng.standard_normal(each)
        rows.append(
            pd.DataFrame({"user": user, "item": items, "rating": value, "timestamp": times})
        )
    return pd.concat(rows, ignore_index=True)


FRAME = planted()


def loaded(frame):
    columns = frame[["user", "item", "rating"]]
    return Dataset.load_from_df(columns, Reader(rating_scale=(-10, 10)))


TRAIN, TEST = train_test_split(loaded(FRAME), test_size=0.2, random_state=0)
SHUFFLED = FRAME.assign(timestamp=np.random.default_rng(1).permutation(FRAME["timestamp"]))


@pytest.fixture(scope="module")
def fitted():
    return LLMTokensBPMF(timestamps=FRAME, **SMALL).fit(TRAIN)


@pytest.fixture(scope="module")
def without():
    return LLMTokensBPMF(**SMALL).fit(TRAIN)


def test_a_planted_process_is_recovered(fitted):
    model = fitted.model_
    assert model.drift_variance * model.std**2 == pytest.approx(VARIANCE, rel=0.25)
    assert model.drift_tau == pytest.approx(TAU, rel=0.4)


def test_times_help_on_both_sides_and_what_is_shuffled_fades(fitted, without):
    known, none = (accuracy.rmse(algo.test(TEST), verbose=False) for algo in (fitted, without))
    shuffled = LLMTokensBPMF(timestamps=SHUFFLED, **SMALL).fit(TRAIN)
    assert known < none - 0.1
    assert accuracy.rmse(shuffled.test(TEST), verbose=False) == pytest.approx(none, abs=0.015)


def test_intervals_of_moments_cover_what_they_say(fitted):
    z = [abs(p.r_ui - p.est) / p.details["std"] for p in fitted.test(TEST)]
    assert np.mean(np.array(z) < 1.2816) == pytest.approx(0.8, abs=0.04)


def test_predictions_without_a_moment_have_no_such_term_and_a_wider_interval(fitted):
    uid, iid = 0, "never seen"
    usual = fitted.predict(uid, iid)
    assert usual.est == pytest.approx(fitted.predict(uid, iid, at=1e12).est, abs=1e-9)
    near = fitted.predict(uid, iid, at=float(FRAME["timestamp"][3]))
    far = fitted.predict(uid, iid, at=1e12)
    assert near.est != usual.est
    assert near.details["std"] < far.details["std"]


def test_the_states_are_those_of_the_dense_gaussian_process():
    rng = np.random.default_rng(0)
    times, e, precision = rng.random(9) * 50, rng.standard_normal(9), rng.gamma(2, 1, 9)
    user = np.repeat([0, 1], [5, 4])
    precision[2] = 0.0
    s = Sequence.of(user, times, 2)
    mean, spread = s.smoothed(e[s.at], precision[s.at], DriftScale(0.7, 11.0))
    same = user[:, None] == user
    prior = 0.7 * np.exp(-np.abs(times[:, None] - times) / 11.0) * same
    seen = precision > 0
    gain = prior[:, seen] @ np.linalg.inv(prior[np.ix_(seen, seen)] + np.diag(1 / precision[seen]))
    np.testing.assert_allclose(mean, (gain @ e[seen])[s.at])
    np.testing.assert_allclose(spread, np.diag(prior - gain @ prior[seen])[s.at])


def test_the_evidence_is_that_of_the_dense_gaussian_process():
    rng = np.random.default_rng(1)
    times, e, precision = rng.random(9) * 50, rng.standard_normal(9), rng.gamma(2, 1, 9)
    s = Sequence.of(np.zeros(9, int), times, 1)
    scales, out = np.array([[0.7, 0.3, 0.3], [11.0, 11.0, 2.0]]), np.empty((1, 3))
    kernels.evidence((0, 1), s.ptr, s.gap, e[s.at], precision[s.at], *scales, out)
    dense = []
    for variance, tau in scales.T:
        covariance = variance * np.exp(-np.abs(times[:, None] - times) / tau)
        covariance += np.diag(1 / precision)
        dense.append(-0.5 * (np.linalg.slogdet(covariance)[1] + e @ np.linalg.solve(covariance, e)))
    np.testing.assert_allclose(np.diff(out[0]), np.diff(dense))


def test_many_draws_have_the_exact_mean_and_variance():
    rng, n = np.random.default_rng(2), 20_000
    times, e, precision = np.array([0.0, 1.0, 1.0, 7.0]), rng.standard_normal(4), rng.gamma(2, 1, 4)
    s = Sequence.of(np.repeat(np.arange(n), 4), np.tile(times, n), n)
    out, mean, spread = (np.empty(4 * n) for _ in range(3))
    given = s.ptr, s.gap, np.tile(e, n), np.tile(precision, n), 0.7, 3.0
    kernels.sample((0, n), *given, rng.standard_normal(4 * n), out, mean, spread)
    drawn = out.reshape(n, 4)
    np.testing.assert_allclose(drawn.mean(0), mean[:4], atol=4.5 * np.sqrt(spread.max() / n))
    np.testing.assert_allclose(drawn.var(0), spread[:4], rtol=0.05)


def test_compiled_kernels_do_what_is_written():
    rng = np.random.default_rng(3)
    s = Sequence.of(np.repeat(np.arange(5), 6), rng.random(30) * 9, 5)
    e, precision, normals = rng.standard_normal(30), rng.gamma(2, 1, 30), rng.standard_normal(30)
    made = []
    for kernel in (kernels.sample, kernels.sample.py_func):
        made.append([np.empty(30) for _ in range(3)])
        kernel((0, 5), s.ptr, s.gap, e, precision, 0.5, 2.0, normals, *made[-1])
    np.testing.assert_allclose(*made)
    scales, out = np.array([[0.5, 0.7], [2.0, 2.0]]), [np.empty((5, 2)) for _ in range(2)]
    for kernel, place in zip((kernels.evidence, kernels.evidence.py_func), out, strict=True):
        kernel((0, 5), s.ptr, s.gap, e, precision, *scales, place)
    np.testing.assert_allclose(*out)


def test_any_number_of_threads_shards_and_workers_gives_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(shards, "_RATINGS", 1)
    many = pd.concat([FRAME.assign(user=FRAME["user"] + 200 * k) for k in range(8)])
    few = {"n_factors": 2, "n_samples": 4, "burn_in": 3, "random_state": 0}
    train, scale = loaded(many).build_full_trainset(), (-10, 10)
    whole = LLMTokensBPMF(timestamps=many, n_threads=1, **few).fit(train)
    again = LLMTokensBPMF(timestamps=many, n_threads=numba.config.NUMBA_NUM_THREADS, **few)
    assert_same(whole, again.fit(train))
    assert_same(whole, fit_bpmf(many, rating_scale=scale, **few))
    with workers(2) as client:
        assert_same(whole, fit_bpmf(many, client=client, rating_scale=scale, **few))


class StoppedError(Exception):
    pass


def test_a_fit_with_times_goes_on_from_its_checkpoint(monkeypatch, tmp_path):
    few = {"n_factors": 2, "n_samples": 6, "burn_in": 2, "random_state": 0}
    given = {"rating_scale": (-10, 10), "folder": tmp_path, "checkpoint_every": 3, **few}
    whole = fit_bpmf(FRAME, rating_scale=(-10, 10), **few)
    from llmtokens.algorithms.bpmf.sampler import Sampler

    sweep, swept = Sampler.sweep, []

    def limited(self):
        if len(swept) == 5:
            raise StoppedError
        swept.append(1)
        sweep(self)

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "sweep", limited)
        with pytest.raises(StoppedError):
            fit_bpmf(FRAME, **given)
    assert_same(whole, fit_bpmf(FRAME, **given))


def test_a_saved_model_knows_the_moments(fitted, tmp_path):
    fitted.save(tmp_path / "m.safetensors")
    again = llmtokens.load(tmp_path / "m.safetensors")
    assert again.test(TEST) == fitted.test(TEST)
    assert again.predict(0, "new", at=50).est == fitted.predict(0, "new", at=50).est
    assert again.fit(TRAIN).test(TEST) == fitted.test(TEST)


def test_what_is_folded_in_shifts_what_comes_next():
    algo = LLMTokensBPMF(timestamps=FRAME, **SMALL).fit(TRAIN)
    items = [TRAIN.to_raw_iid(k) for k in range(12)]
    now = 1e9
    algo.fold_in("new", dict.fromkeys(items[:6], 5.0), timestamps=[now - 1e8] * 6)
    before = algo.predict("new", items[11], at=now).est
    algo.fold_in("new", dict.fromkeys(items[6:10], 1.0), timestamps=[now - k for k in range(4)])
    soon, later = (algo.predict("new", items[11], at=at).est for at in (now + 10, now + 1e8))
    assert soon < later - 0.3 < before
    assert algo.recommend("new", 3, at=now)["est"].max() < algo.recommend("new", 3)["est"].max()


def test_estimates_of_lists_explanations_and_predictions_agree(fitted):
    uid, iid, _ = TEST[0]
    est = fitted.predict(uid, iid).est
    why = fitted.explain(uid, iid)
    assert why.est == est == fitted.recommend(uid, candidates=[iid])["est"].item()
    assert "moment" in why.terms
    assert sum(why.terms.values()) == pytest.approx(est)
    assert fitted.estimate(*(TRAIN.to_inner_uid(uid), TRAIN.to_inner_iid(iid))) == est


def test_ratings_without_a_time_have_no_such_term():
    some = FRAME.copy()
    some.loc[::3, "timestamp"] = np.nan
    with pytest.warns(LLMTokensWarning, match=r"no timestamp for \d+ of \d+ .* just then"):
        algo = LLMTokensBPMF(timestamps=some, **SMALL | {"n_samples": 10}).fit(TRAIN)
    assert np.isfinite([p.est for p in algo.test(TEST)]).all()


def test_what_is_no_time_is_refused(fitted, without):
    with pytest.raises(DataError, match="found at='soon'; expected a number, a date"):
        fitted.predict(0, 1, at="soon")
    with pytest.raises(DataError, match="fitted without timestamps"):
        without.predict(0, 1, at=5.0)
    with pytest.raises(DataError, match=r"no timestamp for (\d+) of \1 .* build timestamps"):
        LLMTokensBPMF(timestamps={("x", "y"): 1.0}, **SMALL).fit(TRAIN)
    with pytest.raises(DataError, match=r"timestamps=\.\.\. and a column timestamp"):
        fit_bpmf(FRAME, rating_scale=(-10, 10), timestamps=FRAME)
    assert fitted.predict(0, 1, at="now").est == pytest.approx(fitted.predict(0, 1, at=2e9).est)


def test_moments_in_digits_and_clocks_of_twelve_hours_are_read():
    assert seconds([20200101123000, 20191231010101]).tolist() == [1577881800.0, 1577754061.0]
    assert seconds(["12/31/2020 11:59 PM", "01/02/2020 1:00 AM"]).tolist() == [
        1609459140.0, 1577926800.0,
    ]  # fmt: skip


def test_months_in_digits_are_months():
    assert seconds([200912, 201001, 200912]).tolist() == [1259625600.0, 1262304000.0, 1259625600.0]
    assert seconds(["202001"]).tolist() == [1577836800.0]
    assert seconds([200913, 200999]).tolist() == [200913.0, 200999.0]  # no months


def test_days_as_spreadsheets_count_them_are_not_taken_in_silence():
    with pytest.warns(LLMTokensWarning, match=r"from 40161.25 to 45000 .*origin='1899-12-30'"):
        assert seconds([40161.25, 45000]).tolist() == [40161.25, 45000]


def test_days_of_arrow_are_days():
    pytest.importorskip("pyarrow")
    import datetime

    days = pd.Series([datetime.date(2020, 1, 1)], dtype="date32[pyarrow]")
    assert seconds(days).tolist() == [1577836800.0]


def test_a_time_of_thousands_of_digits_is_refused():
    with pytest.raises(DataError, match="found a time that is none"):
        seconds(pd.Series([10**5000, 1], dtype=object))
