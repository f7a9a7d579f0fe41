"""One code on one core, on several processes and on Dask: the same bits, nothing sent twice."""

from __future__ import annotations

import copyreg
import os
import pickle
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, TOKENS, make
from surprise import NormalPredictor
from surprise.model_selection import GridSearchCV, KFold, cross_validate

import llmtokens
from llmtokens import LLMTokens, LLMTokensSVD, SentenceEncoder
from llmtokens.compare import compare
from llmtokens.encode import models
from llmtokens.errors import DataError, ModelNotFoundError
from llmtokens.runtime.threads import Shared, one_blas_thread

COSTS = ["fit_time", "test_time", "peak_memory"]
BACKENDS = ["sequential", "loky", "threading", "dask"]
FOLDS = KFold(3, random_state=0)
run = partial(compare, progress=False)


@pytest.fixture(scope="module")
def cluster():
    """Two Dask workers of one thread each, in processes of their own."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as made, distributed.Client(made) as client:
        path = str(Path(__file__).parent)
        client.run(lambda: sys.path.append(path))
        yield client


@pytest.fixture
def backend(request):
    """Whatever a user would wrap around the code to move it."""
    if request.param == "dask":
        request.getfixturevalue("cluster")
    if request.param == "sequential":
        return nullcontext()
    return joblib.parallel_config(request.param, n_jobs=2)


everywhere = pytest.mark.parametrize("backend", BACKENDS, indirect=True)


class Noted(LLMTokensSVD):
    """Counts how often it is sent (or copied)."""

    sent = 0

    def __reduce__(self):
        type(self).sent += 1
        return super().__reduce__()


# -- the same bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LLMTokensSVD", "LLMTokensBPMF, users", "LLMTokensEASE"])
@pytest.mark.parametrize("backend", ["loky", "dask"], indirect=True)  # threads would share one algo
def test_cross_validate_gives_the_same_bits(name, backend):
    expected = cross_validate(make(name), DATA.dataset, cv=FOLDS)
    with backend:
        found = cross_validate(make(name), DATA.dataset, cv=FOLDS, n_jobs=2)
    for measure in ("test_rmse", "test_mae"):
        assert found[measure].tolist() == expected[measure].tolist()


@everywhere
def test_a_grid_search_gives_the_same_bits(backend):
    grid = {"n_factors": [4, 8], "n_epochs": [3], "item_tokens": [TOKENS], "random_state": [0]}
    results = []
    for around, n_jobs in ((nullcontext(), 1), (backend, 2)):
        with around:
            search = GridSearchCV(LLMTokensSVD, grid, ["rmse"], FOLDS, n_jobs=n_jobs)
            search.fit(DATA.dataset)
        results.append([search.cv_results[f"split{k}_test_rmse"].tolist() for k in range(3)])
    assert results[0] == results[1]


@everywhere
def test_compare_gives_the_same_bits(backend):
    names = ["LLMTokensSVD", "LLMTokensBPMF", "LLMTokensContent"]
    algorithms = {name: make(name) for name in names} | {"chance": NormalPredictor()}
    measures = {"rmse": "rmse", "users": lambda predictions: len({p.uid for p in predictions})}
    expected = run(algorithms, DATA, {"a": FOLDS}, measures, n_jobs=1, keep_predictions=True)
    with backend:
        found = run(algorithms, DATA, {"a": FOLDS}, measures, keep_predictions=True)
    for one, other in (
        (found.table.drop(columns=COSTS), expected.table.drop(columns=COSTS)),
        (found.predictions, expected.predictions),
    ):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("name", ["LLMTokensSVD, users", "LLMTokensBPMF", "LLMTokensEASE"])
@everywhere
def test_recommend_all_gives_the_same_bits(name, backend, fitted, monkeypatch):
    from llmtokens.recommend import ranking

    algo = fitted(name)
    monkeypatch.setattr(ranking, "CELLS", 7 * algo.items_.n_rows)
    expected = algo.recommend_all(n=4, diversity=0.2)
    with backend:
        found = algo.recommend_all(n=4, diversity=0.2)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert algo.trainset is TRAIN


TRAIN = DATA.dataset.build_full_trainset()


# -- sent once -------------------------------------------------------------------------------------


class Big(LLMTokensSVD):
    """Tokens in a file on disk say so."""

    def fit(self, trainset):
        self.mapped = isinstance(self.item_tokens.vectors, np.memmap)
        return super().fit(trainset)


def mapped(predictions, algorithm):
    return algorithm.mapped


def test_processes_share_the_arrays_of_tokens_through_a_file():
    rng = np.random.default_rng(0)
    ids = [*DATA.items["item"], *range(10_000, 14_000)]
    tokens = LLMTokens.from_embeddings(ids, rng.normal(size=(len(ids), 80)))
    algorithms = {"a": Big(tokens, n_epochs=1), "b": Big(tokens, n_epochs=2)}
    found = run(algorithms, DATA, {"a": FOLDS}, [mapped], n_jobs=2)
    assert (found.table["value"] == 1).all()


def test_dask_is_sent_the_algorithms_once_whatever_the_number_of_trials(cluster):
    Noted.sent = 0
    algorithms = {"a": Noted(TOKENS, n_epochs=1), "b": Noted(TOKENS, n_epochs=2)}
    with joblib.parallel_config("dask"):
        run(algorithms, DATA, {"a": KFold(6, random_state=0)})
    assert Noted.sent == 2


def test_a_grid_search_on_dask_sends_tokens_on_the_workers_by_name(cluster, monkeypatch):
    from llmtokens.distributed import on_workers

    sent = []
    monkeypatch.setattr(
        LLMTokens, "__getstate__", lambda tokens: sent.append(1) or dict(tokens.__dict__)
    )
    there = on_workers(TOKENS, cluster)
    placing = len(sent)
    assert placing >= 1
    grid = {"n_factors": [4, 8], "n_epochs": [2], "random_state": [0]}
    results = []
    for tokens, n_jobs in ((TOKENS, 1), (there, 2)):
        with joblib.parallel_config("dask") if n_jobs == 2 else nullcontext():
            search = GridSearchCV(
                LLMTokensSVD, grid | {"item_tokens": [tokens]}, ["rmse"], FOLDS, n_jobs=n_jobs
            )
            search.fit(DATA.dataset)
        results.append([search.cv_results[f"split{k}_test_rmse"].tolist() for k in range(3)])
    assert results[0] == results[1]
    assert len(sent) == placing
    assert len(pickle.dumps(LLMTokensSVD(there))) < 2_000
    assert pickle.loads(pickle.dumps(there)).ids == TOKENS.ids


def test_tokens_on_workers_are_known_there_alone(cluster, tmp_path):
    from llmtokens.controls import shuffled
    from llmtokens.distributed import on_workers

    there = on_workers(TOKENS, cluster)
    other = pickle.loads(pickle.dumps(shuffled(there)))
    assert other.ids == TOKENS.ids
    (tmp_path / "tokens").write_bytes(pickle.dumps(there))
    code = "import pickle, sys; print(len(pickle.load(open(sys.argv[1], 'rb'))))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tokens")],
        env={**os.environ, "PYTHONPATH": str(Path(llmtokens.__file__).parents[1])},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode
    assert "send it the tokens that on_workers was given" in done.stderr
    with pytest.raises(DataError, match="expected a distributed.Client"):
        on_workers(TOKENS, "tcp://scheduler:8786")


def test_tokens_from_the_workers_of_one_cluster_may_go_to_those_of_another(cluster):
    from distributed import Client

    from llmtokens.distributed import on_workers

    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    with Client(**options, set_as_default=False) as other:
        there = on_workers(on_workers(TOKENS, other), cluster)
    assert len(pickle.dumps(there)) < 200
    assert cluster.submit(lambda tokens: tokens.ids, there).result() == TOKENS.ids


def test_dask_is_sent_a_model_once_whatever_the_number_of_users(cluster, monkeypatch):
    from llmtokens.recommend import ranking

    sent = []

    def noted(model):
        sent.append(model)
        return copyreg.__newobj__, (type(model),), vars(model)

    algo = LLMTokensSVD(TOKENS, n_epochs=1).fit(TRAIN)
    monkeypatch.setattr(type(algo.model_), "__reduce__", noted)
    monkeypatch.setattr(ranking, "CELLS", algo.items_.n_rows)
    with joblib.parallel_config("dask"):
        found = algo.recommend_all(n=3)
    assert len(sent) == 1
    assert found["user"].nunique() > 8


def test_workers_of_dask_keep_no_fold_when_a_comparison_is_over(cluster):
    def kept():
        from llmtokens.compare import trial

        return len(trial._last)

    with joblib.parallel_config("dask"):
        run({"a": LLMTokensSVD(n_epochs=1)}, DATA, {"a": FOLDS})
    assert set(cluster.run(kept).values()) == {0}


def test_the_size_of_what_is_shared_counts_each_array_once():
    array = np.zeros(1000)
    held = Shared({"a": array, "b": [array, {"c": np.zeros(500)}], "tokens": TOKENS})
    assert 12_000 + TOKENS.vectors.nbytes <= sys.getsizeof(held)
    assert sys.getsizeof(Shared(array)) < 8200


# -- threads in bounds -----------------------------------------------------------------------------

_THREADS = """
import os, sys
from importlib.util import find_spec
import joblib, numba, threadpoolctl
from surprise import BaselineOnly
from surprise.model_selection import KFold
sys.path.append({tests!r})
from algorithms import DATA, BPMF, TOKENS
from llmtokens import LLMTokensBPMF
from llmtokens.compare import compare
from llmtokens.compare.measures import partial

class Asked(LLMTokensBPMF):
    def _finished(self, *arguments):  # by when the parameters have set the threads
        pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()
                 if pool["user_api"] == "blas"]
        self.most = max([numba.get_num_threads(), *pools])
        return super()._finished(*arguments)

def most(predictions, algorithm):
    return max(algorithm.most, int(os.environ["OMP_NUM_THREADS"]))  # the latter is for torch

if __name__ == "__main__":
    def ask(**options):
        algorithms = {{"a": Asked(item_tokens=TOKENS, n_threads=2, **BPMF)}}
        found = compare(algorithms, DATA, {{"a": KFold(2, random_state=0)}}, [most],
                        progress=False, **options)
        return int(found.table["value"].max())
    print("cores", joblib.cpu_count())
    print("processes", ask(n_jobs=joblib.cpu_count()))
    if find_spec("distributed"):
        from distributed import Client
        with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0"):
            with joblib.parallel_config("dask"):
                print("dask", ask())
"""


@pytest.mark.slow
def test_a_worker_never_has_more_threads_than_its_share_of_the_cores(tmp_path):
    script = tmp_path / "threads.py"
    script.write_text(_THREADS.format(tests=str(Path(__file__).parent)))
    bounds = ("_NUM_THREADS", "_MAX_THREADS")
    env = {k: v for k, v in os.environ.items() if not k.endswith(bounds)}
    env["PYTHONPATH"] = str(Path(llmtokens.__file__).parents[1])
    out = subprocess.run(
        [sys.executable, script], env=env, check=True, capture_output=True, text=True, timeout=600
    )
    found = {name: int(most) for name, most in map(str.split, out.stdout.splitlines())}
    assert found.pop("cores") >= 1
    assert found == {"processes": 1} | ({"dask": 1} if find_spec("distributed") else {})


def test_the_limit_on_blas_is_lifted_when_the_last_thread_leaves():
    from threadpoolctl import threadpool_info

    def threads():
        return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]

    before = threads()
    first, second = one_blas_thread(), one_blas_thread()
    with first:
        second.__enter__()
    assert set(threads()) == {1}
    second.__exit__(None, None, None)
    assert threads() == before


# -- texts -----------------------------------------------------------------------------------------

needs_weights = pytest.mark.skipif(models._offline_folder() is None, reason="needs the weights")
TEXTS = [f"{word} number {k}" + " and more" * (k % 7) for k in range(40) for word in ("one", "two")]


@pytest.mark.slow
@needs_weights
@pytest.mark.parametrize("backend", ["loky", "dask"], indirect=True)
def test_texts_encoded_elsewhere_are_the_same_rows_and_are_cached_here(backend, tmp_path):
    # loky would take workers of the tests before for leaking, and start them anew with the weights
    joblib.externals.loky.get_reusable_executor().shutdown()
    expected = SentenceEncoder(cache=False, device="cpu").encode(TEXTS)
    encoder = SentenceEncoder(cache=tmp_path, batch_size=4, device="cpu")
    with backend:
        found = encoder.encode(TEXTS)
    assert encoder.n_jobs is None
    np.testing.assert_allclose(found, expected, atol=2e-6)
    rows = SentenceEncoder(cache=False, batch_size=4, device="cpu").encode(TEXTS)
    assert (found == rows).all()
    again = SentenceEncoder(cache=tmp_path, device="cpu")
    assert (again.encode(TEXTS) == found).all()
    assert again._loaded is None  # the cache had them all


@needs_weights
def test_a_worker_with_other_weights_is_refused():
    from llmtokens.encode.models import ModelSpec
    from llmtokens.encode.reading import embed_elsewhere

    with pytest.raises(ModelNotFoundError, match="same weights on all machines"):
        embed_elsewhere(ModelSpec(device="cpu"), "0" * 16, [0], ["a text"], None)
