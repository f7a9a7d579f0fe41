"""A map of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..runtime.arrays import Floats
from .style import PALETTE, finish, new_axes, plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..tokens import LLMTokens


def token_map(tokens: LLMTokens, ax: Axes | None = None) -> Axes:
    """The first two dimensions of all tokens; a dozen that lie far apart are named.

    Raises
    ------
    DataError
        For tokens of one dimension.
    MissingExtraError
        Without matplotlib.
    """
    points = map_points(tokens)
    ax, own = new_axes(ax, height=4.4, grid=False)
    ax.scatter(
        points[:, 0],
        points[:, 1],
        s=6,
        color=PALETTE[0],
        alpha=0.35,
        lw=0,
        rasterized=len(points) > 20_000,
    )
    names = tokens.labels or [str(raw) for raw in tokens.ids]
    for k in far_apart(points, 12):
        ax.annotate(plain_text(_short(names[k])), points[k], fontsize="small", ha="center")
        ax.scatter(points[k, 0], points[k, 1], s=14, color=PALETTE[1], lw=0)
    ratio = tokens.explained_variance_ratio
    ax.set(xlabel=f"token dimension 1 ({ratio[0]:.0%} of variance)")
    ax.set(ylabel=f"token dimension 2 ({ratio[1]:.0%} of variance)")
    return finish(ax, own, legend=False)


def map_points(tokens: LLMTokens) -> Floats:
    """The first two dimensions of the tokens, shape (n, 2); DataError where there is only one."""
    if tokens.n_dims < 2:
        raise DataError(f"found tokens of {tokens.n_dims} dimension; a map needs two")
    return tokens.vectors[:, :2].astype(np.float64)


def far_apart(points: Floats, n: int) -> list[int]:
    """Rows of up to n points, each as far as can be from those before it."""
    scaled = points / np.maximum(np.abs(points).max(axis=0), 1e-12)
    chosen = [int(np.argmax((scaled**2).sum(axis=1)))]
    distance = np.full(len(points), np.inf)
    for _ in range(min(n, len(points)) - 1):
        distance = np.minimum(distance, ((scaled - scaled[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(np.argmax(distance)))
    return chosen


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"
