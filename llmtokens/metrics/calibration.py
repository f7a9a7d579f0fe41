"""Is the predicted spread right? For predictions with ``details["std"]``.

``std`` is the standard deviation of a Gaussian predictive distribution around the *unclipped*
mean. ``est`` is clipped to the rating scale unless ``predict(..., clip=False)`` made it. Where the
two differ, an interval around ``est`` lies further inside the scale than the model meant, and
holds the true rating somewhat more often; few predictions are that extreme. Ratings are taken as
continuous, though most scales are coarse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from statistics import NormalDist

import numpy as np
import pandas as pd
from surprise import Prediction

from ..errors import DataError, sample
from ..runtime.arrays import Floats
from .accuracy import _errors


def interval_coverage(
    predictions: Iterable[Prediction], levels: Sequence[float] = (0.5, 0.8, 0.95)
) -> pd.Series:
    """Share of true ratings inside the central predictive interval of each level.

    The interval is est +- z * std, z being the Gaussian quantile of (1 + level) / 2. Calibrated
    predictions have the level itself; less means too sure, more means too cautious.

    Parameters
    ----------
    predictions : iterable of Prediction
        With ``r_ui`` and ``details["std"]``.
    levels : sequence of float
        Between 0 and 1.

    Returns
    -------
    Series indexed by level

    Raises
    ------
    DataError
        For predictions without ``std`` or true rating, a ``std`` that is not above 0, or a level
        out of range.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [Prediction("u", i, i, 3.0, {"std": 1.0}) for i in (1, 2, 3, 4, 5)]
    >>> interval_coverage(rows, levels=(0.5, 0.8, 0.99)).tolist()
    [0.2, 0.6, 1.0]
    """
    if np.ndim(levels) != 1 or len(levels) == 0 or not all(0 < level < 1 for level in levels):
        raise DataError(f"found levels={levels!r}; expected a list of numbers between 0 and 1")
    error, std = _errors_and_std(predictions)
    size = np.abs(error) / std
    z = [NormalDist().inv_cdf((1 + level) / 2) for level in levels]
    shares = [float(np.mean(size <= bound)) for bound in z]
    return pd.Series(shares, index=pd.Index(levels, name="level"), name="coverage")


def reliability(predictions: Iterable[Prediction], n_bins: int = 10) -> pd.DataFrame:
    """Predicted against observed error, in bins of equal size by predicted spread.

    In calibrated predictions, ``rmse`` equals ``std`` in each bin (Levi et al., "Evaluating and
    calibrating uncertainty prediction in regression tasks", Sensors 2022).

    Parameters
    ----------
    predictions : iterable of Prediction
        With ``r_ui`` and ``details["std"]``.
    n_bins : int, default=10

    Returns
    -------
    DataFrame, one row a bin, ``std`` ascending
        ``n``; ``std``, the root mean square of the predicted ones; ``rmse``, the observed error.

    Raises
    ------
    DataError
        As :func:`interval_coverage`; also for more bins than predictions.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [Prediction("u", i, 3.0 + i, 3.0, {"std": float(i)}) for i in (1, 2)]
    >>> reliability(rows, n_bins=2).to_dict("list")
    {'n': [1, 1], 'std': [1.0, 2.0], 'rmse': [1.0, 2.0]}
    """
    error, std = _errors_and_std(predictions)
    if not isinstance(n_bins, Integral) or not 1 <= n_bins <= len(std):
        raise DataError(f"found n_bins={n_bins!r}; expected 1 to {len(std)}, one prediction each")
    bins = np.array_split(np.argsort(std, kind="stable"), n_bins)
    return pd.DataFrame(
        {
            "n": [len(own) for own in bins],
            "std": [np.sqrt(np.mean(std[own] ** 2)) for own in bins],
            "rmse": [np.sqrt(np.mean(error[own] ** 2)) for own in bins],
        },
        index=pd.RangeIndex(1, n_bins + 1, name="bin"),
    )


def _errors_and_std(
    predictions: Iterable[Prediction],
) -> tuple[Floats, Floats]:
    predictions = list(predictions)
    _, error = _errors(predictions)
    stds = [prediction.details.get("std") for prediction in predictions]
    without = sum(std is None for std in stds)
    if without:
        raise DataError(
            f'found {without} of {len(stds)} predictions without details["std"]; expected those '
            "of an algorithm that predicts its own spread, such as LLMTokensBPMF"
        )
    std = np.array(stds, np.float64)
    odd = ~(np.isfinite(std) & (std > 0))
    if odd.any():
        raise DataError(f"found standard deviations {sample(std[odd].tolist())}; expected above 0")
    return error, std
