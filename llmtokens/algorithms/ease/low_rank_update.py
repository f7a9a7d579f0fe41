"""New ratings and items in the weights of EASE, without solving for all of them again.

What changes in ``G = X'X + a T T' + l I`` is of low rank, ``U S U'`` with few columns U, and so is
what changes in its inverse (Woodbury's identity):

``P - V K V'``, ``V = P U``, ``K = (I + S U'V)^-1 S``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from .solver import DenseItems, FactoredItems, Floats, Items, most_directions, solve

Doubles = NDArray[np.float64]
Data = tuple[Any, Floats]  # X, sparse (n_users, n_items), and T, (n_items, d)

_BLOCK = 512  # rows written at once
_CHEAPER = 4  # times the rank of the change: with no more items than that, solving anew costs less


def relearned(
    items: Items, old: Data, new: Data, token_weight: float, l2: float, max_dense: int
) -> Items:
    """The weights that ``solve`` would find for the new data, but for rounding.

    Each item that is new, and each user whose ratings changed, costs a pass over all weights;
    where that is more than solving anew, they are solved anew.

    Parameters
    ----------
    items : DenseItems or FactoredItems
        Solved from the old data, whose users and items are the first ones of the new.
    """
    columns, middle = change(old, new, token_weight)
    n, rank = columns.shape
    full = isinstance(items, FactoredItems) and items.right.shape[1] + rank > most_directions(n)
    if full or _CHEAPER * rank >= n:
        return solve(*new, token_weight, l2, max_dense)
    n_old = len(items.precision)
    lead = np.vstack([_times_precision(items, columns[:n_old]), columns[n_old:] / l2])
    inner = linalg.solve(np.eye(rank) + middle @ (columns.T @ lead), middle)
    precision = np.append(items.precision, np.full(n - n_old, 1 / l2, np.float32))
    return _less(items, precision, lead, (inner + inner.T) / 2)


def change(old: Data, new: Data, token_weight: float) -> tuple[Doubles, Doubles]:
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


def _times_precision(items: Items, columns: Doubles) -> Doubles:
    """``P U``."""
    rows: Floats = columns.T.astype(np.float32)
    if isinstance(items, DenseItems):
        scores: Floats = rows @ items.weights
    else:
        scores = (rows @ items.left) @ items.right.T - rows * items.own_weight
        scores /= items.precision
    out: Doubles = items.precision[:, None].astype(np.float64) * (columns - scores.T)
    return out


def _less(items: Items, precision: Floats, lead: Doubles, inner: Doubles) -> Items:
    """The weights of ``P - V K V'``, where the diagonal of P is ``precision``."""
    n_old, n = len(items.precision), len(precision)
    back, front = (lead @ inner).astype(np.float32), lead.astype(np.float32)
    taken = np.einsum("ir,ir->i", lead, lead @ inner)
    left_over = (precision - taken).astype(np.float32)
    if isinstance(items, FactoredItems):
        rank, sides = items.right.shape[1], []
        for side, more in ((items.left, back), (items.right, front)):
            sides.append(np.zeros((n, rank + more.shape[1]), np.float32))
            sides[-1][:n_old, :rank], sides[-1][:, rank:] = side, more
        own = np.pad(items.own_weight, (0, n - n_old)) + taken
        return FactoredItems(sides[0], sides[1], own.astype(np.float32), left_over)
    kept, scaled = (precision / left_over)[:n_old], front.T / left_over
    weights = np.empty((n, n), np.float32)
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        np.matmul(back[rows], scaled, out=weights[rows])
        if start < n_old:
            weights[start : min(start + _BLOCK, n_old), :n_old] += items.weights[rows] * kept
    np.fill_diagonal(weights, 0)
    return DenseItems(weights, left_over)
