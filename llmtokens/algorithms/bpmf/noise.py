"""How far ratings stray from the model: one precision for all, or one for every user and item."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from .priors import draw_from

Floats = NDArray[np.float64]

SHAPES = np.exp(np.linspace(np.log(0.5), np.log(200.0), 60))
_MOST = 1e6  # no rating is known to a thousandth of the standard deviation of all


class OnePrecision:
    """``alpha ~ Gamma(1, 1)`` for all ratings (of standard deviation 1)."""

    start = 1.0

    def learn(self, rng: np.random.Generator, squares: float, n: int) -> float:
        """Draw it, given the sum of squared errors of ``n`` ratings."""
        return min(rng.gamma(1 + n / 2) / (1 + squares / 2), _MOST)


class RowPrecisions:
    r""":math:`\alpha_r \sim Gamma(a, b)` for every row (Lakshminarayanan, Bouchard & Archambeau
    2011).

    The shape is log-uniform on a grid; the rate, by default, :math:`Gamma(.01, .01)`. With
    ``unit`` it equals the shape, so that the mean is 1: for the second of two factors.
    """

    def __init__(
        self,
        unit: bool,
        shapes: Floats = SHAPES,
        rate_prior: tuple[float, float] = (0.01, 0.01),
    ) -> None:
        self.unit, self.shapes, self.rate_prior = unit, shapes, rate_prior
        self.shape = float(shapes[np.argmin(np.abs(shapes - (20.0 if unit else 5.0)))])
        self.rate = self.shape if unit else self.shape / 1.5

    @property
    def start(self) -> float:
        """The precision that every row starts with."""
        return self.shape / self.rate

    def learn(self, rng: np.random.Generator, n: int, total: float, logs: float) -> None:
        """Draw rate and shape, given how many precisions there are, their sum and that of their
        logarithms."""
        grid = self.shapes
        if not self.unit:
            a, b = self.rate_prior
            self.rate = float(rng.gamma(a + n * self.shape) / (b + total))
        rate = grid if self.unit else self.rate
        evidence = n * (grid * np.log(rate) - gammaln(grid)) + (grid - 1) * logs - rate * total
        self.shape = float(grid[draw_from(rng, evidence)])
        if self.unit:
            self.rate = self.shape


def draw_precisions(
    rng: np.random.Generator, shape: float, rate: float, squares: Any, counts: Any
) -> Floats:
    """Rows' precisions, given sums of squared errors and numbers of ratings."""
    alpha = rng.gamma(shape + counts / 2) / (rate + squares / 2)
    return np.clip(alpha, 1 / _MOST, _MOST)
