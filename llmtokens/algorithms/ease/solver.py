"""The linear algebra of EASE: one ridge regression of every item on all the others.

``G = X'X + a T T' + l I``, ``P = G^-1``, ``B = I - P / diag(P)``: the minimiser of
``|X - XB|^2 + a |T' - T'B|^2 + l |B|^2`` under ``diag(B) = 0``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.float32]

_EXACT = 3072  # rank up to which a large catalogue is solved exactly
_RANK = 1024  # directions kept beyond it


@dataclass(frozen=True, eq=False)
class DenseItems:
    """All weights between items.

    Attributes
    ----------
    weights : ndarray of float32, shape (n_items, n_items)
        ``B``; column i predicts item i.
    precision : ndarray of float32, shape (n_items,)
        ``diag(P)``.
    """

    weights: Floats
    precision: Floats

    def scores(self, rows: Any) -> Floats:
        """``X B`` for rows of X (sparse), shape (n, n_items)."""
        out: Floats = np.asarray(rows @ self.weights)
        return out

    def per_choice(self, counts: Floats) -> Floats:
        """``B counts``: what one choice of each item adds to a sum of scores, (n_items,)."""
        out: Floats = self.weights @ counts
        return out


@dataclass(frozen=True, eq=False)
class FactoredItems:
    """The same weights for ``G = U U' + diag(D)``, by the Woodbury identity, never n by n:

    ``B_ji = left_j . right_i / P_ii`` for ``i != j``, and ``B_ii = 0``.

    Attributes
    ----------
    left, right : ndarray of float32, shape (n_items, rank)
    own_weight : ndarray of float32, shape (n_items,)
        ``left_i . right_i``, taken out of the diagonal.
    precision : ndarray of float32, shape (n_items,)
        ``diag(P)``.
    """

    left: Floats
    right: Floats
    own_weight: Floats
    precision: Floats

    def scores(self, rows: Any) -> Floats:
        """``X B`` for rows of X (sparse), shape (n, n_items)."""
        out: Floats = np.asarray(rows @ self.left) @ self.right.T
        seen = rows.tocoo()
        out[seen.row, seen.col] -= seen.data * self.own_weight[seen.col]
        out /= self.precision
        return out

    def per_choice(self, counts: Floats) -> Floats:
        """``B counts``: what one choice of each item adds to a sum of scores, (n_items,)."""
        scaled = counts / self.precision
        out: Floats = self.left @ (self.right.T @ scaled) - self.own_weight * scaled
        return out


Items = DenseItems | FactoredItems


def solve(rows: Any, features: Floats, token_weight: float, l2: float, max_dense: int) -> Items:
    """Weights between items.

    Exact where that is affordable: through the dual if users and features together are fewer than
    half the items, else through an n_items x n_items inverse up to ``max_dense`` items. Beyond
    these, ``X'X + a T T'`` keeps its leading 1,024 directions, and of the rest its diagonal.

    Parameters
    ----------
    rows : sparse matrix, shape (n_users, n_items)
        X.
    features : ndarray of float32, shape (n_items, d)
        T.
    """
    n_users, n_items = rows.shape
    features = np.float32(np.sqrt(token_weight)) * features[:, : None if token_weight else 0]
    rank = n_users + features.shape[1]
    ridge = np.full(n_items, l2, np.float32)
    if 2 * rank < n_items and (n_items <= max_dense or rank <= _EXACT):
        return _factored(np.hstack([rows.T.toarray(), features]), ridge)
    if n_items <= max_dense:
        return _dense(rows, features, l2)
    factor = _leading(rows, features)
    total = np.asarray(rows.multiply(rows).sum(axis=0)).ravel() + (features**2).sum(axis=1)
    rest = np.maximum(total - (factor**2).sum(axis=1), 0)
    return _factored(factor, ridge + rest.astype(np.float32))


def most_directions(n_items: int) -> int:
    """How many columns the factors may grow to."""
    return min(n_items // 2, _EXACT + _RANK)


def _dense(rows: Any, features: Floats, l2: float) -> DenseItems:
    """In place in one n_items x n_items array of float32."""
    gram = (rows.T @ rows).toarray(order="F").astype(np.float32, copy=False)
    if features.shape[1]:
        gram += features @ features.T
    gram[np.diag_indices_from(gram)] += l2
    factor, _ = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    precision = inverse.diagonal().copy()
    for start in range(0, len(inverse), 512):  # the other triangle, block by block
        stop = start + 512
        corner = np.tril(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = corner + np.tril(corner, -1).T
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
    inverse = inverse.T  # the same, in the order of files: so that sums round alike after loading
    inverse /= -precision
    np.fill_diagonal(inverse, 0)
    return DenseItems(inverse, precision)


def _factored(factor: Floats, ridge: Floats) -> FactoredItems:
    right = np.ascontiguousarray(factor / ridge[:, None])
    inner = (factor.T @ right).astype(np.float64)
    inner[np.diag_indices_from(inner)] += 1
    left = right @ linalg.inv(inner, overwrite_a=True).astype(np.float32)
    own = np.einsum("ij,ij->i", left, right)
    return FactoredItems(left, right, own, 1 / ridge - own)


def _leading(rows: Any, features: Floats) -> Floats:
    """Leading directions of ``X'X + a T T'``, by block power iteration from a fixed start."""
    transposed = rows.T.tocsr()

    def times(block: Floats) -> Floats:
        out: Floats = features @ (features.T @ block)
        for k in range(0, block.shape[1], 128):  # n_users x 128 at a time
            out[:, k : k + 128] += transposed @ (rows @ block[:, k : k + 128])
        return out

    rank = min(_RANK, rows.shape[1])
    basis = np.random.default_rng(0).standard_normal((rows.shape[1], rank), np.float32)
    for _ in range(3):
        basis = linalg.qr(times(basis), mode="economic", overwrite_a=True)[0]
    values, vectors = linalg.eigh(basis.T @ times(basis))
    return (basis @ (vectors * np.sqrt(np.maximum(values, 0)))).astype(np.float32)
