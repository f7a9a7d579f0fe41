"""What the tokens say about anything learned per id: ridge regression that may also say nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..runtime.arrays import Floats
from ..runtime.locks import cached_property

_SATURATION = 200.0  # an id with many more ratings than this is known well enough
_SIGNIFICANT = 2.0  # standard errors by which tokens must beat the mean
_BLOCK = 2048  # rows at a time
_STRENGTHS = 10.0 ** np.arange(-3, 5.01, 0.5)  # relative to the mean eigenvalue


class TokenRidge:
    r"""Weighted ridge with a free intercept, from tokens to targets, for many targets at once.

    .. math:: \min_{W, c} \sum_i w_i \lVert y_i - c - W (x_i - \bar x) \rVert^2
              + \lambda \lVert W \rVert^2, \qquad w_i = n_i / (1 + n_i / 200)

    over the ids with :math:`n_i > 0` ratings. :math:`\lambda` is chosen by the leave-one-out error,
    which has a closed form (Golub, Heath & Wahba 1979); where it does not beat the plain mean's by
    two standard errors, the mean is what is predicted, so useless tokens do no harm. One
    eigendecomposition serves all targets and strengths.

    Parameters
    ----------
    tokens : ndarray of shape (n_rows, d)
        All rows that will be predicted, those with ratings first.
    counts : ndarray of shape (n_rated,)
        Ratings of the first rows.
    """

    def __init__(self, tokens: NDArray[np.floating], counts: NDArray[np.integer]) -> None:
        self._rated = np.flatnonzero(counts > 0)
        n = counts[self._rated].astype(np.float64)
        self._weights = n / (1 + n / _SATURATION)
        self._share = self._weights / self._weights.sum()
        rated = tokens[self._rated].astype(np.float64)
        self._centre = self._share @ rated
        self._tokens = tokens
        scaled = (rated - self._centre) * np.sqrt(self._weights)[:, None]
        values, self._axes = np.linalg.eigh(scaled.T @ scaled)
        self._values = np.maximum(values, 0.0)
        self._scores = scaled @ self._axes

    def predict(
        self, targets: NDArray[np.floating], judge: NDArray[np.floating] | None = None
    ) -> Floats:
        """Targets as the tokens alone would have them, for all rows.

        Parameters
        ----------
        targets : ndarray of shape (n_rated, m)
        judge : ndarray of shape (m, c), optional
            The leave-one-out error is that of ``targets @ judge``; by default of all targets.

        Returns
        -------
        ndarray of shape (n_rows, m)
        """
        return apply_map(self.learn(targets, judge), self._tokens)

    def learn(
        self, targets: NDArray[np.floating], judge: NDArray[np.floating] | None = None
    ) -> Floats:
        """What :meth:`predict` multiplies ``[token, 1]`` by, shape (d + 1, m)."""
        known = targets[self._rated].astype(np.float64)
        mean = self._share @ known
        strength = None
        if self._tokens.shape[1]:
            scaled = (known - mean) * np.sqrt(self._weights)[:, None]
            strength = self._choose(scaled if judge is None else scaled @ judge)
        if strength is None:
            return np.vstack([np.zeros((self._tokens.shape[1], len(mean))), mean])
        weights = self._axes @ ((self._scores.T @ scaled) / (self._values + strength)[:, None])
        return np.vstack([weights, mean - self._centre @ weights])

    def learn_left_out(
        self, targets: NDArray[np.floating], judge: NDArray[np.floating]
    ) -> tuple[Floats | None, Floats]:
        """What :meth:`learn` gives, and what the other rows say of each, shape (n_rated, m).

        The former is None where tokens do not beat the mean.
        """
        known = targets[self._rated].astype(np.float64)
        mean, root = self._share @ known, np.sqrt(self._weights)[:, None]
        scaled = (known - mean) * root
        strength = self._choose(scaled @ judge)
        if strength is None:
            return None, np.tile(mean, (len(known), 1))
        shrink = 1 / (self._values + strength)
        along = (self._scores.T @ scaled) * shrink[:, None]
        leverage = self._scores**2 @ shrink + self._share
        errors = (scaled - self._scores @ along) / np.maximum(1 - leverage, 1e-9)[:, None]
        weights = self._axes @ along
        return np.vstack([weights, mean - self._centre @ weights]), known - errors / root

    def _choose(self, scaled: Floats) -> float | None:
        """The strength of the smallest leave-one-out error, None where the mean does as well."""
        strengths, shrink, leverage = self._grid
        unit = float(np.abs(scaled).max(initial=0.0)) or 1.0
        single = (scaled / unit).astype(np.float32)  # whose scale does not matter here
        along = (self._scores.T @ scaled / unit)[:, None, :] * shrink[:, :, None]
        along = along.reshape(len(shrink), -1).astype(np.float32)
        losses = np.empty((len(scaled), len(strengths)))
        for k in range(0, len(scaled), _BLOCK):
            at = slice(k, k + _BLOCK)
            fitted = (self._scores[at].astype(np.float32) @ along).reshape(
                -1, len(strengths), scaled.shape[1]
            )
            losses[at] = _losses(single[at, None] - fitted, leverage[at])
        best = int(np.argmin(losses.sum(axis=0)))
        gain = _losses(scaled[:, None] / unit, self._share[:, None])[:, 0] - losses[:, best]
        beats_the_mean = gain.sum() > _SIGNIFICANT * np.linalg.norm(gain)
        return float(strengths[best]) if beats_the_mean else None

    @cached_property
    def _grid(self) -> tuple[Floats, Floats, Floats]:
        """The strengths, how much of each direction they leave, and the rows' leverages."""
        strengths = max(float(self._values.mean()), 1e-12) * _STRENGTHS
        shrink = 1 / (self._values[:, None] + strengths)
        return strengths, shrink, self._scores**2 @ shrink + self._share[:, None]


def apply_map(learned: Floats, tokens: NDArray[np.floating]) -> Floats:
    """``[token, 1] @ learned`` for many tokens, shape (n, m)."""
    predicted: Floats = tokens @ learned[:-1] + learned[-1]
    return predicted


def _losses(errors: NDArray[np.floating], leverage: Floats) -> Floats:
    """Squared leave-one-out errors, (n, s), of errors (n, s, m)."""
    squares: Floats = np.einsum("nsm,nsm->ns", errors, errors)
    return squares / np.maximum(1 - leverage, 1e-9) ** 2
