"""Threads kept in bounds: sums in one order, and never more threads than there are cores."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from functools import cache

from threadpoolctl import ThreadpoolController

from .locks import Lock

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
    with _lock:
        if not _inside:
            _blas.enter_context(_controller().limit(limits=1, user_api="blas"))
        _inside += 1
    _here.inside = getattr(_here, "inside", 0) + 1
    try:
        with _one_numba_thread() if _is_dask_task() else contextlib.nullcontext():
            yield
    finally:
        _here.inside -= 1
        with _lock:
            _inside -= 1
            if not _inside:
                _blas.close()


def _in_forked_child() -> None:
    """The other threads are not here, so that nobody else is inside."""
    global _inside
    before, _inside = _inside, getattr(_here, "inside", 0)
    if before and not _inside:
        _blas.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


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

        with self._lock:
            if not self._inside:  # those who come later may see what this one sets
                self._before = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        import torch

        with self._lock:
            self._inside -= 1
            torch.set_num_threads(self._before)


one_torch_thread = _OneTorchThread()


def most_threads() -> int:
    """How many threads numba may be set to here."""
    import numba

    if _is_dask_task():
        return 1
    return int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009 (unknown to mypy)


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
