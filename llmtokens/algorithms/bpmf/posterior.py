"""The samples that are kept of a chain, for all rows, and what their average leaves open."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .newcomers import Completed

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

THINNING = 3  # sweeps from one kept sample to the next
BUDGET = 1 << 30  # bytes the kept samples may take
_FEWEST = 10
_SMALL = ("user_map", "item_map", "user_spread", "item_spread")
_NO_ROWS = {name: np.empty(0) for name in ("users", "items", "user_precision", "item_precision")}


def thinning(n_samples: int, bytes_each: int) -> int:
    """Every which sweep is kept: every third, or fewer where that would take more than 1 GiB, but
    at least ten in all.

    >>> thinning(170, 1_000_000), thinning(170, 1 << 26), thinning(170, 1 << 40)
    (3, 11, 17)
    """
    most = max(BUDGET // max(bytes_each, 1), _FEWEST)
    return max(THINNING, -(-n_samples // most)) if n_samples > _FEWEST else THINNING


class Posterior:
    """Collects samples, in single precision.

    A sample of a user takes ``4 * (n_content + n_factors + 2)`` bytes, one of an item
    ``4 * (n_factors + 2)``.

    Parameters
    ----------
    n_samples : int
        Sweeps to come after the burn-in.
    n_warm : (n_users, n_items)
        How many rows have ratings.
    lead : ndarray of float32, shape (n_item_rows, c)
        The content dims.
    """

    def __init__(
        self, n_samples: int, n_user_rows: int, n_warm: tuple[int, int], lead: Singles, k: int
    ) -> None:
        n_item_rows, c = lead.shape
        self.step = thinning(n_samples, 4 * (n_user_rows * (c + k + 2) + n_item_rows * (k + 2)))
        n = -(-n_samples // self.step)
        self._n_warm, self._lead, self._k = n_warm, lead, k
        self._tables = {
            "users": np.empty((n_user_rows, n, c + k + 2), np.float32),
            "items": np.empty((n_item_rows, n, k + 2), np.float32),
        }
        self._kept: list[Completed] = []
        width = 3 + (k + 1) * (k + 2) // 2
        self._open = np.zeros((n_user_rows, width)), np.zeros((n_item_rows, width))

    @property
    def n(self) -> int:
        """How many samples there are."""
        return len(self._kept)

    def add(self, sample: Completed, integrated_out: Floats) -> None:
        """Keep a sample.

        Parameters
        ----------
        sample : Completed
        integrated_out : ndarray of shape (n_warm_items, k + 1)
            Deviations of the drawn items from their conditional means, which are what is kept.
        """
        self._tables["users"][:, self.n] = sample.users
        self._tables["items"][:, self.n] = sample.items
        opened = self._left_open(sample, integrated_out)
        small = sample._replace(
            **{name: getattr(sample, name).astype(np.float32) for name in _SMALL}, **_NO_ROWS
        )
        # an interrupt between the two lines loses a sample's share of a variance, no more
        self._open = self._open[0] + opened[0], self._open[1] + opened[1]
        self._kept.append(small)

    def _left_open(self, sample: Completed, integrated_out: Floats) -> tuple[Floats, Floats]:
        c, k, (n_users, n_items) = self._lead.shape[1], self._k, self._n_warm
        user, item = (np.zeros_like(table) for table in self._open)
        taste = np.column_stack([sample.users[:, c : c + k], np.ones(len(user))])
        seen = np.column_stack([self._lead, sample.items[:, :k], np.ones(len(item))])
        user[:, 0], item[:, 0] = 1 / sample.user_precision, 1 / sample.item_precision
        user[:, 1:-2] = products(taste, True)
        item[:n_items, 1:-2] = products(integrated_out, False)
        user[:, -2] = np.sum((taste @ sample.item_spread) * taste, axis=1)
        item[n_items:, -2] = 1
        user[n_users:, -1] = 1
        item[:, -1] = np.sum((seen @ sample.user_spread) * seen, axis=1)
        return user, item

    def parts(self) -> dict[str, Any]:
        """The arrays that predictions are made from, by name.

        ``user_open[u] @ item_open[i]`` is the variance that the spread of the estimates over the
        samples leaves out: noise; what was integrated out of items with ratings; and what a ridge
        regression does not know of rows without.
        """
        n = self.n
        made: dict[str, Any] = {name: table[:, :n] for name, table in self._tables.items()}
        made |= {name: np.stack([getattr(s, name) for s in self._kept]) for name in _SMALL}
        for name, total in zip(("user_open", "item_open"), self._open, strict=True):
            made[name] = (total / n).astype(np.float32)
        return made | {"lead": self._lead}


def products(rows: Floats, twice: bool) -> Floats:
    """Products of all pairs of columns; ``twice``: those of different ones count twice, so that
    ``products(a, True) @ products(b, False)`` is the squared dot product."""
    a, b = np.triu_indices(rows.shape[-1])
    made: Floats = rows[..., a] * rows[..., b]
    return made * np.where(a == b, 1.0, 2.0) if twice else made
