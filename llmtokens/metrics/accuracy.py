"""RMSE and MAE as in ``surprise.accuracy``, but also user by user."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from surprise import Prediction

from ..errors import DataError
from ..runtime.arrays import Floats
from .lists import codes, columns


def rmse(predictions: Iterable[Prediction], *, per_user: bool = False) -> float | pd.Series:
    """Root of the mean squared error, over all predictions or each user's.

    The value over all is ``surprise.accuracy.rmse``: not the mean of the users' values.

    Raises
    ------
    DataError
        For no predictions, an estimate that is NaN, or one without a true rating.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [("u", 5, 4), ("u", 3, 4), ("v", 1, 4)]
    >>> rmse([Prediction(u, "a", r, est, {}) for u, r, est in rows], per_user=True).to_dict()
    {'u': 1.0, 'v': 3.0}
    """
    uids, error = _errors(predictions)
    return _mean(uids, error**2, per_user) ** 0.5


def mae(predictions: Iterable[Prediction], *, per_user: bool = False) -> float | pd.Series:
    """Mean absolute error, over all predictions or each user's.

    Parameters and errors are those of :func:`rmse`.

    Examples
    --------
    >>> from surprise import Prediction
    >>> mae([Prediction("u", "a", 5, 4, {}), Prediction("v", "a", 1, 4, {})])
    2.0
    """
    uids, error = _errors(predictions)
    return _mean(uids, np.abs(error), per_user)


def _errors(predictions: Iterable[Prediction]) -> tuple[tuple[object, ...], Floats]:
    uids, _, truth, estimate = columns(predictions)
    if np.isnan(truth).any():
        raise DataError(
            f"found {int(np.isnan(truth).sum())} predictions without a true rating; expected r_ui "
            "in each: predict a testset, not an anti-testset"
        )
    return uids, truth - estimate


def _mean(uids: tuple[object, ...], values: Floats, per_user: bool) -> float | pd.Series:
    if not per_user:
        return float(values.mean())
    users, user = codes(uids)
    index = pd.Index(users, dtype=object, name="user")
    return pd.Series(np.bincount(user, values) / np.bincount(user), index=index)
