"""Many samples as one pair of factor matrices."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ..selection import correction_terms
from .features import gram

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Compact:
    """A posterior mean of low rank: ``mean + pu[u] @ qi[i]``, on the scale of the ratings.

    Attributes
    ----------
    pu, qi : ndarray of float32, shape (n_user_rows, rank), (n_item_rows, rank)
        By row of the entities: warm ids by inner id, cold ones, last the unknown row.
    mean : float
    scale : tuple of float
    users, items : EntityIndex
    rmse_cost : float
        Root mean square difference from the full estimates.
    """

    pu: NDArray[np.float32]
    qi: NDArray[np.float32]
    mean: float
    scale: tuple[float, float]
    users: EntityIndex
    items: EntityIndex
    rmse_cost: float

    def predict(self, uids: Iterable[Hashable], iids: Iterable[Hashable]) -> Floats:
        """Estimates for pairs of raw ids, inside the scale, shape (n,)."""
        return self.estimates(self.users.rows(uids), self.items.rows(iids))

    def estimates(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Floats:
        """The same for rows."""
        dots = np.einsum("nr,nr->n", self.pu[users], self.qi[items]).astype(np.float64)
        out: Floats = np.clip(self.mean + dots, *self.scale)
        return out


def compacted(
    parts: dict[str, Any],
    rank: int,
    scale: tuple[float, float],
    entities: tuple[EntityIndex, EntityIndex],
    judged: tuple[NDArray[np.int64], NDArray[np.int64], Floats],
) -> Compact:
    """Compact what a posterior's parts predict; ``judged``: users, items and full estimates."""
    pu, qi = factorise(parts, rank)
    pu *= parts["std"]
    users, items, full = judged
    made = Compact(
        pu.astype(np.float32), qi.astype(np.float32), parts["mean"], scale, *entities, 0.0
    )
    cost = np.sqrt(np.mean((full - made.estimates(users, items)) ** 2)) if len(full) else 0.0
    return replace(made, rmse_cost=float(cost))


def factorise(parts: dict[str, Any], rank: int) -> tuple[Floats, Floats]:
    """The truncated SVD of the mean over samples, both factors with the root of the values.

    The users x items matrix is never formed: it is ``L R'`` with as many columns as all samples
    have together, and its singular vectors follow from the Gram matrices of L and R.
    """
    users, items, lead = parts["users"], parts["items"], parts["lead"]
    n, c = users.shape[1], lead.shape[1]
    left = np.hstack(
        [
            users[:, :, :c].mean(axis=1), users[:, :, -1].mean(axis=1)[:, None],
            np.ones((len(users), 1), np.float32), parts["picks"],
            users[:, :, c:-1].reshape(len(users), -1) / np.float32(n),
        ]
    )  # fmt: skip
    right = np.hstack(
        [
            lead, np.ones((len(items), 1), np.float32), items[:, :, -1].mean(axis=1)[:, None],
            correction_terms(parts).astype(np.float32),
            items[:, :, :-1].reshape(len(items), -1),
        ]
    )  # fmt: skip
    (half_l, back_l), (half_r, back_r) = _root(left), _root(right)
    u, s, vt = np.linalg.svd(half_l.T @ half_r)
    root = np.sqrt(s[:rank])
    n = len(root)
    return left @ (back_l @ u[:, :n] * root), right @ (back_r @ vt[:n].T * root)


def _root(rows: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """``(A, B)`` with ``rows @ B`` orthonormal and ``rows = (rows @ B) A'``."""
    values, axes = np.linalg.eigh(gram(rows))
    kept = values > 1e-10 * values[-1]
    root = np.sqrt(values[kept])
    return axes[:, kept] * root, axes[:, kept] / root
