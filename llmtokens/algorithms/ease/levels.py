r"""How items are rated, beside how their raters rate: by their own ratings, and by their text.

Of item i, with residuals ``r - mean of the user`` that sum to :math:`S_i` over :math:`n_i` ratings,

.. math:: b_i = (S_i + k t_i) / (n_i + k)

:math:`t_i` is what its text says, by a ridge regression that never saw the item's own ratings
(:class:`~llmtokens.algorithms.ridge.TokenRidge`), or the mean of all residuals; ``k`` is chosen by
leaving ratings out, one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...runtime.arrays import Floats
from ..ridge import TokenRidge, apply_map

_STRENGTHS = 10.0 ** np.arange(3, -1.01, -0.25)  # ratings that a text counts for


@dataclass(frozen=True, eq=False)
class Levels:
    """What is known of the levels of items.

    Attributes
    ----------
    by_text : ndarray of float64, shape (n_item_rows,)
        ``t``.
    total, counts : ndarray of float64, shape (n_items,)
        ``S`` and ``n``, both weighted.
    strength : float
        ``k``.
    """

    by_text: Floats
    total: Floats
    counts: Floats
    strength: float

    @classmethod
    def learn(cls, ratings: Ratings, means: Floats, items: EntityIndex) -> Self:
        """From residuals of all ratings; ``means`` are those of the users."""
        n = ratings.n_items
        residual, weight = residuals(ratings, means)
        total = np.bincount(ratings.item, weight * residual, n).astype(np.float64)
        counts = np.bincount(ratings.item, weight, n).astype(np.float64)
        by_text = np.full(items.n_rows, total.sum() / counts.sum())
        told = np.flatnonzero(items.has_token)
        warm, cold = told[told < n], told[told >= n]
        if items.tokens.shape[1] and len(warm):
            rated = np.zeros(n, np.int64)
            rated[warm] = ratings.item_counts[warm]
            ridge = TokenRidge(items.tokens, rated)
            learned, left_out = ridge.learn_left_out((total / counts)[:, None], np.ones((1, 1)))
            if learned is not None:
                by_text[warm] = left_out[:, 0]
                by_text[cold] = apply_map(learned, items.tokens[cold])[:, 0]
        tried = [cls(by_text, total, counts, float(strength)) for strength in _STRENGTHS]
        errors = [
            weight @ (residual - some.without(ratings.item, residual, weight)) ** 2
            for some in tried
        ]
        return tried[int(np.argmin(errors))]

    @property
    def of_items(self) -> Floats:
        """``b`` of all rows; of those without ratings what their text says."""
        made, n = self.by_text.copy(), len(self.total)
        made[:n] = (self.total + self.strength * made[:n]) / (self.counts + self.strength)
        return made

    def without(self, item: NDArray[np.integer], residual: Floats, weight: Floats) -> Floats:
        """``b`` of the item of each of some ratings, but for that rating."""
        rest = self.total[item] - weight * residual + self.strength * self.by_text[item]
        out: Floats = rest / (self.counts[item] - weight + self.strength)
        return out


def residuals(ratings: Ratings, means: Floats) -> tuple[Floats, Floats]:
    """Of each rating what the mean of its user leaves open, and its weight."""
    weight = np.ones(ratings.n) if ratings.weight is None else ratings.weight
    return ratings.value - means[ratings.user], weight
