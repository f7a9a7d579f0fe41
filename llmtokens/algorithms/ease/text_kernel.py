"""A regression from the text of items to any value items have: how cold items get theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg, sparse

from ...data.entities import EntityIndex
from ...runtime.arrays import Mask, Rows, Singles, unit_rows
from ...runtime.blocks import ALONE, in_blocks, rows_alike
from ...runtime.locks import cached_property
from ...runtime.threads import one_blas_thread

_LANDMARKS = 2000
_LEADING = 1000  # features that take part in the Gram matrix
_RIDGE = 0.3
_JITTER = 1e-3  # two items may have the same text
_TOGETHER = 512  # items whose features are one product


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Features whose inner products are the kernel.

    Column k depends on the k + 1 most rated items alone: the first columns are the kernel on fewer
    landmarks, and the first 1,000 have the bits they have without the others.

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
        for at, made in self.blocks(tokens):
            out[at] = made
        return out

    def blocks(self, tokens: Singles) -> Iterator[tuple[slice, Singles]]:
        """The same, some rows at a time: which these are, and their features."""
        if not len(tokens) or not len(self.tokens):
            return
        scaled = _scaled(tokens, self.scale)
        places = self._places if len(tokens) > 1 else ALONE
        block = np.zeros((_TOGETHER, tokens.shape[1]), np.float32)
        with one_blas_thread():
            for at, some, taken in in_blocks(scaled, block, places):
                yield at, self._of_block(some)[taken]

    @cached_property
    def _places(self) -> Rows:
        """Rows of a block that are rounded as the first one is."""
        token = np.random.default_rng(0).standard_normal((1, self.tokens.shape[1]), np.float32)
        with one_blas_thread():
            return rows_alike(self._of_block(unit_rows(token).repeat(_TOGETHER, axis=0)))

    def _of_block(self, block: Singles) -> Singles:
        """Features of 512 scaled tokens, shape (512, m)."""
        made = np.empty((len(block), len(self.tokens)), np.float32)
        k = _LEADING if len(self.tokens) > _LEADING else 0
        rest = _kernel(block, self.tokens[k:]).T  # in the order of LAPACK
        if k:
            made[:, :k] = self.leading._of_block(block)
            rest -= self.root[k:, :k] @ made[:, :k].T
        root = self.root[k:, k:]
        made[:, k:] = linalg.solve_triangular(root, rest, lower=True, overwrite_b=True).T
        return made

    @cached_property
    def leading(self) -> Landmarks:
        """The 1,000 most rated ones."""
        root = np.ascontiguousarray(self.root[:_LEADING, :_LEADING])
        return replace(self, tokens=self.tokens[:_LEADING], root=root)

    @property
    def is_sound(self) -> bool:
        """Whether the root is one of a kernel, that of an item and itself being 1."""
        lengths = np.einsum("ij,ij->i", self.root, self.root)
        return bool(np.all(lengths < 2) and np.all(self.root.diagonal() > _JITTER**2))

    def kernel(self, tokens: Singles) -> Singles:
        """``K``, the kernel between tokens (n, d) and landmarks, shape (n, m)."""
        out = np.empty((len(tokens), len(self.tokens)), np.float32)
        with one_blas_thread():
            for start in range(0, len(tokens), _TOGETHER):
                at = slice(start, start + _TOGETHER)
                out[at] = _kernel(_scaled(tokens[at], self.scale), self.tokens)
        return out

    def solved(self, columns: Singles, trans: str = "N") -> Singles:
        """``R^-1 c``, features where c are columns of the kernel, (m, k); ``R^-T c`` for "T"."""
        if not columns.size:
            return columns
        out: Singles = linalg.solve_triangular(
            self.root, columns, lower=True, trans=trans, check_finite=False
        )
        return out


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """``Phi = K R^-T``, the features of items, where products are asked for more than they are.

    All features are as many triangular systems as there are items. Of ``x Phi`` only those of items
    in x are needed, and ``Phi c = K (R^-T c)`` needs none, but a system for each column of ``c``.
    So ``x @ features`` and ``features @ c`` stand for these, and a row is made when it is first
    asked for.

    Attributes
    ----------
    landmarks : Landmarks
    tokens : ndarray of float32, shape (n, d)
    has_token : ndarray of bool, shape (n,)
        Features of an item without a token are zeros.
    made : ndarray of float32, shape (n, m)
        The rows made so far; zeros elsewhere.
    known : ndarray of bool, shape (n,)
        Which these are.
    """

    landmarks: Landmarks
    tokens: Singles
    has_token: Mask
    made: Singles
    known: Mask

    __array_ufunc__ = None  # NumPy leaves products to this class

    @classmethod
    def unmade(cls, landmarks: Landmarks, tokens: Singles, has_token: Mask) -> TextFeatures:
        """None of them made yet."""
        made = np.zeros((len(tokens), len(landmarks.tokens)), np.float32)
        return cls(landmarks, tokens, has_token, made, ~has_token)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process, where arrays may be read-only, makes its own."""
        return TextFeatures.unmade, (self.landmarks, self.tokens, self.has_token)

    def __len__(self) -> int:
        return len(self.made)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.made.shape

    @property
    def whole(self) -> Singles:
        """All of them, shape (n, m)."""
        self._make(np.arange(len(self)))
        return self.made

    def of(self, rows: Rows | slice) -> TextFeatures:
        """Those of some rows; of a slice, what is made in one is made in both."""
        made, known = self.made[rows], self.known[rows]
        return TextFeatures(self.landmarks, self.tokens[rows], self.has_token[rows], made, known)

    def leading(self, n: int) -> TextFeatures:
        """The first 1,000 of the first n rows, in one piece: SciPy would copy what is not."""
        first = self.landmarks.leading
        made = np.zeros((n, len(first.tokens)), np.float32)
        known = self.known[:n].copy()
        made[known] = self.made[:n, : made.shape[1]][known]
        return TextFeatures(first, self.tokens[:n], self.has_token[:n], made, known)

    def grown(self, items: EntityIndex, source: Rows, told: Sequence[int]) -> TextFeatures:
        """Those of today's item rows, which the rows ``source`` were before; some have new text."""
        made, known = self.whole[source], np.ones(len(source), bool)
        made[told], known[told] = 0, ~items.has_token[told]
        return TextFeatures(self.landmarks, items.tokens, items.has_token, made, known)

    def __rmatmul__(self, rows: Any) -> Any:
        """``x Phi``, x a sparse array or a vector."""
        self._make(rows.indices if sparse.issparse(rows) else np.flatnonzero(rows))
        return rows @ self.made

    def __matmul__(self, columns: Singles) -> Singles:
        """``Phi c``."""
        out: Singles = self.kernel @ self.landmarks.solved(columns, "T")
        return out

    @cached_property
    def kernel(self) -> Singles:
        """``K``, shape (n, m)."""
        out = self.landmarks.kernel(self.tokens)
        out[~self.has_token] = 0
        return out

    def _make(self, rows: Rows) -> None:
        missing = np.unique(rows[~self.known[rows]])
        for at, made in self.landmarks.blocks(self.tokens[missing]):
            self.made[missing[at]] = made
        self.known[missing] = True


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
    features : TextFeatures
        ``Phi``, of all item rows; zeros where an item has no token: it gets the mean.
    warm : TextFeatures
        ``Phi_w``.
    inner : ndarray of float32, shape (m, m)
        ``M``, symmetric.
    """

    features: TextFeatures
    warm: TextFeatures
    inner: Singles

    @classmethod
    def learn(cls, items: EntityIndex, counts: Rows) -> TextKernel:
        """From the tokens of all items and the number of ratings of the warm ones."""
        features = TextFeatures.unmade(Landmarks.of(items, counts), items.tokens, items.has_token)
        return cls._of(features, features.of(slice(items.n_warm)))

    @classmethod
    def _of(cls, features: TextFeatures, warm: TextFeatures) -> TextKernel:
        taught = warm.whole
        inner = (taught.T @ taught).astype(np.float64) + _RIDGE * np.eye(taught.shape[1])
        inverse = linalg.inv(inner, overwrite_a=True)
        return cls(features, warm, ((inverse + inverse.T) / 2).astype(np.float32))

    @property
    def landmarks(self) -> Landmarks:
        """What makes features of tokens."""
        return self.features.landmarks

    @cached_property
    def leading(self) -> TextFeatures:
        """The features of warm items that take part in the Gram matrix of EASE."""
        return self.features.leading(len(self.warm))

    def learned_on(self, rows: Rows) -> TextKernel:
        """The same map, but from the values of these rows alone."""
        return self._of(self.features, self.features.of(rows))

    def smooth(self, values: Singles, rows: slice) -> Singles:
        """Values (n, n_warm) of the warm items as text alone has them for ``rows``."""
        means, first = values.mean(axis=1, keepdims=True), len(self.warm)
        by_text: Singles
        if rows == slice(first, None) and len(self.features) - first < len(self.inner):
            by_text = (values - means) @ self._to_others
        else:
            others = self.features.whole[rows]
            by_text = (values - means) @ self.warm.whole @ self.inner @ others.T
        by_text += means
        return by_text

    @cached_property
    def _to_others(self) -> Singles:
        """How each warm item counts for those that come after them, shape (n_warm, n_others)."""
        return self._counts_for(slice(len(self.warm), None))

    def mean_of(self, row: int) -> Singles:
        """How much each warm item's value counts in what :meth:`smooth` gives a row."""
        counts = self._counts_for(slice(row, row + 1))[:, 0]
        counts += (1 - counts.sum()) / len(counts)
        return counts

    def _counts_for(self, rows: slice) -> Singles:
        """``Phi_w M Phi'`` for some rows, block by block: the kernel is never whole."""
        features = self.landmarks.solved(self.features.of(rows).kernel.T)
        others = self.landmarks.solved(self.inner @ features, "T")
        cuts = range(0, len(self.warm), _TOGETHER)
        return np.vstack([self.warm.of(slice(k, k + _TOGETHER)).kernel @ others for k in cuts])

    def relearned(self, features: TextFeatures, n_warm: int) -> TextKernel:
        """With further warm items, and other features of some, the landmarks as they were.

        The old warm items are the first ones of the new. M changes by Woodbury's identity.
        """
        warm = features.of(slice(n_warm))
        old, new, n_old = self.warm.whole, warm.whole, len(self.warm)
        changed = np.append(
            np.flatnonzero(np.any(new[:n_old] != old, axis=1)), np.arange(n_old, n_warm)
        )
        gone = changed[changed < n_old]
        block = np.vstack([new[changed], old[gone]]).astype(np.float64)
        signs = np.append(np.ones(len(changed)), -np.ones(len(gone)))
        solved = block @ self.inner
        less = solved.T @ np.linalg.inv(np.diag(signs) + block @ solved.T) @ solved
        inner = self.inner - ((less + less.T) / 2).astype(np.float32)
        return TextKernel(features, warm, inner)


def _scaled(tokens: Singles, scale: float) -> Singles:
    return (tokens * np.float32(scale)).astype(np.float32)


def _kernel(a: Singles, b: Singles) -> Singles:
    out: Singles = a @ b.T
    out *= 2
    out -= np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None]
    return np.exp(np.minimum(out, 0, out=out), out=out)
