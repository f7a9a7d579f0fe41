"""A regression from the text of items to any value items have: how cold items get theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from ...data.entities import EntityIndex
from ...runtime.arrays import Rows, Singles, unit_rows
from ...runtime.blocks import ALONE, in_blocks, rows_alike
from ...runtime.locks import cached_property
from ...runtime.threads import one_blas_thread

_LANDMARKS = 2000
_RIDGE = 0.3
_JITTER = 1e-3  # two items may have the same text
_TOGETHER = 512  # items whose features are one product


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
        """Features of tokens (n, d), shape (n, m): the same to the bit, whoever else is asked for.

        So they need not be kept in files. One thread: two spend more on waiting than on the sums.
        """
        out = np.zeros((len(tokens), len(self.tokens)), np.float32)
        if not out.size:
            return out
        scaled = _scaled(tokens, self.scale)
        places = self._places if len(tokens) > 1 else ALONE
        block = np.zeros((_TOGETHER, tokens.shape[1]), np.float32)
        with one_blas_thread():
            for at, some, taken in in_blocks(scaled, block, places):
                out[at] = self._of_block(some)[taken]
        return out

    @cached_property
    def _places(self) -> Rows:
        """Rows of a block that are rounded as the first one is."""
        token = np.random.default_rng(0).standard_normal((1, self.tokens.shape[1]), np.float32)
        with one_blas_thread():
            return rows_alike(self._of_block(unit_rows(token).repeat(_TOGETHER, axis=0)))

    def _of_block(self, block: Singles) -> Singles:
        """Features of 512 scaled tokens, shape (512, m)."""
        kernel = _kernel(block, self.tokens).T  # in the order of LAPACK
        made: Singles = linalg.solve_triangular(self.root, kernel, lower=True, overwrite_b=True).T
        return made

    def features_of(self, items: EntityIndex) -> Singles:
        """Features of all rows, shape (n_rows, m); zeros where an item has no token."""
        made = self.features(items.tokens)
        made[~items.has_token] = 0
        return made


@dataclass(frozen=True, eq=False)
class TextKernel:
    """Kernel ridge on tokens: near texts, near values.

    The kernel is ``exp(-|t - t'|^2)`` of tokens scaled to mean square norm 1, so that two unrelated
    items are at distance 2; it is represented on (at most) the 2,000 most rated items (Nystroem;
    Williams & Seeger 2001). A value ``v`` of the warm items is smoothed to
    ``mean(v) + Phi M Phi_w' (v - mean(v))``, ``M = (Phi_w' Phi_w + r I)^-1``: n_items x 2,000
    numbers, never n_items x n_items, and they follow from the tokens.

    Attributes
    ----------
    features : ndarray of float32, shape (n_rows, m)
        ``Phi``; zeros where an item has no token: it gets the mean.
    warm : ndarray of float32, shape (n_warm, m)
        ``Phi_w``.
    inner : ndarray of float32, shape (m, m)
        ``M``, symmetric.
    landmarks : Landmarks
        What makes features of tokens.
    """

    features: Singles
    warm: Singles
    inner: Singles
    landmarks: Landmarks

    @classmethod
    def learn(cls, items: EntityIndex, counts: Rows) -> TextKernel:
        """From the tokens of all items and the number of ratings of the warm ones."""
        landmarks = Landmarks.of(items, counts)
        features = landmarks.features_of(items)
        return cls._of(features, features[: items.n_warm], landmarks)

    @classmethod
    def _of(cls, features: Singles, warm: Singles, landmarks: Landmarks) -> TextKernel:
        inner = (warm.T @ warm).astype(np.float64) + _RIDGE * np.eye(warm.shape[1])
        inverse = linalg.inv(inner, overwrite_a=True)
        return cls(features, warm, ((inverse + inverse.T) / 2).astype(np.float32), landmarks)

    def learned_on(self, rows: Rows) -> TextKernel:
        """The same map, but from the values of these rows alone."""
        return self._of(self.features, self.features[rows], self.landmarks)

    def smooth(self, values: Singles, rows: slice) -> Singles:
        """Values (n, n_warm) of the warm items as text alone has them for ``rows``."""
        means, first = values.mean(axis=1, keepdims=True), len(self.warm)
        by_text: Singles
        if rows == slice(first, None) and len(self.features) - first < self.warm.shape[1]:
            by_text = (values - means) @ self._to_others
        else:
            by_text = (values - means) @ self.warm @ self.inner @ self.features[rows].T
        by_text += means
        return by_text

    @cached_property
    def _to_others(self) -> Singles:
        """How each warm item counts for those that come after them, shape (n_warm, n_others)."""
        out: Singles = self.warm @ (self.inner @ self.features[len(self.warm) :].T)
        return out

    def mean_of(self, row: int) -> Singles:
        """How much each warm item's value counts in what :meth:`smooth` gives a row."""
        counts: Singles = self.warm @ (self.inner @ self.features[row])
        counts += (1 - counts.sum()) / len(counts)
        return counts

    def relearned(self, features: Singles, n_warm: int) -> TextKernel:
        """With further warm items, and other features of some, the landmarks as they were.

        The old warm items are the first ones of the new. M changes by Woodbury's identity.
        """
        old, n_old = self.warm, len(self.warm)
        changed = np.append(
            np.flatnonzero(np.any(features[:n_old] != old, axis=1)), np.arange(n_old, n_warm)
        )
        gone = changed[changed < n_old]
        block = np.vstack([features[changed], old[gone]]).astype(np.float64)
        signs = np.append(np.ones(len(changed)), -np.ones(len(gone)))
        solved = block @ self.inner
        less = solved.T @ np.linalg.inv(np.diag(signs) + block @ solved.T) @ solved
        inner = self.inner - ((less + less.T) / 2).astype(np.float32)
        return TextKernel(features, features[:n_warm], inner, self.landmarks)


def _scaled(tokens: Singles, scale: float) -> Singles:
    return (tokens * np.float32(scale)).astype(np.float32)


def _kernel(a: Singles, b: Singles) -> Singles:
    distance = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2 * (a @ b.T)
    out: Singles = np.exp(-np.maximum(distance, 0))
    return out
