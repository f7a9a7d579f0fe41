"""Learning curves: the error against how much is known, where text should matter most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from .errors import DataError, sample

if TYPE_CHECKING:
    from .compare import Comparison

BINS = (0, 1, 2, 3, 5, 8, 12, 18, 27, 39, 51)


def learning_curve(
    comparison: Comparison, by: Literal["item", "user"] = "item", bins: Sequence[int] = BINS
) -> pd.DataFrame:
    """RMSE by the number of training ratings that the item, or the user, of a prediction has.

    Parameters
    ----------
    comparison : Comparison
        Made with ``keep_predictions=True``.
    by : {"item", "user"}
    bins : sequence of int
        Ascending; a bin holds the counts from one number up to the next less one. By default 0, 1,
        2, 3-4, 5-7, ... up to 50.

    Returns
    -------
    DataFrame
        ``split algorithm low high n rmse error``: bins of ``low`` to ``high`` ratings that have
        predictions, their number over all folds, and the standard error of the RMSE (delta method,
        predictions taken as independent).

    Raises
    ------
    DataError
        Without predictions, or for bins that do not ascend.

    Notes
    -----
    Within one random split, items with few ratings are obscure ones; a few-shot split
    (:class:`~llmtokens.model_selection.FewShotItemKFold`) gives few ratings of any item.

    Examples
    --------
    >>> from surprise import BaselineOnly
    >>> from llmtokens.compare import compare
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
    >>> result = compare({"base": BaselineOnly()}, data, keep_predictions=True, progress=False)
    >>> learning_curve(result, bins=[0, 10, 20])[["low", "high", "algorithm"]]
       low  high algorithm
    0    0     9      base
    1   10    19      base
    """
    rows = kept_predictions(comparison)
    edges = np.asarray(bins)
    if by not in ("item", "user"):
        raise DataError(f"found by={by!r}; expected 'item' or 'user'")
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise DataError(f"found the bins {sample(bins, 20)}; expected two or more, ascending")
    place = np.searchsorted(edges, rows[f"n_{by}"].to_numpy(), side="right") - 1
    inside = (place >= 0) & (place < len(edges) - 1)
    squared = (rows["rating"] - rows["est"]) ** 2
    table = rows[["split", "algorithm"]].assign(bin=place, squared=squared)[inside]
    groups = table.groupby(["split", "algorithm", "bin"], observed=True)["squared"]
    found = groups.agg(n="size", mean="mean", std="std").reset_index()
    rmse = np.sqrt(found["mean"])
    with np.errstate(divide="ignore", invalid="ignore"):
        error = found["std"] / (2 * rmse * np.sqrt(found["n"]))
    table = found[["split", "algorithm"]].copy()
    table["low"], table["high"] = edges[found["bin"]], edges[found["bin"] + 1] - 1
    return table.assign(n=found["n"], rmse=rmse, error=error)


def kept_predictions(comparison: Comparison, split: str | None = None) -> pd.DataFrame:
    """The predictions of a comparison, or of one split of it.

    Raises
    ------
    DataError
        If they were not kept, or there is no such split.
    """
    rows = comparison.predictions
    if rows is None:
        raise DataError("found no predictions; run compare(..., keep_predictions=True)")
    if split is None:
        return rows
    if split not in comparison.splits:
        raise DataError(f"found split={split!r}; expected one of {sample(comparison.splits, 20)}")
    return rows[rows["split"] == split]
