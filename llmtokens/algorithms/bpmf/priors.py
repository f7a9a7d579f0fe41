"""What rows of factors, and precisions of ratings, are drawn from, and how that is learned.

Each prior says of the ``n`` rows of one side, given the rest, ``row_r ~ N(mean_r, precision^-1)``,
and draws itself anew from its own conditional, given the rows: of these it needs sums alone,
whoever holds them. Precisions of ratings are one for all, or one for every user and item.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from ...runtime.arrays import Floats, Singles
from .features import gram

STRENGTHS = np.exp(np.linspace(np.log(0.1), np.log(1e7), 121))  # of the shrinkage of B
# Of the precisions' gamma prior. Not less than 15: errors on a scale with ends have no heavy tails,
# and who gives the highest rating to nearly everything is no better known than others
SHAPES = np.exp(np.linspace(np.log(15.0), np.log(200.0), 60))
_MOST = 1e6  # no rating is known to a thousandth of the standard deviation of all
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
    def of(cls, features: Singles, weights: Floats | None = None) -> FeatureSums:
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
    def of(cls, rows: Floats, features: Singles, weights: Floats | None = None) -> Moments:
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

    def less(self, known: FeatureSums, B: Floats) -> Moments:
        """Those of ``v - B' t``."""
        cross, fit = B.T @ self.along, known.square @ B
        square = self.square - cross - cross.T + B.T @ fit
        return Moments(self.total - known.total @ B, square, self.along - fit)

    def about(self, known: FeatureSums, m: Floats, B: Floats) -> Floats:
        """``sum (v - m - B' t) (v - m - B' t)'``, shape (k, k)."""
        fit = known.total @ B
        cross = np.outer(m, self.total - fit) + B.T @ self.along
        out: Floats = self.square - cross - cross.T
        out += known.n * np.outer(m, m) + B.T @ known.square @ B
        return (out + out.T) / 2


def wishart(rng: np.random.Generator, dof: float, inverse_scale: Floats) -> Floats:
    """Draw from ``W(dof, inverse_scale^-1)``, with mean ``dof inverse_scale^-1`` (Bartlett)."""
    k = len(inverse_scale)
    root = np.linalg.cholesky(inverse_scale).T
    lower = np.tril(rng.standard_normal((k, k)), -1)
    lower[np.diag_indices(k)] = np.sqrt(rng.chisquare(dof - np.arange(k)))
    half = solve_triangular(root, lower, check_finite=False)
    out: Floats = half @ half.T
    return out


def draw_from(rng: np.random.Generator, log_weights: Floats) -> int:
    """An index, with probability proportional to ``exp(log_weights)``."""
    total = np.cumsum(np.exp(log_weights - log_weights.max()))
    return int(min(np.searchsorted(total, rng.random() * total[-1]), len(total) - 1))


class NormalWishart:
    """The hyperprior of BPMF (Salakhutdinov & Mnih 2008, eq. 5, 6 and 14).

    ``precision ~ W(k, I)``, ``m ~ N(0, (2 precision)^-1)``: their :math:`W_0 = I`,
    :math:`\\nu_0 = k`, :math:`\\beta_0 = 2`, :math:`\\mu_0 = 0`. Every row has the mean ``m``.
    """

    BETA = 2.0
    fit: Floats | None = None

    def __init__(self, n: int, k: int) -> None:
        self.n, self.k = n, k
        self.m, self.precision, self.B = np.zeros(k), np.eye(k), np.zeros((0, k))

    def mean(self) -> Floats:
        """Prior means of the rows, shape (n, k)."""
        return np.tile(self.m, (self.n, 1))

    def learn(self, rng: np.random.Generator, rows: Moments) -> None:
        """``precision``, then ``m`` given it."""
        n, centre = self.n, rows.total / self.n
        inverse_scale = np.eye(self.k) + rows.square - n * np.outer(centre, centre)
        inverse_scale += (self.BETA * n / (self.BETA + n)) * np.outer(centre, centre)
        self.precision = wishart(rng, self.k + n, inverse_scale)
        noise = solve_triangular(
            np.linalg.cholesky(self.precision).T, rng.standard_normal(self.k), check_finite=False
        )
        self.m = (n * centre + noise * np.sqrt(self.BETA + n)) / (self.BETA + n)


class Roots(NamedTuple):
    """The Cholesky factor of a precision, and its inverse."""

    root: Floats
    inverse: Floats


class Group:
    """Features that share one strength: what turns along their own axes.

    Parameters
    ----------
    at : slice
        Which of all features.
    square : ndarray of shape (d, d)
        ``T' T`` of all.
    strengths : ndarray
        The grid.
    """

    def __init__(self, at: slice, square: Floats, strengths: Floats) -> None:
        self.at = at
        values, self.axes = np.linalg.eigh(square[at, at])
        self.values = np.maximum(values, 0.0)
        shrunk = self.values + strengths[:, None]
        self.shrink = 1 / shrunk
        self.evidence = np.log(strengths) * len(values) - np.log(shrunk).sum(axis=1)


class TokenPrior:
    r"""A prior whose mean knows the features of a row.

    .. math:: row_r \sim N(m + B^T t_r, \Lambda^{-1}), \quad
              B \sim N(0, (\lambda_T \Lambda)^{-1})

    per feature (Simm et al. 2017), with :math:`m \sim N(0, \Lambda^{-1})`, :math:`\Lambda` the
    half-t prior of Huang & Wand (2013) with 2 degrees of freedom and scale 1, which says little
    about the scale of any factor, and :math:`\lambda_T` log-uniform on a grid. :math:`\lambda_T` is
    drawn with :math:`B` integrated out, along the eigenvectors of :math:`T^T T`: drawn given B it
    would hardly move where there are many features. Features of two kinds have a strength each, so
    that those that say nothing fade and leave the others as they were.

    Where features and rows are of one space, a user's token and weights on the same dims of items'
    tokens, B is drawn about :math:`w E` in place of zero, with E the unit columns of these dims and
    w, of a flat prior, the weight on the inner products of users' and items' tokens.

    Of rows and features it needs sums alone, whoever holds them.

    Parameters
    ----------
    k : int
    features : FeatureSums
        Of the rows' dense features t; where all are zero, B stays zero.
    n_first : int, default=0
        How many of the features, the first, are of another kind than the rest.
    n_shared : int, default=0
        How many of the features, the first, are of one space with as many columns of the rows.

    Attributes
    ----------
    m : (k,), precision : (k, k), B : (d, k), strength : (d,)
    pair_weight : float
        w.
    """

    DOF = 2.0
    SCALE_PRIOR = (0.5, 1.0)  # inverse gamma; the half-t follows from it

    def __init__(
        self,
        k: int,
        features: FeatureSums,
        strengths: Floats = STRENGTHS,
        n_first: int = 0,
        n_shared: int = 0,
    ) -> None:
        self.k, self.features, self.strengths = k, features, strengths
        self.m, self.precision, self.scale = np.zeros(k), np.eye(k) * 10.0, np.ones(k)
        d = len(features.total)
        self.B = np.zeros((d, k))
        self.n_shared = n_shared if features.square[:n_shared, :n_shared].any() else 0
        self.pair_weight = 0.0
        self.strength = np.full(d, strengths[np.argmin(np.abs(strengths - 10.0))])
        kinds = [at for at in (slice(n_first), slice(n_first, d)) if features.square[at, at].any()]
        self.groups = [Group(at, features.square, strengths) for at in kinds]

    def learn(self, rng: np.random.Generator, rows: Moments) -> None:
        """``m``, ``B`` with its strength, then ``precision``."""
        self._draw_mean(rng, rows)
        self._draw_precision(rng, rows.about(self.features, self.m, self.B), 0.0)

    def rescale_columns(self, columns: slice, factor: float) -> None:
        """Everything as if these columns of the rows were ``factor`` times as large."""
        scale = np.ones(self.k)
        scale[columns] = factor
        self.m *= scale
        self.precision = self.precision / np.outer(scale, scale)
        self.scale = self.scale / scale**2
        self.B = self.B * scale
        self.pair_weight *= float(scale[0])  # the shared columns are the first

    @property
    def centre(self) -> Floats:
        """What B is drawn about, (d, k)."""
        out: Floats = self.pair_weight * np.eye(*self.B.shape)
        out[self.n_shared :] = 0
        return out

    def roots(self) -> Roots:
        """What whitens rows, and undoes it."""
        root: Any = np.linalg.cholesky(self.precision)
        return Roots(root, solve_triangular(root, np.eye(self.k), lower=True, check_finite=False))

    def _draw_mean(self, rng: np.random.Generator, rows: Moments) -> None:
        """``m``, then ``B`` kind by kind, given rows less what else their mean knows."""
        n, root, inverse_root = self.features.n, *self.roots()
        noise = rng.standard_normal(self.k) @ inverse_root
        open_ = rows.total - self.features.total @ self.B
        self.m = open_ / (n + 1) + noise / np.sqrt(n + 1)
        if self.n_shared:
            self._draw_pair_weight(rng, rows)
        centre = self.centre
        for group in self.groups:
            at, others = group.at, self.B.copy()
            others[at] = centre[at]
            open_ = rows.along[at] - np.outer(self.features.total[at], self.m)
            if len(self.groups) > 1 or self.n_shared:
                open_ -= self.features.square[at] @ others
            along = group.axes.T @ open_
            squares = ((along @ root) ** 2).sum(axis=1)
            evidence = self.k / 2 * group.evidence + 0.5 * group.shrink @ squares
            strength = float(self.strengths[draw_from(rng, evidence)])
            precision = group.values + strength
            noise = rng.standard_normal(along.shape) / np.sqrt(precision)[:, None] @ inverse_root
            self.B[at] = centre[at] + group.axes @ (along / precision[:, None] + noise)
            self.strength[at] = strength

    def _draw_pair_weight(self, rng: np.random.Generator, rows: Moments) -> None:
        """``w``, given what B has beside it; B follows."""
        own, at = self.B - self.centre, slice(self.n_shared)
        open_ = rows.along - np.outer(self.features.total, self.m) - self.features.square @ own
        of_shared = self.precision[:, at]
        curvature = float(np.sum(self.features.square[at, at] * of_shared[at]))
        slope = float(np.sum(open_[at] * of_shared.T))
        self.pair_weight = slope / curvature + rng.standard_normal() / np.sqrt(curvature)
        self.B = own + self.centre

    def _draw_precision(self, rng: np.random.Generator, scatter: Floats, dof: float) -> None:
        """``precision`` and its scale; ``scatter`` and ``dof``: of rows, and of what else has the
        precision in its prior."""
        dof += self.DOF + self.k - 1 + self.features.n + 1
        scatter = scatter + np.outer(self.m, self.m) + np.diag(2 * self.DOF / self.scale)
        own = self.B - self.centre
        for group in self.groups:
            at = group.at
            dof += len(group.values)
            scatter += self.strength[at][0] * own[at].T @ own[at]
        self.precision = wishart(rng, dof, scatter)
        shape, rate = self.SCALE_PRIOR
        self.scale = (self.DOF * np.diag(self.precision) + rate) / rng.gamma(
            shape + (self.DOF + self.k - 1) / 2, size=self.k
        )


class ItemPrior(TokenPrior):
    r"""The prior of items, whose mean also knows who rated them.

    .. math:: row_i \sim N(m + B^T t_i + C^T h_i, \Lambda^{-1}), \quad
              C \sim N(0, (\lambda_H \Lambda)^{-1}), \quad \lambda_H \sim Gamma(1, 1)

    C has a row for every user, and is where the users are.

    Parameters
    ----------
    n, k : int
    text : ndarray of float32, shape (n, d)
        The dense features t.
    n_links : int
        How many sparse features h there are: the number of users, or 0.

    Attributes
    ----------
    fit : (n, k), ``text @ B``
    link_fit : (n, k)
    """

    LINK_PRIOR = (1.0, 1.0)

    def __init__(
        self,
        n: int,
        k: int,
        text: Singles,
        n_links: int,
        strengths: Floats = STRENGTHS,
    ) -> None:
        super().__init__(k, FeatureSums.of(text), strengths)
        self.n, self.text, self.n_links = n, text, n_links
        self.fit, self.link_fit, self.link_strength = np.zeros((n, k)), np.zeros((n, k)), 10.0

    def mean(self) -> Floats:
        """Prior means of the rows, shape (n, k)."""
        return self.m + self.fit + self.link_fit

    def rest(self, rows: Floats) -> Floats:
        """What the mean leaves open of the rows, shape (n, k)."""
        out: Floats = rows - self.link_fit - self.m - self.fit
        return out

    def learn_text(self, rng: np.random.Generator, rows: Floats) -> None:
        """``m``, and ``B`` with its strength, given C."""
        known: Any = rows - self.link_fit
        along = (self.text.T @ known.astype(np.float32)).astype(np.float64)
        self._draw_mean(rng, Moments(known.sum(axis=0), np.zeros((0, 0)), along))
        if self.groups:
            self.fit = (self.text @ self.B.astype(np.float32)).astype(np.float64)

    def learn_links(
        self, rng: np.random.Generator, rows: Floats, left: Floats, square: Floats
    ) -> None:
        """Take a new C, which leaves ``left`` open of the rows, and whose ``C' C`` is ``square``;
        then its strength, and ``precision``."""
        self.link_fit = self.rest(rows) + self.link_fit - left
        root, (shape, rate) = self.roots().root, self.LINK_PRIOR
        size = float(np.trace(root.T @ square @ root))
        self.link_strength = float(rng.gamma(shape + self.n_links * self.k / 2) / (rate + size / 2))
        scatter = self.link_strength * square + left.T @ left
        self._draw_precision(rng, scatter, float(self.n_links))

    def learn_precision(self, rng: np.random.Generator, rows: Floats) -> None:
        """``precision``, where there are no links."""
        left = self.rest(rows)
        self._draw_precision(rng, left.T @ left, 0.0)

    def rescale(self, index: int, factor: float) -> Floats:
        """``B`` times ``factor``, its strength another of the grid; returns how ``fit`` changed."""
        change: Floats = (factor - 1) * self.fit
        self.strength[:] = self.strengths[index]
        self.B = self.B * factor
        self.fit = self.fit * factor
        return change


class OnePrecision:
    """``alpha ~ Gamma(1, 1)`` for all ratings (of standard deviation 1)."""

    start = 1.0

    def learn(self, rng: np.random.Generator, squares: float, n: int) -> float:
        """Draw it, given the sum of squared errors of ``n`` ratings."""
        return min(rng.gamma(1 + n / 2) / (1 + squares / 2), _MOST)


class RowPrecisions:
    r""":math:`\alpha_r \sim Gamma(a, b)` for every row (Lakshminarayanan, Bouchard & Archambeau
    2011).

    The shape is log-uniform on a grid that starts at 15, a Student's t of thirty degrees of
    freedom; the rate, by default, :math:`Gamma(.01, .01)`. With ``unit`` it equals the shape, so
    that the mean is 1: for the second of two factors.
    """

    def __init__(
        self,
        unit: bool,
        shapes: Floats = SHAPES,
        rate_prior: tuple[float, float] = (0.01, 0.01),
    ) -> None:
        self.unit, self.shapes, self.rate_prior = unit, shapes, rate_prior
        self.shape = float(shapes[np.argmin(np.abs(shapes - 20.0))])
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
