"""Loops compiled twice: for several threads, and plainly.

OpenMP ends a process that was forked from one in which it ran, so there the plain loop runs, and
where numba has one thread. No sum is split between threads, so that both give the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def twice(**options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``numba.njit(**options)``, with and without ``parallel=True``.

    As numba has it, ``py_func`` of the result is the function as it was written.
    """

    def compiled(function: Callable[..., None]) -> Callable[..., None]:
        loop = numba.njit(parallel=True, **options)(function)
        plain = numba.njit(**options)(_renamed(function))

        def call(*arguments: Any) -> None:
            several = numba.get_num_threads() > 1 and not _forked
            (loop if several else plain)(*arguments)

        call.__doc__, call.__name__ = function.__doc__, function.__name__
        call.py_func = function  # type: ignore[attr-defined]
        return call

    return compiled


def _renamed(function: Any) -> FunctionType:
    """The same function under a name of its own: numba's cache on disk goes by names."""
    name = f"{function.__name__}_plain"
    copy = FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
    copy.__qualname__, copy.__module__ = name, function.__module__
    return copy
