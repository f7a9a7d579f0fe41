"""Figures of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from surprise import Prediction

from .. import curves
from ..errors import DataError, sample
from ..metrics import reliability as reliability_table
from .style import INK, finish, new_axes, plain_text, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..compare import Comparison


def learning_curve(
    comparison: Comparison,
    by: Literal["item", "user"] = "item",
    split: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """RMSE against training ratings, with bands of two standard errors.

    Bins with fewer than 20 predictions are left out. See
    :func:`llmtokens.curves.learning_curve` for parameters and errors; ``split`` is by default the
    first.
    """
    split = comparison.splits[0] if split is None else split
    curves.kept_predictions(comparison, split)
    table = curves.learning_curve(comparison, by)
    table = table[(table["split"] == split) & (table["n"] >= 20)]
    ax, own = new_axes(ax)
    lows = np.sort(table["low"].unique())
    for k, name in enumerate(comparison.algorithms):
        rows = table[table["algorithm"] == name]
        x = np.searchsorted(lows, rows["low"])
        ax.plot(x, rows["rmse"], label=plain_text(name), **style(k))
        reach = 2 * rows["error"]
        ax.fill_between(
            x,
            rows["rmse"] - reach,
            rows["rmse"] + reach,
            color=style(k)["color"],
            alpha=0.12,
            lw=0,
        )
    highs = table.drop_duplicates("low").set_index("low")["high"]
    ax.set_xticks(range(len(lows)), [_range(low, int(highs[low])) for low in lows.tolist()])
    ax.set(xlabel=f"training ratings of the {by}", ylabel="RMSE", title=plain_text(split))
    return finish(ax, own)


def paired_differences(
    comparison: Comparison, measure: str | None = None, ax: Axes | None = None
) -> Axes:
    """Each algorithm minus the reference, with 95 % intervals; ``measure`` is by default the first.

    Raises
    ------
    DataError
        If there is no such measure, or nothing to compare with the reference.
    """
    measure = comparison.measures[0] if measure is None else measure
    if measure not in comparison.measures:
        raise DataError(f"found {measure!r}; expected one of {sample(comparison.measures, 20)}")
    table = comparison.differences()
    table = table[table["measure"] == measure]
    if table.empty:
        raise DataError("found one algorithm only; expected another to compare it with")
    names = [name for name in comparison.algorithms if name != comparison.reference]
    ax, own = new_axes(ax, height=1.6 + 0.3 * len(names) * max(1, len(comparison.splits) / 2))
    ax.axvline(0, color=INK if own else "gray", lw=1)
    ax.locator_params(axis="x", nbins=4)
    for k, split in enumerate(comparison.splits):
        rows = table[table["split"] == split].set_index("algorithm").reindex(names)
        y = np.arange(len(names)) + 0.6 * ((k + 0.5) / len(comparison.splits) - 0.5)
        reach = (rows["high"] - rows["difference"]).fillna(0)
        look = style(k) | {"linestyle": "none"}
        ax.errorbar(rows["difference"], y, xerr=reach, capsize=3, label=plain_text(split), **look)
    ax.set_yticks(range(len(names)), [plain_text(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set(xlabel=plain_text(f"{measure}, difference to {comparison.reference}"))
    return finish(ax, own)


def residuals(comparison: Comparison, split: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean of rating minus estimate against the estimate, in 15 bins of equal size.

    A line at zero is an algorithm that is right on average, wherever its estimate lies.

    Raises
    ------
    DataError
        Without predictions, or if there is no such split; by default the first.
    """
    split = comparison.splits[0] if split is None else split
    rows = curves.kept_predictions(comparison, split)
    ax, own = new_axes(ax)
    ax.axhline(0, color=INK if own else "gray", lw=1)
    for k, name in enumerate(comparison.algorithms):
        mine = rows[rows["algorithm"] == name].sort_values("est", kind="stable")
        pairs = mine[["est", "rating"]].to_numpy(float)
        parts = [part for part in np.array_split(pairs, 15) if len(part)]
        if parts:
            est, rating = np.array([part.mean(axis=0) for part in parts]).T
            ax.plot(est, rating - est, label=plain_text(name), **style(k))
    ax.set(xlabel="estimate", ylabel="mean of rating minus estimate", title=plain_text(split))
    return finish(ax, own)


def reliability(comparison: Comparison, split: str | None = None, ax: Axes | None = None) -> Axes:
    """Observed RMSE against predicted standard deviation, in 10 bins of equal size.

    On the diagonal, an algorithm errs as much as it says.

    Raises
    ------
    DataError
        If no algorithm gave ``details["std"]``, or predictions were not kept.
    """
    split = comparison.splits[0] if split is None else split
    rows = curves.kept_predictions(comparison, split)
    rows = rows[rows["std"].notna()]
    if rows.empty:
        raise DataError("found no predictive standard deviations; LLMTokensBPMF gives them")
    ax, own = new_axes(ax)
    for k, name in enumerate(comparison.algorithms):
        mine = rows[rows["algorithm"] == name]
        if len(mine) >= 10:
            table = reliability_table(_predictions(mine))
            ax.plot(table["std"], table["rmse"], label=plain_text(name), **style(k))
    ends = np.array([ax.get_xlim(), ax.get_ylim()])
    span = [ends.min(), ends.max()]
    ax.plot(span, span, color=INK if own else "gray", lw=1, ls=":", label="as predicted")
    ax.set(xlabel="predicted standard deviation", ylabel="observed RMSE", title=plain_text(split))
    return finish(ax, own)


def _predictions(rows: pd.DataFrame) -> list[Prediction]:
    columns = zip(rows["user"], rows["item"], rows["rating"], rows["est"], rows["std"], strict=True)
    return [Prediction(u, i, r, est, {"std": std}) for u, i, r, est, std in columns]


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"
