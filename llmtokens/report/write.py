"""report: everything about a comparison on one page."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from .. import plots
from ..compare.results import markdown, markdown_text
from ..errors import DataError, MissingExtraError
from ..storage.files import require_place, write_text
from . import svg

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
    relevant: float = 4.0,
) -> Path:
    """Write a comparison as one HTML file, and as Markdown and CSV beside it.

    The answer comes first: which algorithm is best, by how much, and how sure that is.

    The page asks nothing of the network and no other file; it can be printed, read on a phone, and
    follows the reader's choice of light or dark.

    Parameters
    ----------
    comparison : Comparison
        With ``keep_predictions=True``, the page also has residuals, ROC curves, and how reliable
        predicted standard deviations are.
    path : str or path
        Ends in ``.html``; the others are named alike and end in ``.md`` and ``.csv``.
    tokens : LLMTokens, optional
        For a map of the items by their texts, coloured by the first column of labels, see
        :func:`~llmtokens.plots.token_map`; none if they have one dimension or are fewer than three.
    title : str
    settings : mapping, optional
        More to say on how the results were made.
    curves : sequence of LearningCurve, optional
        Of :func:`~llmtokens.curves.learning_curve`: a figure and a table for each.
    relevant : float, default=4.0
        The least rating of what is liked, for the ROC curves.

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
    mapped = None
    if tokens is not None:
        with contextlib.suppress(DataError):  # too few of them, or of one dimension
            mapped = svg.token_map(tokens)
    html = page.render(
        title=title,
        made=made,
        script=script,
        script_hash=svg.source_hash(script),
        comparison=comparison,
        answer=comparison.answer(),
        first=_first_figure(comparison),
        blocks=[(b.split, b.measure, _means_first(b.values)) for b in comparison.blocks()],
        best={(row.split, row.measure, row.algorithm) for row in comparison.best().itertuples()},
        costs=list(comparison.costs()),
        known_splits=_known_splits(comparison),
        failures=comparison.failures() + [line for c in curves for line in c.comparison.failures()],
        differences=_differences(comparison),
        figures=_figures(comparison, relevant),
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


_SPLITS = {
    "KFold": "ratings at random; users and items mostly have others to learn from",
    "ColdItemKFold": "ratings of items that have none to learn from",
    "ColdUserKFold": "ratings of users who have none to learn from",
    "FewShotItemKFold": "ratings of items that have only a few to learn from",
    "FewShotUserKFold": "ratings of users who have only a few to learn from",
    "TimeSplit": "ratings later than all that is learned from",
    "ColdItemTimeSplit": "later ratings of items that nobody had rated before",
    "NextItemSplit": "the last rating of each user",
    "GlobalTimeSplit": "the next rating of each user after a moment at which learning ends",
}


def _known_splits(comparison: Comparison) -> list[tuple[str, str]]:
    """Names of splits, and what is tested there."""
    made = comparison.settings.get("splits", {})
    classes = [(name, made.get(name, "").partition("(")[0]) for name in comparison.splits]
    return [(name, _SPLITS[kind]) for name, kind in classes if kind in _SPLITS]


def _first_figure(comparison: Comparison) -> str:
    """Differences to the reference in the measure that the answer is about."""
    best = comparison.best()
    measure = next(iter(best["measure"]), comparison.measures[0])
    return "".join(_differences_in(comparison, [measure]))


def _differences_in(comparison: Comparison, measures: Sequence[str]) -> list[str]:
    """A drawing for each of the measures in which anything differs from the reference."""
    if len(comparison.algorithms) < 2:
        return []
    differences = comparison.differences()
    known = set(differences.loc[differences["difference"].notna(), "measure"])
    return [
        svg.figure(
            partial(plots.paired_differences, comparison, measure),
            f"Differences in {measure} to {comparison.reference}",
        )
        for measure in measures
        if measure in known
    ]


def _figures(comparison: Comparison, relevant: float) -> list[Section]:
    """The sections that there is something to draw for."""
    found = []
    if len(comparison.algorithms) > 1:
        first = next(iter(comparison.best()["measure"]), comparison.measures[0])
        rest = [measure for measure in comparison.measures if measure != first]
        drawn = _differences_in(comparison, rest)
        found.append(Section("Paired differences", _WHY_DIFFERENCES, drawn))
    if comparison.predictions is None:
        return found
    roc = partial(plots.roc_curve, relevant=relevant)
    sections: list[tuple[str, str, Callable[..., object]]] = [
        ("Residuals", _WHY_RESIDUALS, plots.residual_panels),
        ("Liked or not", _WHY_ROC.format(relevant=relevant), roc),
        ("Reliability", _WHY_RELIABILITY, plots.reliability),
    ]
    for heading, why, plot in sections:
        drawn = []
        for split in comparison.splits:
            if not _worth(heading, comparison.predictions, split, relevant):
                continue
            about = f"{heading} on split {split}"
            drawn.append(svg.figure(partial(plot, comparison, split=split), about))
        if drawn:
            found.append(Section(heading, why, drawn))
    return found


class Section(NamedTuple):
    """Figures under a heading, with what a reader has to know to read them."""

    heading: str
    why: str
    drawings: list[str]


_WHY_DIFFERENCES = (
    "How much each algorithm differs from the reference on the same folds. A bar that does not "
    "touch the line at zero is a difference that chance alone would seldom make: 95 % intervals of "
    "a paired t test, whose variance is corrected for training sets that overlap (Nadeau & Bengio "
    "2003)."
)
_WHY_RESIDUALS = (
    "Where each algorithm is wrong on average. Estimates run from left to right; above the line at "
    "zero, ratings turned out higher than estimated, below it lower. The other algorithms are in "
    "grey. (Means in 15 bins of about equal size.)"
)
_WHY_ROC = (
    "Can the estimates tell what users liked, rated {relevant:g} or more, from what they did not? "
    "Each curve shows, for every threshold, how much of what was liked is found and at what price. "
    "The nearer to the upper left corner the better; the dotted diagonal is guessing. The number "
    "is the area under the curve: 1 is perfect, 0.5 is guessing."
)
_WHY_RELIABILITY = (
    "Does an algorithm know how wrong it is? Its stated standard deviation is from left to right, "
    "the error it really made upwards, in 10 bins of equal size: on the dotted line it is right, "
    "below it too cautious, above it too sure."
)


def _worth(heading: str, predictions: pd.DataFrame, split: str, relevant: float) -> bool:
    """Whether there is anything to draw: two kinds of pairs, or a stated standard deviation."""
    rows = predictions[predictions["split"] == split]
    if heading == "Reliability":
        counts = rows[rows["std"].notna()].groupby("algorithm", observed=True).size()
        return bool((counts >= 10).any())
    if heading == "Liked or not":
        return (rows["rating"] >= relevant).nunique() == 2
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


def _differences(comparison: Comparison) -> list[tuple[str, str, pd.DataFrame]]:
    """Of each split and measure, as text: nobody reads a p-value of 0.000013."""
    table = comparison.differences()
    measures = table["measure"].map(comparison.measures.index)
    splits = table["split"].map(comparison.splits.index)
    table = table.iloc[np.lexsort([measures, splits])]
    shown = pd.DataFrame({"Algorithm": table["algorithm"]})
    shown["Difference"] = table["difference"].map("{:+.4f}".format)
    bounds = zip(table["low"], table["high"], strict=True)
    shown["95 % interval"] = [f"{low:+.4f} to {high:+.4f}" for low, high in bounds]
    shown["p"] = ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in table["p"]]
    shown["Folds"] = table["folds"].astype(str)
    shown = shown.replace({"+nan": "-", "nan": "-", "+nan to +nan": "-"})
    groups: Any = shown.groupby([table["split"], table["measure"]], sort=False)
    return [(split, measure, rows) for (split, measure), rows in groups]


def _markdown(
    comparison: Comparison,
    title: str,
    made: str,
    settings: Mapping[str, Mapping[str, str]],
    curves: Sequence[LearningCurve],
) -> str:
    parts = [f"# {markdown_text(title)}", made, markdown_text(comparison.answer())]
    parts.append(comparison.to_markdown().rstrip())
    for curve in curves:
        for measure in curve.comparison.measures:
            heading = f"### Learning curve: {markdown_text(measure)} by ratings of the {curve.by}"
            parts.append(f"{heading}\n\n{markdown(_means(curve, measure))}")
        parts += [f"Failed: {markdown_text(line)}" for line in curve.comparison.failures()]
    for heading, values in settings.items():
        lines = "\n".join(f"- {markdown_text(k)}: {_code(v)}" for k, v in values.items())
        parts.append(f"### {markdown_text(heading.capitalize())}\n\n{lines}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _code(text: str) -> str:
    """A code span, whatever marks are in the text."""
    text = " ".join(str(text).split())
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{marks} {text} {marks}" if "`" in text else f"`{text}`"


def require_page(path: str | os.PathLike[str]) -> Path:
    """Ask whether a report can be written at ``path``.

    Returns
    -------
    Path

    Raises
    ------
    MissingExtraError, DataError, StorageError
        As :func:`~llmtokens.report.report`.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"found the path {str(path)!r}; expected one that ends in .html")
    for beside in (path.with_suffix(".md"), path.with_suffix(".csv")):
        if beside.exists() and not path.exists():
            raise DataError(
                f"found {str(beside)!r}, which a report at {str(path)!r} would replace, and "
                "which no report has written; choose another name, or move it away"
            )
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"a report needs {error.name}, which is not installed; "
            "run: pip install 'llmtokens[plots]'"
        ) from error
    require_place(path)
    return path
