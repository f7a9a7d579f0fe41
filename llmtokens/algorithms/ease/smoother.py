"""A regression from the text of items to any value items have: how cold items get theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ...roster import Roster

Floats = NDArray[np.float32]

_LANDMARKS = 2000
_RIDGE = 0.3
_JITTER = 1e-3  # two items may have the same text


@dataclass(frozen=True, eq=False)
class TextSmoother:
    """Kernel ridge on tokens: near texts, near values.

    The kernel is ``exp(-|t - t'|^2)`` of tokens scaled to mean square norm 1, so that two unrelated
    items are at distance 2; it is represented on (at most) the 2,000 most rated items (Nystroem;
    Williams & Seeger 2001). A value ``v`` of the warm items is smoothed to
    ``mean(v) + Phi (Phi_w' Phi_w + r I)^-1 Phi_w' (v - mean(v))``: n_items x 2,000 numbers, never
    n_items x n_items.

    Attributes
    ----------
    features : ndarray of float32, shape (n_rows, m)
        ``Phi``; zeros where an item has no token: it gets the mean.
    mixing : ndarray of float32, shape (n_warm, m)
        ``Phi_w (Phi_w' Phi_w + r I)^-1``, centred over the rows.
    """

    features: Floats
    mixing: Floats

    @classmethod
    def learn(cls, items: Roster, counts: NDArray[np.int64]) -> TextSmoother:
        """From the tokens of all items and the number of ratings of the warm ones."""
        features = kernel_features(items, counts)
        warm = features[: items.n_warm]
        inner = (warm.T @ warm).astype(np.float64) + _RIDGE * np.eye(warm.shape[1])
        mixing: Floats = warm @ linalg.inv(inner).astype(np.float32)
        return cls(features, (mixing - mixing.mean(axis=0)).astype(np.float32))

    def smooth(self, values: Floats, rows: slice) -> Floats:
        """Values (n, n_warm) of the warm items as text alone has them for ``rows``."""
        means = values.mean(axis=1, keepdims=True)
        loads: Floats = values @ self.mixing
        by_text: Floats = loads @ self.features[rows].T
        by_text += means
        return by_text


def kernel_features(items: Roster, counts: NDArray[np.int64]) -> Floats:
    """Features whose inner products are the kernel, shape (n_rows, m).

    Column k depends on the k + 1 most rated items alone: the first columns are the kernel on fewer
    landmarks.
    """
    tokens: Floats = items.tokens
    rated = np.flatnonzero(items.has_token[: items.n_warm])
    energy = float(np.mean(np.sum(tokens[rated] ** 2, axis=1))) if len(rated) else 0.0
    if energy == 0:
        return np.zeros((len(tokens), 0), np.float32)
    tokens = (tokens / np.sqrt(energy)).astype(np.float32)
    marks = tokens[rated[np.argsort(-counts[rated], kind="stable")[:_LANDMARKS]]]
    among = _kernel(marks, marks).astype(np.float64)
    among[np.diag_indices_from(among)] += _JITTER
    factor = linalg.cholesky(among, lower=True, overwrite_a=True).astype(np.float32)
    features = linalg.solve_triangular(factor, _kernel(marks, tokens), lower=True).T
    out: Floats = np.ascontiguousarray(features * items.has_token[:, None])
    return out


def _kernel(a: Floats, b: Floats) -> Floats:
    distance = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2 * (a @ b.T)
    out: Floats = np.exp(-np.maximum(distance, 0))
    return out
