"""Learning curves: the error against how much is known, which shows what text is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from surprise import AlgoBase
from surprise.dataset import Dataset

from .compare import Comparison, compare
from .compare.measures import Measures
from .compare.results import t_interval
from .errors import DataError, sample
from .model_selection import FewShotItemKFold, FewShotUserKFold

if TYPE_CHECKING:
    from .datasets import RatingData

N_GIVEN = (0, 1, 2, 3, 5, 10, 20, 50)
_SIDES: dict[str, Any] = {"item": FewShotItemKFold, "user": FewShotUserKFold}


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve:
    """What :func:`learning_curve` found; ``print`` shows the means as a table.

    Attributes
    ----------
    by : {"item", "user"}
    n_given : tuple of int
        Numbers of training ratings, ascending.
    comparison : Comparison
        All values, with a split for each number of ratings, in that order: paired differences at
        each point, times and failures are there.
    """

    by: str
    n_given: tuple[int, ...]
    comparison: Comparison

    def points(self, confidence: float = 0.95) -> pd.DataFrame:
        """Mean over folds with its t interval, for curves to be compared by.

        Some folds are harder than others, for all algorithms alike: where there are several, the
        level of a fold, of those that failed in none, is taken out before its spread is measured
        (Cousineau 2005, corrected as in Morey 2008, "Confidence intervals from normalized data",
        Tutorials in Quantitative Methods for Psychology 4). As in :meth:`Comparison.differences`,
        the variance is also corrected for the overlap of training sets.

        Returns
        -------
        DataFrame
            ``algorithm measure n_given mean low high folds``; no interval for fewer than two folds.

        Raises
        ------
        DataError
            If ``confidence`` is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise DataError(f"found confidence={confidence!r}; expected a number between 0 and 1")
        known: dict[Any, int] = dict(zip(self.comparison.splits, self.n_given, strict=True))
        rows = []
        table = self.comparison.table
        for (measure, split), group in table.groupby(["measure", "split"], sort=False):
            values = group.pivot(index="fold", columns="algorithm", values="value")
            overlap = float((group["n_test"] / group["n_train"]).mean())
            for name in self.comparison.algorithms:
                reach = _reach(values, name, overlap, confidence)
                mean, n = float(values[name].mean()), int(values[name].count())
                rows.append((name, measure, known[split], mean, mean - reach, mean + reach, n))
        columns = ["algorithm", "measure", "n_given", "mean", "low", "high", "folds"]
        return pd.DataFrame(rows, columns=columns)

    def table(self, measure: str | None = None) -> pd.DataFrame:
        """Means by algorithm (rows) and number of ratings (columns), by default of the first
        measure.

        Raises
        ------
        DataError
            If there is no such measure.
        """
        points = self.points()
        mine = points[points["measure"] == self.checked(measure)]
        means = mine.pivot(index="algorithm", columns="n_given", values="mean")
        return means.reindex(self.comparison.algorithms)

    def checked(self, measure: str | None) -> str:
        """The name of the measure, by default the first.

        Raises
        ------
        DataError
            If there is none such.
        """
        names = self.comparison.measures
        if measure is not None and measure not in names:
            raise DataError(f"found {measure!r}; expected one of {sample(names, 20)}")
        return names[0] if measure is None else measure

    def __str__(self) -> str:
        parts = []
        for measure in self.comparison.measures:
            shown = self.table(measure).rename_axis(index=None, columns=None)
            head = f"{measure.upper()} by the number of training ratings of the {self.by}."
            parts.append(f"{head}\n\n{shown.to_string(float_format='{:.4f}'.format, na_rep='-')}")
        parts += [f"Failed: {line}" for line in self.comparison.failures()]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        """For a notebook: a table of means for each measure."""
        parts = []
        for measure in self.comparison.measures:
            shown = self.table(measure).to_html(float_format="{:.4f}".format, na_rep="-")
            parts.append(f"<p>{escape(measure)} by ratings of the {self.by}</p>{shown}")
        parts += [f"<p>Failed: {escape(line)}</p>" for line in self.comparison.failures()]
        return "".join(parts)

    def __repr__(self) -> str:
        return f"LearningCurve(by {self.by}, {len(self.n_given)} points, {self.comparison!r})"


def learning_curve(
    algorithms: Mapping[str, AlgoBase],
    data: Dataset | RatingData,
    by: Literal["item", "user"] = "item",
    n_given: Sequence[int] = N_GIVEN,
    measures: Measures = ("rmse",),
    *,
    n_splits: int = 5,
    random_state: int = 0,
    **options: Any,
) -> LearningCurve:
    """Measure algorithms with 0, 1, 2, ... 50 training ratings of the items (or users) they face.

    Items are dealt into folds. Those of a fold are held out but for ``n_given`` of their ratings;
    all points test the same items on the same ratings: those beyond the largest ``n_given``.

    Parameters
    ----------
    algorithms, data, measures
        As :func:`~llmtokens.compare.compare` takes them.
    by : {"item", "user"}
    n_given : sequence of int
        Numbers of training ratings, two or more. Items with no more ratings than the largest are
        in training with all they have, and are not tested.
    n_splits : int, default=5
        Folds.
    random_state : int, default=0
        Of the folds.
    **options
        Of :func:`~llmtokens.compare.compare`: ``n_jobs folder reference progress``.

    Returns
    -------
    LearningCurve
        For ``print``, :func:`llmtokens.plots.learning_curve` and :func:`llmtokens.report.report`.

    Raises
    ------
    DataError
        For numbers that are no numbers of ratings, too few items with more ratings than the largest
        of them, and whatever ``compare`` refuses.
    StorageError
        If ``folder`` cannot be written to.

    Examples
    --------
    >>> from llmtokens.controls import UserMean
    >>> from llmtokens.datasets import synthetic
    >>> from surprise import BaselineOnly
    >>> data = synthetic(n_users=60, n_items=60, n_ratings=1500)
    >>> algorithms = {"user mean": UserMean(), "baseline": BaselineOnly(verbose=False)}
    >>> curve = learning_curve(algorithms, data, n_given=[0, 5, 15], n_splits=3, progress=False)
    >>> means = curve.table()
    >>> bool(means.loc["user mean"].std() < means.loc["baseline"].std())
    True
    """
    if by not in _SIDES:
        raise DataError(f"found by={by!r}; expected 'item' or 'user'")
    numbers = _numbers(n_given)
    _check_enough(getattr(data, "dataset", data), by, numbers[-1], n_splits)
    splits = {
        f"{by}, {n} ratings": _SIDES[by](n_splits, n, random_state, n_reserved=numbers[-1])
        for n in numbers
    }
    return LearningCurve(by, numbers, compare(algorithms, data, splits, measures, **options))


def _reach(values: pd.DataFrame, name: str, overlap: float, confidence: float) -> float:
    """Half the width of an algorithm's interval, from values by fold (rows) and algorithm."""
    complete = values.columns[values.notna().all()].union([name])
    whole, own, inflate = values[complete].dropna(), values[name].dropna(), 1.0
    n = whole.shape[1]
    if n > 1:
        own = whole[name] - whole.mean(axis=1)
        inflate = (n / (n - 1)) ** 0.5
    mean, _, high, _, _ = t_interval(own.to_numpy(float), overlap, confidence)
    return inflate * (high - mean)


def _numbers(n_given: Sequence[int]) -> tuple[int, ...]:
    given = list(n_given) if isinstance(n_given, Iterable) else []
    if not all(isinstance(n, Integral) and n >= 0 for n in given) or len(set(given)) < 2:
        raise DataError(
            f"found n_given={n_given!r}; expected two or more numbers of ratings, such as {N_GIVEN}"
        )
    return tuple(sorted({int(n) for n in given}))


def _check_enough(dataset: Any, by: str, most: int, n_splits: int) -> None:
    column = ("user", "item").index(by)
    counts = Counter(row[column] for row in getattr(dataset, "raw_ratings", ()))
    enough = int(np.sum(np.fromiter(counts.values(), np.int64) > most))
    if counts and enough < n_splits:
        raise DataError(
            f"found {enough} {by}s with more than {most} ratings; expected at least {n_splits}, "
            "one to test in each fold: leave the largest numbers out of n_given"
        )
