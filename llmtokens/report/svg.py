"""Figures as inline SVG that follows the colours of the page, light or dark."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..plots.style import GRID, INK, PALETTE
from ..plots.tokens import common_labels, place
from ..runtime.arrays import Floats
from ..tokens import LLMTokens

_WIDTH, _HEIGHT, _EDGE = 640, 480, 14
_LETTER = 7.5  # about the width of one in the names of groups


def figure(draw: Callable[[], object], about: str) -> str:
    """The figure that ``draw`` makes axes of, as an ``<svg>`` element.

    Parameters
    ----------
    draw : callable
        Returns axes of a figure of their own, drawn in the library's palette.
    about : str
        What is to be seen, for those who cannot.
    """
    import matplotlib

    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": about, "font.family": "sans-serif"}
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the reader's fonts will have it
        axes = draw()
        axes.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)  # type: ignore[attr-defined]
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' id="[^"]*_[^"]*"', "", svg)  # names such as "axes_1" stand in every figure
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"|(?<=pt") height="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)height="[\d.]+pt"', r"\1", svg, count=1)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    for k, colour in enumerate(PALETTE):
        svg = svg.replace(colour, f"var(--s{k})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(about)}" ', 1)


class TokenMap(NamedTuple):
    """A map as an ``<svg>`` element, the number of points on it, and what its colours mean."""

    svg: str
    n_shown: int
    coloured_by: str | None
    labels: list[str]


def token_map(tokens: LLMTokens) -> TokenMap:
    """:func:`~llmtokens.plots.token_map` with the name of every point, coloured by the first
    column of labels, where there is one; points in no colour of a label have the last.

    Drawn by hand: a point of matplotlib's has no room for a name.
    """
    found = place(tokens)
    names = tokens.labels or [str(raw) for raw in tokens.ids]
    column, labels, chosen = _colours(tokens, found.rows.tolist())
    low, high = (np.quantile(found.places, share, axis=0) for share in (0.001, 0.999))
    circles = "".join(
        f'<circle class="s{k}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">'
        f"<title>{escape(names[row])}</title></circle>"
        for row, k, (x, y) in zip(
            found.rows.tolist(), chosen, _scaled(found.places, low, high), strict=True
        )
    )
    groups = "".join(
        f'<text x="{np.clip(x, (half := _LETTER * len(name) / 2), _WIDTH - half):.1f}" '
        f'y="{y:.1f}">{escape(name)}</text>'
        for at, name in found.groups
        for x, y in _scaled(at[None], low, high)
    )
    about = f"Map of {len(found.rows)} texts, with the words of {len(found.groups)} groups"
    svg = (
        f'<svg class="map" role="img" aria-label="{about}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<rect class="frame" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}"/>'
        f"{circles}{groups}</svg>"
    )
    return TokenMap(svg, len(found.rows), column, labels)


def _colours(tokens: LLMTokens, rows: list[int]) -> tuple[str | None, list[str], list[int]]:
    """A column of labels, those that have a colour, and the number of each row's colour."""
    for name, values in (tokens.columns or {}).items():
        if any(isinstance(value, list) for value in values):
            labels, chosen = common_labels([values[row] for row in rows])
            last = len(PALETTE) - 1
            return name, labels, [last if x is None else labels.index(x) for x in chosen]
    return None, [], [0] * len(rows)


def _scaled(points: Floats, low: Floats, high: Floats) -> Floats:
    """Into the frame, upwards being positive; the few furthest out may not squeeze the rest."""
    share = (np.clip(points, low, high) - low) / np.maximum(high - low, 1e-12)
    room = np.array([_WIDTH, _HEIGHT]) - 2 * _EDGE
    return _EDGE + room * np.stack([share[:, 0], 1 - share[:, 1]], axis=1)


def source_hash(script: str) -> str:
    """What a Content-Security-Policy calls a script that may run."""
    import base64

    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
