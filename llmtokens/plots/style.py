"""One look for all figures."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072b2", "#c44e00", "#00795a", "#a63d7e", "#8a6500", "#5c5c5c")
INK, GRID = "#222222", "#c8c8c8"
WIDE, LINE = 48, 0.19  # characters of a title, inches of a line of names
_MARKERS, _DASHES = "osD^vPX*", ("-", "--", ":", "-.")


def new_axes(ax: Axes | None, height: float = 3.8, grid: bool = True) -> tuple[Axes, bool]:
    """The axes given, untouched, or styled ones in a new figure that belongs to no window."""
    if ax is not None:
        return ax, False
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "plots need matplotlib, which is not installed; run: pip install 'llmtokens[plots]'"
        ) from error
    ax = Figure(figsize=(5.6, height), layout="constrained").subplots()
    ax.tick_params(colors=INK, labelsize=11)
    for side, spine in ax.spines.items():
        spine.set(color=INK, visible=side in ("left", "bottom"))
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set(color=INK, size=11)
    if grid:
        ax.grid(color=GRID, lw=0.5)
        ax.set_axisbelow(True)
    return ax, True


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


def style(k: int) -> dict[str, Any]:
    return {
        "color": PALETTE[k % len(PALETTE)],
        "marker": _MARKERS[k % len(_MARKERS)],
        "linestyle": _DASHES[k // len(PALETTE) % len(_DASHES)],
        "markersize": 5,
    }


def plain_text(name: str, width: int = 30) -> str:
    """A name that matplotlib takes as it is: no formulas, no hiding of what starts with "_".

    Lines are broken at ``width`` characters, so that long names leave room for what is drawn.
    """
    shown = textwrap.fill(str(name), width).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
