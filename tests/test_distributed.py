"""One model, however many workers: the same samples, whatever happens on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from algorithms import TOKENS
from surprise import Dataset, Reader, accuracy
from surprise.model_selection import KFold

import llmtokens
from llmtokens import HashingEncoder, LLMTokens
from llmtokens.algorithms.bpmf import LLMTokensBPMF, rated
from llmtokens.algorithms.bpmf.sampler import Sampler
from llmtokens.algorithms.bpmf.tree import TreeSum
from llmtokens.datasets import load_movielens
from llmtokens.distributed import disk, fit_bpmf
from llmtokens.errors import (
    DataError,
    FileFormatError,
    LLMTokensError,
    MissingExtraError,
    StorageError,
)

KILLS = int(os.environ.get("LLMTOKENS_KILLS", 3))
PARAMS = {"n_factors": 3, "n_content": 4, "n_samples": 12, "burn_in": 8, "random_state": 7}
USERS = LLMTokens.from_embeddings(
    range(5000), np.random.default_rng(5).normal(size=(5000, 3)).astype(np.float32)
)


def made(n_users=5000, n_ratings=30_000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user": rng.integers(0, n_users, n_ratings),
            "item": (rng.random(n_ratings) ** 2 * 90).astype(int) + 1,
            "rating": rng.integers(1, 6, n_ratings).astype(float),
        }
    )
    return frame.drop_duplicates(["user", "item"], ignore_index=True)


FRAME = made()


def trainset(frame=FRAME):
    return Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()


@pytest.fixture(autouse=True)
def _many_shards(monkeypatch):
    """Five shards of 1024 users, where there would be one."""
    monkeypatch.setattr(rated, "_RATINGS", 1)


def cluster(n_workers):
    distributed = pytest.importorskip("distributed")
    return distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None
    )


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with cluster(2) as two, distributed.Client(two) as found:
        yield found


@pytest.fixture
def whole(_many_shards):
    return LLMTokensBPMF(TOKENS, USERS, **PARAMS).fit(trainset())


def assert_same(a, b):
    assert a._parts.keys() == b._parts.keys()
    for name, value in a._parts.items():
        np.testing.assert_array_equal(value, b._parts[name], err_msg=name)


# -- the same samples


def test_sums_do_not_depend_on_who_adds():
    rng = np.random.default_rng(0)
    leaves = [(x, rng.random(3)) for x in rng.random(13) * 10.0 ** rng.integers(-8, 8, 13)]
    results = []
    for cuts in ([], [5], [1, 6, 8], range(1, 13)):
        trees = []
        for index, leaf in enumerate(leaves):
            if index == 0 or index in cuts:
                trees.append(TreeSum())
            trees[-1].add(index, leaf)
        while len(trees) > 1:
            trees[0].merge(trees.pop())
        results.append(trees[0].result())
    for total, array in results[1:]:
        assert total == results[0][0]
        np.testing.assert_array_equal(array, results[0][1])


def test_one_process_from_disk_draws_the_samples_of_fit(whole, tmp_path):
    assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, folder=tmp_path, **PARAMS))
    assert len(list(tmp_path.glob("shard-*"))) == 5


def test_two_workers_draw_the_samples_of_fit(whole, client):
    assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, client, **PARAMS))


def test_without_tokens_too(client):
    whole = LLMTokensBPMF(**PARAMS).fit(trainset())
    assert_same(whole, fit_bpmf(FRAME, client=client, **PARAMS))
    assert_same(whole, fit_bpmf(FRAME, **PARAMS))


def test_shards_of_another_size_give_the_same_up_to_rounding(whole, monkeypatch):
    monkeypatch.setattr(rated, "_RATINGS", 10**9)
    one = LLMTokensBPMF(TOKENS, USERS, **PARAMS).fit(trainset())
    for name in ("users", "items"):
        np.testing.assert_allclose(one._parts[name], whole._parts[name], atol=1e-4)


def test_real_data_on_two_workers(client, ml_small_folder):
    data = load_movielens(ml_small_folder)
    tokens = LLMTokens.from_frame(
        data.items, "{title}", categorical=["genres"], numeric=["year"],
        encoder=HashingEncoder(), n_components=32,
    )  # fmt: skip
    train, test = next(iter(KFold(5, random_state=0).split(data.dataset)))
    small = {"n_samples": 12, "burn_in": 6, "random_state": 0}
    rows = [(train.to_raw_uid(u), train.to_raw_iid(i), r) for u, i, r in train.all_ratings()]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    here = LLMTokensBPMF(tokens, **small).fit(trainset(frame))
    there = fit_bpmf(frame, tokens, client=client, rating_scale=(0.5, 5), **small)
    rmse = [accuracy.rmse(algo.test(test), verbose=False) for algo in (here, there)]
    assert rmse[0] == pytest.approx(rmse[1], abs=5e-4)


# -- where ratings come from


@pytest.fixture
def parquet(tmp_path):
    pytest.importorskip("pyarrow")
    folder = tmp_path / "ratings"
    folder.mkdir()
    for k, first in enumerate(range(0, len(FRAME), 10_000)):
        part = FRAME[first : first + 10_000].assign(extra="x")
        part.to_parquet(folder / f"part-{k}.parquet", row_group_size=3_000)
    return folder


def test_parquet_and_dask_frames_are_read_as_one_frame(parquet):
    frames = pytest.importorskip("dask.dataframe")
    few = PARAMS | {"n_samples": 2, "burn_in": 1}
    whole = fit_bpmf(FRAME, **few)
    assert_same(whole, fit_bpmf(parquet, **few))
    assert_same(whole, fit_bpmf(frames.from_pandas(FRAME, npartitions=3, sort=False), **few))


@pytest.mark.parametrize("kind", [str, "category"])
def test_ids_of_any_kind(kind, client):
    frame = FRAME.head(3000).assign(user=lambda f: f["user"].astype(str).astype(kind))
    algo = fit_bpmf(frame, **PARAMS | {"n_samples": 2})
    assert algo.ratings_.user_ids[0] == str(FRAME["user"][0])
    assert not algo.predict(str(FRAME["user"][0]), 3).details["cold_user"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rating": np.nan}, "1 ratings that are NaN or outside the scale from 1 to 5"),
        ({"rating": 7.0}, "outside the scale.*7.0"),
        ({"user": None}, "no user id in row 3"),
    ],
)
def test_bad_rows_are_named(change, message):
    frame = FRAME.head(100).astype({"user": object})
    for column, value in change.items():
        frame.loc[3, column] = value
    with pytest.raises(DataError, match=message):
        fit_bpmf(frame)


def test_pairs_rated_twice_are_named():
    frame = pd.concat([FRAME, FRAME.iloc[[17]]])
    pair = tuple(FRAME.loc[17, ["user", "item"]].astype(int))
    with pytest.raises(DataError, match=rf"rated twice, such as .* \({pair[0]}, {pair[1]}\)"):
        fit_bpmf(frame)


def test_a_bad_rating_in_a_file_names_the_file(parquet):
    FRAME.head(50).assign(rating=9.0).to_parquet(parquet / "part-1.parquet")
    with pytest.raises(DataError, match=r"part-1.parquet.*outside the scale"):
        fit_bpmf(parquet)


@pytest.mark.parametrize("keep", [0, 500, -7])
def test_a_damaged_parquet_file_is_named(parquet, keep):
    path = parquet / "part-2.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"part-2.parquet"):
        fit_bpmf(parquet)


def test_a_parquet_file_that_cannot_be_opened_is_not_called_damaged(parquet):
    (parquet / "part-9.parquet").symlink_to(parquet / "nowhere")
    with pytest.raises(StorageError, match=r"could not read .*part-9.parquet"):
        fit_bpmf(parquet)


@pytest.mark.parametrize("scale", [(1, np.inf), (np.nan, 5), (5, 1), (1, 2, 3), "ab", None])
def test_what_is_no_rating_scale_is_refused(scale):
    with pytest.raises(DataError, match=r"found the rating scale .*expected \(lowest, highest\)"):
        fit_bpmf(FRAME, rating_scale=scale)


def test_ratings_and_ids_that_cannot_be_computed_with_are_refused():
    with pytest.raises(DataError, match="beyond 1e"):
        fit_bpmf(FRAME.assign(rating=1e200), rating_scale=(0, 1e201))
    with pytest.raises(DataError, match="item ids that cannot be ids"):
        fit_bpmf(FRAME.assign(item=[[1]] * len(FRAME)))


def test_what_is_no_table_of_ratings_is_refused(tmp_path):
    with pytest.raises(StorageError, match="no Parquet files"):
        fit_bpmf(tmp_path)
    with pytest.raises(DataError, match="type list"):
        fit_bpmf([(1, 2, 3.0)])
    with pytest.raises(DataError, match="expected user, item and rating"):
        fit_bpmf(FRAME.rename(columns={"user": "uid"}))
    with pytest.raises(DataError, match="no ratings"):
        fit_bpmf(FRAME.head(0))
    with pytest.raises(DataError, match="checkpoint_every"):
        fit_bpmf(FRAME, checkpoint_every=0)
    with pytest.raises(DataError, match="n_factors"):
        fit_bpmf(FRAME, n_factors=0)


# -- the result


def test_the_result_is_a_model_like_any_other(whole, tmp_path):
    algo = fit_bpmf(FRAME, TOKENS, USERS, **PARAMS)
    assert isinstance(algo, LLMTokensBPMF)
    users = FRAME["user"].head(20).tolist()
    assert algo.recommend(users[0], 3).equals(whole.recommend(users[0], 3))
    algo.save(tmp_path / "model.safetensors")
    again = llmtokens.load(tmp_path / "model.safetensors")
    pairs = [(u, 3, None) for u in users] + [("nobody", "nothing", None)]
    assert again.test(pairs) == algo.test(pairs) == whole.test(pairs)
    algo.fold_in("new", [(2, 5.0), (3, 1.0)])
    assert 1 <= algo.predict("new", 4).est <= 5


# -- faults


class StoppedError(Exception):
    pass


def stopping(monkeypatch, after):
    """Let a fit stop, as if the process had died, after so many sweeps."""
    sweep, swept = Sampler.sweep, []

    def limited(self):
        if len(swept) == after:
            raise StoppedError
        swept.append(1)
        sweep(self)

    monkeypatch.setattr(Sampler, "sweep", limited)
    return swept


@pytest.mark.parametrize("tokens", [TOKENS, None])
@pytest.mark.parametrize("after", [2, 11, 19])
def test_a_restart_goes_on_from_the_last_checkpoint(tokens, after, tmp_path, monkeypatch):
    given = {"folder": tmp_path, "checkpoint_every": 5, **PARAMS}
    whole = LLMTokensBPMF(tokens, **PARAMS).fit(trainset())
    with monkeypatch.context() as patch:
        stopping(patch, after)
        with pytest.raises(StoppedError):
            fit_bpmf(FRAME, tokens, **given)
    swept = stopping(monkeypatch, -1)
    assert_same(whole, fit_bpmf(FRAME, tokens, **given))
    assert len(swept) == 20 - after // 5 * 5


def test_a_finished_fit_is_not_done_again(tmp_path, monkeypatch):
    first = fit_bpmf(FRAME, folder=tmp_path, **PARAMS)
    swept = stopping(monkeypatch, -1)
    assert_same(first, fit_bpmf(FRAME, folder=tmp_path, **PARAMS))
    assert not swept


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    fit_bpmf(FRAME, folder=tmp_path, **PARAMS)
    for change in ({"n_factors": 4}, {"random_state": 8}):
        with pytest.raises(DataError, match="another fit"):
            fit_bpmf(FRAME, folder=tmp_path, **PARAMS | change)
    with pytest.raises(DataError, match="another fit"):
        fit_bpmf(FRAME.head(20_000), folder=tmp_path, **PARAMS)


@pytest.mark.parametrize("name", ["chain.safetensors", "users-00002-20.safetensors"])
def test_a_damaged_checkpoint_is_named(name, tmp_path):
    fit_bpmf(FRAME, folder=tmp_path, **PARAMS)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    with pytest.raises(FileFormatError, match=name):
        fit_bpmf(FRAME, folder=tmp_path, **PARAMS)


@pytest.mark.parametrize("keep", [None, 40, -8])
def test_samples_that_are_gone_are_not_taken_for_zeros(keep, tmp_path):
    fit_bpmf(FRAME, folder=tmp_path, **PARAMS)
    path = tmp_path / "samples-00001.npy"
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[:keep])
    for _ in range(2):
        with pytest.raises(FileFormatError, match="samples-00001.npy"):
            fit_bpmf(FRAME, folder=tmp_path, **PARAMS)


def test_workers_let_go_of_the_shards_of_a_fit_that_failed(client, monkeypatch):
    def broken(*_):
        raise np.linalg.LinAlgError("Matrix is not positive definite")

    def held():
        from llmtokens.distributed import cluster

        return len(cluster._hosts)

    monkeypatch.setattr(Sampler, "_scale", broken)
    with pytest.raises(DataError, match="training broke down"):
        fit_bpmf(FRAME, client=client, **PARAMS)
    assert set(client.run(held).values()) == {0}


def test_what_did_not_come_out_as_numbers_is_no_model(monkeypatch):
    finished = LLMTokensBPMF._finished
    monkeypatch.setattr(
        LLMTokensBPMF, "_finished", lambda *args: finished(*args) | {"bu": np.full(3, np.nan)}
    )
    with pytest.raises(DataError, match="training diverged: bu"):
        fit_bpmf(FRAME, **PARAMS)


def test_a_damaged_shard_is_named(tmp_path, monkeypatch, client):
    write = disk.write

    def damaged(*args):
        where = write(*args)
        path = tmp_path / "shard-00003.safetensors"
        path.write_bytes(path.read_bytes()[:-3] + b"abc")
        return where

    monkeypatch.setattr(disk, "write", damaged)
    for given in ({}, {"client": client}):
        with pytest.raises(FileFormatError, match="shard-00003"):
            fit_bpmf(FRAME, folder=tmp_path, **given, **PARAMS)


def test_killed_workers_are_replaced_and_change_nothing(tmp_path):
    distributed = pytest.importorskip("distributed")
    params = PARAMS | {"n_samples": 40 * KILLS}
    whole = LLMTokensBPMF(TOKENS, USERS, **params).fit(trainset())
    rng, killed, over = np.random.default_rng(), [], threading.Event()
    with cluster(2) as two, distributed.Client(two) as client:

        def kill():
            while len(killed) < KILLS and not over.wait(float(rng.uniform(0.3, 3))):
                with contextlib.suppress(OSError, TimeoutError):
                    pids = list(client.run(os.getpid, on_error="ignore").values())
                    if len(pids) == 2 and not over.is_set():
                        os.kill(pids[rng.integers(2)], signal.SIGKILL)
                        killed.append(time.monotonic())

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            algo = fit_bpmf(
                FRAME, TOKENS, USERS, client, folder=tmp_path, checkpoint_every=3, **params
            )
        finally:
            over.set()
            killer.join()
    assert killed
    assert_same(whole, algo)


def test_no_fit_waits_for_workers_for_ever(monkeypatch):
    distributed = pytest.importorskip("distributed")
    from llmtokens.distributed import fit

    monkeypatch.setattr(fit, "_PATIENCE", 0.3)
    with cluster(1) as one, distributed.Client(one) as client:
        read = fit.disk.write

        def write_and_stop(*args):
            one.scale(0)
            while client.nthreads():
                time.sleep(0.05)
            return read(*args)

        monkeypatch.setattr(fit.disk, "write", write_and_stop)
        with pytest.raises(LLMTokensError, match="all workers are lost"):
            fit_bpmf(FRAME, client=client, **PARAMS)


# -- the extra


def test_without_the_extra_everything_else_works_and_the_error_says_what_to_install(tmp_path):
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["dask", "distributed", "pyarrow"]))
import pandas as pd
from llmtokens.distributed import fit_bpmf
from llmtokens.errors import MissingExtraError
frame = pd.DataFrame(dict(user=[1, 1, 2], item=[1, 2, 1], rating=[3.0, 4.0, 5.0]))
fit_bpmf(frame, n_samples=2, burn_in=0).predict(1, 2)
for given in (dict(ratings={str(tmp_path)!r}), dict(ratings=frame, client=object())):
    try:
        fit_bpmf(**given)
    except MissingExtraError as error:
        assert "pip install 'llmtokens[distributed]'" in str(error), error
    else:
        raise AssertionError(given)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert issubclass(MissingExtraError, ImportError)


def test_no_import_of_ours_imports_dask():
    code = (
        "import sys, llmtokens.distributed, llmtokens.algorithms.bpmf;"
        "assert not {'dask', 'distributed', 'pyarrow.parquet'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
