"""The samples that are kept of a chain, for all rows, and what their average leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .cold_start import Completed

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

THINNING = 3  # sweeps from one kept sample to the next
BUDGET = 1 << 30  # bytes the kept samples may take
_FEWEST = 10
_SMALL = ("user_map", "item_map", "user_spread", "item_spread")
_SUMS = ("user_open", "item_open", "text_share")


def thinning(n_samples: int, bytes_each: int) -> int:
    """Every which sweep is kept: every third, or fewer where that would take more than 1 GiB, but
    at least ten in all.

    >>> thinning(170, 1_000_000), thinning(170, 1 << 26), thinning(170, 1 << 40)
    (3, 11, 17)
    """
    most = max(BUDGET // max(bytes_each, 1), _FEWEST)
    return max(THINNING, -(-n_samples // most)) if n_samples > _FEWEST else THINNING


def kept_samples(n_samples: int, n_user_rows: int, lead: Singles, k: int) -> tuple[int, int]:
    """How many samples are kept, and of how many sweeps each is one."""
    n_item_rows, c = lead.shape
    step = thinning(n_samples, 4 * (n_user_rows * (c + k + 1) + n_item_rows * (k + 1)))
    return -(-n_samples // step), step


class Posterior:
    """Collects samples, in single precision.

    A sample of a user takes ``4 * (n_content + n_factors + 1)`` bytes, one of an item
    ``4 * (n_factors + 1)``.

    Parameters
    ----------
    n_samples : int
        Sweeps to come after the burn-in.
    n_users, n_items : int
        How many rows have ratings; those users are kept where they are, until they are collected.
    lead : ndarray of float32, shape (n_item_rows, c)
        The content dims.

    Attributes
    ----------
    step : int
        Sweeps from one sample to the next.
    slots : int
        How many samples there will be.
    n : int
        How many there are.
    """

    def __init__(
        self,
        n_samples: int,
        n_user_rows: int,
        n_users: int,
        n_items: int,
        lead: Singles,
        k: int,
    ) -> None:
        n_item_rows, c = lead.shape
        self.slots, self.step = kept_samples(n_samples, n_user_rows, lead, k)
        self.n = 0
        self._n_users, self._n_items, self._lead, self._k = n_users, n_items, lead, k
        self.users = np.empty((n_user_rows, self.slots, c + k + 1), np.float32)
        self.items = np.empty((n_item_rows, self.slots, k + 1), np.float32)
        self._small: list[dict[str, Singles]] = []
        self.user_open = np.zeros((n_user_rows - n_users, open_width(k)))
        self.item_open = np.zeros((n_item_rows, open_width(k)))
        self.text_share = np.zeros(n_item_rows)

    def add(self, sample: Completed, integrated_out: Floats) -> None:
        """Keep a sample, but for the users with ratings.

        Parameters
        ----------
        sample : Completed
        integrated_out : ndarray of shape (n_items, k + 1)
            Deviations of the drawn items from their conditional means, which are what is kept.
        """
        self.users[self._n_users :, self.n] = sample.users
        self.items[:, self.n] = sample.items
        user, item = self._left_open(sample, integrated_out)
        small = {name: getattr(sample, name).astype(np.float32) for name in _SMALL}
        # an interrupt between these lines loses a sample's share of a variance, no more
        self.user_open, self.item_open = self.user_open + user, self.item_open + item
        self.text_share = self.text_share + sample.text_share
        self._small.append(small)
        self.n += 1

    def _left_open(self, sample: Completed, integrated_out: Floats) -> tuple[Floats, Floats]:
        c, k, n_items = self._lead.shape[1], self._k, self._n_items
        item = np.zeros_like(self.item_open)
        user = user_left_open(sample.users[:, c:], 1 / sample.user_precision, sample.item_spread)
        user[:, -1] = 1
        seen = np.column_stack([self._lead, sample.items[:, :k], np.ones(len(item))])
        item[:, 0] = 1 / sample.item_precision
        item[:n_items, 1:-2] = products(integrated_out, False)
        item[n_items:, -2] = 1
        item[:, -1] = np.sum((seen @ sample.user_spread) * seen, axis=1)
        return user, item

    @property
    def warm(self) -> Singles:
        """The part of the table that belongs to users with ratings."""
        return self.users[: self._n_users]

    def state(self) -> dict[str, Any]:
        """What was added so far, but for the users with ratings."""
        made = {"users": self.users[self._n_users :, : self.n], "items": self.items[:, : self.n]}
        made |= {name: self._stacked(name) for name in _SMALL} if self.n else {}
        return made | {name: getattr(self, name) for name in _SUMS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.n = state["items"].shape[1]
        self.users[self._n_users :, : self.n] = state["users"]
        self.items[:, : self.n] = state["items"]
        self._small = [
            {name: np.array(state[name][slot]) for name in _SMALL} for slot in range(self.n)
        ]
        for name in _SUMS:
            setattr(self, name, np.array(state[name]))

    def _stacked(self, name: str) -> Singles:
        return np.stack([small[name] for small in self._small])

    def parts(self, warm_open: Floats) -> dict[str, Any]:
        """The arrays that predictions are made from, by name, when ``warm`` is filled.

        ``user_open[u] @ item_open[i]`` is the variance that the spread of the estimates over the
        samples leaves out: noise; what was integrated out of items with ratings; and what a ridge
        regression does not know of rows without. ``warm_open``: its sums of users with ratings.
        """
        n = self.n
        # A copy where an interrupt left room: the order of sums over an array depends on its
        # strides, and a fit for as many samples has none to spare.
        made: dict[str, Any] = {
            name: np.ascontiguousarray(table[:, :n])
            for name, table in (("users", self.users), ("items", self.items))
        }
        made |= {name: self._stacked(name) for name in _SMALL}
        both = (warm_open / n, self.user_open / n)  # of large catalogues the largest arrays here
        made["user_open"] = np.concatenate(both, dtype=np.float32)
        made["item_open"] = (self.item_open / n).astype(np.float32)
        made["text_share"] = (self.text_share / n).astype(np.float32)
        return made | {"lead": self._lead}


def user_left_open(taste: Floats, variance: Any, item_spread: Floats) -> Floats:
    """What a sample leaves open of users, to be multiplied with the same of items.

    ``taste`` (n, k + 1) holds ``[p_u, b_u]``, ``variance`` is that of the users' ratings.
    """
    taste = np.column_stack([taste[:, :-1], np.ones(len(taste))])
    made = np.zeros((len(taste), open_width(taste.shape[1] - 1)))
    made[:, 0] = variance
    made[:, 1:-2] = products(taste, True)
    made[:, -2] = np.sum((taste @ item_spread) * taste, axis=1)
    return made


def open_width(k: int) -> int:
    """How many numbers say what is left open of a row, with ``k`` factors."""
    return 3 + (k + 1) * (k + 2) // 2


def products(rows: Floats, twice: bool) -> Floats:
    """Products of all pairs of columns; ``twice``: those of different ones count twice, so that
    ``products(a, True) @ products(b, False)`` is the squared dot product."""
    a, b = np.triu_indices(rows.shape[-1])
    made: Floats = rows[..., a] * rows[..., b]
    return made * np.where(a == b, 1.0, 2.0) if twice else made
