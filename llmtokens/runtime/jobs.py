"""How many workers joblib is asked for, and what they are sent once, not with every task."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Generic, TypeVar

import numpy as np

from ..errors import DataError
from .cached import cached_property

T = TypeVar("T")


def require_jobs(n_jobs: Any) -> None:
    """Raise DataError unless it is a number of workers as joblib counts them, or None."""
    if not (n_jobs is None or (isinstance(n_jobs, Integral) and n_jobs != 0)):
        raise DataError(f"found n_jobs={n_jobs!r}; expected a number of workers, -1 for one a core")


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
