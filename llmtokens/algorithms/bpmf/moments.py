"""Sums over rows, of which the rows' prior needs nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .features import gram

Floats = NDArray[np.float64]

_BLOCK = 1024  # rows at a time


class FeatureSums(NamedTuple):
    """What is known of the features ``T`` (n, d) of some rows: weights and sums over rows.

    Attributes
    ----------
    n : float
        How many rows, or the sum of their weights.
    total : (d,)
    square : (d, d)
        ``T' T``.
    """

    n: float
    total: Floats
    square: Floats

    @classmethod
    def of(cls, features: NDArray[np.float32], weights: Floats | None = None) -> FeatureSums:
        weights = np.ones(len(features)) if weights is None else weights
        return cls(float(weights.sum()), weights @ features, gram(features, weights))


class Moments(NamedTuple):
    """Sums over rows ``v`` of length k with features ``t`` of length d.

    Attributes
    ----------
    total : (k,)
    square : (k, k)
        ``sum v v'``.
    along : (d, k)
        ``sum t v'``.
    """

    total: Floats
    square: Floats
    along: Floats

    @classmethod
    def of(
        cls, rows: Floats, features: NDArray[np.float32], weights: Floats | None = None
    ) -> Moments:
        """Block by block, in double precision."""
        total, square = np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
        along = np.zeros((features.shape[1], rows.shape[1]))
        for k in range(0, len(rows), _BLOCK):
            part: Any = rows[k : k + _BLOCK]
            weighted = part if weights is None else part * weights[k : k + _BLOCK, None]
            total += weighted.sum(axis=0)
            square += weighted.T @ part
            if features.shape[1]:
                along += features[k : k + _BLOCK].astype(np.float64).T @ weighted
        return cls(total, square, along)

    def about(self, known: FeatureSums, m: Floats, B: Floats) -> Floats:
        """``sum (v - m - B' t) (v - m - B' t)'``, shape (k, k)."""
        fit = known.total @ B
        cross = np.outer(m, self.total - fit) + B.T @ self.along
        out: Floats = self.square - cross - cross.T
        out += known.n * np.outer(m, m) + B.T @ known.square @ B
        return (out + out.T) / 2
