"""How much each rating still says of its user."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.ratings import Ratings
from ...data.timestamps import Timestamps
from ...errors import DataError
from ...recommend.ageing import checked_half_life, decayed
from ...runtime.arrays import Floats


def recent(ratings: Ratings, timestamps: Any, half_life: float | None) -> Floats:
    """Weights of ratings that halve with every ``half_life`` before their user's newest, (n,).

    ``timestamps`` is what :meth:`~llmtokens.data.timestamps.Timestamps.of` takes.

    Raises
    ------
    DataError
        If only one of the two is given, they are of another form, or a rating has no timestamp.
    """
    if timestamps is None or half_life is None:
        missing = "timestamps" if timestamps is None else "half_life"
        raise DataError(
            f"found {missing}=None; timestamps and half_life go together (a saved model keeps "
            "neither the trainset nor the timestamps: set the attribute before fitting it again)"
        )
    half_life = checked_half_life(half_life)
    times = Timestamps.of(timestamps).of_all_ratings(ratings)
    newest = np.maximum.reduceat(times, ratings.user_ptr[:-1])
    return decayed(newest[ratings.user] - times, half_life)
