"""What rows of factors are drawn from, and how that is learned: the hyperpriors of the sampler.

Each prior says of the ``n`` rows of one side, given the rest, ``row_r ~ N(mean_r, precision^-1)``,
and draws itself anew from its own conditional, given the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ...kernels import links as link_kernels
from .features import Links, gram

Floats = NDArray[np.float64]

STRENGTHS = np.exp(np.linspace(np.log(0.1), np.log(1e7), 121))  # of the shrinkage of B


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
        self.m, self.precision = np.zeros(k), np.eye(k)

    def mean(self) -> Floats:
        """Prior means of the rows, shape (n, k)."""
        return np.tile(self.m, (self.n, 1))

    def draw(self, rng: np.random.Generator, rows: Floats) -> None:
        """``precision``, then ``m`` given it."""
        centre = rows.mean(axis=0)
        dev = rows - centre
        inverse_scale = np.eye(self.k) + dev.T @ dev
        inverse_scale += (self.BETA * self.n / (self.BETA + self.n)) * np.outer(centre, centre)
        self.precision = wishart(rng, self.k + self.n, inverse_scale)
        noise = solve_triangular(
            np.linalg.cholesky(self.precision).T, rng.standard_normal(self.k), check_finite=False
        )
        self.m = (self.n * centre + noise * np.sqrt(self.BETA + self.n)) / (self.BETA + self.n)


class TokenPrior:
    r"""A prior whose mean knows the features of a row.

    .. math:: row_r \sim N(m + B^T t_r + C^T h_r, \Lambda^{-1}), \quad
              B \sim N(0, (\lambda_T \Lambda)^{-1}), \quad C \sim N(0, (\lambda_H \Lambda)^{-1})

    per feature (Simm et al. 2017), with :math:`m \sim N(0, \Lambda^{-1})`, :math:`\Lambda` the
    half-t prior of Huang & Wand (2013) with 2 degrees of freedom and scale 1, which says little
    about the scale of any factor, :math:`\lambda_H \sim Gamma(1, 1)` and :math:`\lambda_T`
    log-uniform on a grid. :math:`\lambda_T` is drawn with :math:`B` integrated out, along the
    eigenvectors of :math:`T^T T`: drawn given B it would hardly move where there are many features.

    Parameters
    ----------
    n, k : int
    text : ndarray of float32, shape (n, d), optional
        The dense features t.
    links : Links, optional
        The sparse features h.

    Attributes
    ----------
    m : (k,), precision : (k, k), B : (d, k)
    C : (k, n_links), whitened: row c belongs to column c of ``rows @ cholesky(precision)``
    fit : (n, k), ``text @ B``; None without text
    """

    DOF = 2.0
    SCALE_PRIOR = (0.5, 1.0)  # inverse gamma; the half-t follows from it
    LINK_PRIOR = (1.0, 1.0)

    def __init__(
        self,
        n: int,
        k: int,
        text: NDArray[np.float32] | None = None,
        links: Links | None = None,
        strengths: Floats = STRENGTHS,
    ) -> None:
        self.n, self.k = n, k
        self.m, self.precision, self.scale = np.zeros(k), np.eye(k) * 10.0, np.ones(k)
        self.text, self.links, self.strengths = text, links, strengths
        self.fit: Floats | None = None
        self.link_fit: Floats | float = 0.0
        if text is not None:
            values, self._axes = np.linalg.eigh(gram(text))
            self._values = np.maximum(values, 0.0)
            shrunk = self._values + strengths[:, None]
            self._shrink = 1 / shrunk
            self._evidence = np.log(strengths) * len(values) - np.log(shrunk).sum(axis=1)
            self.strength = float(strengths[np.argmin(np.abs(strengths - 10.0))])
            self.B = np.zeros((text.shape[1], k))
            self.fit = np.zeros((n, k))
        if links is not None:
            self._norms = link_kernels.link_norms(*links)
            self.C = np.zeros((k, len(links.share)))
            self.link_strength = 10.0

    def mean(self) -> Floats:
        """Prior means of the rows, shape (n, k)."""
        out = np.tile(self.m, (self.n, 1))
        if self.fit is not None:
            out += self.fit
        out += self.link_fit
        return out

    def draw(self, rng: np.random.Generator, rows: Floats) -> None:
        """``m``, ``B`` with its strength, ``C`` with its own, then ``precision``."""
        k = self.k
        root: Any = np.linalg.cholesky(self.precision)
        inverse_root = solve_triangular(root, np.eye(k), lower=True, check_finite=False)
        known: Floats = rows - self.link_fit
        if self.fit is not None:
            known -= self.fit
        noise = rng.standard_normal(k) @ inverse_root
        self.m = known.sum(axis=0) / (self.n + 1) + noise / np.sqrt(self.n + 1)
        dof, scatter = self.DOF + k - 1 + self.n + 1, np.outer(self.m, self.m)
        if self.text is not None:
            known = rows - self.m - self.link_fit
            self._draw_text(rng, known, root, inverse_root)
            dof += len(self.B)
            scatter += self.strength * self.B.T @ self.B
        open_: Floats = rows - self.m
        if self.fit is not None:
            open_ -= self.fit
        if self.links is not None:
            open_, plain = self._draw_links(rng, open_, root, inverse_root)
            dof += len(plain)
            scatter += self.link_strength * plain.T @ plain
        scatter += open_.T @ open_
        self.precision = wishart(rng, dof, scatter + np.diag(2 * self.DOF / self.scale))
        shape, rate = self.SCALE_PRIOR
        self.scale = (self.DOF * np.diag(self.precision) + rate) / rng.gamma(
            shape + (self.DOF + k - 1) / 2, size=k
        )
        if self.links is not None:
            self.C = np.ascontiguousarray((plain @ np.linalg.cholesky(self.precision)).T)

    def rescale(self, index: int, factor: float) -> Floats:
        """``B`` times ``factor``, its strength another of the grid; returns how ``fit`` changed."""
        change: Floats = (factor - 1) * self._fit()
        self.strength = float(self.strengths[index])
        self.B = self.B * factor
        self.fit = self._fit() * factor
        return change

    def rescale_columns(self, n: int, factor: float) -> None:
        """Everything as if the first ``n`` columns of the rows were ``factor`` times as large."""
        scale = np.ones(self.k)
        scale[:n] = factor
        self.m *= scale
        self.precision = self.precision / np.outer(scale, scale)
        self.scale = self.scale / scale**2
        if self.fit is not None:
            self.B, self.fit = self.B * scale, self.fit * scale

    def _fit(self) -> Floats:
        assert self.fit is not None
        return self.fit

    def _draw_text(
        self, rng: np.random.Generator, open_: Any, root: Floats, inverse_root: Floats
    ) -> None:
        text: Any = self.text
        along = self._axes.T @ (text.T @ open_.astype(np.float32)).astype(np.float64)
        squares = ((along @ root) ** 2).sum(axis=1)
        evidence = self.k / 2 * self._evidence + 0.5 * self._shrink @ squares
        self.strength = float(self.strengths[draw_from(rng, evidence)])
        spread = self._values + self.strength
        noise = rng.standard_normal(along.shape) / np.sqrt(spread)[:, None] @ inverse_root
        self.B = self._axes @ (along / spread[:, None] + noise)
        self.fit = (text @ self.B.astype(np.float32)).astype(np.float64)

    def _draw_links(
        self, rng: np.random.Generator, open_: Any, root: Floats, inverse_root: Floats
    ) -> tuple[Floats, Floats]:
        """What the links leave open, shape (n, k), and their plain coefficients, (n_links, k)."""
        links: Any = self.links
        before = open_ - self.link_fit
        white = np.ascontiguousarray((before @ root).T)
        norms, along = self._norms
        link_kernels.sample_links(
            links.ptr, links.idx, links.scale, links.n_raters, links.share, norms, along,
            self.link_strength, rng.standard_normal(self.C.shape), white, self.C,
        )  # fmt: skip
        left: Floats = white.T @ inverse_root
        self.link_fit = open_ - left
        shape, rate = self.LINK_PRIOR
        self.link_strength = float(
            rng.gamma(shape + self.C.size / 2) / (rate + np.sum(self.C**2) / 2)
        )
        return left, self.C.T @ inverse_root
