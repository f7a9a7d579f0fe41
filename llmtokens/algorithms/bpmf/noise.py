"""How far ratings stray from the model: one precision for all, or one for every user and item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from .priors import draw_from

Floats = NDArray[np.float64]

SHAPES = np.exp(np.linspace(np.log(0.5), np.log(200.0), 60))
_MOST = 1e6  # no rating is known to a thousandth of the standard deviation of all


class OnePrecision:
    """``alpha ~ Gamma(1, 1)`` for all ratings (of standard deviation 1)."""

    def __init__(self, n_rows: int) -> None:
        self.rows = np.ones(n_rows)

    def draw(self, rng: np.random.Generator, squares: Floats, counts: NDArray[np.int64]) -> None:
        """Given the sums of squared errors of the rows, and their numbers of ratings."""
        alpha = rng.gamma(1 + counts.sum() / 2) / (1 + squares.sum() / 2)
        self.rows = np.full(len(self.rows), min(alpha, _MOST))


class RowPrecisions:
    r""":math:`\alpha_r \sim Gamma(a, b)` for every row (Lakshminarayanan, Bouchard & Archambeau
    2011).

    The shape is log-uniform on a grid; the rate, by default, :math:`Gamma(.01, .01)`. With
    ``unit`` it equals the shape, so that the mean is 1: for the second of two factors.
    """

    def __init__(
        self,
        n_rows: int,
        unit: bool,
        shapes: Floats = SHAPES,
        rate_prior: tuple[float, float] = (0.01, 0.01),
    ) -> None:
        self.unit, self.shapes, self.rate_prior = unit, shapes, rate_prior
        self.shape = float(shapes[np.argmin(np.abs(shapes - (20.0 if unit else 5.0)))])
        self.rate = self.shape if unit else self.shape / 1.5
        self.rows = np.full(n_rows, self.shape / self.rate)

    def draw(self, rng: np.random.Generator, squares: Floats, counts: NDArray[np.int64]) -> None:
        """Given the sums of squared errors of the rows, and their numbers of ratings."""
        alpha = rng.gamma(self.shape + counts / 2) / (self.rate + squares / 2)
        alpha = np.clip(alpha, 1 / _MOST, _MOST)
        n, total, grid = len(alpha), alpha.sum(), self.shapes
        if not self.unit:
            a, b = self.rate_prior
            self.rate = float(rng.gamma(a + n * self.shape) / (b + total))
        rate = grid if self.unit else self.rate
        evidence = n * (grid * np.log(rate) - gammaln(grid))
        evidence += (grid - 1) * np.log(alpha).sum() - rate * total
        self.shape = float(grid[draw_from(rng, evidence)])
        if self.unit:
            self.rate = self.shape
        self.rows = alpha
