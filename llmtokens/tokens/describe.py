"""What the entries of tokens stand for: how much of each block, which ids, and which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..data.ids import as_column
from ..errors import DataError
from ..runtime.arguments import require_length
from ..runtime.arrays import Floats, Singles
from .blocks import CategoryBlock, EmbeddingBlock, Features, ImageBlock, NumberBlock, TextBlock
from .projection import Projection
from .words import Words


def describe(
    vectors: Singles,
    projection: Projection,
    columns: Mapping[str, list[Any]] | None,
    names: Sequence[str],
    words: Words,
    k: int,
    n: int,
) -> pd.DataFrame:
    """See :meth:`LLMTokens.describe`."""
    require_length(n)
    if not (isinstance(k, (int, np.integer)) and k >= 1):
        raise DataError(f"found k={k!r}; expected how many dimensions to describe, at least 1")
    leading = vectors[:, :k].astype(np.float64)
    parts = shares(leading, projection, columns)
    numbers = {
        name: np.array(values, np.float64)
        for name, values in (columns or {}).items()
        if not any(isinstance(value, list) for value in values)
    }
    rows: list[dict[str, Any]] = []
    for dim, values in enumerate(leading.T):
        order = np.argsort(values, kind="stable")
        for end, at, up in (("low", order, -values), ("high", order[::-1], values)):
            rows.append(
                {"dim": dim, "end": end, "variance": projection.explained_variance_ratio[dim]}
                | {name: share[dim] for name, share in parts.items()}
                | {f"{name} mean": _mean(values[at[:n]]) for name, values in numbers.items()}
                | {"words": words.telling(up, n), "items": [names[row] for row in at[:n]]}
            )
    made = pd.DataFrame(rows)
    return made.assign(**{x: as_column([row[x] for row in rows]) for x in ("words", "items")})


def shares(
    leading: Floats, projection: Projection, columns: Mapping[str, list[Any]] | None
) -> dict[str, Floats]:
    """How much of the variance of each entry comes from each block, by name: they sum to 1.

    An entry is a sum of what the blocks contribute. The contribution of a column follows from the
    column, and that of texts and embeddings is the rest; the share of one is its covariance with
    the entry, which in principal axes is the squared length of the axis in that block.
    """
    rest, found = leading.copy(), dict[str, Floats]()
    for at, block in enumerate(projection.blocks):
        if isinstance(block, (CategoryBlock, NumberBlock)):
            made = np.full_like(leading, np.nan)
            if columns is not None and block.column in columns:
                said: list[Features | None] = [None] * len(projection.blocks)
                said[at] = block.features(pd.DataFrame({block.column: columns[block.column]}))
                made = projection.tokens(said)[:, : leading.shape[1]].astype(np.float64)
            rest = rest - made
            name = f"{block.column} share"
            found[name] = found.get(name, 0.0) + _covariance(made, leading)
    kinds = {TextBlock: "text", ImageBlock: "image", EmbeddingBlock: "embeddings"}
    others = [name for kind, name in kinds.items()
              if any(isinstance(block, kind) for block in projection.blocks)]  # fmt: skip
    if others:
        found = {f"{' and '.join(others)} share": _covariance(rest, leading)} | found
    variance = _covariance(leading, leading)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: np.where(variance > 0, x / variance, np.nan) for name, x in found.items()}


def _mean(values: Floats) -> float:
    """Of those that are known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _covariance(a: Floats, b: Floats) -> Floats:
    """Column by column."""
    out: Floats = np.mean((a - a.mean(axis=0)) * (b - b.mean(axis=0)), axis=0)
    return out
