"""How much ratings still say when tastes change: weights by age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

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
    check_half_life(half_life)
    return decayed(times.max(initial=-np.inf) - times, half_life)


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


def check_half_life(half_life: float) -> None:
    """Raise DataError unless it is a positive number."""
    if not (isinstance(half_life, (int, float, np.number)) and 0 < half_life < np.inf):
        raise DataError(f"found half_life={half_life!r}; expected a positive number")
