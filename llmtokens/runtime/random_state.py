"""Generators of random numbers, in Surprise's way."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
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
