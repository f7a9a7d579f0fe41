"""Fits that are stopped, killed or deprived of their workers: the same model, or a clear error."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from algorithms import TOKENS
from faults import child, killed, needs_kill, spoil_samples
from sharded import FRAME, PARAMS, USERS, assert_same, of_size, trainset, workers

from llmtokens.algorithms.bpmf import LLMTokensBPMF, shards
from llmtokens.algorithms.bpmf.sampler import Sampler
from llmtokens.distributed import cluster, fit, fit_bpmf
from llmtokens.distributed.disk import opened
from llmtokens.distributed.table import Table
from llmtokens.errors import DataError, FileFormatError, LLMTokensError, StorageError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _many_shards(monkeypatch):
    """Three shards of 1024 users, where there would be one."""
    monkeypatch.setattr(shards, "_RATINGS", 1)


@pytest.fixture(scope="module")
def client():
    with workers(2) as found:
        yield found


@pytest.fixture(scope="module")
def whole():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_RATINGS", 1)
        return LLMTokensBPMF(TOKENS, USERS, **PARAMS).fit(trainset())


# -- the script


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


@pytest.fixture(scope="module")
def without_tokens():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_RATINGS", 1)
        return LLMTokensBPMF(**PARAMS).fit(trainset())


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("after", [2, 11, 19])
def test_a_restart_goes_on_from_the_last_checkpoint(
    plain, after, whole, without_tokens, tmp_path, monkeypatch
):
    given = {"folder": tmp_path, "checkpoint_every": 5, **PARAMS}
    tokens = () if plain else (TOKENS, USERS)
    with monkeypatch.context() as patch:
        stopping(patch, after)
        with pytest.raises(StoppedError):
            fit_bpmf(FRAME, *tokens, **given)
    swept = stopping(monkeypatch, -1)
    assert_same(without_tokens if plain else whole, fit_bpmf(FRAME, *tokens, **given))
    assert len(swept) == 20 - after // 5 * 5


_HALF = """
import sys, time
from algorithms import TOKENS
from sharded import FRAME, PARAMS, USERS
from llmtokens.algorithms.bpmf import shards
from llmtokens.algorithms.bpmf.sampler import Sampler
from llmtokens.distributed import fit_bpmf

shards._RATINGS = 1
sweep = Sampler.sweep

def waiting(self):
    sweep(self)
    if self.sweeps == 13:
        print("half", flush=True)
        time.sleep(600)

Sampler.sweep = waiting
fit_bpmf(FRAME, TOKENS, USERS, folder=sys.argv[1], checkpoint_every=5, **PARAMS)
"""


@needs_kill
def test_a_folder_is_that_of_one_script_until_it_is_killed(whole, tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    given = {"folder": tmp_path, "checkpoint_every": 5, **PARAMS}
    script = child(_HALF, tmp_path)
    try:
        if script.stdout.readline() != "half\n":
            raise AssertionError(script.communicate()[1])
        with pytest.raises(DataError, match="another fit is running in the folder"):
            fit_bpmf(FRAME, TOKENS, USERS, **given)
    finally:
        script.kill()
        script.communicate()
    swept = stopping(monkeypatch, -1)
    assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, **given))
    assert len(swept) == 20 - 10


_AGAIN = """
import sys
from algorithms import TOKENS
from sharded import FRAME, PARAMS, USERS
from llmtokens.algorithms.bpmf import shards
from llmtokens.distributed import fit_bpmf

shards._RATINGS = 1

def work():
    fit_bpmf(FRAME, TOKENS, USERS, folder=sys.argv[1], checkpoint_every=2, **PARAMS)
"""


@needs_kill
def test_a_script_that_is_killed_at_any_moment_goes_on_when_it_is_started_again(whole, tmp_path):
    assert killed(_AGAIN, (tmp_path,), 1.5, lambda: None)
    assert_same(
        whole, fit_bpmf(FRAME, TOKENS, USERS, folder=tmp_path, checkpoint_every=2, **PARAMS)
    )


@pytest.mark.parametrize("what", ["made", "locked"])
def test_a_folder_that_cannot_be_made_or_locked_is_named(what, tmp_path, monkeypatch):
    place = tmp_path / "folder"
    if what == "made":
        place.write_text("a file")
    else:
        (place / "lock").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"could not .* the folder .*choose another"):
        fit_bpmf(FRAME, folder=place, **PARAMS)


def test_a_file_of_the_name_of_the_lock_keeps_what_is_in_it(tmp_path):
    (tmp_path / "lock").write_text("mine")
    with opened(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == "mine"


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def without(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(StorageError, match="could not lock the folder .*that has locks"):
        fit_bpmf(FRAME, folder=tmp_path, **PARAMS)


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
        fit_bpmf(FRAME.head(5_000), folder=tmp_path, **PARAMS)


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


def test_samples_that_found_no_room_are_not_taken_for_allocated(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    for _ in range(2):
        with pytest.raises(StorageError, match="could not .*npy.*make room"):
            fit_bpmf(FRAME, folder=tmp_path, **PARAMS)


def test_only_states_are_deleted_from_the_folder(tmp_path):
    own = tmp_path / "users-of-2024.safetensors"
    own.write_text("something else")
    fit_bpmf(FRAME, folder=tmp_path, checkpoint_every=5, **PARAMS)
    assert own.exists()
    assert {path.stem[-3:] for path in tmp_path.glob("users-0*")} == {"-20"}


def break_down():
    """Has a worker's sampler fail."""
    from numpy.linalg import LinAlgError

    from llmtokens.algorithms.bpmf.sampler import Sampler

    def broken(*_):
        raise LinAlgError("Matrix is not positive definite")

    Sampler.own_scale, Sampler._scale = Sampler._scale, broken


def work_again():
    from llmtokens.algorithms.bpmf.sampler import Sampler

    Sampler._scale = Sampler.own_scale


def held(dask_worker):
    return len(dask_worker.state.actors)


def nothing_is_held(client):
    """No worker keeps shards."""
    while any(client.run(held).values()):  # soon, or never
        time.sleep(0.05)


def test_workers_let_go_of_the_shards_of_a_fit_that_failed(client):
    client.run(break_down)
    try:
        with pytest.raises(DataError, match="training broke down"):
            fit_bpmf(FRAME, client=client, **PARAMS)
    finally:
        client.run(work_again)
    nothing_is_held(client)


def test_what_did_not_come_out_as_numbers_is_no_model(monkeypatch):
    spoil_samples(monkeypatch)
    with pytest.raises(DataError, match="training diverged: qi"):
        fit_bpmf(FRAME, **PARAMS)


def test_a_damaged_shard_is_named(tmp_path, monkeypatch, client):
    write = Table.write_shards

    def damaged(*args):
        write(*args)
        path = tmp_path / "shard-00002.safetensors"
        path.write_bytes(path.read_bytes()[:-3] + b"abc")

    monkeypatch.setattr(Table, "write_shards", damaged)
    for given in ({}, {"client": client}):
        with pytest.raises(FileFormatError, match="shard-00002"):
            fit_bpmf(FRAME, folder=tmp_path, **given, **PARAMS)
    nothing_is_held(client)


# -- the workers


def halt(place, at):
    """Has a worker wait after so many sweeps, as long as a file is there, and say so in another."""
    import time
    from pathlib import Path

    from llmtokens.algorithms.bpmf.sampler import Sampler

    sweep = Sampler.sweep

    def waiting(self):
        if self.sweeps == at and Path(place, "wait").exists():
            Path(place, "waiting").touch()
            while Path(place, "wait").exists():
                time.sleep(0.02)
        sweep(self)

    Sampler.sweep = waiting


def note_sweeps():
    """Has a worker remember where its chain was before each sweep from now on."""
    from llmtokens.algorithms.bpmf.sampler import Sampler

    noting, Sampler.swept = hasattr(Sampler, "swept"), []
    if noting:
        return
    sweep = Sampler.sweep

    def noted(self):
        Sampler.swept.append(self.sweeps)
        sweep(self)

    Sampler.sweep = noted


def swept():
    from llmtokens.algorithms.bpmf.sampler import Sampler

    return Sampler.swept


@contextlib.contextmanager
def once_halted(client, place, at, then):
    """Does something in the middle of a fit, and lets it go on."""
    (place / "wait").touch()
    client.run(halt, str(place), at)

    def act():
        while not (place / "waiting").exists() and (place / "wait").exists():
            time.sleep(0.02)
        then()
        (place / "wait").unlink(missing_ok=True)

    actor = threading.Thread(target=act)
    actor.start()
    try:
        yield
    finally:
        (place / "wait").unlink(missing_ok=True)
        actor.join()


@pytest.fixture(scope="module")
def mortal():
    """The client of a cluster two of whose workers are killed, and replaced."""
    with workers(2) as found:
        yield found


@pytest.mark.parametrize("who", ["leads", "follows"])
def test_killed_workers_are_replaced_and_change_nothing(who, whole, tmp_path, mortal):
    def kill():
        found = mortal.run(lambda dask_worker: (os.getpid(), bool(dask_worker.state.actors)))
        follows = dict(found.values())
        os.kill(
            next(pid for pid, it in follows.items() if it == (who == "follows")), signal.SIGKILL
        )
        killed.append(1)

    killed = []
    of_size(mortal, 2)
    with once_halted(mortal, tmp_path, 11, kill):
        assert_same(
            whole,
            fit_bpmf(FRAME, TOKENS, USERS, mortal, folder=tmp_path, checkpoint_every=5, **PARAMS),
        )
    assert killed


def test_a_result_that_takes_long_to_fetch_is_waited_for():
    class Large:
        status, tried = "finished", 0

        def result(self, timeout):
            self.tried += 1
            assert self.tried < 20
            if timeout < 10:
                raise TimeoutError
            return "all of it"

    team = cluster.Cluster.__new__(cluster.Cluster)
    team._client, team._addresses = SimpleNamespace(nthreads=dict), []
    assert team._result(Large()) == "all of it"


def test_a_task_that_fails_just_after_its_caller_waited_is_told_by_its_own_error():
    class Fails:
        status = "error"

        def __init__(self, error):
            self.errors = [TimeoutError("the caller's"), error, error]

        def result(self, timeout):
            raise self.errors.pop(0)

        def exception(self):
            return self.errors[-1]

    team = cluster.Cluster.__new__(cluster.Cluster)
    team._client, team._addresses = SimpleNamespace(nthreads=dict), []
    with pytest.raises(DataError, match="the task's own"):
        team._result(Fails(DataError("the task's own")))
    with pytest.raises(TimeoutError):
        team._result(Fails(TimeoutError("the task's own")))


def test_a_fit_whose_workers_die_every_time_ends(monkeypatch):
    def dies(job):
        os._exit(1)

    dask = pytest.importorskip("dask")
    monkeypatch.setattr(fit, "_lead", dies)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        workers(1) as client,
        pytest.raises(LLMTokensError, match="lost 3 times with no checkpoint in between.*memory"),
    ):
        fit_bpmf(FRAME, client=client, **PARAMS)


@pytest.mark.parametrize("every", [3, 7])
def test_losses_are_borne_as_long_as_there_is_a_checkpoint_in_between(every, whole, monkeypatch):
    sweep, swept = Sampler.sweep, []

    def losing(self):
        swept.append(1)
        if len(swept) % 5 == 0:
            raise cluster.WorkerLostError("some worker")
        sweep(self)

    monkeypatch.setattr(Sampler, "sweep", losing)
    monkeypatch.setattr(fit, "wait_for", lambda *_: None)
    given = {"checkpoint_every": every, **PARAMS}
    if every > 5:
        with pytest.raises(LLMTokensError, match=r"at last: some worker\. .*checkpoint_every"):
            fit_bpmf(FRAME, TOKENS, USERS, **given)
        assert len(swept) == 3 * 5
    else:
        assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, **given))
        assert len(swept) > 3 * 5


def test_a_cluster_may_wait_for_its_workers_and_lose_them_but_no_fit_waits_for_ever(
    whole, monkeypatch
):
    with workers(0) as client:
        with monkeypatch.context() as patch:
            patch.setattr(cluster, "_PATIENCE", 0.3)
            with pytest.raises(LLMTokensError, match="there are no workers, .*; start some"):
                fit_bpmf(FRAME, client=client, **PARAMS)
        client.cluster.scale(1)
        assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, client, **PARAMS))

        monkeypatch.setattr(cluster, "_PATIENCE", 0.3)
        write = Table.write_shards

        def write_and_stop(*args):
            write(*args)
            of_size(client, 0)

        monkeypatch.setattr(Table, "write_shards", write_and_stop)
        with pytest.raises(LLMTokensError, match="there are no workers, and none came"):
            fit_bpmf(FRAME, client=client, **PARAMS)


@pytest.mark.parametrize("closed", ["client", "cluster"])
def test_a_connection_that_is_lost_is_named_and_the_fit_goes_on_with_another(
    closed, whole, tmp_path, client
):
    given = {"folder": tmp_path, "checkpoint_every": 5, **PARAMS}
    with workers(1) as other:
        lost = (other if closed == "client" else other.cluster).close
        with (
            once_halted(other, tmp_path, 11, lost),
            pytest.raises(LLMTokensError, match="connection to the cluster is lost .*same folder"),
        ):
            fit_bpmf(FRAME, TOKENS, USERS, other, **given)
    client.run(note_sweeps)
    assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, client, **given))
    assert sorted(client.run(swept).values()) == [[], list(range(10, 20))]  # one leads


def test_a_worker_that_does_not_see_the_folder_is_named(client, tmp_path, monkeypatch):
    check = fit.check_folder
    monkeypatch.setattr(
        fit, "check_folder", lambda client, _: check(client, str(tmp_path / "on another machine"))
    )
    with pytest.raises(StorageError, match=r"a worker on \S+ does not see .*another machine"):
        fit_bpmf(FRAME, client=client, folder=tmp_path, **PARAMS)
