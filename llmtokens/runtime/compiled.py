"""``numba.njit`` that keeps machine code between runs where it can, and does without where not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba

from ..errors import LLMTokensWarning

_warned = False


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(cache=True, **options)``; without the cache where no folder can hold it."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:  # installation and home are read-only
            _warn_once(str(error))
            return numba.njit(**options)(function)

    return compiled


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
