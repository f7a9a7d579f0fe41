"""Many samples as one pair of factor matrices."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from ...data.entities import EntityIndex
from ...runtime.arrays import Floats, Rows, Singles
from .features import gram
from .fitted import FittedBPMF


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

    pu: Singles
    qi: Singles
    mean: float
    scale: tuple[float, float]
    users: EntityIndex
    items: EntityIndex
    rmse_cost: float

    def predict(self, uids: Iterable[Hashable], iids: Iterable[Hashable]) -> Floats:
        """Estimates for pairs of raw ids, inside the scale, shape (n,)."""
        return self.estimates(self.users.rows(uids), self.items.rows(iids))

    def estimates(self, users: Rows, items: Rows) -> Floats:
        """The same for rows."""
        dots = np.einsum("nr,nr->n", self.pu[users], self.qi[items]).astype(np.float64)
        out: Floats = np.clip(self.mean + dots, *self.scale)
        return out


def compacted(model: FittedBPMF, rank: int, users: Rows, items: Rows) -> Compact:
    """Compact what a posterior predicts, and measure what that costs for pairs of rows."""
    pu, qi = factorise(model, rank)
    pu *= model.std
    made = Compact(
        pu.astype(np.float32), qi.astype(np.float32), model.mean, model.ratings.scale, model.users,
        model.items, 0.0,
    )  # fmt: skip
    full = model.estimates(users, items)[0]
    cost = np.sqrt(np.mean((full - made.estimates(users, items)) ** 2)) if len(full) else 0.0
    return replace(made, rmse_cost=float(cost))


def factorise(model: FittedBPMF, rank: int) -> tuple[Floats, Floats]:
    """The truncated SVD of the mean over samples, both factors with the root of the values.

    The users x items matrix is never formed: it is ``L R'`` with as many columns as all samples
    have together, and its singular vectors follow from the Gram matrices of L and R.
    """
    users, items, lead = model.user_samples, model.item_samples, model.lead
    n, c = users.shape[1], lead.shape[1]
    left = np.hstack(
        [
            users[:, :, :c].mean(axis=1), users[:, :, -1].mean(axis=1)[:, None],
            np.ones((len(users), 1), np.float32), model.selection,
            users[:, :, c:-1].reshape(len(users), -1) / np.float32(n),
        ]
    )  # fmt: skip
    right = np.hstack(
        [
            lead, np.ones((len(items), 1), np.float32), items[:, :, -1].mean(axis=1)[:, None],
            model.correction_terms().astype(np.float32),
            items[:, :, :-1].reshape(len(items), -1),
        ]
    )  # fmt: skip
    (half_l, back_l), (half_r, back_r) = _root(left), _root(right)
    u, s, vt = np.linalg.svd(half_l.T @ half_r)
    root = np.sqrt(s[:rank])
    n = len(root)
    return left @ (back_l @ u[:, :n] * root), right @ (back_r @ vt[:n].T * root)


def _root(rows: Singles) -> tuple[Floats, Floats]:
    """``(A, B)`` with ``rows @ B`` orthonormal and ``rows = (rows @ B) A'``."""
    values, axes = np.linalg.eigh(gram(rows))
    kept = values > 1e-10 * values[-1]
    root = np.sqrt(values[kept])
    return axes[:, kept] * root, axes[:, kept] / root
