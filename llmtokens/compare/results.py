"""Comparison: what ``compare`` found, as tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import DataError, sample
from ..runtime.arrays import Floats
from ..storage.files import write_text

_KEY = ["split", "algorithm", "measure"]
_COSTS = {"fit_time": "Fit time (s)", "test_time": "Test time (s)", "peak_memory": "Memory (MB)"}


class Block(NamedTuple):
    """One table of a comparison: a row for each algorithm, with its folds, mean and deviation."""

    split: str
    measure: str
    values: pd.DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Results of :func:`~llmtokens.compare.compare`; ``print`` shows them as Surprise would.

    Attributes
    ----------
    table : DataFrame
        One row per split, algorithm, fold and measure: ``split algorithm fold measure value
        fit_time test_time peak_memory n_train n_test error``; times in seconds, memory in MB (10^6
        bytes) above what the process held before, ``error`` empty where all went well.
    reference : str
        The algorithm the others are compared with.
    settings : dict of dict of str
        Data, algorithms, splits, measures, versions and hardware, in words.
    predictions : DataFrame or None
        One row per prediction: ``split algorithm fold user item rating est std n_user n_item``:
        ``std`` is NaN where an algorithm gives none, the last two are numbers of training ratings.
    better : dict of str
        For each measure whether "lower" or "higher" is better; "" where nobody can say.
    """

    table: pd.DataFrame
    reference: str
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    better: dict[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        """Names of the splits, in the order given."""
        return list(dict.fromkeys(self.table["split"]))

    @property
    def algorithms(self) -> list[str]:
        """Names of the algorithms, in the order given."""
        return list(dict.fromkeys(self.table["algorithm"]))

    @property
    def measures(self) -> list[str]:
        """Names of the measures, in the order given."""
        return list(dict.fromkeys(self.table["measure"]))

    def summary(self) -> pd.DataFrame:
        """Mean and standard deviation over the folds that went well.

        Returns
        -------
        DataFrame
            ``split algorithm measure mean std folds failed fit_time test_time peak_memory``, one
            row per split, algorithm and measure; ``std`` with n - 1, NaN for one fold.
        """
        groups = self.table.groupby(_KEY, sort=False)
        found = groups["value"].agg(mean="mean", std="std", folds="count")
        found["failed"] = groups["error"].agg(lambda errors: int((errors != "").sum()))
        return found.join(groups[list(_COSTS)].mean()).reset_index()

    def differences(
        self, reference: str | None = None, *, confidence: float = 0.95, corrected: bool = True
    ) -> pd.DataFrame:
        """Each algorithm minus the reference on the same folds: paired t intervals and p-values.

        Parameters
        ----------
        reference : str, optional
            By default the reference of the comparison.
        confidence : float, default=0.95
        corrected : bool, default=True
            Training sets of different folds overlap, so that the plain paired t test takes chance
            for an effect too often. The corrected one takes (1/n + n_test/n_train) times the
            variance where the plain one takes 1/n of it (Nadeau & Bengio, "Inference for the
            Generalization Error", Machine Learning 52, 2003).

        Returns
        -------
        DataFrame
            ``split algorithm measure difference low high p folds``; over the folds in which both
            went well; no interval where there are fewer than two.

        Raises
        ------
        DataError
            If there is no such algorithm, or ``confidence`` is not between 0 and 1.
        """
        reference = self.reference if reference is None else reference
        if reference not in self.algorithms:
            raise DataError(f"found {reference!r}; expected one of {sample(self.algorithms, 20)}")
        if not 0 < confidence < 1:
            raise DataError(f"found confidence={confidence!r}; expected a number between 0 and 1")
        return self._paired(reference, confidence, corrected)

    def _paired(
        self, reference: str, confidence: float = 0.95, corrected: bool = True
    ) -> pd.DataFrame:
        keys = ["split", "measure", "fold"]
        base = self.table[self.table["algorithm"] == reference][[*keys, "value"]]
        rest = self.table[self.table["algorithm"] != reference]
        paired = rest.merge(base, on=keys, suffixes=("", "_reference"))
        paired["difference"] = paired["value"] - paired["value_reference"]
        rows = []
        for key, group in paired.groupby(_KEY, sort=False):
            good = group[group["difference"].notna()]
            overlap = float((good["n_test"] / good["n_train"]).mean()) if corrected else 0.0
            rows.append(
                (*key, *t_interval(good["difference"].to_numpy(float), overlap, confidence))
            )
        columns = ["split", "algorithm", "measure", "difference", "low", "high", "p", "folds"]
        return pd.DataFrame(rows, columns=columns)

    def best(self) -> pd.DataFrame:
        """Which algorithm is best, and by how much it is ahead of the next.

        Returns
        -------
        DataFrame
            ``split measure algorithm mean next difference low high p``, one row per split and
            measure that has a better direction: ``difference`` is the best minus the next, with
            its 95 % interval as :meth:`differences` has it. Which is best was chosen on these very
            folds, so that with many algorithms ``p`` is somewhat too small.
        """
        rows = []
        for (split, measure), group in self.summary().groupby(["split", "measure"], sort=False):
            sign = {"lower": 1, "higher": -1}.get(self.better.get(str(measure), ""))
            ranked = group[group["mean"].notna()]
            if sign is None or ranked.empty:
                continue
            ranked = ranked.iloc[np.argsort(sign * ranked["mean"].to_numpy(), kind="stable")]
            first, rest = ranked.iloc[0], ranked.iloc[1:]
            row = {"split": split, "measure": measure, "algorithm": first["algorithm"]}
            row |= {"mean": first["mean"], "next": ""}
            if len(rest):
                row["next"] = rest.iloc[0]["algorithm"]
                found = self._paired(row["next"])
                here = (found["split"] == split) & (found["measure"] == measure)
                mine = found[here & (found["algorithm"] == row["algorithm"])].iloc[0]
                row |= mine[["difference", "low", "high", "p"]].to_dict()
            rows.append(row)
        columns = ["split", "measure", "algorithm", "mean", "next"]
        return pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "p"])

    def answer(self) -> str:
        """The result in words: which is best by the first measure, by how much, how sure it is."""
        found = self.best()
        found = found[found["measure"] == next(iter(found["measure"]), "")]
        return " ".join(self._said(row) for row in found.to_dict("records"))

    def _said(self, row: dict[Any, Any]) -> str:
        measure, split = row["measure"], row["split"]
        superlative = {"lower": "lowest", "higher": "highest"}[self.better[measure]]
        shown = measure.upper() if measure.islower() and measure.isalpha() else measure
        said = f"On {split}, {row['algorithm']} has the {superlative} {shown}: {row['mean']:.4f}"
        if not row["next"]:
            return f"{said}."
        if self.reference not in (row["algorithm"], row["next"]):
            table = self.table[(self.table["split"] == split) & (self.table["measure"] == measure)]
            other = table.loc[table["algorithm"] == self.reference, "value"].mean()
            said += f" ({self.reference}, the reference: {other:.4f})"
        said += f", {abs(row['difference']):.4f} from the next, {row['next']}"
        if np.isnan(row["p"]):
            return f"{said} (one fold: nobody can say how sure that is)."
        if row["p"] < 0.05:
            chance = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.3f}"
            return f"{said}, more than chance is likely to make ({chance})."
        return f"{said}, which is no more than chance may make (p = {row['p']:.2f})."

    def errors(self) -> pd.DataFrame:
        """What went wrong: ``split algorithm fold measure error``."""
        bad = self.table[self.table["error"] != ""]
        return bad[["split", "algorithm", "fold", "measure", "error"]].reset_index(drop=True)

    def failures(self) -> list[str]:
        """What went wrong, a line for each error of an algorithm on a split.

        Errors that differ in numbers alone, such as how many predictions there were, are one.
        """
        at: dict[tuple[str, ...], list[str]] = {}
        columns = ["measure", "algorithm", "split", "fold", "error"]
        for measure, *where in self.errors()[columns].astype(str).to_numpy():
            at.setdefault(tuple(where), []).append(measure)
        alike: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for (algorithm, split, fold, error), which in at.items():
            measures = f", {', '.join(which)}" if len(which) < len(self.measures) else ""
            key = (algorithm, split, measures, re.sub(r"\d+", "#", error))
            alike.setdefault(key, []).append((fold, error))
        return [
            f"{algorithm} on split {split}, fold{'s' * (len(found) > 1)} "
            f"{', '.join(fold for fold, _ in found)}{measures}: {found[0][1]}"
            for (algorithm, split, measures, _), found in alike.items()
        ]

    # -- as text -------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Block]:
        """For each split and measure the values by algorithm and fold, as text."""
        for (split, measure), rows in self.table.groupby(["split", "measure"], sort=False):
            values = rows.pivot(index="algorithm", columns="fold", values="value")
            values = values.reindex([a for a in self.algorithms if a in values.index])
            shown = values.map("{:.4f}".format)
            failed = rows[rows["error"] != ""]
            for name, fold in zip(failed["algorithm"], failed["fold"], strict=True):
                shown.loc[name, fold] = "failed"
            shown.columns = pd.Index([f"Fold {fold}" for fold in values.columns])
            shown["Mean"] = values.mean(axis=1).map("{:.4f}".format)
            shown["Std"] = values.std(axis=1).map("{:.4f}".format)
            shown = shown.replace("nan", "-").rename_axis(index="Algorithm")
            yield Block(str(split), str(measure), shown.reset_index())

    def costs(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """For each split, mean times of a fold and memory by algorithm, as text."""
        for split, rows in self.table.groupby("split", sort=False):
            means = rows.groupby("algorithm")[list(_COSTS)].mean()
            means = means.reindex([a for a in self.algorithms if a in means.index])
            shown = means.map("{:.2f}".format).replace("nan", "-").rename(columns=_COSTS)
            yield str(split), shown.rename_axis(index="Algorithm").reset_index()

    def __str__(self) -> str:
        parts = []
        costs = dict(self.costs())
        for block in self.blocks():
            shown = block.values.merge(costs[block.split], on="Algorithm", how="left")
            n = sum(column.startswith("Fold ") for column in shown.columns)
            width = shown["Algorithm"].str.len().max()
            shown["Algorithm"] = shown["Algorithm"].str.ljust(width)
            parts.append(
                f"Evaluating {block.measure.upper()} of {len(shown)} algorithm(s) on split "
                f"{block.split}, "
                f"{n} fold(s).\n\n{shown.rename(columns={'Algorithm': ''}).to_string(index=False)}"
            )
        if self.failures():
            parts.append("\n".join(f"Failed: {line}" for line in self.failures()))
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        return (
            f"Comparison({len(self.algorithms)} algorithms, {len(self.splits)} splits, "
            f"{len(self.measures)} measures)"
        )

    def _repr_html_(self) -> str:
        """Means for a notebook: algorithms by split and measure, the best in bold."""
        best = {(r.split, r.measure): r.algorithm for r in self.best().itertuples()}
        columns = {}
        for block in self.blocks():
            means = [
                f"<strong>{mean}</strong>" if best.get(block[:2]) == name else escape(mean)
                for name, mean in zip(block.values["Algorithm"], block.values["Mean"], strict=True)
            ]
            names = [escape(name) for name in block.values["Algorithm"]]
            columns[escape(block.split), escape(block.measure)] = pd.Series(means, names)
        table = pd.DataFrame(columns).reindex([escape(name) for name in self.algorithms])
        failed = "".join(f"<p>Failed: {escape(line)}</p>" for line in self.failures())
        return f"<p>{escape(self.answer())}</p>{table.to_html(escape=False, na_rep='-')}{failed}"

    def to_markdown(self) -> str:
        """The tables and the paired differences in Markdown.

        Raises
        ------
        DataError
            If ``reference`` is none of the algorithms.
        """
        parts = [
            f"### {markdown_text(b.split)}: {markdown_text(b.measure)}\n\n{markdown(b.values)}"
            for b in self.blocks()
        ]
        for split, shown in self.costs():
            parts.append(f"### {markdown_text(split)}: time and memory\n\n{markdown(shown)}")
        differences = self.differences()
        if len(differences):
            shown = differences.map(
                lambda v: f"{v:.4f}".replace("nan", "-") if isinstance(v, float) else str(v)
            )
            parts.append(f"### Differences to {markdown_text(self.reference)}\n\n{markdown(shown)}")
        failures = self.failures()
        if failures:
            parts.append(
                "### Failed\n\n" + "\n".join(f"- {markdown_text(line)}" for line in failures)
            )
        return "\n\n".join(parts) + "\n"

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """``table`` as CSV: written to ``path``, or returned where there is none.

        Names and messages that a spreadsheet would take for a formula have a ``'`` before them.

        Raises
        ------
        StorageError
            If the file cannot be written; an older one is left as it was.
        """
        words = self.table[["split", "algorithm", "measure", "error"]].map(_no_formula)
        text = self.table.assign(**words).to_csv(index=False, lineterminator="\n")
        if path is None:
            return text
        write_text(path, text)
        return None


def markdown(frame: pd.DataFrame) -> str:
    """A frame of text as a Markdown table, numbers to the right."""
    rows = [[markdown_text(value) for value in row] for row in frame.itertuples(index=False)]
    numeric = [all(_is_number(row[k]) for row in rows) for k in range(frame.shape[1])]
    head = [markdown_text(name) for name in frame.columns]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def markdown_text(value: object) -> str:
    """Text that stays text in Markdown: no markup, no link, no cell of its own."""
    return " ".join(re.sub(r"([\\|\[\]`*])", r"\\\1", str(value)).replace("<", "&lt;").split())


def _no_formula(value: object) -> object:
    return f"'{value}" if str(value).startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "").replace("failed", "0").replace("-", "0"))
    except ValueError:
        return False
    return True


def t_interval(
    values: Floats, overlap: float, confidence: float
) -> tuple[float, float, float, float, int]:
    """Mean, lower and upper bound, two-sided p, and n; see :meth:`Comparison.differences`."""
    from scipy import stats

    n = len(values)
    mean = float(values.mean()) if n else np.nan
    if n < 2:
        return mean, np.nan, np.nan, np.nan, n
    error = float(np.sqrt(values.var(ddof=1) * (1 / n + overlap)))
    reach = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * error
    if error == 0:
        return mean, mean, mean, float(mean == 0), n
    return mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, n - 1)), n
