"""The part of the items' prior that sits with the users: coefficients of who rated an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import links as kernels
from .features import Links
from .ordered_sum import Parts
from .streams import Purpose, by_block

if TYPE_CHECKING:
    from .team import Team

Floats = NDArray[np.float64]

WIDE = 4  # columns with random numbers of their own


class Carry(NamedTuple):
    """What the pass over the users hands from shard to shard: see :mod:`llmtokens.kernels.links`.

    Attributes
    ----------
    resid : (n_items, w), shift : (w,), along : (w,)
    """

    resid: Floats
    shift: Floats
    along: Floats


class Linked:
    """Links of a run of users, and their coefficients.

    Attributes
    ----------
    plain : (n, k)
        Coefficients in the scale of the items' rows.
    """

    def __init__(
        self, ptr: NDArray[np.int64], item: NDArray[np.int32], first: int, seed: int, k: int
    ) -> None:
        self.ptr, self.item, self._first, self._seed = ptr, item, first, seed
        self.plain = np.zeros((len(ptr) - 1, k))
        self._white = np.zeros_like(self.plain)

    def count(self, n_items: int) -> Parts:
        """Raters per item."""
        return (np.bincount(self.item, minlength=n_items).astype(np.float64),)

    def weigh(self, n_pairs: float, n_items: int) -> Parts:
        """Sums of the shares of all ratings that users made, by item, and of their squares."""
        share = np.diff(self.ptr) / n_pairs
        each = np.repeat(share, np.diff(self.ptr))
        return np.bincount(self.item, each, n_items), float(np.sum(share**2))

    def start(self, links: Links) -> Parts:
        """Take the scale of the features."""
        self._links, self._share = links, np.diff(self.ptr) / links.n_pairs
        self._norms, self._along = kernels.link_norms(
            self.ptr, self.item, links.scale, links.n_raters, self._share
        )
        self._size = float(links.dense @ links.dense)
        return ()

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
        kernels.sample_links(
            self.ptr, self.item, self._links.scale, self._share, self._norms, self._along,
            self._size, strength, normals, carry.resid, carry.shift, carry.along, coef,
        )  # fmt: skip
        self._white[:, first : first + width] = coef

    def close(self, inverse_root: Floats) -> Parts:
        """Back to the items' scale, when all columns are drawn; the sum of products."""
        self.plain = self._white @ inverse_root
        return (self.plain.T @ self.plain,)


def find_links(team: Team, n_items: int) -> Links | None:
    """The scale of who rated what, told to the shards; None where it says nothing."""
    raters = team.total("links.count", n_items)[0]
    links = Links.of(raters, *team.total("links.weigh", float(raters.sum()), n_items))
    if links is not None:
        team.total("links.start", links)
    return links
