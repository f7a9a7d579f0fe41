"""compare: the same folds for all, the same numbers for any way of running them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from surprise import SVD, BaselineOnly, Dataset, KNNBasic, NormalPredictor, Reader
from surprise.model_selection import KFold, PredefinedKFold, cross_validate

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensContent, LLMTokensEASE
from llmtokens.compare import Comparison, PeakMemory, compare, full_ranking
from llmtokens.compare.settings import digest
from llmtokens.compare.trial import Fold
from llmtokens.controls import UserMean, shuffled
from llmtokens.datasets import synthetic
from llmtokens.errors import DataError, LLMTokensWarning, StorageError
from llmtokens.metrics import group_gap, interval_coverage, ndcg_at_k, novelty, rank_all
from llmtokens.model_selection import TimeSplit

_ROOT = str(Path(llmtokens.__file__).parents[1])
COSTS = ["fit_time", "test_time", "peak_memory"]
run = partial(compare, progress=False)


@pytest.fixture(scope="module")
def data():
    return synthetic(n_users=60, n_items=90, n_ratings=1500)


def values(result):
    return result.table.drop(columns=COSTS)


class FailsOnce(BaselineOnly):
    """Fails where the trainset has a certain size, or lacks a certain user's first rating."""

    def __init__(self, bad_mean):
        super().__init__(verbose=False)
        self.bad_mean = bad_mean

    def fit(self, trainset):
        if trainset.global_mean == self.bad_mean:
            raise RuntimeError("no | luck <today>")
        return super().fit(trainset)


class Counted(BaselineOnly):
    """Notes every fit in a file."""

    def __init__(self, path, weight=1):
        super().__init__(verbose=False)
        self.path, self.weight = path, weight

    def fit(self, trainset):
        with open(self.path, "a") as file:
            file.write("x")
        return super().fit(trainset)


def test_values_are_those_of_cross_validate(data):
    cv = KFold(4, random_state=3)
    result = run({"base": BaselineOnly(verbose=False)}, data, {"warm": cv}, ["rmse", "mae", "fcp"])
    expected = cross_validate(
        BaselineOnly(verbose=False), data.dataset, ["rmse", "mae", "fcp"], KFold(4, random_state=3)
    )
    for name in ("rmse", "mae", "fcp"):
        found = result.table[result.table["measure"] == name]["value"]
        assert found.tolist() == expected[f"test_{name}"].tolist()


def test_results_do_not_depend_on_the_number_of_jobs_or_the_order(data):
    algorithms = {"svd": SVD(n_epochs=3), "chance": NormalPredictor(), "knn": KNNBasic()}
    splits = {"a": KFold(3, random_state=0), "b": KFold(2, random_state=1)}
    one = values(run(algorithms, data, splits))
    two = values(run(algorithms, data, splits, n_jobs=2))
    turned = {name: algorithms[name] for name in reversed(algorithms)}
    last = values(run(turned, data, splits))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    keys = ["split", "algorithm", "fold", "measure"]
    pd.testing.assert_frame_equal(
        one.sort_values(keys, ignore_index=True),
        last.sort_values(keys, ignore_index=True),
        check_exact=True,
    )


def test_neither_the_algorithms_nor_the_global_generator_are_touched(data):
    algorithm = SVD(n_epochs=2)
    before, state = dict(vars(algorithm)), np.random.get_state()[1].copy()
    run({"svd": algorithm}, data)
    assert vars(algorithm) == before
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_algorithm_that_fails_in_one_fold_stops_nobody(data, n_jobs):
    means = [trainset.global_mean for trainset, _ in KFold(3, random_state=0).split(data.dataset)]
    algorithms = {"good": BaselineOnly(verbose=False), "bad": FailsOnce(means[1])}
    result = run(algorithms, data, {"warm": KFold(3, random_state=0)}, n_jobs=n_jobs)
    bad = result.table[result.table["algorithm"] == "bad"]
    assert (bad["error"] != "").tolist() == [False] * 2 + [True] * 2 + [False] * 2
    assert bad["value"].isna().tolist() == (bad["error"] != "").tolist()
    good = result.table[result.table["algorithm"] == "good"]
    assert good["value"].notna().all()
    assert result.failures() == ["bad on split warm, fold 2: RuntimeError: no | luck <today>"]
    summary = result.summary().set_index(["algorithm", "measure"])
    assert summary.loc[("bad", "rmse"), ["folds", "failed"]].tolist() == [2, 1]
    difference = result.differences().set_index("measure").loc["rmse"]
    assert (difference["difference"], difference["folds"]) == (0, 2)
    for text in (str(result), result.to_markdown()):
        assert "failed" in text
    assert "no \\| luck &lt;today>" in result.to_markdown()


def test_a_measure_that_fails_leaves_the_others(data):
    def needs_std(predictions):
        return np.mean([p.details["std"] for p in predictions])

    result = run({"base": UserMean()}, data, measures=["rmse", needs_std])
    rows = result.table[result.table["measure"] == "needs_std"]
    assert rows["error"].eq("KeyError: 'std'").all()
    assert result.table[result.table["measure"] == "rmse"]["value"].notna().all()
    assert result.failures() == [
        "base on split warm, folds 1, 2, 3, 4, 5, needs_std: KeyError: 'std'"
    ]


def test_errors_that_differ_in_numbers_alone_are_one_line(data):
    def counts(predictions):
        raise ValueError(f"found {id(predictions)} of them")

    (line,) = run({"base": UserMean()}, data, measures=["rmse", counts]).failures()
    assert line.startswith("base on split warm, folds 1, 2, 3, 4, 5, counts: ValueError: found ")


def test_measures_get_what_they_ask_for_by_name(data):
    cv = KFold(2, random_state=0)
    measures = {
        "users": lambda predictions, algorithm: algorithm.trainset.n_users,
        "novelty": partial(novelty, k=5),
        "ndcg": full_ranking(ndcg_at_k, k=5),
        "rated": partial(ndcg_at_k, k=5),
    }
    result = run({"mean": BaselineOnly(verbose=False)}, data, {"warm": cv}, measures)
    found = result.table.pivot(index="fold", columns="measure", values="value")
    for fold, (trainset, testset) in enumerate(cv.split(data.dataset), start=1):
        algo = BaselineOnly(verbose=False).fit(trainset)
        predictions = algo.test(testset)
        assert found.loc[fold, "users"] == trainset.n_users
        assert found.loc[fold, "novelty"] == novelty(predictions, trainset, k=5)
        assert found.loc[fold, "ndcg"] == ndcg_at_k(rank_all(algo, testset), k=5)
        assert found.loc[fold, "rated"] == ndcg_at_k(predictions, k=5)
    assert "whole catalogue" in result.settings["measures"]["ndcg"]


# -- resuming --------------------------------------------------------------------------------------


def test_a_second_run_computes_only_what_is_new(data, tmp_path):
    log, folder = tmp_path / "log", tmp_path / "new" / "folder"
    once = run({"a": Counted(str(log))}, data, folder=folder)
    assert log.read_text() == "x" * 5
    again = run({"renamed": Counted(str(log))}, data, folder=folder)
    assert log.read_text() == "x" * 5
    assert again.table["value"].tolist() == once.table["value"].tolist()
    assert again.table[COSTS].equals(once.table[COSTS])
    run({"a": Counted(str(log)), "b": Counted(str(log), weight=2)}, data, folder=folder)
    assert log.read_text() == "x" * 10
    run({"a": Counted(str(log))}, data, measures=["fcp"], folder=folder)
    assert log.read_text() == "x" * 15
    run({"a": Counted(str(log))}, data, {"other": KFold(5, random_state=1)}, folder=folder)
    assert log.read_text() == "x" * 20


_MANY = """
import resource, sys
from surprise import BaselineOnly
from surprise.model_selection import KFold
from llmtokens.compare import compare
from llmtokens.datasets import synthetic

class Counted(BaselineOnly):
    n = 0

    def fit(self, trainset):
        Counted.n += 1
        return super().fit(trainset)

resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
data = synthetic(n_users=20, n_items=20, n_ratings=100)
compare({"a": Counted(verbose=False)}, data, {"s": KFold(50, random_state=0)}, folder=sys.argv[1],
        keep_predictions=True, progress=False)
print(Counted.n)
"""


def test_more_predictions_are_resumed_than_a_process_may_open_files(tmp_path):
    pytest.importorskip("resource")
    env = {**os.environ, "PYTHONPATH": _ROOT}
    fitted = [
        subprocess.run(
            [sys.executable, "-c", _MANY, tmp_path], env=env, check=True, capture_output=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert fitted == [b"50", b"0"]


def test_predictions_are_resumed_too_and_asked_for_later_they_are_computed(data, tmp_path):
    log = tmp_path / "log"
    algorithms = {"a": Counted(str(log))}
    run(algorithms, data, folder=tmp_path)
    first = run(algorithms, data, folder=tmp_path, keep_predictions=True)
    second = run(algorithms, data, folder=tmp_path, keep_predictions=True)
    assert log.read_text() == "x" * 10
    pd.testing.assert_frame_equal(first.predictions, second.predictions, check_exact=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"values": [1]}',
        b"[]",
        b'{"values": {"rmse": 1, "mae": 1}, "errors": 3}',
    ],
)
def test_a_damaged_result_is_computed_again(data, tmp_path, content):
    whole = run({"a": BaselineOnly()}, data, folder=tmp_path)
    victim = sorted(tmp_path.glob("*.json"))[0]
    good = json.loads(victim.read_bytes())
    victim.write_bytes(content)
    again = run({"a": BaselineOnly()}, data, folder=tmp_path)
    pd.testing.assert_frame_equal(values(whole), values(again), check_exact=True)
    assert json.loads(victim.read_bytes())["values"] == good["values"]


def test_failures_are_tried_again(data, tmp_path):
    log = tmp_path / "log"

    def broken(predictions):
        raise ArithmeticError

    for _ in range(2):
        run({"a": Counted(str(log))}, data, measures=[broken], folder=tmp_path / "kept")
    assert log.read_text() == "x" * 10


def test_a_measure_that_the_predictions_cannot_give_costs_no_second_fit(data, tmp_path):
    log = tmp_path / "log"
    measures = {"rmse": "rmse", "coverage": interval_coverage}
    first, again = (
        run({"a": Counted(str(log))}, data, measures=measures, folder=tmp_path / "kept")
        for _ in range(2)
    )
    assert log.read_text() == "x" * 5
    assert first.table["error"].str.contains("without details").tolist() == [False, True] * 5
    pd.testing.assert_frame_equal(first.table, again.table, check_exact=True)


def test_an_algorithm_that_fails_is_tried_again_whatever_its_error(data, tmp_path):
    log = tmp_path / "log"

    class Unfit(Counted):
        def fit(self, trainset):
            super().fit(trainset)
            raise DataError("not with these ratings")

    for _ in range(2):
        run({"a": Unfit(str(log))}, data, folder=tmp_path / "kept")
    assert log.read_text() == "x" * 10


def test_infinite_and_missing_values_survive_the_disk(data, tmp_path):
    measures = {"inf": lambda p: np.inf, "nan": lambda p: np.nan, "third": lambda p: 1 / 3}
    first = run({"a": BaselineOnly()}, data, measures=measures, folder=tmp_path)
    again = run({"a": BaselineOnly()}, data, measures=measures, folder=tmp_path)
    pd.testing.assert_frame_equal(first.table, again.table, check_exact=True)


_KILLS = int(os.environ.get("LLMTOKENS_KILLS", "10"))
_KILLED = """
import os, sys, time
from surprise import SVD
from surprise.model_selection import KFold
from llmtokens.compare import compare
from llmtokens.datasets import synthetic

class Slow(SVD):
    def fit(self, trainset):
        time.sleep(0.03)
        return super().fit(trainset)

algorithms = {f"k={k}": Slow(n_factors=k, n_epochs=2) for k in range(1, 13)}
data = synthetic(n_users=60, n_items=90, n_ratings=1500)

def work(jobs, out, folder):
    result = compare(algorithms, data, {"warm": KFold(5, random_state=0)}, n_jobs=jobs,
                     folder=folder or None, progress=False)
    table = result.table.drop(columns=["fit_time", "test_time", "peak_memory"])
    table.to_csv(out)

for line in sys.stdin:  # a process for each, with its own in its group, that need not import again
    jobs, out, folder = line.rstrip("\\n").split("|")
    victim = os.fork()
    if victim == 0:
        os.setsid()
        print(os.getpid(), flush=True)
        work(int(jobs), out, folder)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_run_killed_ten_times_ends_with_the_table_of_an_undisturbed_one(tmp_path, monkeypatch):
    folder, whole, resumed = (tmp_path / name for name in ("kept", "whole.csv", "resumed.csv"))
    monkeypatch.setenv("PYTHONPATH", _ROOT)
    moments = random.Random(0)
    running, kept = 0, []
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nursery:

        def started(jobs, out, folder=""):
            """The number of a process that compares."""
            print(jobs, out, folder, sep="|", file=nursery.stdin, flush=True)
            return int(nursery.stdout.readline())

        def status():
            return int(nursery.stdout.readline())

        started(1, whole)
        assert status() == 0
        for kill in range(_KILLS):
            before, deadline = _n_kept(folder), time.monotonic() + 600
            victim = started(1 + kill % 2, tmp_path / "killed.csv", folder)
            soon = moments.random() < 0.3  # perhaps before anything was kept
            while not soon and _n_kept(folder) == before < 60:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.1))
            with suppress(ProcessLookupError):  # it has ended already
                os.killpg(victim, signal.SIGKILL)
            ended = status()
            assert ended in (0, -signal.SIGKILL)
            running += ended != 0
            kept.append(_n_kept(folder))
            for path in folder.glob("*.json"):
                json.loads(path.read_text())  # whole, or not there
        started(1, resumed, folder)
        assert status() == 0
    assert running >= _KILLS / 2
    assert len(set(kept)) >= 4
    assert resumed.read_text() == whole.read_text()
    assert _n_kept(folder) == 60
    assert len(whole.read_text().splitlines()) > 120


def _n_kept(folder: Path) -> int:
    return len(list(folder.glob("*.json")))


class KilledOnce(BaselineOnly):
    """Has its process killed at a trainset of a certain mean, once so many results are kept."""

    def __init__(self, bad_mean, folder=None, n_kept=0):
        super().__init__(verbose=False)
        self.bad_mean, self.folder, self.n_kept = bad_mean, folder, n_kept

    def fit(self, trainset):
        if trainset.global_mean == self.bad_mean:
            while self.folder and len(list(self.folder.glob("*.json"))) < self.n_kept:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(trainset)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_worker_that_is_killed_loses_no_trial_that_was_done(data, tmp_path):
    cv = KFold(8, random_state=0)
    means = [trainset.global_mean for trainset, _ in cv.split(data.dataset)]

    def compared(bad, **given):
        algorithms = {"good": BaselineOnly(verbose=False), "bad": bad}
        return run(algorithms, data, {"warm": cv}, ["rmse"], n_jobs=2, **given)

    with pytest.warns(LLMTokensWarning, match=r"bad on split warm, fold 7.*give folder="):
        found = compared(KilledOnce(means[6]))
    assert len(found.table) == 16
    done = found.table[found.table["error"] == ""]
    assert len(done)
    alone = run({"good": BaselineOnly(verbose=False)}, data, {"warm": cv}, ["rmse"]).table
    good = done[done["algorithm"] == "good"]
    assert good["value"].tolist() == alone.set_index("fold")["value"][good["fold"]].tolist()
    lost = found.table[found.table["error"] != ""]
    assert lost["error"].str.contains("a worker was killed before this trial was done").all()
    assert ("bad", 7) in list(zip(lost["algorithm"], lost["fold"], strict=True))
    with pytest.warns(LLMTokensWarning, match="a worker was killed"):
        found = compared(KilledOnce(means[6], tmp_path, 8), folder=tmp_path)
    assert (found.table["error"] == "").sum() >= 8


def test_an_algorithm_of_ours_is_compiled_before_it_is_timed(data, monkeypatch):
    sizes = []

    class Noted(UserMean):
        def fit(self, trainset):
            sizes.append(trainset.n_ratings)
            return super().fit(trainset)

    run({"a": Noted()}, data, {"two": KFold(2, random_state=0)})
    assert len(sizes) == 3
    assert sizes[0] < 500
    assert sizes[1:] == [750, 750]


# -- the result --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(data):
    algorithms = {"chance": NormalPredictor(), "mean": UserMean(), "base": BaselineOnly()}
    splits = {"warm": KFold(5, random_state=0), "two": KFold(2, random_state=0)}
    return run(algorithms, data, splits, keep_predictions=True)


def test_plain_differences_are_the_paired_t_test(result):
    table = result.table[(result.table["split"] == "warm") & (result.table["measure"] == "rmse")]
    by_name = {name: rows["value"].to_numpy() for name, rows in table.groupby("algorithm")}
    found = result.differences("mean", corrected=False)
    found = found[(found["split"] == "warm") & (found["measure"] == "rmse")].set_index("algorithm")
    for name in ("chance", "base"):
        expected = stats.ttest_rel(by_name[name], by_name["mean"])
        interval = expected.confidence_interval(0.95)
        row = found.loc[name]
        assert row["p"] == pytest.approx(expected.pvalue)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_the_correction_widens_intervals_by_the_share_of_test_ratings(result):
    plain = result.differences(corrected=False)
    corrected = result.differences()
    widths = (corrected["high"] - corrected["low"]) / (plain["high"] - plain["low"])
    for split, n, overlap in [("warm", 5, 1 / 4), ("two", 2, 1)]:
        expected = np.sqrt((1 / n + overlap) / (1 / n))
        np.testing.assert_allclose(widths[plain["split"] == split], expected, rtol=1e-6)


def test_one_fold_has_a_difference_and_no_interval(data):
    class One(KFold):
        def split(self, data):
            yield next(super().split(data))

        def get_n_folds(self):
            return 1

    splits = {"one": One(4, random_state=0)}
    result = run({"a": UserMean(), "b": BaselineOnly()}, data, splits)
    row = result.differences().iloc[0]
    assert np.isfinite(row["difference"])
    assert np.isnan([row["low"], row["high"], row["p"]]).all()
    assert result.summary()["std"].isna().all()
    assert "-" in str(result)


def test_kept_predictions_say_how_much_was_known(data, result):
    rows = result.predictions
    assert len(rows) == 3 * 2 * len(data.ratings)
    fold = rows[(rows["split"] == "warm") & (rows["algorithm"] == "base") & (rows["fold"] == 2)]
    trainset, testset = list(KFold(5, random_state=0).split(data.dataset))[1]
    predictions = BaselineOnly(verbose=False).fit(trainset).test(testset)
    assert fold["est"].tolist() == [p.est for p in predictions]
    assert fold[["user", "item", "rating"]].to_numpy().tolist() == [
        list(p[:3]) for p in predictions
    ]
    raw = trainset._raw2inner_id_items
    known = [len(trainset.ir[raw[p.iid]]) if p.iid in raw else 0 for p in predictions]
    assert fold["n_item"].tolist() == known
    assert rows["std"].isna().all()


def test_text_and_csv_hold_the_same_values(result, tmp_path):
    assert "Evaluating RMSE of 3 algorithm(s) on split warm, 5 fold(s)." in str(result)
    first = result.table["value"][0]
    assert f"{first:.4f}" in str(result)
    assert f"| {first:.4f} |" in result.to_markdown()
    result.to_csv(tmp_path / "out.csv")
    back = pd.read_csv(tmp_path / "out.csv", keep_default_na=False, dtype={"value": str})
    assert [float(text) for text in back["value"]] == result.table["value"].tolist()
    assert (tmp_path / "out.csv").read_text() == result.to_csv()


def test_versions_and_settings_are_noted(result):
    assert result.settings["splits"]["warm"].startswith("KFold(n_splits=5")
    assert result.settings["data"]["ratings"] == "1,500"
    assert result.settings["measures"] == {
        "rmse": "surprise.accuracy.rmse", "mae": "surprise.accuracy.mae",
    }  # fmt: skip
    assert result.settings["versions"]["numpy"] == np.__version__
    assert int(result.settings["hardware"]["cores"]) >= 1


def test_the_settings_tell_real_tokens_from_shuffled_ones_and_say_how_they_were_made(data):
    encoder = HashingEncoder()
    tokens = LLMTokens.from_frame(data.items, "{title}", numeric=["year"], encoder=encoder)
    made = {"real": LLMTokensEASE(tokens), "shuffled": LLMTokensEASE(shuffled(tokens))}
    splits = {"warm": KFold(2, random_state=np.random.RandomState(0))}
    times = LLMTokensContent(tokens, timestamps=data.ratings, half_life=1e6)
    settings = run(made | {"times": times}, data, splits, [gap_by_half(data)]).settings
    shown = settings["algorithms"]
    assert shown["real"] != shown["shuffled"]
    for said in ("template=('{title}',)", encoder.revision, "columns=['title', 'year']", "digest="):
        assert said in shown["real"]
    for text in [*shown.values(), *settings["splits"].values(), *settings["measures"].values()]:
        assert "sim_options" not in text
        assert " at 0x" not in text
        assert "\n" not in text
    knn = KNNBasic(sim_options={"name": "cosine"})
    assert "'name': 'cosine'" in run({"knn": knn}, data).settings["algorithms"]["knn"]


def gap_by_half(data):
    groups = pd.Series("few", index=data.ratings["user"].unique())
    groups.iloc[::2] = "many"
    return full_ranking(group_gap, groups=groups, measure=ndcg_at_k)


def test_a_gap_between_groups_can_be_taken_over_the_whole_catalogue(data):
    splits = {"warm": KFold(2, random_state=0)}
    found = run({"mean": UserMean()}, data, splits, {"gap": gap_by_half(data)})
    assert found.failures() == []
    assert found.table["value"].between(0, 1).all()


@pytest.mark.parametrize("given", [pd.Series([1.0, 2.0]), pd.DataFrame({"a": [1]}), None, "high"])
def test_a_measure_that_gives_no_number_says_so(data, given):
    def table(predictions):
        return given

    (line,) = run({"a": BaselineOnly()}, data, measures=["rmse", table]).failures()
    assert f"DataError: the measure gave a {type(given).__name__}; expected one number" in line


# -- what it is made of ----------------------------------------------------------------------------


def test_measures_without_a_name_are_called_by_what_they_are_made_of(data):
    class Constant:
        def __call__(self, predictions):
            return 1.0

    groups = dict.fromkeys(range(61), "a")
    measures = [
        Constant(), partial(ndcg_at_k, k=3), full_ranking(ndcg_at_k, k=5, relevant=3.5),
        full_ranking(group_gap, groups=groups, measure=ndcg_at_k),
    ]  # fmt: skip
    assert run({"a": BaselineOnly()}, data, measures=measures).measures == [
        "Constant", "ndcg_at_k(k=3)", "ndcg_at_k(k=5, relevant=3.5)",
        "group_gap(measure=ndcg_at_k)",
    ]  # fmt: skip


def test_a_name_such_as_nan_stays_in_the_table_of_differences(data):
    algorithms = {"mean": UserMean(), "nan": BaselineOnly()}
    shown = run(algorithms, data, measures=["rmse"]).to_markdown()
    assert "| warm | nan | rmse | " in shown


def test_data_with_folds_of_their_own_are_compared_on_these(data, tmp_path):
    columns = data.ratings[["user", "item", "rating"]]
    columns[:1200].to_csv(tmp_path / "train", index=False, header=False)
    columns[1200:].to_csv(tmp_path / "test", index=False, header=False)
    reader = Reader(line_format="user item rating", sep=",", rating_scale=(0.5, 5))
    folds = Dataset.load_from_folds([(tmp_path / "train", tmp_path / "test")], reader)
    table = run({"a": BaselineOnly()}, folds, {"mine": PredefinedKFold()}).table
    assert set(table["n_train"]) == {1200}
    with pytest.raises(DataError, match=r"folds of their own; expected PredefinedKFold\(\)"):
        run({"a": BaselineOnly()}, folds)


def test_a_packed_fold_comes_back_as_it_was(data):
    trainset, testset = next(KFold(5, random_state=0).split(data.dataset))
    fold = Fold.pack(trainset, testset)
    back = fold.trainset()
    for name in ("ur", "ir", "_raw2inner_id_users", "_raw2inner_id_items"):
        assert list(getattr(back, name).items()) == list(getattr(trainset, name).items())
    assert (back.n_users, back.n_items, back.n_ratings) == (
        trainset.n_users, trainset.n_items, trainset.n_ratings,
    )  # fmt: skip
    assert back.rating_scale == trainset.rating_scale
    assert fold.testset() == testset
    assert fold.digest == Fold.pack(trainset, testset).digest
    assert fold.digest != Fold.pack(trainset, testset[::-1]).digest


def test_digests_tell_settings_apart_by_content():
    def adder(n):
        return lambda x: x + n

    rows = np.arange(6.0).reshape(3, 2)
    tokens = LLMTokens.from_embeddings("abc", rows)
    alike = LLMTokens.from_embeddings("abc", rows.copy())
    assert digest(SVD(), tokens, adder(1)) == digest(SVD(), alike, adder(1))
    distinct = [
        SVD(), SVD(n_factors=99), BaselineOnly(), SVD(random_state=1), SVD(random_state="1"),
        tokens, LLMTokens.from_embeddings("abd", rows),
        LLMTokens.from_embeddings("abc", rows[::-1]),
        adder(1), adder(2), partial(adder, 1), partial(adder, n=1), adder, 1, 1.0, True, "1", None,
        [1, [2]], [[1], 2], [1, 2], {1: 2}, {1, 2}, rows, rows.astype("float32"), rows.T.copy(),
        rows.ravel(), pd.Series([1, 2]), pd.Series([1, 2], name="x"), np.random.RandomState(1),
        np.random.RandomState(2), np.add, np.subtract, "".join, Path("a"), "a", SVD, BaselineOnly,
    ]  # fmt: skip
    assert len({digest(value) for value in distinct}) == len(distinct)


@pytest.mark.parametrize(
    ("program", "one", "other"),
    [
        ("f = lambda x: x > K", "K = 3", "K = 4"),
        ("f = lambda x: [y for y in x if y > K]", "K = 3", "K = 4"),
        ("f = lambda x: K(x)", "def K(x): return x", "def K(x): return -x"),
        ("f = lambda x: K(x)\ndef K(x): return x + L + M(x)\ndef M(x): return K(x)",
         "L = [1]", "L = [2]"),
        ("class f:\n def fit(self): return K", "K = {'a': 1}", "K = {'a': 2}"),
        ("class f:\n k = K", "K = 3", "K = 4"),
        ("class f:\n @property\n def k(self): return K", "K = 3", "K = 4"),
        ("class f:\n @staticmethod\n def k(): return K", "K = 3", "K = 4"),
        ("class f(K): pass", "class K: k = 3", "class K: k = 4"),
        ("import pandas\nf = pandas.Series([[K]])", "K = 3", "K = 4"),
    ],
)  # fmt: skip
def test_what_a_function_or_a_class_reads_from_its_module_is_part_of_it(program, one, other):
    def result(given):
        space = {"__name__": "a module"}
        exec(f"{given}\nunused = {given!r}\n{program}", space)
        return digest(space["f"])

    assert result(one) == result(one)
    assert result(one) != result(other)


def test_a_digest_is_quick_where_functions_call_each_other_in_many_ways():
    lines = [f"def f{k}(): return f{k + 1}() + f{k + 1}() + f{k + 2}()" for k in range(60)]
    space: dict[str, object] = {"f60": 0, "f61": 0}
    exec("\n".join(lines), space)
    assert len(digest(space["f0"])) == 32


LENGTH = 1


def test_a_measure_whose_length_changed_is_taken_anew(data, tmp_path, monkeypatch):
    measures = {"ndcg": lambda predictions: ndcg_at_k(predictions, LENGTH)}
    once = partial(run, {"a": BaselineOnly()}, data, None, measures, folder=tmp_path)
    first = values(once())
    monkeypatch.setattr(sys.modules[__name__], "LENGTH", 5)
    assert not values(once()).equals(first)


def test_digests_are_the_same_in_every_process():
    program = (
        "from surprise import SVD; from llmtokens.compare.settings import digest;"
        "f = lambda x: x in {'a', 'b', 'c', 'd'};"
        "print(digest(SVD(), f, {'x', 'y', 'z'}, {'k': 1, 'j': [2, (3,)]}))"
    )
    found = []
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": _ROOT}
        found.append(subprocess.check_output([sys.executable, "-c", program], env=env))
    assert found[0] == found[1]


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(DataError, match="leave out the folder"):
        digest(object())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_peak_memory_sees_what_was_allocated_and_freed():
    memory = PeakMemory()
    block = np.ones(12_000_000)
    del block
    assert 90 < memory.read() < 130
    assert PeakMemory().read() < 20


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"algorithms": {}}, "no algorithms"),
        ({"algorithms": {"a": SVD}}, r"add \( \)"),
        ({"splits": {"a": 5}}, "cv iterator"),
        ({"splits": {}}, "no splits"),
        ({"algorithms": [SVD()]}, "algorithms of type list; expected a mapping"),
        ({"algorithms": SVD()}, "algorithms of type SVD; expected a mapping"),
        ({"splits": KFold(2)}, "splits of type KFold; expected a mapping"),
        ({"n_jobs": 0}, "n_jobs=0; expected a number of workers"),
        ({"n_jobs": "2"}, "n_jobs='2'"),
        ({"measures": "rmse"}, "a list"),
        ({"measures": ["rsme"]}, "'rsme'.*rmse, mae"),
        ({"measures": []}, "no measures"),
        ({"measures": ["rmse", "rmse"]}, "twice"),
        ({"measures": {"a": 3}}, "name or a function"),
        ({"reference": "b"}, "expected one of 'a'"),
        ({"data": pd.DataFrame()}, "load_from_df"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_at_once(data, change, words):
    arguments = {"algorithms": {"a": BaselineOnly()}, "data": data} | change
    with pytest.raises(DataError, match=words):
        run(**arguments)


def test_a_fitted_algorithm_is_refused(data):
    algorithm = BaselineOnly(verbose=False).fit(data.dataset.build_full_trainset())
    with pytest.raises(DataError, match="fitted already"):
        run({"a": algorithm}, data)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_empty_fold_is_an_error_that_says_which(data, n_jobs):
    class Odd(KFold):
        def split(self, data):
            for fold, (trainset, testset) in enumerate(super().split(data)):
                yield trainset, [] if fold == 1 else testset

    with pytest.raises(DataError, match="split 'odd', fold 2: .* 0 to test"):
        run({"a": BaselineOnly()}, data, {"odd": Odd(3, random_state=0)}, n_jobs=n_jobs)


def test_a_split_that_cannot_be_made_is_named(data):
    bare = Dataset.load_from_df(data.ratings[["user", "item", "rating"]], Reader())
    splits = {"warm": KFold(2, random_state=0), "later": TimeSplit(2)}
    with pytest.raises(DataError, match="split 'later': .*no timestamp for 1500 of 1500"):
        run({"a": BaselineOnly(verbose=False)}, bare, splits)


def test_a_split_that_cannot_be_made_is_known_before_the_first_trial(data, tmp_path):
    bare = Dataset.load_from_df(data.ratings[["user", "item", "rating"]], Reader())
    splits = {"warm": KFold(2, random_state=0), "later": TimeSplit(2)}
    with pytest.raises(DataError, match="split 'later'"):
        run({"a": Counted(tmp_path / "fits")}, bare, splits)
    assert not (tmp_path / "fits").exists()


def test_a_folder_that_cannot_be_made_is_a_storage_error(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not make"):
        run({"a": BaselineOnly()}, data, folder=tmp_path / "file" / "folder")


def test_an_unknown_reference_or_confidence_is_refused(result):
    with pytest.raises(DataError, match="expected one of 'chance'"):
        result.differences("nobody")
    with pytest.raises(DataError, match="between 0 and 1"):
        result.differences(confidence=95)
    assert isinstance(result, Comparison)
    assert repr(result) == "Comparison(3 algorithms, 2 splits, 2 measures)"


@pytest.mark.parametrize("names", [("a\ud800", "s"), ("a", "s\ud800")])
def test_names_that_no_file_can_hold_are_refused_before_any_trial(names):
    with pytest.raises(DataError, match="holds half of a surrogate pair"):
        compare(
            {names[0]: BaselineOnly()},
            synthetic(30, 40, 300).dataset,
            {names[1]: KFold(2)},
            progress=False,
        )
