"""The linear algebra of EASE: one ridge regression of every item on all the others.

``G = X'X + a T T' + l I``, ``P = G^-1``, ``B = I - P / diag(P)``: the minimiser of
``|X - XB|^2 + a |T' - T'B|^2 + l |B|^2`` under ``diag(B) = 0``.

New ratings and items come in without solving for all of them again: what changes in ``G`` is of low
rank, ``U S U'`` with few columns U, and so is what changes in its inverse (Woodbury's identity),
``P - V K V'`` with ``V = P U`` and ``K = (I + S U'V)^-1 S``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg, sparse

from ...runtime.arrays import Floats, Singles
from ...runtime.locks import cached_property
from ...runtime.memory import require_memory
from .text_kernel import TextFeatures, TextKernel

_EXACT = 3072  # rank up to which a large catalogue is solved exactly
_RANK = 1024  # directions kept beyond it
_BLOCK = 512  # rows written at once
_CHEAPER = 4  # times the rank of the change: with no more items than that, solving anew costs less

Data = tuple[Any, Singles]  # X, sparse (n_users, n_items), and T, (n_items, d)


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

    weights: Singles
    precision: Singles

    def scores(self, rows: Any) -> Singles:
        """``X B`` for rows of X (sparse), shape (n, n_items)."""
        out: Singles = np.asarray(rows @ self.weights)
        return out

    def per_choice(self, counts: Singles) -> Singles:
        """``B counts``: what one choice of each item adds to a sum of scores, (n_items,)."""
        out: Singles = self.weights @ counts
        return out


@dataclass(frozen=True, eq=False)
class FactoredItems:
    """The same weights, never n by n: ``P = D - V M V'`` (Woodbury's identity), D diagonal.

    ``B_ji = (V M V')_ji / P_ii`` for ``i != j``, and ``B_ii = 0``. Where users are few and all
    directions are kept, V is the data, ``[X', T]``: then M is all there is to learn.

    Attributes
    ----------
    rows : sparse array of float32, shape (n_users, n_items)
        The columns of V that are users, X; none where directions are kept in their stead.
    factor : ndarray of float32, shape (n_items, k), or TextFeatures
        The other columns of V.
    inner : ndarray of float32, shape (n_users + k, n_users + k)
        ``M``, symmetric.
    own_weight : ndarray of float32, shape (n_items,)
        The diagonal of ``V M V'``.
    precision : ndarray of float32, shape (n_items,)
        ``diag(P)``.
    """

    rows: sparse.csr_array
    factor: Singles | TextFeatures
    inner: Singles
    own_weight: Singles
    precision: Singles

    @property
    def is_of_users(self) -> bool:
        """Whether V is the data."""
        return bool(self.rows.shape[0])

    def scores(self, rows: Any) -> Singles:
        """``X B`` for rows of X (sparse), shape (n, n_items)."""
        near = (rows @ self._by_item).toarray()
        out = self._values(self.inner @ np.hstack([near, rows @ self.factor]).T).T
        seen = rows.tocoo()
        out[seen.row, seen.col] -= seen.data * self.own_weight[seen.col]
        out /= self.precision
        return out

    def per_choice(self, counts: Singles) -> Singles:
        """``B counts``: what one choice of each item adds to a sum of scores, (n_items,)."""
        scaled = counts / self.precision
        near = self.inner @ np.append(self.rows @ scaled, scaled @ self.factor)
        out: Singles = self._values(near[:, None])[:, 0] - self.own_weight * scaled
        return out

    def _values(self, near: Singles) -> Singles:
        """``V near``, shape (n_items, n): BLAS is faster this way round."""
        n_users = self.rows.shape[0]
        out: Singles = self.factor @ near[n_users:]
        if n_users:
            out += self._by_item @ near[:n_users]
        return out

    @cached_property
    def _by_item(self) -> sparse.csr_array:
        """``rows``, transposed: by rows, sums over users take half the time."""
        return sparse.csr_array(self.rows.T)


Items = DenseItems | FactoredItems


def solve(rows: Any, features: Singles, token_weight: float, l2: float, max_dense: int) -> Items:
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
    features = weighed(features, token_weight)
    rank = n_users + features.shape[1]
    if 2 * rank < n_items and (n_items <= max_dense or rank <= _EXACT):
        return _by_users(rows, features, token_weight, l2)
    features = np.float32(np.sqrt(token_weight)) * features
    if n_items <= max_dense:
        return _dense(rows, features, l2)
    factor = _leading(rows, features)
    total = np.asarray(rows.multiply(rows).sum(axis=0)).ravel() + (features**2).sum(axis=1)
    rest = np.maximum(total - (factor**2).sum(axis=1), 0)
    return _by_directions(factor, np.float32(l2) + rest.astype(np.float32))


def unformed(items: Items, text_kernel: TextKernel | None) -> Items:
    """The same weights for who is asked for, where features of texts are part of V: these are made
    as they are needed."""
    if isinstance(items, FactoredItems) and items.is_of_users and items.factor.shape[1]:
        assert text_kernel is not None
        return replace(items, factor=text_kernel.leading)
    return items


def weighed(features: Singles, token_weight: float) -> Singles:
    """Those that count, shape (n_items, d); none at a weight of 0. In one piece: SciPy would copy
    what is not, every time."""
    return np.ascontiguousarray(features[:, : None if token_weight else 0])


def most_directions(n_items: int) -> int:
    """How many columns the factors may grow to."""
    return min(n_items // 2, _EXACT + _RANK)


def _dense(rows: Any, features: Singles, l2: float) -> DenseItems:
    """In place in one n_items x n_items array of float32."""
    n_items = rows.shape[1]
    require_memory(4.0 * n_items**2, f"weights between {n_items:,} items (see max_dense)")
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


def _by_users(rows: Any, features: Singles, token_weight: float, l2: float) -> FactoredItems:
    """``V = [X', T]``, ``M = (l^2 A + l V'V)^-1``: A has 1 for users and 1 / a for features."""
    n_users = rows.shape[0]
    among, cross = (rows @ rows.T).toarray(), rows @ features
    gram = l2 * np.block([[among, cross], [cross.T, features.T @ features]]).astype(np.float64)
    weight = np.append(np.ones(n_users), np.full(features.shape[1], 1 / (token_weight or 1)))
    gram[np.diag_indices_from(gram)] += l2**2 * weight
    inner = _symmetric_inverse(gram)
    own = _own_weights(rows, features, inner)
    return FactoredItems(rows, features, inner, own, np.float32(1 / l2) - own)


def _own_weights(rows: Any, features: Singles, inner: Singles) -> Singles:
    """The diagonal of ``V M V'`` for ``V = [X', T]``, from the parts of M."""
    n_users, by_item = rows.shape[0], rows.T.tocsr()
    own: Singles = np.asarray(by_item.multiply(by_item @ inner[:n_users, :n_users]).sum(axis=1))
    own = own.ravel()
    if features.shape[1]:
        of_features = (
            2 * (by_item @ inner[:n_users, n_users:]) + features @ inner[n_users:, n_users:]
        )
        own += np.einsum("ij,ij->i", of_features, features)
    return own


def _by_directions(factor: Singles, ridge: Singles) -> FactoredItems:
    """``V = D U``, ``M = (I + U' D U)^-1`` for ``G = U U' + D^-1``."""
    scaled = np.ascontiguousarray(factor / ridge[:, None])
    gram = (factor.T @ scaled).astype(np.float64)
    gram[np.diag_indices_from(gram)] += 1
    inner = _symmetric_inverse(gram)
    own = np.einsum("ij,ij->i", scaled @ inner, scaled)
    return FactoredItems(_no_users(len(factor)), scaled, inner, own, 1 / ridge - own)


def _no_users(n_items: int) -> sparse.csr_array:
    return sparse.csr_array((0, n_items), dtype=np.float32)


def _symmetric_inverse(matrix: Floats) -> Singles:
    inverse = linalg.inv(matrix, overwrite_a=True)
    out: Singles = ((inverse + inverse.T) / 2).astype(np.float32)
    return out


def _leading(rows: Any, features: Singles) -> Singles:
    """Leading directions of ``X'X + a T T'``, by block power iteration from a fixed start."""
    transposed = rows.T.tocsr()

    def times(block: Singles) -> Singles:
        out: Singles = features @ (features.T @ block)
        for k in range(0, block.shape[1], 128):  # n_users x 128 at a time
            out[:, k : k + 128] += transposed @ (rows @ block[:, k : k + 128])
        return out

    rank = min(_RANK, rows.shape[1])
    basis = np.random.default_rng(0).standard_normal((rows.shape[1], rank), np.float32)
    for _ in range(3):
        basis = linalg.qr(times(basis), mode="economic", overwrite_a=True)[0]
    values, vectors = linalg.eigh(basis.T @ times(basis))
    return (basis @ (vectors * np.sqrt(np.maximum(values, 0)))).astype(np.float32)


def relearned(
    items: Items, old: Data, new: Data, token_weight: float, l2: float, max_dense: int
) -> Items:
    """The weights that ``solve`` would find for the new data, but for rounding.

    Each item that is new, and each user whose ratings changed, costs a pass over all weights;
    where that is more than solving anew, or V is the data, they are solved anew.

    Parameters
    ----------
    items : DenseItems or FactoredItems
        Solved from the old data, whose users and items are the first ones of the new.
    """
    if isinstance(items, FactoredItems) and items.is_of_users:
        return solve(*new, token_weight, l2, max_dense)
    columns, middle = change(old, new, token_weight)
    n, rank = columns.shape
    full = isinstance(items, FactoredItems) and items.factor.shape[1] + rank > most_directions(n)
    if full or _CHEAPER * rank >= n:
        return solve(*new, token_weight, l2, max_dense)
    n_old = len(items.precision)
    lead = np.vstack([_times_precision(items, columns[:n_old]), columns[n_old:] / l2])
    inner = linalg.solve(np.eye(rank) + middle @ (columns.T @ lead), middle)
    precision = np.append(items.precision, np.full(n - n_old, 1 / l2, np.float32))
    return _less(items, precision, lead, (inner + inner.T) / 2)


def change(old: Data, new: Data, token_weight: float) -> tuple[Floats, Floats]:
    """``U`` (n_items, r) and ``S`` (r, r) by which the Gram matrix changes.

    New items, and those with other features, are taken by column: where ``[X', sqrt(a) T]'``
    changes by D there, ``C = X'D + a T D_T'`` and E has the unit columns, the Gram matrix changes
    by ``C E' + E C' + E D'D E'``. The rest is taken by column or by user, whichever are fewer: a
    user's new row comes in, the old one goes out.
    """
    (before, known), (rows, features) = old, new
    n, n_old = rows.shape[1], before.shape[1]
    before = before.copy()
    before.resize(rows.shape)
    delta = sparse.csc_array((rows - before).astype(np.float64))
    delta.eliminate_zeros()

    taken = np.ones(n, bool)
    taken[:n_old] = np.any(features[:n_old] != known, axis=1)
    rated = np.diff(delta.indptr) > 0
    if 2 * np.sum(rated & ~taken) <= len(np.unique(delta[:, ~taken].tocoo().row)):
        taken |= rated
    at = np.flatnonzero(taken)
    text = np.sqrt(token_weight) * features[at].astype(np.float64)
    text[at < n_old] -= np.sqrt(token_weight) * known[at[at < n_old]]
    cross = before.T.astype(np.float64) @ delta[:, at].toarray()
    cross[:n_old] += np.sqrt(token_weight) * (known @ text.T)
    within = (delta[:, at].T @ delta[:, at]).toarray() + text @ text.T
    one = np.eye(len(at))
    units = np.zeros((n, len(at)))
    units[at] = one

    rest = sparse.csr_array(delta @ sparse.diags_array((~taken).astype(np.float64)))
    rest.eliminate_zeros()
    users = np.flatnonzero(np.diff(rest.indptr))
    come = rows[users].toarray().astype(np.float64)
    go = come - rest[users].toarray()
    go = go[go.any(axis=1)]
    signs = np.append(np.ones(len(come)), -np.ones(len(go)))
    middle = linalg.block_diag(np.block([[0 * one, one], [one, within]]), np.diag(signs))
    return np.hstack([cross, units, come.T, go.T]), middle


def _times_precision(items: Items, columns: Floats) -> Floats:
    """``P U``."""
    rows: Singles = columns.T.astype(np.float32)
    if isinstance(items, DenseItems):
        scores: Singles = rows @ items.weights
    else:
        scores = items.scores(sparse.csr_array(rows))
    out: Floats = items.precision[:, None].astype(np.float64) * (columns - scores.T)
    return out


def _less(items: Items, precision: Singles, lead: Floats, inner: Floats) -> Items:
    """The weights of ``P - V K V'``, where the diagonal of P is ``precision``."""
    n_old, n = len(items.precision), len(precision)
    back, front = (lead @ inner).astype(np.float32), lead.astype(np.float32)
    taken = np.einsum("ir,ir->i", lead, lead @ inner)
    left_over = (precision - taken).astype(np.float32)
    if isinstance(items, FactoredItems):
        rank = items.factor.shape[1]
        factor = np.zeros((n, rank + lead.shape[1]), np.float32)
        factor[:n_old, :rank], factor[:, rank:] = items.factor, lead
        middle = linalg.block_diag(items.inner, inner).astype(np.float32)
        own = (np.pad(items.own_weight, (0, n - n_old)) + taken).astype(np.float32)
        return FactoredItems(_no_users(n), factor, middle, own, left_over)
    kept, scaled = (precision / left_over)[:n_old], front.T / left_over
    weights = np.empty((n, n), np.float32)
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        np.matmul(back[rows], scaled, out=weights[rows])
        if start < n_old:
            weights[start : min(start + _BLOCK, n_old), :n_old] += items.weights[rows] * kept
    np.fill_diagonal(weights, 0)
    return DenseItems(weights, left_over)
