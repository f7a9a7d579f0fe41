"""report: everything about a comparison on one page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import plots
from ..compare.results import markdown
from ..storage.files import write_text
from . import svg
from .place import require_page

if TYPE_CHECKING:
    from ..compare import Comparison
    from ..curves import LearningCurve
    from ..tokens import LLMTokens


def report(
    comparison: Comparison,
    path: str | os.PathLike[str],
    tokens: LLMTokens | None = None,
    title: str = "Comparison of recommenders",
    settings: Mapping[str, Any] | None = None,
    curves: Sequence[LearningCurve] = (),
) -> Path:
    """Write a comparison as one HTML file, and as Markdown and CSV beside it.

    The page asks nothing of the network and no other file; it can be printed, read on a phone, and
    follows the reader's choice of light or dark.

    Parameters
    ----------
    comparison : Comparison
        With ``keep_predictions=True``, the page also has residuals, and how reliable predicted
        standard deviations are.
    path : str or path
        Ends in ``.html``; the others are named alike and end in ``.md`` and ``.csv``.
    tokens : LLMTokens, optional
        For a map with the names of the items; none if they have one dimension.
    title : str
    settings : mapping, optional
        More to say on how the results were made.
    curves : sequence of LearningCurve, optional
        Of :func:`~llmtokens.curves.learning_curve`: a figure and a table for each.

    Returns
    -------
    Path
        Of the HTML file.

    Raises
    ------
    MissingExtraError
        Without jinja2 and matplotlib.
    DataError
        If ``path`` does not end in ``.html``, or a file beside it is in the way that no report
        wrote: one ending in ``.md`` or ``.csv``, but none in ``.html``.
    StorageError
        If a file cannot be written; older ones are left as they were.
    """
    path = require_page(path)
    from jinja2 import Environment, StrictUndefined

    known = _settings(comparison, settings, curves)
    script = files(__package__).joinpath("report.js").read_text(encoding="utf-8").strip()
    source = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    mapped = svg.token_map(tokens) if tokens is not None and tokens.n_dims > 1 else None
    html = page.render(
        title=title,
        made=made,
        script=script,
        script_hash=svg.source_hash(script),
        comparison=comparison,
        blocks=[(s, m, _means_first(table)) for s, m, table in comparison.blocks()],
        failures=comparison.failures() + [line for c in curves for line in c.comparison.failures()],
        differences=_differences(comparison),
        figures=_figures(comparison),
        curves=[part for curve in curves for part in _curve(curve)],
        token_map=mapped,
        n_tokens=len(tokens) if tokens is not None else 0,
        settings=known,
    )
    write_text(path, html)  # first: it tells the other two from files that are not ours
    write_text(path.with_suffix(".md"), _markdown(comparison, title, made, known, curves))
    tables = pd.concat([comparison.table, *(curve.comparison.table for curve in curves)])
    replace(comparison, table=tables).to_csv(path.with_suffix(".csv"))
    return path


def _figures(comparison: Comparison) -> list[tuple[str, str, list[str]]]:
    """Heading, explanation and drawings of each section that there is something for."""
    found = []
    if len(comparison.algorithms) > 1:
        differences = comparison.differences()
        known = set(differences.loc[differences["difference"].notna(), "measure"])
        drawn = [
            svg.figure(
                partial(plots.paired_differences, comparison, measure),
                f"Differences in {measure} to {comparison.reference}",
            )
            for measure in comparison.measures
            if measure in known
        ]
        found.append(("Paired differences", _WHY_DIFFERENCES, drawn))
    if comparison.predictions is None:
        return found
    sections: list[tuple[str, str, Callable[..., object]]] = [
        ("Residuals", _WHY_RESIDUALS, plots.residuals),
        ("Reliability", _WHY_RELIABILITY, plots.reliability),
    ]
    for heading, why, plot in sections:
        drawn = []
        for split in comparison.splits:
            if not _worth(plot, comparison.predictions, split):
                continue
            about = f"{heading} on split {split}"
            drawn.append(svg.figure(partial(plot, comparison, split=split), about))
        if drawn:
            found.append((heading, why, drawn))
    return found


_WHY_DIFFERENCES = (
    "Each algorithm minus the reference on the same folds, with 95 % intervals of a paired t test "
    "whose variance is corrected for overlapping training sets (Nadeau & Bengio 2003)."
)
_WHY_RESIDUALS = (
    "Mean of rating minus estimate, in 15 bins of about equal size: above zero, the algorithm "
    "predicts too low."
)
_WHY_RELIABILITY = (
    "Observed error against the standard deviation the algorithm states, in 10 bins of equal size: "
    "below the diagonal it is too cautious, above it too sure."
)


def _worth(plot: Callable[..., object], predictions: pd.DataFrame, split: str) -> bool:
    """Reliability needs a stated spread."""
    rows = predictions[predictions["split"] == split]
    if plot is plots.reliability:
        counts = rows[rows["std"].notna()].groupby("algorithm", observed=True).size()
        return bool((counts >= 10).any())
    return len(rows) > 0


def _curve(curve: LearningCurve) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Heading, drawing and means of every measure."""
    for measure in curve.comparison.measures:
        heading = f"{measure} by ratings of the {curve.by}"
        drawing = svg.figure(partial(plots.learning_curve, curve, measure), heading)
        yield heading, drawing, _means(curve, measure)


def _means(curve: LearningCurve, measure: str) -> pd.DataFrame:
    shown = curve.table(measure).map("{:.4f}".format).replace("nan", "-")
    shown.columns = pd.Index([str(n) for n in shown.columns])
    return shown.rename_axis(index="Algorithm").reset_index()


def _settings(
    comparison: Comparison, more: Mapping[str, Any] | None, curves: Sequence[LearningCurve]
) -> dict[str, dict[str, str]]:
    """How it was made, what the user has to say of it first."""
    own = {"settings": {key: str(value) for key, value in more.items()}} if more else {}
    found = own | comparison.settings
    for curve in curves:
        name = f"learning curve by {curve.by}"
        found[name] = curve.comparison.settings.get("splits", {})
    return found


def _means_first(table: pd.DataFrame) -> pd.DataFrame:
    """A phone shows three columns: not those of the first folds."""
    folds = [name for name in table.columns if name.startswith("Fold ")]
    rest = [name for name in table.columns if name not in ("Algorithm", "Mean", "Std", *folds)]
    return table[["Algorithm", "Mean", "Std", *folds, *rest]]


def _differences(comparison: Comparison) -> pd.DataFrame:
    """As text: nobody reads a p-value of 0.000013."""
    table = comparison.differences()
    measures = table["measure"].map(comparison.measures.index)
    splits = table["split"].map(comparison.splits.index)
    table = table.iloc[np.lexsort([measures, splits])]
    shown = table[["split", "measure", "algorithm"]].copy()
    shown["difference"] = table["difference"].map("{:+.4f}".format)
    bounds = zip(table["low"], table["high"], strict=True)
    shown["95 % interval"] = [f"{low:+.4f} to {high:+.4f}" for low, high in bounds]
    shown["p"] = ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in table["p"]]
    shown["folds"] = table["folds"].astype(str)
    return shown.replace({"+nan": "-", "nan": "-", "+nan to +nan": "-"})


def _markdown(
    comparison: Comparison,
    title: str,
    made: str,
    settings: Mapping[str, Mapping[str, str]],
    curves: Sequence[LearningCurve],
) -> str:
    parts = [f"# {' '.join(title.split())}", made, comparison.to_markdown().rstrip()]
    for curve in curves:
        for measure in curve.comparison.measures:
            heading = f"### Learning curve: {measure} by ratings of the {curve.by}"
            parts.append(f"{heading}\n\n{markdown(_means(curve, measure))}")
        parts += [f"Failed: {line}" for line in curve.comparison.failures()]
    for heading, values in settings.items():
        lines = "\n".join(f"- {key}: `{value}`" for key, value in values.items())
        parts.append(f"### {heading.capitalize()}\n\n{lines}")
    return "\n\n".join(parts) + "\n"
