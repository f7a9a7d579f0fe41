"""How far estimates are from ratings, whether they tell liked from not, and how sure they are.

Of predictions with ``details["std"]``: that is the standard deviation of a Gaussian predictive
distribution around the *unclipped* mean. ``est`` is clipped to the rating scale unless
``predict(..., clip=False)`` made it. Where the two differ, an interval around ``est`` lies further
inside the scale than the model meant, and holds the true rating somewhat more often; few
predictions are that extreme. Ratings are taken as continuous, though most scales are coarse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from statistics import NormalDist

import numpy as np
import pandas as pd
from surprise import Prediction

from ..errors import DataError, sample
from ..runtime.arrays import Floats, Mask
from .lists import Columns, codes, columns


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


CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "roc_auc")


def classification(
    predictions: Iterable[Prediction], relevant: float = 4.0, which: str | None = None
) -> pd.Series | float:
    """Whether estimates tell what is liked from what is not: scikit-learn's measures.

    A pair is liked if its rating is at least ``relevant``, and said to be liked if its estimate is.
    All pairs are taken together, whosever they are; ROC AUC, the chance that a liked pair has a
    higher estimate than another, does not depend on where the estimates are cut.

    Parameters
    ----------
    predictions : iterable of Prediction
        With ``r_ui``.
    relevant : float, default=4.0
        The least rating of what is liked.
    which : {"accuracy", "precision", "recall", "f1", "roc_auc"}, optional
        Return this one: for ``compare(measures=...)``.

    Returns
    -------
    Series, or float with ``which``
        Precision is 0 where nothing is said to be liked.

    Raises
    ------
    DataError
        As :func:`rmse`; also if all pairs are liked, or none, or there is no such measure.

    Examples
    --------
    >>> from surprise import Prediction
    >>> rows = [(5, 4.4), (4, 3.6), (2, 4.1), (1, 2.0)]
    >>> found = classification([Prediction("u", i, *row, {}) for i, row in enumerate(rows)])
    >>> found.round(2).to_dict()
    {'accuracy': 0.5, 'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'roc_auc': 0.75}
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

    if which is not None and which not in CLASSIFICATION:
        raise DataError(f"found which={which!r}; expected one of {', '.join(CLASSIFICATION)}")
    liked, estimate = liked_or_not(predictions, relevant)
    if which == "roc_auc":
        return float(roc_auc_score(liked, estimate))
    said = estimate >= relevant
    three = precision_recall_fscore_support(liked, said, average="binary", zero_division=0)[:3]
    values = [accuracy_score(liked, said), *three, roc_auc_score(liked, estimate)]
    found = pd.Series(values, index=pd.Index(CLASSIFICATION, name="measure"), dtype=float)
    return found if which is None else float(found[which])


def liked_or_not(predictions: Iterable[Prediction], relevant: float) -> tuple[Mask, Floats]:
    """Which pairs are liked, and their estimates; DataError where one kind only is there."""
    if not isinstance(relevant, Real):
        raise DataError(f"found relevant={relevant!r}; expected the least rating of what is liked")
    known = _known(predictions)
    truth, liked = known.truth, known.truth >= relevant
    if liked.all() or not liked.any():
        raise DataError(
            f"found true ratings from {truth.min():g} to {truth.max():g}; expected some of at "
            f"least relevant={relevant:g} and some below: set relevant to what counts as liked"
        )
    return liked, known.estimate


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


def _errors(predictions: Iterable[Prediction]) -> tuple[tuple[object, ...], Floats]:
    found = _known(predictions)
    return found.uids, found.truth - found.estimate


def _known(predictions: Iterable[Prediction]) -> Columns:
    """Columns of predictions that all have a true rating."""
    found = columns(predictions)
    without = int(np.isnan(found.truth).sum())
    if without:
        raise DataError(
            f"found {without} predictions without a true rating; expected r_ui in each: predict a "
            "testset, not an anti-testset"
        )
    return found


def _mean(uids: tuple[object, ...], values: Floats, per_user: bool) -> float | pd.Series:
    if not per_user:
        return float(values.mean())
    users, user = codes(uids)
    index = pd.Index(users, dtype=object, name="user")
    return pd.Series(np.bincount(user, values) / np.bincount(user), index=index)
