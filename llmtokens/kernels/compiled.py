"""Loops that numba compiles by name, when they are first called.

Machine code is kept between runs where a folder can hold it. None of numba's own thread pools is
used: some end the process when two loops meet, or in a child that was forked. Several threads call
a loop at once, each with rows of its own (``over_rows``): every row goes through the same code.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

from ..errors import LLMTokensWarning

_warned = False
_compiling = threading.RLock()


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


def _in_forked_child() -> None:
    global _compiling
    _compiling = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
