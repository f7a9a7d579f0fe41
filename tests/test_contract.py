"""What every algorithm must do, whatever its mathematics."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings

import joblib
import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make
from surprise import accuracy, dump
from surprise.model_selection import (
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_validate,
    train_test_split,
)

from llmtokens.errors import AlignmentError, DataError, LLMTokensWarning, NotFittedError

pytestmark = pytest.mark.parametrize("name", ALGORITHMS)

TRAIN, TEST = train_test_split(DATA.dataset, test_size=0.2, random_state=0)


def estimates(algo, testset=TEST):
    return np.array([p.est for p in algo.test(testset)])


# -- fitting


def test_the_constructor_only_stores(name):
    cls, parameters = ALGORITHMS[name]
    algo = cls(**parameters)
    for parameter in inspect.signature(cls).parameters:
        value = getattr(algo, parameter)
        if parameter in parameters:
            assert value is parameters[parameter]


def test_fit_returns_itself(name):
    algo = make(name)
    assert algo.fit(TRAIN) is algo


def test_same_seed_same_result(name):
    np.testing.assert_array_equal(
        estimates(make(name).fit(TRAIN)), estimates(make(name).fit(TRAIN))
    )


def test_a_second_fit_forgets_the_first(name):
    other, _ = train_test_split(DATA.dataset, test_size=0.6, random_state=5)
    algo = make(name).fit(other)
    algo.fit(TRAIN)
    np.testing.assert_array_equal(estimates(algo), estimates(make(name).fit(TRAIN)))


def test_fit_leaves_its_arguments_and_global_state_alone(name):
    ur, tokens = copy.deepcopy(dict(TRAIN.ur)), TOKENS.vectors.copy()
    np.random.seed(0)
    before, filters = np.random.get_state(), list(warnings.filters)
    make(name).fit(TRAIN).test(TEST)
    assert dict(TRAIN.ur) == ur
    np.testing.assert_array_equal(TOKENS.vectors, tokens)
    assert all(np.array_equal(a, b) for a, b in zip(before, np.random.get_state(), strict=True))
    assert list(warnings.filters) == filters


def test_a_failed_fit_leaves_the_fitted_object_as_it_was(name):
    algo = make(name).fit(TRAIN)
    before = estimates(algo)
    with pytest.raises(DataError):
        algo.fit(full([("a", 1, 3.0), ("b", 2, np.nan)]))
    np.testing.assert_array_equal(estimates(algo), before)


def test_more_threads_change_nothing(name):
    import numba

    one = make(name).fit(TRAIN)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        two = make(name).fit(TRAIN)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(estimates(one), estimates(two))


def test_the_scale_of_the_ratings_does_not_matter(name):
    ratings = DATA.ratings
    rows = list(zip(ratings["user"], ratings["item"], ratings["rating"], strict=True))
    low, high = DATA.rating_scale

    def mapped(to):
        rescale = (to[1] - to[0]) / (high - low)
        scaled = [(u, i, to[0] + (r - low) * rescale) for u, i, r in rows]
        fit = make(name).fit(full(scaled[::2], to))
        return accuracy.rmse(fit.test(scaled[1::2]), verbose=False) / rescale

    if make(name).item_tokens is None and name.startswith("LLMTokensSVD"):
        pytest.skip("without tokens it is Surprise's SVD, whose step size is tuned to 1..5")
    own = mapped(DATA.rating_scale)
    assert mapped((0.0, 1.0)) == pytest.approx(own, rel=0.01)
    assert mapped((-10.0, 10.0)) == pytest.approx(own, rel=0.01)


# -- predicting


def test_before_fit_there_is_a_clear_error(name):
    with pytest.raises(NotFittedError, match="call fit first"):
        make(name).predict("u", "i")


def test_test_and_predict_agree_to_the_last_bit(name):
    rows = [row[:3] for row in DATA.dataset.raw_ratings if row[1] % 4]  # some items are cold
    changes = {"max_dense": 1} if name == "LLMTokensEASE, no tokens" else {}
    algo = make(name, **changes).fit(full(rows, DATA.rating_scale))
    pairs = [(u, i, 3.0) for u in range(1, 41) for i in TOKENS.ids[u % 9 :: 9]]
    pairs += [("nobody", TOKENS.ids[0], None), ("nobody", "nothing", 1.0), (1, "nothing", None)]
    for together, pair in zip(algo.test(pairs), pairs, strict=True):
        assert algo.predict(*pair) == together


def test_estimate_takes_inner_ids_as_surprises_do(name, fitted):
    algo = fitted(name)
    for uid, iid, _ in TEST[:20]:
        u = algo.trainset.to_inner_uid(uid)
        try:
            i = algo.trainset.to_inner_iid(iid)
        except ValueError:
            i = f"UKN__{iid}"
        assert algo.estimate(u, i) == pytest.approx(
            algo.predict(uid, iid, clip=False).est, abs=1e-9
        )


def test_unknown_users_and_items_get_a_finite_estimate_inside_the_scale(name, fitted):
    low, high = DATA.rating_scale
    for uid, iid in [("nobody", TEST[0][1]), (TEST[0][0], "nothing"), ("nobody", "nothing")]:
        prediction = fitted(name).predict(uid, iid)
        assert low <= prediction.est <= high
        assert prediction.details["cold_user"] is (uid == "nobody")
        assert prediction.details["cold_item"] is (iid == "nothing")


def test_clipping_can_be_turned_off(name):
    ratings = [(u, i, 5.0 if u % 2 else 1.0) for u in range(20) for i in range(1, 20)]
    tokens = None if make(name).item_tokens is None else TOKENS
    algo = make(name, item_tokens=tokens, **_without_user_tokens(name)).fit(full(_known(ratings)))
    free = [algo.predict(u, i, clip=False).est for u, i, _ in _known(ratings)]
    bound = [algo.predict(u, i).est for u, i, _ in _known(ratings)]
    np.testing.assert_allclose(np.clip(free, 1, 5), bound)


def test_nothing_to_test_gives_nothing(name, fitted):
    assert fitted(name).test([]) == []


def test_it_predicts_its_own_training_ratings_better_than_the_mean(name, fitted):
    algo = fitted(name)
    seen = TRAIN.build_testset()
    mean = np.mean([r for _, _, r in seen])
    assert accuracy.rmse(algo.test(seen), verbose=False) < np.std([r - mean for _, _, r in seen])


# -- inside Surprise's tools


def test_cross_validate_gives_the_same_for_one_and_two_jobs(name):
    cv = KFold(3, random_state=1)
    one = cross_validate(make(name), DATA.dataset, cv=cv, n_jobs=1)
    two = cross_validate(make(name), DATA.dataset, cv=cv, n_jobs=2)
    np.testing.assert_array_equal(one["test_rmse"], two["test_rmse"])


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_the_searches_run_over_its_parameters(name, search):
    cls, parameters = ALGORITHMS[name]
    grid = {key: [value] for key, value in parameters.items()}
    if "random_state" in parameters:
        grid["random_state"] = [1, 2]
    more = {"n_iter": 1, "random_state": 0} if search is RandomizedSearchCV else {}
    found = search(cls, grid, measures=["rmse"], cv=KFold(2, random_state=0), **more)
    found.fit(DATA.dataset)
    assert np.isfinite(found.best_score["rmse"])
    assert found.best_params["rmse"].keys() == grid.keys()


def test_surprise_can_dump_it(name, fitted, tmp_path):
    algo = fitted(name)
    dump.dump(str(tmp_path / "dump"), algo=algo)
    _, loaded = dump.load(str(tmp_path / "dump"))
    np.testing.assert_array_equal(estimates(loaded), estimates(algo))


def test_it_survives_pickling_before_and_after_fit(name, fitted):
    fresh = pickle.loads(pickle.dumps(make(name)))
    np.testing.assert_array_equal(estimates(fresh.fit(TRAIN)), estimates(fitted(name)))
    np.testing.assert_array_equal(
        estimates(pickle.loads(pickle.dumps(fitted(name)))), estimates(fitted(name))
    )


def test_a_read_only_copy_in_another_process_works(name):
    one = joblib.Parallel(n_jobs=2, max_nbytes=1)(
        joblib.delayed(estimates)(algo) for algo in [make(name).fit(TRAIN)] * 2
    )
    np.testing.assert_array_equal(one[0], one[1])


# -- on the edge


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(1, 1, 4.0)], id="one rating"),
        pytest.param([(1, i, float(1 + i % 5)) for i in range(1, 30)], id="one user"),
        pytest.param([(u, 1, float(1 + u % 5)) for u in range(1, 30)], id="one item"),
        pytest.param([(u, i, 3.0) for u in range(1, 9) for i in range(1, 9)], id="one value"),
        pytest.param([(1, 1, 2.0), (1, 1, 4.0), (2, 1, 3.0)], id="a pair twice"),
        pytest.param(
            [(u, u, float(1 + u % 5)) for u in range(1, 30)], id="strangers to each other"
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::llmtokens.errors.LLMTokensWarning")
def test_data_on_the_edge_still_gives_finite_predictions(name, rows):
    rows = _known(rows)
    algo = make(name, **_without_user_tokens(name)).fit(full(rows))
    for uid, iid, _ in [*rows, ("nobody", "nothing", 0.0), (rows[0][0], "nothing", 0.0)]:
        assert 1 <= algo.predict(uid, iid).est <= 5


def test_ratings_outside_the_scale_are_learned_from_and_predictions_clipped(name):
    rows = _known([(u, i, 11.0) for u in range(1, 6) for i in range(1, 6)])
    algo = make(name, **_without_user_tokens(name))
    with pytest.warns(LLMTokensWarning, match="25 of 25 ratings are outside the rating scale"):
        algo.fit(full(rows))
    assert algo.predict(*rows[0][:2]).est == 5


def test_ids_of_another_type_raise_a_warning_that_says_so(name, fitted):
    uid, iid, _ = TEST[0]
    other = str(uid) if not isinstance(uid, str) else int(uid)
    with pytest.warns(LLMTokensWarning, match="use the trainset's type"):
        fitted(name).predict(other, iid)


def test_tokens_of_other_items_are_an_error_with_both_samples(name):
    algo = make(name)
    if algo.item_tokens is None:
        pytest.skip("has no tokens")
    with pytest.raises(AlignmentError, match=r"0 of 2 item ids.*'zzz'.*build the tokens"):
        algo.fit(full([(1, "zzz", 3.0), (2, "yyy", 4.0)]))


def test_tokens_for_few_items_are_a_warning(name):
    algo = make(name, **_without_user_tokens(name))
    if algo.item_tokens is None:
        pytest.skip("has no tokens")
    rows = [(1, f"new{i}", 3.0) for i in range(9)] + [(1, TOKENS.ids[0], 5.0)]
    with pytest.warns(LLMTokensWarning, match="only 1 of 10 item ids"):
        algo.fit(full(rows))


def test_something_that_is_no_table_of_tokens_is_refused(name):
    algo = make(name, item_tokens={"a": [1.0]})
    with pytest.raises(DataError, match="expected LLMTokens"):
        algo.fit(TRAIN)


def _known(rows):
    """The same rows with the k-th item of the tokens in place of item k."""
    return [(u, TOKENS.ids[i], r) for u, i, r in rows]


def _without_user_tokens(name):
    return {"user_tokens": None} if "user_tokens" in ALGORITHMS[name][1] else {}


def test_ratings_that_differ_by_rounding_alone_are_one_value(name):
    high = -1e30 * (1 - 7e-16)
    rows = _known([(1, 1, high), (1, 2, -1e30), (2, 1, -1e30)])
    algo = make(name, **_without_user_tokens(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LLMTokensWarning)
        algo.fit(full(rows, (-1e30, 1e30)))
    assert algo.predict(*rows[0][:2]).est == pytest.approx(-1e30, abs=0.11e30)
