"""Figures of comparisons and of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from surprise import Prediction

from ..errors import DataError, sample
from ..metrics import reliability as reliability_table
from ..metrics.accuracy import liked_or_not
from ..runtime.arrays import Floats
from .style import GRID, INK, LINE, WIDE, finish, new_axes, new_panels, plain_text, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..compare import Comparison
    from ..curves import LearningCurve


def learning_curve(
    curve: LearningCurve, measure: str | None = None, ax: Axes | None = None
) -> Axes:
    """A measure against the number of training ratings, with bands of 95 % confidence over folds.

    ``measure`` is by default the first; for the bands see
    :meth:`~llmtokens.curves.LearningCurve.points`. Numbers of ratings stand at the logarithm of one
    more.

    Raises
    ------
    DataError
        If there is no such measure.
    MissingExtraError
        Without matplotlib.
    """
    measure = curve.checked(measure)
    points = curve.points()
    points = points[points["measure"] == measure]
    ax, own = new_axes(ax)
    for name, look in styles(curve.comparison.algorithms).items():
        rows = points[points["algorithm"] == name]
        x = np.log1p(rows["n_given"])
        ax.plot(x, rows["mean"], label=plain_text(name), **look)
        ax.fill_between(x, rows["low"], rows["high"], color=look["color"], alpha=0.1, lw=0)
    ax.set_xticks(np.log1p(curve.n_given).tolist(), [str(n) for n in curve.n_given])
    ax.minorticks_off()
    label = f"training ratings of the {curve.by}"
    shown = measure.upper() if measure.islower() else measure
    ax.set(xlabel=label, ylabel=plain_text(shown, WIDE))
    return finish(ax, own)


def paired_differences(
    comparison: Comparison, measure: str | None = None, ax: Axes | None = None
) -> Axes:
    """Each algorithm minus the reference, with 95 % intervals; ``measure`` is by default the first.

    Raises
    ------
    DataError
        If there is no such measure, or nothing to compare with the reference.
    MissingExtraError
        Without matplotlib.
    """
    measure = comparison.measures[0] if measure is None else measure
    if measure not in comparison.measures:
        raise DataError(f"found {measure!r}; expected one of {sample(comparison.measures, 20)}")
    table = comparison.differences()
    table = table[table["measure"] == measure]
    if table.empty:
        raise DataError("found one algorithm only; expected another to compare it with")
    names = [name for name in comparison.algorithms if name != comparison.reference]
    shown = [plain_text(name) for name in names]
    lines = max(name.count("\n") + 1 for name in shown)
    room = max(0.3, 0.15 * len(comparison.splits), LINE * lines)
    ax, own = new_axes(ax, height=1.6 + room * len(names))
    ax.axvline(0, color=INK if own else "gray", lw=1)
    ax.locator_params(axis="x", nbins=4)
    for k, (split, look) in enumerate(styles(comparison.splits).items()):
        rows = table[table["split"] == split].set_index("algorithm").reindex(names)
        y = np.arange(len(names)) + 0.6 * ((k + 0.5) / len(comparison.splits) - 0.5)
        reach = (rows["high"] - rows["difference"]).fillna(0)
        look |= {"linestyle": "none"}
        ax.errorbar(rows["difference"], y, xerr=reach, capsize=3, label=plain_text(split), **look)
    ax.set_yticks(range(len(names)), shown)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set(xlabel=plain_text(f"{measure}, difference to {comparison.reference}"))
    return finish(ax, own)


def residuals(comparison: Comparison, split: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean of rating minus estimate against the estimate, in 15 bins of about equal size.

    Equal estimates stay together. A line at zero is an algorithm that is right on average, wherever
    its estimate lies.

    Raises
    ------
    DataError
        Without predictions, or if there is no such split; by default the first.
    MissingExtraError
        Without matplotlib.
    """
    split = comparison.splits[0] if split is None else split
    rows = _kept(comparison, split)
    ax, own = new_axes(ax)
    ax.axhline(0, color=INK if own else "gray", lw=1)
    for name, look in styles(comparison.algorithms).items():
        line = _residual_line(rows[rows["algorithm"] == name])
        if line is not None:
            ax.plot(*line, label=plain_text(name), **look)
    ax.set(xlabel="estimate", ylabel="mean of rating minus estimate", title=plain_text(split, WIDE))
    return finish(ax, own)


def residual_panels(comparison: Comparison, split: str | None = None) -> Axes:
    """:func:`residuals` with a panel for each algorithm, the others behind it in grey.

    Returns
    -------
    Axes
        Of the first panel; the others are in its figure.

    Raises
    ------
    DataError
        As :func:`residuals`.
    MissingExtraError
        Without matplotlib.
    """
    split = comparison.splits[0] if split is None else split
    rows = _kept(comparison, split)
    lines = {
        name: line
        for name in comparison.algorithms
        if (line := _residual_line(rows[rows["algorithm"] == name])) is not None
    }
    panels = new_panels(len(lines))
    for ax, (name, look) in zip(panels, styles(list(lines)).items(), strict=True):
        ax.axhline(0, color=INK, lw=1)
        for other, line in lines.items():
            if other != name:
                ax.plot(*line, color=GRID, lw=1)
        ax.plot(*lines[name], **look | {"markersize": 3})
        ax.set_title(plain_text(name, 20), size=9, color=INK)
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    figure.suptitle(plain_text(split, WIDE), size=11, color=INK)
    figure.supxlabel("estimate", size=10, color=INK)
    figure.supylabel("rating minus estimate", size=10, color=INK)
    return panels[0]


def _residual_line(rows: pd.DataFrame) -> Floats | None:
    """Mean estimate and mean of rating minus estimate in each bin, shape (2, n_bins)."""
    pairs = rows.sort_values("est", kind="stable")[["est", "rating"]].to_numpy(float)
    if not len(pairs):
        return None
    cuts = pairs[np.arange(15) * len(pairs) // 15, 0]
    starts = np.unique(np.searchsorted(pairs[:, 0], cuts))
    est, rating = np.array([part.mean(axis=0) for part in np.split(pairs, starts[1:])]).T
    return np.stack([est, rating - est])


def roc_curve(
    comparison: Comparison,
    split: str | None = None,
    relevant: float = 4.0,
    ax: Axes | None = None,
) -> Axes:
    """Share of liked pairs found against that of others taken for liked, for all thresholds.

    The further towards the upper left, the better estimates tell what is liked, rated at least
    ``relevant``, from what is not; on the diagonal they are chance. ``split`` is by default the
    first; areas are of all its folds together.

    Raises
    ------
    DataError
        Without predictions, if there is no such split, or if all pairs are liked, or none.
    MissingExtraError
        Without matplotlib.
    """
    from sklearn.metrics import auc
    from sklearn.metrics import roc_curve as curve_of

    split = comparison.splits[0] if split is None else split
    rows = _kept(comparison, split)
    ax, own = new_axes(ax, height=4.6)
    ax.plot([0, 1], [0, 1], color=INK if own else "gray", lw=1, ls=":")
    for name, look in styles(comparison.algorithms).items():
        mine = rows[rows["algorithm"] == name]
        if len(mine):
            liked, estimate = liked_or_not(_predictions(mine), relevant)
            wrong, right, _ = curve_of(liked, estimate)
            at = np.unique(np.linspace(0, len(wrong) - 1, 300).astype(int))
            label = plain_text(f"{name}: {auc(wrong, right):.3f}")
            ax.plot(wrong[at], right[at], label=label, **look | {"marker": None})
    ax.set(xlabel="share of the others taken for liked", ylabel="share of the liked found")
    ax.set(title=plain_text(split, WIDE), xlim=(0, 1), ylim=(0, 1))
    return finish(ax, own)


def reliability(comparison: Comparison, split: str | None = None, ax: Axes | None = None) -> Axes:
    """Observed RMSE against predicted standard deviation, in 10 bins of equal size.

    On the diagonal, an algorithm errs as much as it says.

    Raises
    ------
    DataError
        If no algorithm gave ``details["std"]``, or predictions were not kept.
    MissingExtraError
        Without matplotlib.
    """
    split = comparison.splits[0] if split is None else split
    rows = _kept(comparison, split)
    rows = rows[rows["std"].notna()]
    if rows.empty:
        raise DataError("found no predictive standard deviations; LLMTokensBPMF gives them")
    ax, own = new_axes(ax)
    for name, look in styles(comparison.algorithms).items():
        mine = rows[rows["algorithm"] == name]
        if len(mine) >= 10:
            table = reliability_table(_predictions(mine))
            ax.plot(table["std"], table["rmse"], label=plain_text(name), **look)
    ends = np.array([ax.get_xlim(), ax.get_ylim()])
    span = [ends.min(), ends.max()]
    ax.plot(span, span, color=INK if own else "gray", lw=1, ls=":", label="as predicted")
    ax.set(
        xlabel="predicted standard deviation", ylabel="observed RMSE", title=plain_text(split, WIDE)
    )
    return finish(ax, own)


def _predictions(rows: pd.DataFrame) -> list[Prediction]:
    columns = zip(rows["user"], rows["item"], rows["rating"], rows["est"], rows["std"], strict=True)
    return [Prediction(u, i, r, est, {"std": std}) for u, i, r, est, std in columns]


def _kept(comparison: Comparison, split: str) -> pd.DataFrame:
    """The predictions of one split."""
    rows = comparison.predictions
    if rows is None:
        raise DataError("found no predictions; run compare(..., keep_predictions=True)")
    if split not in comparison.splits:
        raise DataError(f"found split={split!r}; expected one of {sample(comparison.splits, 20)}")
    return rows[rows["split"] == split]
