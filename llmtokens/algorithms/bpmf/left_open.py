"""What an average over samples leaves open, as products of a user's and an item's numbers.

``user_open[u] @ item_open[i]`` is the variance that the spread of the estimates over the samples
leaves out: noise; what was integrated out of items with ratings; and what a ridge regression does
not know of rows without.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.arrays import Floats


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


def item_left_open(
    seen: Floats, integrated_out: Floats, variance: Floats, user_spread: Floats
) -> Floats:
    """What a sample leaves open of items, to be multiplied with the same of users.

    ``seen`` (n, c + k + 1) holds ``[x_i, q_i, 1]``; ``integrated_out`` (n_warm, k + 1) is by how
    much the items with ratings, who are the first, were off their conditional means.
    """
    warm, k = integrated_out.shape
    made = np.zeros((len(seen), open_width(k - 1)))
    made[:, 0] = variance
    made[:warm, 1:-2] = products(integrated_out, False)
    made[warm:, -2] = 1
    made[:, -1] = np.sum((seen @ user_spread) * seen, axis=1)
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
