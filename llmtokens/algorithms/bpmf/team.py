"""Who holds the shards: what the sampler asks of them, and the answer of one process."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...data.ratings import Ratings
from .linked import Carry
from .ordered_sum import Parts, TreeSum
from .rated import Rated, users_a_shard
from .shard import Items, Shard

Floats = NDArray[np.float64]


class ItemRows(NamedTuple):
    """Items' rows ``[q, b]`` and precision factors, as they are sent to the shards."""

    rows: Floats
    precision: Floats

    def seen(self, lead: Floats) -> Items:
        """What users make of them."""
        design = np.hstack([lead, self.rows[:, :-1], np.ones((len(lead), 1))])
        return Items(lead, design, np.ascontiguousarray(self.rows[:, -1]), self.precision)


class Team(Protocol):
    """All shards, wherever they are."""

    def total(self, phase: str, *args: Any) -> Parts:
        """The sum of what a method of :class:`~.shard.Shard` returns, over all shards."""

    def draw_links(self, sweep: int, carry: Carry, strength: float, root: Floats) -> Carry:
        """Draw the coefficients of who rated an item, shard after shard."""

    def reserve(self, table: NDArray[np.float32]) -> None:
        """Say where the users' samples will be wanted: ``table`` (n_users, samples, width)."""

    def collect(self, table: NDArray[np.float32], n: int) -> Floats:
        """Put the first ``n`` samples there; what they leave open, shape (n_users, ...)."""


class Shards:
    """Shards in this process.

    Parameters
    ----------
    shards : sequence of Shard
        A run of them, by index.
    lead : ndarray of shape (n_items, c)
        The content dims that users have weights of their own for.
    """

    def __init__(self, shards: Sequence[Shard], lead: Floats) -> None:
        self.shards, self.lead = shards, np.ascontiguousarray(lead)

    @classmethod
    def of(
        cls,
        ratings: Ratings,
        y: Floats,
        about: NDArray[np.float32],
        lead: NDArray[np.float32],
        n_factors: int,
        seed: int,
    ) -> Shards:
        """Divide standardised ratings; rows of ``about`` and ``lead`` are users and items."""
        size = users_a_shard(ratings.n_users, ratings.n, ratings.n_items)
        shards = []
        for index, first in enumerate(range(0, ratings.n_users, size)):
            ptr = ratings.user_ptr[first : first + size + 1]
            at = slice(ptr[0], ptr[-1])
            rated = Rated.of(
                ptr - ptr[0], ratings.item[at], y[at].astype(np.float32), ratings.n_items
            )
            shards.append(
                Shard(
                    index, first, rated, about[first : first + size], n_factors, lead.shape[1], seed
                )
            )
        return cls(shards, lead.astype(np.float64))

    def partial(self, phase: str, *args: Any) -> TreeSum:
        """The sum of what a phase returns, as far as these shards go."""
        given = [arg.seen(self.lead) if isinstance(arg, ItemRows) else arg for arg in args]
        out = TreeSum()
        for shard in self.shards:
            out.add(shard.index, attrgetter(phase)(shard)(*given))
        return out

    def total(self, phase: str, *args: Any) -> Parts:
        return self.partial(phase, *args).result()

    def draw_links(
        self, sweep: int, carry: Carry, strength: float, root: Floats, first: int = 0
    ) -> Carry:
        """Draw the columns of the coefficients that ``carry`` has, which begin with ``first``."""
        for shard in self.shards:
            shard.links.draw(sweep, carry, first, strength, root)
        return carry

    def reserve(self, table: NDArray[np.float32]) -> None:
        for shard in self.shards:
            own = table[shard.first : shard.first + len(shard.V)]
            shard.kept = own.transpose(1, 0, 2)

    def collect(self, table: NDArray[np.float32], n: int) -> Floats:
        return np.vstack([shard.open for shard in self.shards])
