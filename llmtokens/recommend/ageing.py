"""How much ratings still say when tastes change: weights by age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from ..data.times import seconds
from ..errors import DataError
from ..runtime.arrays import Floats


def recency(n: int, timestamps: Sequence[float] | None, half_life: float | None) -> Floats:
    """Weights that halve with every ``half_life`` before the newest rating, shape (n,).

    >>> recency(3, [0, 5, 10], half_life=5.0).tolist()
    [0.25, 0.5, 1.0]

    Raises
    ------
    DataError
        If only one of the two is given, or they cannot be used.
    """
    if timestamps is None and half_life is None:
        return np.ones(n)
    if timestamps is None or half_life is None:
        raise DataError("timestamps and half_life go together; found only one of them")
    times = checked_times(n, timestamps)
    return decayed(times.max(initial=-np.inf) - times, checked_half_life(half_life))


def checked_times(n: int, timestamps: Sequence[float]) -> Floats:
    """Times of ``n`` ratings as numbers, in their order.

    Raises
    ------
    DataError
        If there are more or fewer, or some are neither numbers nor dates.
    """
    if isinstance(timestamps, Mapping):
        raise DataError(
            f"found timestamps of type {type(timestamps).__name__}; expected a list, in the order "
            "of the ratings"
        )
    times = seconds(timestamps)
    bad = int(np.sum(~np.isfinite(times)))
    if times.shape != (n,) or bad:
        raise DataError(
            f"found timestamps of shape {times.shape}, {bad} of them neither numbers nor dates; "
            f"expected {n} finite numbers or dates (as text: ISO 8601; others: pandas.to_datetime)"
        )
    return times


def decayed(age: Floats, half_life: float) -> Floats:
    """Weights by age: halved by every half-life, and never quite nothing."""
    return np.maximum(0.5 ** (age / half_life), 1e-9)


def checked_half_life(half_life: Any) -> float:
    """A half-life as a number; a length of time, such as a timedelta, in seconds.

    Raises
    ------
    DataError
        Unless it is positive.
    """
    number = half_life
    if isinstance(half_life, (timedelta, np.timedelta64)):  # that of pandas is one of the former
        number = pd.Timedelta(half_life).total_seconds()
    if isinstance(number, bool) or not (isinstance(number, Real) and 0 < float(number) < np.inf):
        raise DataError(
            f"found half_life={half_life!r}; expected a positive number, or a length of time"
        )
    return float(number)
