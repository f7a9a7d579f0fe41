"""Figures as inline SVG that follows the colours of the page, light or dark."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

from ..plots.style import GRID, INK, PALETTE
from ..runtime.arrays import Floats
from ..tokens import LLMTokens

_MOST_POINTS = 5000
_WIDTH, _HEIGHT, _EDGE = 640, 480, 14


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


def token_map(tokens: LLMTokens) -> tuple[str, int]:
    """The first two dimensions of the tokens with their names, and the number of points shown.

    Drawn by hand: a point of matplotlib's has no room for a name. Of many points, evenly spread
    rows are shown.
    """
    rows = np.unique(np.linspace(0, len(tokens) - 1, _MOST_POINTS).astype(int))
    points = _scaled(tokens.vectors[rows, :2].astype(np.float64))
    names = tokens.labels or [str(raw) for raw in tokens.ids]
    circles = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{escape(names[row])}</title></circle>'
        for row, (x, y) in zip(rows, points, strict=True)
    )
    about = f"Map of {len(rows)} tokens in their first two dimensions"
    svg = (
        f'<svg class="map" role="img" aria-label="{about}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<rect class="frame" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}"/>'
        f"{circles}</svg>"
    )
    return svg, len(rows)


def _scaled(points: Floats) -> Floats:
    """Into the frame, upwards being positive; the few furthest out may not squeeze the rest."""
    low, high = np.quantile(points, [0.001, 0.999], axis=0)
    share = (np.clip(points, low, high) - low) / np.maximum(high - low, 1e-12)
    room = np.array([_WIDTH, _HEIGHT]) - 2 * _EDGE
    return _EDGE + room * np.stack([share[:, 0], 1 - share[:, 1]], axis=1)


def source_hash(script: str) -> str:
    """What a Content-Security-Policy calls a script that may run."""
    import base64

    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
