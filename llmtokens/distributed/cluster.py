"""A Dask cluster: its client, shards on its workers, which never move, and tokens on them.

Only sums over users and items' rows go to and from the workers.
"""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from ..algorithms.bpmf.links import WIDE, Carry
from ..algorithms.bpmf.reproducible import OrderedSum
from ..algorithms.bpmf.shards import Shard, Team
from ..errors import DataError, LLMTokensError, MissingExtraError, StorageError
from ..runtime.arrays import Floats, Singles
from ..runtime.threads import one_blas_thread
from ..tokens import LLMTokens
from . import sources
from .disk import ROWS, DiskShards, Where, collected

P = ParamSpec("P")
S = TypeVar("S")

_PATIENCE = 60.0  # seconds in which workers may come, or lost ones be replaced
_POLL = 0.5  # seconds between two looks at whether all workers are there
_hosts: dict[str, DiskShards] = {}  # of this process, where it is a worker
_HERE: MutableMapping[str, LLMTokens] = WeakValueDictionary()


class WorkerLostError(LLMTokensError):
    """A worker is gone, and the state of its users with it."""


class Cluster(Team):
    """A team of workers, each with a run of shards; a worker with n threads counts n times.

    Parameters
    ----------
    client : distributed.Client
    where : Where
        In a folder that the client and all workers see.

    Raises
    ------
    WorkerLostError
        By any method, when a worker is lost: start anew, from the last checkpoint.
    """

    def __init__(self, client: Any, where: Where) -> None:
        self.client, self.where = client, where
        if not client.nthreads():
            raise WorkerLostError("there are no workers")
        self._key = uuid.uuid4().hex
        places = [address for address, n in sorted(client.nthreads().items()) for _ in range(n)]
        n_shards = len(where.bounds) - 1
        cuts = np.linspace(0, n_shards, min(len(places), n_shards) + 1).round().astype(int)
        self.hosts = list(zip(places, cuts[:-1].tolist(), cuts[1:].tolist(), strict=False))

    def open(self) -> None:
        """Have every host take its shards."""
        self._each(_open, [(self.where, range(*host[1:])) for host in self.hosts])

    def total(
        self, phase: Callable[Concatenate[Shard, P], S], *args: P.args, **kwargs: P.kwargs
    ) -> S:
        given = self.client.submit(_same, args, pure=False)  # workers fetch it from each other
        parts = [self._on(k, _partial, phase, given, kwargs) for k in range(len(self.hosts))]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=False)
            odd = parts[-1:] if len(parts) % 2 else []
            parts = [self.client.submit(_merged, a, b, pure=False) for a, b in pairs] + odd
        total: S = self._results(parts)[0].result()
        return total

    def draw_links(self, sweep: int, carry: Carry, strength: float, root: Floats) -> Carry:
        """Groups of columns go from worker to worker, one behind the other."""
        ends = []
        for first in range(0, len(carry.shift), WIDE):
            at = slice(first, first + WIDE)
            part: Any = Carry(carry.resid[:, at].copy(), carry.shift[at], carry.along[at])
            for k in range(len(self.hosts)):
                part = self._on(k, _draw_links, sweep, part, strength, root, first)
            ends.append(part)
        made = self._results(ends)
        return Carry(*(np.concatenate(parts, axis=-1) for parts in zip(*made, strict=True)))

    def save(self, sweeps: int) -> None:
        """Write the users' state after so many sweeps."""
        self._each(_call, [(DiskShards.save, sweeps)] * len(self.hosts))

    def restore(self, sweeps: int) -> None:
        """Go on from there."""
        self._each(_call, [(DiskShards.restore, sweeps)] * len(self.hosts))

    def close(self) -> None:
        """Let go of the shards, where they are still held."""
        self._each(_close, [()] * len(self.hosts))

    def reserve(self, table: Singles) -> None:
        """Samples are in files, until they are collected."""

    def collect(self, table: Singles, n: int) -> Floats:
        self._each(_call, [(DiskShards.hand_over,)] * len(self.hosts))
        return collected(self.where, table, n)

    def _each(self, task: Any, args: list[tuple[Any, ...]]) -> list[Any]:
        return self._results([self._on(k, task, *args[k]) for k in range(len(self.hosts))])

    def _on(self, k: int, task: Any, *args: Any) -> Any:
        """Have the k-th host do something."""
        return self.client.submit(
            task, f"{self._key}-{k}", *args, workers=[self.hosts[k][0]],
            allow_other_workers=False, pure=False, retries=0,
        )  # fmt: skip

    def _results(self, futures: list[Any]) -> list[Any]:
        """Results of tasks, while all workers are there."""
        return [self._result(future) for future in futures]

    def _result(self, future: Any) -> Any:
        patience = _POLL
        while True:  # a task of a lost worker is never done, nor is its result ever fetched
            try:
                return future.result(timeout=patience)
            except TimeoutError:
                self._check()
                if future.status == "error":  # it was the task's own
                    raise
                if future.status == "finished":  # large: fetching it was cut short
                    patience *= 2
            except _UnknownError as error:
                raise WorkerLostError("a worker was started anew") from error
            except Exception:
                time.sleep(_POLL)  # until the scheduler knows
                self._check()
                raise

    def _check(self) -> None:
        lost = {host[0] for host in self.hosts} - set(self.client.nthreads())
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
        raise MissingExtraError(
            sources.MISSING.format(what="a cluster", package="distributed")
        ) from error
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
            "; make a new client, and fit again with the same folder: it goes on from the last "
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
            f"there are no workers, and none came within {_PATIENCE:.0f} s; start some, and fit "
            "again with the same folder: it goes on from the last checkpoint"
        )


# -- what runs on the workers ------------------------------------------------------------------


class _UnknownError(LLMTokensError):
    """This worker does not have these shards (any more)."""


def _same(value: S) -> S:
    return value


def _merged(a: OrderedSum[S], b: OrderedSum[S]) -> OrderedSum[S]:
    made: OrderedSum[S] = OrderedSum()
    made.merge(a)
    made.merge(b)
    return made


def _host(key: str) -> DiskShards:
    if key not in _hosts:
        raise _UnknownError(key)
    return _hosts[key]


def _open(key: str, where: Where, indices: range) -> None:
    for other, host in list(_hosts.items()):  # other threads of this worker open theirs
        old = other.partition("-")[0] != key.partition("-")[0]  # of an attempt that failed
        if old and host.where.folder == where.folder:
            _hosts.pop(other, None)
    if not where.path(ROWS).exists():
        raise StorageError(
            f"a worker on {socket.gethostname()} does not see the folder {where.folder!r}, where "
            "the client has put the shards; pass fit_bpmf a folder on a disk that the client and "
            "all workers share"
        )
    with one_blas_thread():
        _hosts[key] = DiskShards(where, indices)


def _partial(
    key: str, phase: Callable[..., S], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> OrderedSum[S]:
    with one_blas_thread():
        return _host(key).partial(phase, *args, **kwargs)


def _draw_links(
    key: str, sweep: int, carry: Carry, strength: float, root: Floats, first: int
) -> Carry:
    with one_blas_thread():
        own = Carry(*(np.array(part) for part in carry))  # the task before keeps its result
        return _host(key).draw_links(sweep, own, strength, root, first)


def _call(key: str, method: Callable[..., None], *args: Any) -> None:
    method(_host(key), *args)


def _close(key: str) -> None:
    _hosts.pop(key, None)


def on_workers(tokens: LLMTokens, client: Any) -> LLMTokens:
    """The same tokens, sent to every worker of a Dask cluster once, and to tasks by name.

    Surprise's ``GridSearchCV`` makes an algorithm for every task, with all its tokens; of these
    ones a task takes a name of a few bytes. Workers that come later get them too. Only processes
    of this cluster know the name: save an algorithm with ``save``, and pickle it with the tokens
    that this function was given.

    Parameters
    ----------
    tokens : LLMTokens
        Also those that this function returned for another cluster.
    client : distributed.Client

    Returns
    -------
    LLMTokens

    Raises
    ------
    DataError
        If the tokens are none; if the client is none, or not connected.
    MissingExtraError
        Without the extra ``distributed``.
    LLMTokensError
        When the result is used in a process that is no worker of the cluster.

    Examples
    --------
    >>> import numpy as np
    >>> from dask.distributed import Client
    >>> from llmtokens import LLMTokens
    >>> from llmtokens.distributed import on_workers
    >>> tokens = LLMTokens.from_embeddings([1, 2, 3], np.eye(3))
    >>> with Client(processes=False, dashboard_address=":0") as client:
    ...     there = on_workers(tokens, client)
    ...     client.submit(lambda known: known.n_dims, there).result() == tokens.n_dims
    True
    """
    if not isinstance(tokens, LLMTokens):
        raise DataError(
            f"found tokens of type {type(tokens).__name__}; expected LLMTokens: build them with "
            "LLMTokens.from_frame, from_texts or from_embeddings"
        )
    check_client(client)
    from distributed import WorkerPlugin

    name = f"llmtokens-{uuid.uuid4()}"
    sent, made = object.__new__(LLMTokens), _named(name)
    sent.__dict__.update(tokens.__dict__)
    sent.__dict__.pop("_name", None)  # by which these workers may not know them

    class Place(WorkerPlugin):
        """Holds the tokens where a worker's tasks find them."""

        def setup(self, worker: Any) -> None:
            _place(name, sent)

    client.register_plugin(Place(), name=name)
    made.__dict__.update(sent.__dict__)
    _place(name, made)
    return made


class PlacedTokens(LLMTokens):
    """Tokens that go to another process as a name. Where there are none of that name they may be
    handed on, as a scheduler does, but not be used."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        name = self.__dict__.get("_name")  # tokens made from these have none
        return (_named, (name,)) if name else super().__reduce_ex__(protocol)

    def __getattr__(self, attribute: str) -> Any:
        name = self.__dict__.get("_name")
        if attribute.startswith("__") or name is None or "vectors" in self.__dict__:
            raise AttributeError(attribute)
        raise LLMTokensError(
            "these tokens are on the workers of a Dask cluster, and this process is none of them; "
            "send it the tokens that on_workers was given"
        )


def _place(name: str, tokens: LLMTokens) -> None:
    _HERE[name] = tokens


def _named(name: str) -> PlacedTokens:
    made = object.__new__(PlacedTokens)
    made.__dict__["_name"] = name
    if name in _HERE:
        made.__dict__.update(_HERE[name].__dict__)
    return made
