"""Loops that numba compiles by name, when they are first called: once, or twice, for several
threads and plainly.

Machine code is kept between runs where a folder can hold it. Of loops that are compiled twice, the
plain one runs where numba has one thread, for a few rows, which are done before a second thread
has woken up, and while another thread of the program is in a loop of several: some of numba's
thread pools end the process when two loops meet. OpenMP ends a process that was forked from one in
which it ran, so there it runs as well. No sum is split between threads, so that both give the same
bits.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

from ..errors import LLMTokensWarning

_FEW = 32  # rows

_warned = False
_compiling = threading.RLock()


prange = range  # in Python; numba sees its own


class Kernel:
    """A function that numba compiles when it is first called: who only reads a model and ranks
    what is in it never waits for numba.

    As numba has it, ``py_func`` is the function as it was written. Kernels may call kernels.
    """

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        self.py_func, self._options = function, options
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._compiled: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.compiled())(*arguments)

    def compiled(self) -> Any:
        """What numba makes of it."""
        with _compiling:
            if self._compiled is None:
                self._compiled = self._compile()
        return self._compiled

    def _compile(self) -> Any:
        import numba

        written = self.py_func
        names = dict(written.__globals__)
        for name in written.__code__.co_names:
            if isinstance(names.get(name), Kernel):
                names[name] = names[name].compiled()
        if "prange" in written.__code__.co_names:
            names["prange"] = numba.prange
        function = FunctionType(written.__code__, names, written.__name__, written.__defaults__)
        function.__qualname__, function.__module__ = written.__qualname__, written.__module__
        function.__annotations__ = written.__annotations__
        try:
            return numba.njit(cache=True, **self._options)(function)
        except RuntimeError as error:  # installation and home are read-only
            _warn_once(str(error))
            return numba.njit(**self._options)(function)


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(cache=True, **options)``, when the function is first called; without the cache
    where no folder can hold it."""
    return lambda function: Kernel(function, options)


def _warn_once(reason: str) -> None:
    """Every kernel would say the same."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"compiled code cannot be kept ({reason}): every process will compile anew, which "
            "takes seconds; name a folder that can be written to in NUMBA_CACHE_DIR",
            LLMTokensWarning,
            stacklevel=4,
        )


_forked = False
_in_threads = threading.Lock()


def _after_fork() -> None:
    global _forked, _compiling
    _forked, _compiling = True, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def twice(**options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``njit(**options)``, with and without ``parallel=True``.

    The first argument is an array with an entry for each row that the loop goes through. As numba
    has it, ``py_func`` of the result is the function as it was written.
    """

    def compiled(function: Callable[..., None]) -> Callable[..., None]:
        loop = njit(parallel=True, **options)(function)
        plain = njit(**options)(_renamed(function))

        def call(*arguments: Any) -> None:
            worth_it = len(arguments[0]) > _FEW and not _forked and _several_threads()
            if worth_it and _in_threads.acquire(blocking=False):
                try:
                    loop(*arguments)
                finally:
                    _in_threads.release()
            else:
                plain(*arguments)

        call.__doc__, call.__name__ = function.__doc__, function.__name__
        call.py_func = function  # type: ignore[attr-defined]
        return call

    return compiled


def _several_threads() -> bool:
    import numba

    return bool(numba.get_num_threads() > 1)


def _renamed(function: Any) -> FunctionType:
    """The same function under a name of its own: numba's cache on disk goes by names."""
    name = f"{function.__name__}_plain"
    copy = FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
    copy.__qualname__, copy.__module__ = name, function.__module__
    return copy
