"""Arguments that several of the methods take, checked in one way."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ..errors import DataError


def require_length(n: Any) -> None:
    """Raise DataError unless ``n`` is the length of a list."""
    if not (isinstance(n, (int, np.integer)) and n >= 1):
        raise DataError(f"found n={n!r}; expected an int of at least 1")


def require_share(name: str, value: Any) -> None:
    """Raise DataError unless it is a number from 0 to 1."""
    if not (isinstance(value, Real) and 0 <= float(value) <= 1):
        raise DataError(f"found {name}={value!r}; expected a number from 0 to 1")


def require_finite(name: str, value: Any) -> None:
    """Raise DataError unless it is a number, and neither NaN nor infinite."""
    if not (isinstance(value, Real) and np.isfinite(float(value))):
        raise DataError(f"found {name}={value!r}; expected a finite number")
