"""Threads kept in bounds, sums in one order, and what workers are sent once, not with each task."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from .locks import Lock, cached_property

_RUNS = 16  # of rows, so that threads end at about the same time

_lock = Lock()
_blas = contextlib.ExitStack()  # holds the limit while anyone is inside
_inside = 0
_here = threading.local()  # how often this thread is


@cache
def _controller() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 (it has a BLAS of its own, to be found with NumPy's)

    return ThreadpoolController()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """For the time of a ``with`` block; what was set before comes back after it.

    BLAS adds in an order that depends on the number of its threads, so that with one the result is
    the same whatever else the machine is doing. The limit holds for the whole process, and is
    lifted when the last of the threads inside leaves. In a worker of Dask, numba gets one thread as
    well: Dask counts a core for each task, and bounds other libraries but not this one. (Workers
    of loky are bounded by joblib.)
    """
    global _inside
    with _lock.held:
        if not _inside:
            _blas.enter_context(_controller().limit(limits=1, user_api="blas"))
        _inside += 1
    _here.inside = getattr(_here, "inside", 0) + 1
    try:
        with _one_numba_thread() if _is_dask_task() else contextlib.nullcontext():
            yield
    finally:
        _here.inside -= 1
        with _lock.held:
            _inside -= 1
            if not _inside:
                _blas.close()


def _before_fork() -> None:
    """Nobody sets the threads of BLAS meanwhile: its own lock would stay locked in the child."""
    _lock.held.acquire()


def _in_parent() -> None:
    _lock.held.release()


def _in_forked_child() -> None:
    """The other threads are not here, so that nobody else is inside."""
    global _inside
    before, _inside = _inside, getattr(_here, "inside", 0)
    if before and not _inside:
        _blas.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_forked_child
    )


class _OneTorchThread:
    """For the time of a ``with`` block, in the thread that enters it.

    Torch keeps a number for each thread and one for threads still to come, and both are what
    others last set: numba, starting its own threads, sets torch's number with them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside, self._before = 0, 1

    def __enter__(self) -> None:
        import torch

        with self._lock.held:
            if not self._inside:  # those who come later may see what this one sets
                self._before = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        import torch

        with self._lock.held:
            self._inside -= 1
            torch.set_num_threads(self._before)


one_torch_thread = _OneTorchThread()


def most_threads() -> int:
    """How many threads numba may be set to here."""
    import numba

    if _is_dask_task():
        return 1
    return int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009 (unknown to mypy)


@contextlib.contextmanager
def threads(most: int) -> Iterator[Executor | None]:
    """Threads of Python for loops that let go of the interpreter: as many as numba may use here,
    and not more than ``most``; None where that is one."""
    if most > 1:
        import numba

        most = min(most, numba.get_num_threads())
    if most <= 1:
        yield None
        return
    with ThreadPoolExecutor(most) as pool:
        yield pool


def over_rows(n: int, call: Callable[..., None], *given: Any, few: int = 512) -> None:
    """``call((first, end), *given)`` for runs of rows that are all of ``n`` together, several at
    once.

    Every row goes through the same machine code, however many threads there are; ``few`` rows are
    done before a second thread has woken up.
    """
    with threads(n // few) as pool:
        if pool is None:
            call((0, n), *given)
            return
        ends = np.linspace(0, n, _RUNS + 1).astype(np.int64).tolist()
        list(pool.map(lambda rows: call(rows, *given), itertools.pairwise(ends)))


def _is_dask_task() -> bool:
    worker = sys.modules.get("distributed.worker")
    return worker is not None and hasattr(worker.thread_state, "execution_state")


@contextlib.contextmanager
def _one_numba_thread() -> Iterator[None]:
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)  # of this thread's own loops
    try:
        yield
    finally:
        numba.set_num_threads(before)


T = TypeVar("T")


class Shared(Generic[T]):
    """An argument of many tasks, not to be changed by any of them.

    To processes on this machine, joblib hands large arrays as memory-mapped files, each written
    once, whatever holds them. To Dask it sends an argument once for each worker if ``__sizeof__``
    tells that it is large, and the size of an object is, to Python, that of its outermost shell
    alone: this one counts the arrays inside.

    >>> import sys
    >>> sys.getsizeof(Shared({"factors": np.zeros((1000, 50))})) >= 400_000
    True
    """

    def __init__(self, value: T) -> None:
        self.value = value

    @cached_property
    def _size(self) -> int:
        return _array_bytes(self.value, set())

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self._size


def _array_bytes(value: Any, seen: set[int]) -> int:
    """Bytes of the arrays that a value holds, each counted once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        inside: Any = value.values()
    elif isinstance(value, (list, tuple)) and len(value) < 1000:  # longer ones hold plain values
        inside = value
    else:
        inside = getattr(value, "__dict__", {}).values()
    return sum(_array_bytes(part, seen) for part in inside)
