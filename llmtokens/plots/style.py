"""One look for all figures."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072b2", "#c44e00", "#00795a", "#a63d7e", "#8a6500", "#5c5c5c")
INK, GRID = "#222222", "#c8c8c8"
WIDE, LINE = 48, 0.19  # characters of a title, inches of a line of names
_MARKERS, _DASHES = "osD^vPX*", ("-", "--", ":", "-.")


def new_axes(ax: Axes | None, height: float = 3.8, grid: bool = True) -> tuple[Axes, bool]:
    """The axes given, untouched, or styled ones in a new figure that belongs to no window."""
    if ax is not None:
        return ax, False
    return _styled(_figure(5.6, height).subplots(), grid), True


def new_panels(n: int) -> list[Axes]:
    """Small axes, three in a row, that share their scales, in a new figure."""
    rows, wide = -(-n // 3), min(n, 3)
    figure = _figure(5.6 * max(wide, 2) / 3, 0.5 + 1.9 * rows)
    every = figure.subplots(rows, wide, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in every[n:]:
        ax.remove()
    for ax in every[max(0, n - wide) : n]:  # the last of its column
        ax.tick_params(labelbottom=True)
    return [_styled(ax, True, size=9) for ax in every[:n]]


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "plots need matplotlib, which is not installed; run: pip install 'llmtokens[plots]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _styled(ax: Axes, grid: bool, size: int = 11) -> Axes:
    ax.tick_params(colors=INK, labelsize=size)
    for side, spine in ax.spines.items():
        spine.set(color=INK, visible=side in ("left", "bottom"))
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set(color=INK, size=size)
    if grid:
        ax.grid(color=GRID, lw=0.5)
        ax.set_axisbelow(True)
    return ax


def finish(ax: Axes, own: bool, legend: bool = True) -> Axes:
    names = ax.get_legend_handles_labels()[1]
    if legend and names:
        options: dict[str, Any] = {"frameon": False, "fontsize": 10}
        if own:
            figure = ax.get_figure(root=True)
            assert figure is not None
            figure.legend(loc="outside lower center", ncols=2, labelcolor=INK, **options)
            half = -(-len(names) // 2)
            lines = max(map(_n_lines, (names[:half], names[half:])))
            figure.set_figheight(figure.get_figheight() + LINE * max(0, lines - 2))
        else:
            ax.legend(**options)
    return ax


def _n_lines(names: list[str]) -> int:
    return sum(name.count("\n") + 1 for name in names)


def styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A look for each name: a colour for each family, a line and a marker for each of its members.

    Names are of one family that are alike up to a comma or a bracket, as an algorithm's is and that
    of its control: "SVD" and "SVD, shuffled tokens".
    """
    families = {name: re.split(r", | \(", name, maxsplit=1)[0] for name in names}
    order = list(dict.fromkeys(families.values()))
    met: Counter[str] = Counter()
    found = {}
    for k, (name, family) in enumerate(families.items()):
        turn = order.index(family) // len(PALETTE) + met[family]
        met[family] += 1
        found[name] = {
            "color": PALETTE[order.index(family) % len(PALETTE)],
            "marker": _MARKERS[k % len(_MARKERS)],
            "linestyle": _DASHES[turn % len(_DASHES)],
            "markersize": 5,
        }
    return found


def plain_text(name: str, width: int = 30) -> str:
    """A name that matplotlib takes as it is: no formulas, no hiding of what starts with "_".

    Lines are broken at ``width`` characters, so that long names leave room for what is drawn.
    """
    shown = textwrap.fill(str(name), width).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
