"""Who rated an item, as features of the items' prior: their scale, and their coefficients.

A feature belongs to a user, and so does its coefficient; what all users say of an item is summed
by a pass from user to user (:mod:`llmtokens.kernels.links`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import links as kernels
from ...kernels.links import WIDE
from ...runtime.arrays import Floats, Rows
from ...runtime.threads import over_rows
from .features import DAMP
from .reproducible import Purpose, by_block


class Links(NamedTuple):
    """Who rated an item, centred and damped: ``H = diag(scale) (R - n_raters share')``, sparse.

    ``R`` is the 0/1 matrix of items by users, ``n_raters`` how many rated an item and ``share`` the
    part of all ratings that a user made, ``1 / n_pairs`` for each item; rows with few ratings are
    damped, and the whole has mean square norm 1.
    """

    n_pairs: int
    scale: Floats
    n_raters: Floats

    @property
    def dense(self) -> Floats:
        """The direction that the centring adds to the column of every user, shape (n_items,)."""
        return self.scale * self.n_raters

    @classmethod
    def of(cls, n_raters: Floats, shares: LinkShares) -> Links | None:
        """None where everybody rated everything, so that the links say nothing.

        Parameters
        ----------
        n_raters : ndarray of shape (n_items,)
            How many rated an item.
        shares : LinkShares
            Of all users.
        """
        scale, (by_item, squares) = 1 / (n_raters + DAMP), shares
        norms = scale**2 * (n_raters - 2 * n_raters * by_item + n_raters**2 * squares)
        size = np.sqrt(norms.mean())
        return cls(int(n_raters.sum()), scale / size, n_raters) if size > 1e-6 else None


class LinkShares(NamedTuple):
    """Sums of the shares of all ratings that users made: by item, and of their squares."""

    by_item: Floats
    squares: float


class Carry(NamedTuple):
    """What the pass over the users hands from shard to shard: see :mod:`llmtokens.kernels.links`.

    Attributes
    ----------
    resid : (n_items, w), shift : (w,), along : (w,)
    """

    resid: Floats
    shift: Floats
    along: Floats


class LinkCoefficients:
    """Links of a run of users, and their coefficients in the mean of the items' rows.

    Attributes
    ----------
    plain : (n, k)
        Coefficients in the scale of the items' rows.
    """

    def __init__(self, ptr: Rows, item: NDArray[np.int32], first: int, seed: int, k: int) -> None:
        self.ptr, self.item, self._first, self._seed = ptr, item, first, seed
        self.plain = np.zeros((len(ptr) - 1, k))
        self._white = np.zeros_like(self.plain)

    def raters(self, n_items: int) -> Floats:
        """How many of these users rated each item."""
        return np.bincount(self.item, minlength=n_items).astype(np.float64)

    def shares(self, n_pairs: float, n_items: int) -> LinkShares:
        """How much of all ratings these users made."""
        share = np.diff(self.ptr) / n_pairs
        each = np.repeat(share, np.diff(self.ptr))
        by_item: Any = np.bincount(self.item, each, n_items)
        return LinkShares(by_item, float(np.sum(share**2)))

    def start(self, links: Links) -> None:
        """Take the scale of the features."""
        self._links, self._share = links, np.diff(self.ptr) / links.n_pairs
        self._norms, self._along = kernels.link_norms(
            self.ptr, self.item, links.scale, links.n_raters, self._share
        )
        self._size = float(links.dense @ links.dense)

    def draw(self, sweep: int, carry: Carry, first: int, strength: float, root: Floats) -> None:
        """Draw the coefficients of some columns, the first one a multiple of 4; ``carry`` is
        brought up to date."""
        n, width = len(self.plain), carry.resid.shape[1]
        normals = np.empty((n, width))
        for column in range(0, width, WIDE):
            group = (first + column) // WIDE
            for at, rng in by_block(self._seed, sweep, Purpose.LINKS, self._first, n, group):
                part = normals[at, column : column + WIDE]
                part[:] = rng.standard_normal(part.shape)
        coef = self.plain @ root[:, first : first + width]
        over_rows(
            -(-width // WIDE), kernels.sample_links, self.ptr, self.item, self._links.scale,
            self._share, self._norms, self._along, self._size, strength, normals, carry.resid,
            carry.shift, carry.along, coef, few=1,
        )  # fmt: skip
        self._white[:, first : first + width] = coef

    def close(self, inverse_root: Floats) -> Floats:
        """Back to the items' scale, when all columns are drawn; the sum of products."""
        self.plain = self._white @ inverse_root
        square: Floats = self.plain.T @ self.plain
        return square
