"""What users of Surprise rely on: its tools and habits, with our algorithms in them.

tests/test_contract.py says what every algorithm of ours does; here stands what Surprise's own
algorithms do as well, read from the installed scikit-surprise.
"""

from __future__ import annotations

import inspect
import io
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, USER_TOKENS, dataset, make
from scipy import stats
from surprise import (
    SVD,
    Dataset,
    KNNBaseline,
    NormalPredictor,
    Prediction,
    Reader,
    accuracy,
    dump,
)
from surprise.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneOut,
    PredefinedKFold,
    RandomizedSearchCV,
    RepeatedKFold,
    ShuffleSplit,
    cross_validate,
    train_test_split,
)

from llmtokens import LLMTokensBPMF, LLMTokensContent, LLMTokensEASE, LLMTokensSVD
from llmtokens.errors import DataError, DivergenceError, LLMTokensWarning

TRAIN, TEST = train_test_split(DATA.dataset, test_size=0.2, random_state=0)
KNN = KNNBaseline(verbose=False).fit(TRAIN)
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
MEASURES = {name for name, of in inspect.getmembers(accuracy, inspect.isfunction)}

# Every constructor parameter, with two values that a search may meet.
GRIDS = {
    LLMTokensSVD: {
        "item_tokens": [TOKENS, None],
        "user_tokens": [USER_TOKENS, None],
        "n_factors": [3, 8],
        "n_epochs": [1, 3],
        "biased": [True, False],
        "init_mean": [0.0, 0.01],
        "init_std_dev": [0.05, 0.1],
        "anchor": [0.0, 1.0],
        "shuffle": [True, False],
        "dtype": ["float32", "float64"],
        "random_state": [0, 1],
        "verbose": [False, True],
        "timestamps": [None, DATA.ratings],
    }
    | {f"{kind}_{of}": [0.005, 0.02] for kind in ("lr", "reg")
       for of in ("all", "bu", "bi", "pu", "qi")},
    LLMTokensBPMF: {
        "item_tokens": [TOKENS, None],
        "user_tokens": [USER_TOKENS, None],
        "n_factors": [2, 4],
        "n_content": [0, 3],
        "n_samples": [3, 6],
        "burn_in": [1, 2],
        "random_state": [0, 1],
        "n_threads": [None, 1],
        "timestamps": [None, DATA.ratings],
        "verbose": [False, True],
    },
    LLMTokensEASE: {
        "item_tokens": [TOKENS, None],
        "l2": [None, 100.0],
        "token_weight": [None, 10.0],
        "implicit": [False, True],
        "max_dense": [1, 10_000],
        "timestamps": [None, DATA.ratings],
        "user_tokens": [USER_TOKENS, None],
    },
    LLMTokensContent: {
        "item_tokens": [TOKENS, TOKENS],
        "method": ["ridge", "cosine"],
        "user_tokens": [USER_TOKENS, None],
        "timestamps": [DATA.ratings, DATA.ratings],
        "half_life": [1e6, 1e7],
    },
}  # fmt: skip
TOGETHER = {
    "timestamps": {"half_life": [1e6]},
    "half_life": {"timestamps": [DATA.ratings]},
}
BASE = {
    LLMTokensSVD: {"item_tokens": [TOKENS], "n_factors": [3], "n_epochs": [2]},
    LLMTokensBPMF: {
        "item_tokens": [TOKENS], "n_factors": [2], "n_content": [2], "n_samples": [2],
        "burn_in": [1],
    },
    LLMTokensEASE: {"item_tokens": [TOKENS], "l2": [100.0]},
    LLMTokensContent: {"item_tokens": [TOKENS]},
}  # fmt: skip
PARAMETERS = [
    pytest.param(cls, parameter, id=f"{cls.__name__}-{parameter}")
    for cls, grid in GRIDS.items()
    for parameter in grid
]
SMALL = dataset(DATA.ratings[["user", "item", "rating"]].head(800), DATA.rating_scale)


# -- predictions


@every_algorithm
def test_a_prediction_is_surprises_own_with_the_raw_ids_it_was_asked_for(name, fitted):
    uid, iid, rating = TEST[0]
    found = fitted(name).predict(uid, iid, r_ui=rating)
    assert type(found) is Prediction
    assert found._fields == ("uid", "iid", "r_ui", "est", "details")
    assert (found.uid, found.iid, found.r_ui) == (uid, iid, rating)
    assert type(found.est) is float
    assert fitted(name).predict(uid, iid).r_ui is None
    assert str(found).startswith(f"user: {uid:<10} item: {iid:<10} r_ui = {rating:1.2f}   est = ")


@every_algorithm
def test_details_have_surprises_keys(name, fitted):
    pairs = [TEST[0], ("nobody", TEST[0][1], None), ("nobody", "nothing", None)]
    for found in fitted(name).test(pairs):
        assert type(found.details["was_impossible"]) is bool
        assert ("reason" in found.details) is found.details["was_impossible"]
        if found.details["was_impossible"]:
            assert type(found.details["reason"]) is str
            assert found.est == fitted(name).default_prediction()


def test_the_unbiased_svd_says_impossible_where_surprises_does():
    ours = make("LLMTokensSVD, no tokens", biased=False).fit(TRAIN)
    theirs = SVD(biased=False, n_factors=8, n_epochs=5, random_state=7).fit(TRAIN)
    uid, iid, _ = TEST[0]
    for pair in [("nobody", "nothing"), ("nobody", iid), (uid, "nothing"), (uid, iid)]:
        mine, own = ours.predict(*pair), theirs.predict(*pair)
        assert mine.details["was_impossible"] is own.details["was_impossible"]
        if mine.details["was_impossible"]:
            assert mine.est == own.est
            assert mine.details["reason"] == own.details["reason"]


@every_algorithm
def test_the_default_prediction_is_the_mean_of_the_training_ratings(name, fitted):
    assert fitted(name).default_prediction() == pytest.approx(TRAIN.global_mean, rel=1e-12)
    assert NormalPredictor().fit(TRAIN).default_prediction() == TRAIN.global_mean


@every_algorithm
def test_verbose_prints_the_predictions(name, fitted, capsys):
    made = fitted(name).test(TEST[:3], verbose=True)
    assert capsys.readouterr().out.splitlines() == [str(prediction) for prediction in made]
    one = fitted(name).predict(*TEST[0][:2], verbose=True)
    assert capsys.readouterr().out == f"{one}\n"
    fitted(name).test(TEST[:3])
    assert capsys.readouterr().out == ""


def test_verbose_fits_print_epochs_as_surprise_does(capsys):
    SVD(n_epochs=3, verbose=True).fit(TRAIN)
    theirs = capsys.readouterr().out
    LLMTokensSVD(n_epochs=3, verbose=True).fit(TRAIN)
    assert capsys.readouterr().out == theirs
    make("LLMTokensBPMF", verbose=True).fit(TRAIN)
    assert capsys.readouterr().out.count("Processing sweep ") == 20


@every_algorithm
def test_what_estimate_gives_is_what_predict_gives_unclipped(name, fitted):
    algo = fitted(name)
    for found in algo.test(TRAIN.build_testset()[:40]):
        free = algo.predict(found.uid, found.iid, clip=False).est
        low, high = TRAIN.rating_scale
        assert min(high, max(low, free)) == pytest.approx(found.est, abs=1e-9)
        inner = algo.trainset.to_inner_uid(found.uid), algo.trainset.to_inner_iid(found.iid)
        assert algo.estimate(*inner) == pytest.approx(free, abs=1e-9)


# -- test sets


@every_algorithm
def test_the_trainsets_own_testset_comes_back_in_its_order(name, fitted):
    asked = TRAIN.build_testset()
    found = fitted(name).test(asked)
    assert [prediction[:3] for prediction in found] == asked
    assert accuracy.rmse(found, verbose=False) < accuracy.rmse(
        NormalPredictor().fit(TRAIN).test(asked), verbose=False
    )


@every_algorithm
def test_the_anti_testset_is_all_that_was_not_rated(name, fitted):
    asked = TRAIN.build_anti_testset()
    found = fitted(name).test(asked)
    assert len(found) == TRAIN.n_users * TRAIN.n_items - TRAIN.n_ratings
    assert {prediction.r_ui for prediction in found} == {TRAIN.global_mean}
    assert not any(p.details["cold_user"] or p.details["cold_item"] for p in found)
    low, high = TRAIN.rating_scale
    assert all(low <= prediction.est <= high for prediction in found)


@every_algorithm
def test_a_testset_may_be_any_iterable(name, fitted):
    assert fitted(name).test(iter(TEST[:5])) == fitted(name).test(TEST[:5])
    assert fitted(name).test(tuple(map(list, TEST[:5]))) == fitted(name).test(TEST[:5])


# -- fitting


@every_algorithm
def test_refitting_on_another_trainset_forgets_its_users_and_scale(name):
    other = dataset(
        [(f"u{u}", TOKENS.ids[i], float((u * i) % 3)) for u in range(12) for i in range(9)], (0, 2)
    ).build_full_trainset()
    changes = {"user_tokens": None} if "user_tokens" in ALGORITHMS[name][1] else {}
    algo = make(name, **changes).fit(TRAIN)
    assert algo.trainset is TRAIN
    algo.fit(other)
    assert algo.trainset is other
    assert algo.predict(TEST[0][0], TOKENS.ids[0]).details["cold_user"]
    assert 0 <= algo.predict("u1", TOKENS.ids[0]).est <= 2
    assert algo.test(other.build_testset()) == make(name, **changes).fit(other).test(
        other.build_testset()
    )


@every_algorithm
@pytest.mark.parametrize("scale", [(0, 1), (-10, 10), (-5, -1), (0, 100)], ids=str)
def test_zero_and_negative_scales_are_learned(name, scale):
    low, high = scale
    own_low, own_high = DATA.rating_scale
    rows = DATA.ratings[["user", "item", "rating"]].copy()
    rows["rating"] = low + (rows["rating"] - own_low) * (high - low) / (own_high - own_low)
    trainset, testset = train_test_split(dataset(rows, scale), test_size=0.2, random_state=0)
    found = make(name).fit(trainset).test(testset)
    assert all(low <= prediction.est <= high for prediction in found)
    spread = np.std([rating for _, _, rating in testset])
    if not (name == "LLMTokensSVD, no tokens" and scale == (0, 100)):  # SVD's own step diverges
        assert accuracy.rmse(found, verbose=False) < 1.05 * spread


@every_algorithm
def test_baselines_are_computed_as_surprise_computes_them(name, fitted):
    """``bu`` and ``bi`` of factor models are their own, as SVD's are; the rest have baselines."""
    algo = make(name).fit(TRAIN)
    reference = KNN.compute_baselines()
    with redirect_stdout(io.StringIO()):
        found = algo.compute_baselines()
    if isinstance(algo, LLMTokensSVD | LLMTokensBPMF):
        np.testing.assert_array_equal(found[0], algo.bu)
        np.testing.assert_array_equal(found[1], algo.bi)
        assert (found[0].shape, found[1].shape) == ((TRAIN.n_users,), (TRAIN.n_items,))
    else:
        np.testing.assert_array_equal(found[0], reference[0])
        np.testing.assert_array_equal(found[1], reference[1])
    assert algo.test(TEST[:5]) == fitted(name).test(TEST[:5])


@every_algorithm
def test_neighbours_need_similarities_first_as_in_surprises_factor_models(name):
    for algo in (SVD(n_epochs=1).fit(TRAIN), make(name).fit(TRAIN)):
        with pytest.raises(AttributeError, match="no attribute 'sim'"):
            algo.get_neighbors(0, k=3)
        with redirect_stdout(io.StringIO()):
            algo.sim = algo.compute_similarities()
        assert algo.get_neighbors(0, k=3) == KNN.get_neighbors(0, k=3)


# -- measures


@every_algorithm
def test_all_measures_take_our_predictions(name, fitted):
    found = fitted(name).test(TEST)
    error = np.array([p.r_ui - p.est for p in found])
    assert accuracy.mse(found, verbose=False) == pytest.approx(np.mean(error**2))
    assert accuracy.rmse(found, verbose=False) == pytest.approx(np.mean(error**2) ** 0.5)
    assert accuracy.mae(found, verbose=False) == pytest.approx(np.mean(np.abs(error)))
    assert 0.5 < accuracy.fcp(found, verbose=False) <= 1


def test_no_measure_of_surprise_is_left_out():
    assert {"rmse", "mse", "mae", "fcp"} == MEASURES


# -- cross-validation


@every_algorithm
def test_cross_validate_gives_every_measure_on_both_sides(name, capsys):
    found = cross_validate(
        make(name), SMALL, measures=["RMSE", *sorted(MEASURES - {"rmse"})],
        cv=KFold(2, random_state=0), return_train_measures=True, verbose=True,
    )  # fmt: skip
    assert found.keys() == {f"{side}_{m}" for side in ("test", "train") for m in MEASURES} | {
        "fit_time", "test_time"
    }  # fmt: skip
    assert all(np.isfinite(values).all() for values in found.values())
    printed = capsys.readouterr().out
    assert f"of algorithm {type(make(name)).__name__} on 2 split(s)" in printed
    assert "FCP (trainset)" in printed


@pytest.mark.parametrize(
    "cv",
    [
        KFold(3, shuffle=False),
        RepeatedKFold(2, n_repeats=2, random_state=0),
        ShuffleSplit(2, test_size=0.3, random_state=0),
        LeaveOneOut(2, random_state=0, min_n_ratings=2),
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_every_iterator_of_surprise_works(cv):
    algo = make("LLMTokensSVD")
    found = cross_validate(algo, SMALL, measures=["rmse"], cv=cv)["test_rmse"]
    assert len(found) == cv.get_n_folds()
    again = [
        accuracy.rmse(make("LLMTokensSVD").fit(train).test(test), verbose=False)
        for train, test in cv.split(SMALL)
    ]
    np.testing.assert_array_equal(found, again)


@every_algorithm
def test_folds_from_files_carry_ids_as_text(name, tmp_path):
    rows = DATA.ratings[["user", "item", "rating"]].head(1000)
    folds = []
    for k in range(2):
        files = [str(tmp_path / f"fold{k}.{side}") for side in ("train", "test")]
        for path, part in zip(files, (rows[k::2], rows[1 - k :: 2]), strict=True):
            part.to_csv(path, sep="\t", header=False, index=False)
        folds.append(tuple(files))
    reader = Reader(line_format="user item rating", sep="\t", rating_scale=DATA.rating_scale)
    found = cross_validate(
        make(name), Dataset.load_from_folds(folds, reader), measures=["rmse"], cv=PredefinedKFold()
    )
    frames = [
        accuracy.rmse(
            make(name)
            .fit(dataset(rows[k::2], DATA.rating_scale).build_full_trainset())
            .test([tuple(row) for row in rows[1 - k :: 2].itertuples(index=False)]),
            verbose=False,
        )
        for k in range(2)
    ]
    np.testing.assert_allclose(found["test_rmse"], frames, rtol=1e-6)


# -- searches


def test_the_searches_below_miss_no_parameter():
    assert GRIDS.keys() == {cls for cls, _ in ALGORITHMS.values()}
    for cls, grid in GRIDS.items():
        assert grid.keys() == inspect.signature(cls).parameters.keys()


@pytest.mark.parametrize(("cls", "parameter"), PARAMETERS)
def test_a_grid_search_runs_over_the_parameter(cls, parameter, capsys):
    values = GRIDS[cls][parameter]
    known = inspect.signature(cls).parameters
    together = {k: v for k, v in TOGETHER.get(parameter, {}).items() if k in known}
    search = GridSearchCV(
        cls, BASE[cls] | together | {parameter: values},
        measures=["rmse", "fcp"], cv=KFold(2, random_state=0), refit=True,
        return_train_measures=True,
    )  # fmt: skip
    search.fit(SMALL)
    assert search.cv_results[f"param_{parameter}"] == values
    assert np.isfinite(search.cv_results["mean_test_rmse"]).all()
    assert np.isfinite(search.cv_results["mean_train_fcp"]).all()
    assert any(search.best_params["rmse"][parameter] is value for value in values)
    best = search.best_estimator["rmse"]
    assert isinstance(best, cls)
    assert getattr(best, parameter) is search.best_params["rmse"][parameter]
    uid, iid, _ = TEST[0]
    assert search.predict(uid, iid).est == best.predict(uid, iid).est
    assert search.test(TEST[:3]) == best.test(TEST[:3])


@pytest.mark.parametrize("cls", GRIDS, ids=lambda cls: cls.__name__)
def test_a_random_search_draws_all_parameters_at_once(cls, capsys):
    drawn = dict(GRIDS[cls])
    for parameter, distribution in {
        "n_factors": stats.randint(2, 6),
        "lr_all": stats.loguniform(1e-4, 1e-2),
        "reg_all": stats.uniform(0, 0.1),
        "n_samples": stats.randint(2, 5),
        "l2": stats.loguniform(10, 1000),
    }.items():
        if parameter in drawn:
            drawn[parameter] = distribution
    search = RandomizedSearchCV(
        cls, drawn, n_iter=6, measures=["rmse"], cv=KFold(2, random_state=0), random_state=0
    )
    search.fit(SMALL)
    assert len(search.cv_results["params"]) == 6
    assert np.isfinite(search.cv_results["mean_test_rmse"]).all()
    assert sorted(search.cv_results["rank_test_rmse"]) == [1, 2, 3, 4, 5, 6]


def test_the_results_of_a_search_make_a_frame():
    grid = BASE[LLMTokensSVD] | {"anchor": [0.0, 1.0]}
    search = GridSearchCV(LLMTokensSVD, grid, measures=["rmse"], cv=KFold(2, random_state=0))
    search.fit(SMALL)
    frame = pd.DataFrame.from_dict(search.cv_results)
    assert list(frame["param_anchor"]) == [0.0, 1.0]
    assert "LLMTokens(90 ids" in str(frame["params"][0])


# -- files


@every_algorithm
def test_dump_keeps_predictions_and_algorithm_together(name, fitted, tmp_path):
    path = str(tmp_path / "dump")
    made = fitted(name).test(TEST)
    dump.dump(path, predictions=made, algo=fitted(name))
    predictions, algo = dump.load(path)
    assert predictions == made
    assert type(algo) is type(fitted(name))
    assert algo.test(TEST) == made
    assert algo.trainset.n_ratings == TRAIN.n_ratings
    assert algo.fit(TRAIN).test(TEST) == made


# -- side by side with Surprise's own


def test_ours_and_surprises_take_the_same_calls(fitted):
    ours, theirs = fitted("LLMTokensSVD"), SVD()
    for method in ("fit", "predict", "test", "default_prediction", "compute_baselines"):
        own = inspect.signature(getattr(theirs, method)).parameters
        mine_too = list(inspect.signature(getattr(ours, method)).parameters)
        assert mine_too[: len(own)] == list(own)
        assert mine_too[len(own) :] in ([], ["at"])
        for key, parameter in own.items():
            mine = inspect.signature(getattr(ours, method)).parameters[key]
            assert mine.default == parameter.default
    svd = inspect.signature(SVD).parameters
    mine = inspect.signature(LLMTokensSVD).parameters
    assert {key: mine[key].default for key in svd} == {key: p.default for key, p in svd.items()}


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_a_search_goes_on_where_one_point_diverges(search):
    grid = {"lr_all": [5.0, 0.005], "n_factors": [4], "random_state": [0]}
    more = {} if search is GridSearchCV else {"n_iter": 2, "random_state": 0}
    found = search(LLMTokensSVD, grid, measures=["rmse"], cv=KFold(2, random_state=0), **more)
    with pytest.warns(LLMTokensWarning, match="diverged.*predicts the mean of its ratings"):
        found.fit(DATA.dataset)
    assert found.best_params["rmse"]["lr_all"] == 0.005
    errors = dict(
        zip(
            [point["lr_all"] for point in found.cv_results["params"]],
            found.cv_results["mean_test_rmse"],
            strict=True,
        )
    )
    assert errors[5.0] == pytest.approx(np.std(DATA.ratings["rating"]), abs=0.05)


def test_a_fit_by_itself_that_diverges_is_an_error_and_changes_nothing():
    algo = LLMTokensSVD(n_factors=4, random_state=0).fit(TRAIN)
    model, algo.lr_all = algo.model_, 5.0
    with pytest.raises(DivergenceError, match="lower the learning rates"):
        algo.fit(TRAIN)
    assert algo.model_ is model


@pytest.mark.parametrize("n_factors", [10**10, 10**18, 10**30])
def test_parameters_that_no_memory_holds_are_refused_in_words(n_factors):
    for cls in (LLMTokensSVD, LLMTokensBPMF):
        with pytest.raises(DataError, match=r"more memory than there is.*lower the parameters"):
            cls(n_factors=n_factors).fit(TRAIN)
