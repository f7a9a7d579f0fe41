"""Arguments that several calls take: checked, and told what was expected, in one way."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from surprise.utils import get_rng

from ..errors import DataError


def generator(random_state: Any) -> np.random.RandomState:
    """As ``surprise.utils.get_rng``: None is numpy's global generator, an int a seed.

    Raises
    ------
    DataError
        For anything else but a RandomState.
    """
    try:
        seed = int(random_state) if isinstance(random_state, Integral) else random_state
        made: np.random.RandomState = get_rng(seed)
    except ValueError as error:
        raise DataError(
            f"found random_state={random_state!r}; expected None, an int from 0 to 2**32 - 1 or a "
            "numpy RandomState"
        ) from error
    return made


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


def require_jobs(n_jobs: Any) -> None:
    """Raise DataError unless it is a number of workers as joblib counts them, or None."""
    if not (n_jobs is None or (isinstance(n_jobs, Integral) and n_jobs != 0)):
        raise DataError(f"found n_jobs={n_jobs!r}; expected a number of workers, -1 for one a core")


def pandas_of(given: Any) -> Any:
    """Frames of other libraries that can be had as one of pandas, as polars'; else what it is."""
    if not isinstance(given, pd.DataFrame) and hasattr(given, "to_pandas"):
        return given.to_pandas()
    if isinstance(given, (list, tuple)) and given and all(isinstance(x, dict) for x in given):
        return pd.DataFrame(list(given))
    return given
