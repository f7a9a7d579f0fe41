"""Work on the workers of a Dask cluster: tasks, and shards that are actors, which never move.

One worker leads the fit: it has the chain, and some of the shards. Shards of the others are actors,
which it calls directly: only items' rows and sums over users go between workers, and neither
through the scheduler nor the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Concatenate, ParamSpec, TypeVar

import numba
import numpy as np

from ..algorithms.bpmf.links import Carry
from ..algorithms.bpmf.messages import UserRows
from ..algorithms.bpmf.reproducible import OrderedSum
from ..algorithms.bpmf.shards import Shard, Team
from ..errors import DataError, LLMTokensError, MissingExtraError, StorageError
from ..kernels.links import WIDE
from ..runtime.arrays import Floats
from ..runtime.memory import kept_memory
from ..runtime.threads import one_blas_thread
from .disk import DiskShards, Where
from .pieces import MISSING

P = ParamSpec("P")
S = TypeVar("S")

_PATIENCE = 60.0  # seconds in which workers may come, or lost ones be replaced
_POLL = 0.5  # seconds between two looks at whether there are workers


class WorkerLostError(LLMTokensError):
    """A worker is gone, and the state of its users with it."""


# -- tasks ---------------------------------------------------------------------------------------


class Here:
    """Does tasks at once, in this process."""

    ahead = 0

    @property
    def here(self) -> Here:
        return self

    def submit(self, task: Callable[..., Any], *args: Any) -> Any:
        return task(*args)

    def result(self, made: Any) -> Any:
        return made


class OnWorkers:
    """Has tasks done by workers, where their results stay until they are asked for.

    Attributes
    ----------
    ahead : int
        How many tasks may be on their way while one is waited for.
    """

    here = Here()

    def __init__(self, client: Any) -> None:
        self._client, self.ahead = client, 2 * sum(client.nthreads().values())

    def submit(self, task: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(_on_one_thread, task, *args, pure=False)

    def result(self, made: Any) -> Any:
        """What a task returned, or what was made here; to be asked for once.

        Raises
        ------
        WorkerLostError
            If the workers that did it died, one after the other.
        LLMTokensError
            If all workers are gone, and none comes within a minute.
        """
        from distributed import Future, KilledWorker

        if not isinstance(made, Future):
            return made
        while True:  # a task of lost workers waits for others
            try:
                found = made.result(timeout=_POLL)
                made.release()  # or a cycle of references keeps it, to be worked out anew elsewhere
                return found
            except KilledWorker as error:
                raise WorkerLostError(f"lost the worker {error.last_worker.address}") from error
            except TimeoutError:
                if _timed_out_itself(made):
                    raise
                if not self._client.nthreads():
                    wait_for(self._client, 1)


def _timed_out_itself(future: Any) -> bool:
    """Whether it is the task that ran out of time, and not who waits for it, who may have done so
    just before the task failed of something else."""
    failed = getattr(future, "status", None) == "error"  # results of actors have none
    return failed and isinstance(future.exception(), TimeoutError)


def _on_one_thread(task: Callable[..., S], *args: Any) -> S:
    with one_blas_thread():
        return task(*args)


# -- shards --------------------------------------------------------------------------------------


class Host:
    """Some shards, on a worker, which does one call at a time with all its threads."""

    def __init__(self, where: Where, indices: range, n_threads: int) -> None:
        self._n_threads = n_threads
        memory = contextlib.ExitStack()
        memory.enter_context(kept_memory())
        weakref.finalize(self, memory.close)
        with _threads(self._n_threads):
            self._shards = DiskShards(where, indices)

    def partial(
        self, phase: Callable[..., S], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> OrderedSum[S]:
        with _threads(self._n_threads):
            return self._shards.partial(phase, *args, **kwargs)

    def draw_links(
        self, sweep: int, carry: Carry, strength: float, root: Floats, first: int
    ) -> Carry:
        with _threads(self._n_threads):
            own = Carry(*(np.array(part) for part in carry))
            return self._shards.draw_links(sweep, own, strength, root, first)

    def save(self, sweeps: int) -> None:
        self._shards.save(sweeps)

    def restore(self, sweeps: int) -> None:
        self._shards.restore(sweeps)

    def put(self) -> None:
        self._shards.put()


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    with one_blas_thread():  # and one of numba's, in a task of Dask
        most = int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009 (unknown to mypy)
        numba.set_num_threads(min(n, most))
        yield


class Cluster(Team):
    """All workers, each with a run of shards: this one, which leads, and those of the others.

    To be made by a task of Dask, on one of the workers.

    Parameters
    ----------
    where : Where
        In a folder that all workers see.

    Raises
    ------
    WorkerLostError
        By any method, when a worker is lost: start anew, from the last checkpoint.
    """

    def __init__(self, where: Where) -> None:
        from distributed import get_client, get_worker

        worker, self._client = get_worker(), get_client()
        threads = dict(sorted(self._client.nthreads().items()))
        addresses = [worker.address, *(x for x in threads if x != worker.address)]
        n_shards = len(where.bounds) - 1
        share = np.cumsum([0, *(threads.get(address, 1) for address in addresses)])
        cuts = (share * n_shards / share[-1]).round().astype(int).tolist()
        runs = [range(*cut) for cut in pairwise(cuts)]
        self._loop: Any = getattr(worker.loop, "asyncio_loop")  # noqa: B009 (unknown to mypy)
        self._n_threads = threads.get(worker.address, 1)
        self._addresses: list[str] = []
        self._made: list[Any] = []
        for address, run in zip(addresses[1:], runs[1:], strict=True):
            if len(run):
                self._addresses.append(address)
                self._made.append(
                    self._client.submit(
                        Host, where, run, threads[address], actor=True, workers=[address],
                        allow_other_workers=False, pure=False,
                    )
                )  # fmt: skip
        self._others: list[Any] = []
        try:
            self._own = DiskShards(where, runs[0])
            self._others += [self._result(future) for future in self._made]
        except BaseException:
            self.close()
            raise

    def total(
        self, phase: Callable[Concatenate[Shard, P], S], *args: P.args, **kwargs: P.kwargs
    ) -> S:
        others = [host.partial(phase, args, kwargs) for host in self._others]
        with _threads(self._n_threads):
            made = self._own.partial(phase, *args, **kwargs)
        for part in others:
            made.merge(self._result(part))
        return made.result()

    def draw_links(self, sweep: int, carry: Carry, strength: float, root: Floats) -> Carry:
        """Groups of columns go from worker to worker, one behind the other."""
        ends = []
        for first in range(0, len(carry.shift), WIDE):
            at = slice(first, first + WIDE)
            part = Carry(carry.resid[:, at].copy(), carry.shift[at], carry.along[at])
            part = self._own.draw_links(sweep, part, strength, root, first)
            rest = self._along(sweep, part, strength, root, first)
            ends.append(asyncio.run_coroutine_threadsafe(rest, self._loop))
        made = [self._result(end) for end in ends]
        return Carry(*(np.concatenate(parts, axis=-1) for parts in zip(*made, strict=True)))

    async def _along(
        self, sweep: int, carry: Carry, strength: float, root: Floats, first: int
    ) -> Carry:
        for host in self._others:
            carry = await host.draw_links(sweep, carry, strength, root, first)
        return carry

    def save(self, sweeps: int) -> None:
        """Write the users' state after so many sweeps."""
        others = [host.save(sweeps) for host in self._others]
        self._own.save(sweeps)
        self._all(others)

    def restore(self, sweeps: int) -> None:
        """Go on from there."""
        others = [host.restore(sweeps) for host in self._others]
        self._own.restore(sweeps)
        self._all(others)

    def reserve(self, n_rows: int, slots: int, c: int, k: int) -> UserRows:
        return self._own.reserve(n_rows, slots, c, k)

    def rows(self, n: int) -> UserRows:
        self._all([host.put() for host in self._others])
        return self._own.rows(n)

    def close(self) -> None:
        """Let go of the shards of the others."""
        self._client.cancel(self._made)
        self._others.clear()

    def _all(self, futures: list[Any]) -> None:
        for future in futures:
            self._result(future)

    def _result(self, future: Any) -> Any:
        """What another worker returned, while all are there."""
        patience = _POLL
        while True:  # what a lost worker was to do may never be done, nor be said to have failed
            try:
                return future.result(timeout=patience)
            except TimeoutError:
                self._check()
                if _timed_out_itself(future):
                    raise
                patience = min(2 * patience, _PATIENCE)
            except LLMTokensError:
                raise
            except Exception:
                time.sleep(_POLL)  # until the scheduler knows
                self._check()
                raise

    def _check(self) -> None:
        lost = set(self._addresses) - set(self._client.nthreads())
        if lost:
            raise WorkerLostError(f"lost the workers {sorted(lost)}")


# -- the client ----------------------------------------------------------------------------------


def check_client(client: Any) -> None:
    """Raise an error for what is no client, or one that is not connected.

    Raises
    ------
    DataError, MissingExtraError
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(MISSING.format(what="a cluster", package="distributed")) from error
    if not isinstance(client, Client):
        raise DataError(
            f"found client={client!r:.80}; expected a distributed.Client, which "
            "distributed.Client('tcp://scheduler:8786') makes of a scheduler's address"
        )
    if client.status != "running":
        raise DataError(
            f"found a client that is {client.status}; expected one that is connected to its "
            "scheduler: make a new one, and fit before it is closed"
        )


def check_folder(client: Any, folder: str) -> None:
    """Raise an error for a folder that not all workers see.

    Raises
    ------
    StorageError
    """
    seen = client.run(_sees, folder)
    blind = sorted({name for name, there in seen.values() if not there})
    if blind:
        raise StorageError(
            f"a worker on {blind[0]} does not see the folder {folder!r}, where ratings and samples "
            "are to go; pass fit_bpmf a folder on a disk that the client and all workers share"
        )


def _sees(folder: str) -> tuple[str, bool]:
    return socket.gethostname(), os.path.isdir(folder)


@contextlib.contextmanager
def connected(client: Any) -> Iterator[None]:
    """Tell, of what goes wrong inside, whether it is that the connection is lost.

    Raises
    ------
    LLMTokensError
        If it is: Dask's own errors then are of many types.
    """
    if client is None:
        yield
        return
    from distributed.comm import CommClosedError

    try:
        yield
    except LLMTokensError:
        raise
    except Exception as error:
        if client.status == "running" and not isinstance(error, CommClosedError):
            raise
        raise LLMTokensError(
            f"the connection to the cluster is lost (the client is {client.status}: {error!r:.200})"
            "; make a new client, and call again with the same folder: a fit goes on from its last "
            "checkpoint"
        ) from error


def wait_for(client: Any, workers: int) -> None:
    """Until there are so many workers, or some after a while.

    Raises
    ------
    LLMTokensError
        If there are none then.
    """
    end = time.monotonic() + _PATIENCE
    while (found := len(client.nthreads())) < workers and time.monotonic() < end:
        time.sleep(0.1)
    if not found:
        raise LLMTokensError(
            f"there are no workers, and none came within {_PATIENCE:.0f} s; start some, and call "
            "again with the same folder: a fit goes on from its last checkpoint"
        )
