"""What the tokens say about anything learned per id: ridge regression that may also say nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..runtime.arrays import Floats

_SATURATION = 200.0  # an id with many more ratings than this is known well enough
_SIGNIFICANT = 2.0  # standard errors by which tokens must beat the mean
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
        projected = self._scores.T @ scaled
        squares = self._scores**2
        of_mean = _losses(scaled, self._share)
        strengths = max(float(self._values.mean()), 1e-12) * _STRENGTHS
        shrink = 1 / (self._values[:, None] + strengths)
        leverage = squares @ shrink + self._share[:, None]
        fitted = self._scores @ (projected[:, None, :] * shrink[:, :, None]).reshape(
            len(shrink), -1
        )
        fitted = fitted.reshape(len(scaled), len(strengths), -1)
        losses = [_losses(scaled - fitted[:, k], leverage[:, k]) for k in range(len(strengths))]
        best = int(np.argmin([loss.sum() for loss in losses]))
        gain = of_mean - losses[best]
        beats_the_mean = gain.sum() > _SIGNIFICANT * np.linalg.norm(gain)
        return float(strengths[best]) if beats_the_mean else None


def apply_map(learned: Floats, tokens: NDArray[np.floating]) -> Floats:
    """``[token, 1] @ learned`` for many tokens, shape (n, m)."""
    predicted: Floats = tokens @ learned[:-1] + learned[-1]
    return predicted


def _losses(errors: Floats, leverage: Floats) -> Floats:
    """Squared leave-one-out error of each row."""
    left_out: Floats = errors / np.maximum(1 - leverage, 1e-9)[:, None]
    return np.sum(left_out**2, axis=1)
