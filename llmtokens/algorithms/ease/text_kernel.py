"""A regression from the text of items to any value items have: how cold items get theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from ...data.entities import EntityIndex
from ...runtime.arrays import Rows, Singles
from ...runtime.locks import cached_property

_LANDMARKS = 2000
_RIDGE = 0.3
_JITTER = 1e-3  # two items may have the same text


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Features whose inner products are the kernel.

    Column k depends on the k + 1 most rated items alone: the first columns are the kernel on fewer
    landmarks.

    Attributes
    ----------
    tokens : ndarray of float32, shape (m, d)
        Of the landmarks, scaled.
    root : ndarray of float32, shape (m, m)
        The Cholesky factor of the kernel among them.
    scale : float
        Brings the tokens of the items to mean square norm 1.
    """

    tokens: Singles
    root: Singles
    scale: float

    @classmethod
    def of(cls, items: EntityIndex, counts: Rows) -> Landmarks:
        """The most rated items that have tokens; none where all tokens are zero."""
        tokens: Singles = items.tokens
        rated = np.flatnonzero(items.has_token[: items.n_warm])
        energy = float(np.mean(np.sum(tokens[rated] ** 2, axis=1))) if len(rated) else 0.0
        if energy == 0:
            return cls(tokens[:0], np.zeros((0, 0), np.float32), 1.0)
        scale = float(1 / np.sqrt(energy))
        marks = _scaled(
            tokens[rated[np.argsort(-counts[rated], kind="stable")[:_LANDMARKS]]], scale
        )
        among = _kernel(marks, marks).astype(np.float64)
        among[np.diag_indices_from(among)] += _JITTER
        root = linalg.cholesky(among, lower=True, overwrite_a=True)
        return cls(marks, np.ascontiguousarray(root, np.float32), scale)

    def features(self, tokens: Singles) -> Singles:
        """Features of tokens (n, d), shape (n, m)."""
        if len(self.tokens) == 0:
            return np.zeros((len(tokens), 0), np.float32)
        kernel = _kernel(self.tokens, _scaled(tokens, self.scale))
        made = linalg.solve_triangular(self.root, kernel, lower=True).T
        out: Singles = np.ascontiguousarray(made)
        return out


@dataclass(frozen=True, eq=False)
class TextKernel:
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
        ``Phi_w (Phi_w' Phi_w + r I)^-1``.
    landmarks : Landmarks
        What makes features of tokens.
    """

    features: Singles
    mixing: Singles
    landmarks: Landmarks

    @classmethod
    def learn(cls, items: EntityIndex, counts: Rows) -> TextKernel:
        """From the tokens of all items and the number of ratings of the warm ones."""
        landmarks = Landmarks.of(items, counts)
        features = landmarks.features(items.tokens) * items.has_token[:, None]
        return cls(features, _mixing(features[: items.n_warm]), landmarks)

    def learned_on(self, rows: Rows) -> TextKernel:
        """The same map, but from the values of these rows alone."""
        return TextKernel(self.features, _mixing(self.features[rows]), self.landmarks)

    def smooth(self, values: Singles, rows: slice) -> Singles:
        """Values (n, n_warm) of the warm items as text alone has them for ``rows``."""
        means, first = values.mean(axis=1, keepdims=True), len(self.mixing)
        by_text: Singles
        if rows == slice(first, None) and len(self.features) - first < self.mixing.shape[1]:
            by_text = (values - means) @ self._to_others
        else:
            by_text = (values - means) @ self.mixing @ self.features[rows].T
        by_text += means
        return by_text

    @cached_property
    def _to_others(self) -> Singles:
        """How each warm item counts for those that come after them, shape (n_warm, n_others)."""
        out: Singles = self.mixing @ self.features[len(self.mixing) :].T
        return out

    def mean_of(self, row: int) -> Singles:
        """How much each warm item's value counts in what :meth:`smooth` gives a row."""
        counts: Singles = self.mixing @ self.features[row]
        counts += (1 - counts.sum()) / len(counts)
        return counts

    def relearned(self, features: Singles, n_warm: int) -> TextKernel:
        """With further warm items, and other features of some, the landmarks as they were.

        The old warm items are the first ones of the new. ``(Phi_w' Phi_w + r I)^-1`` changes by
        Woodbury's identity; what it multiplies by follows from ``mixing``, as
        ``A^-1 F' = (F' - Phi_w' Phi_w A^-1 F') / r``.
        """
        old, n_old = self.features[: len(self.mixing)], len(self.mixing)
        changed = np.append(
            np.flatnonzero(np.any(features[:n_old] != old, axis=1)), np.arange(n_old, n_warm)
        )
        if len(changed) == 0:
            return TextKernel(features, self.mixing, self.landmarks)
        gone = changed[changed < n_old]
        block = np.vstack([features[changed], old[gone]]).astype(np.float64)
        signs = np.append(np.ones(len(changed)), -np.ones(len(gone)))
        mixed = self.mixing @ block.T.astype(np.float32)  # Phi_w A^-1 F'
        solved = (block - (old.T @ mixed).T) / _RIDGE  # F A^-1
        inner = np.linalg.inv(np.diag(signs) + block @ solved.T)
        mixing = np.empty((n_warm, features.shape[1]), np.float32)
        np.matmul(mixed, -(inner @ solved).astype(np.float32), out=mixing[:n_old])
        mixing[:n_old] += self.mixing
        within = block[: len(changed)] @ solved.T
        mixing[changed] = solved[: len(changed)] - within @ inner @ solved
        return TextKernel(features, mixing, self.landmarks)


def _mixing(warm: Singles) -> Singles:
    inner = (warm.T @ warm).astype(np.float64) + _RIDGE * np.eye(warm.shape[1])
    mixing: Singles = warm @ linalg.inv(inner).astype(np.float32)
    return mixing


def _scaled(tokens: Singles, scale: float) -> Singles:
    return (tokens * np.float32(scale)).astype(np.float32)


def _kernel(a: Singles, b: Singles) -> Singles:
    distance = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2 * (a @ b.T)
    out: Singles = np.exp(-np.maximum(distance, 0))
    return out
