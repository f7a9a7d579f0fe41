"""What the sampler and the shards of users tell each other: rows and priors one way, sums back.

Each is a named tuple of arrays and numbers, which travel to other processes as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import Floats, Singles
from .conditional import open_width
from .drift import DriftScale
from .priors import FeatureSums, Moments


class ItemRows(NamedTuple):
    """Items' rows ``[q, b]`` and precision factors, as they are sent to the shards."""

    rows: Floats
    precision: Floats

    def seen(self, lead: Floats) -> Items:
        """What users make of them."""
        design = np.hstack([lead, self.rows[:, :-1], np.ones((len(lead), 1))])
        return Items(design, np.ascontiguousarray(self.rows[:, -1]), self.precision)


class Items(NamedTuple):
    """What users make of the items: ``y_ui ~ N(users_u . design_i + offset_i, ...)``."""

    design: Floats
    offset: Floats
    precision: Floats


class UserPrior(NamedTuple):
    """What users' rows are drawn from: mean ``m + B' t``; and one precision of all ratings, where
    users have none of their own."""

    m: Floats
    B: Floats
    precision: Floats
    alpha: float | None


class FactorsOfScale(NamedTuple):
    """By how much the users' weights on content, and their factors, are to be scaled."""

    content: float = 1.0
    factors: float = 1.0


class GammaPrior(NamedTuple):
    """Of the users' precisions."""

    shape: float
    rate: float


class AboutUsers(NamedTuple):
    """Sums of the users' features: plain, and weighted with the roots of numbers of ratings."""

    plain: FeatureSums
    weighted: FeatureSums


class RowSums(NamedTuple):
    """Moments of the users' rows, and what items' rows are drawn from, by item: see
    :func:`llmtokens.kernels.gibbs.item_products`."""

    moments: Moments
    products: Floats


class ErrorSums(NamedTuple):
    """Sums of squared errors, of the users' precisions and of their logarithms; by item, of squared
    errors weighted with the users' precisions. The last two where users have their own."""

    squares: float
    alpha: float
    log_alpha: float
    of_items: Any


class ItemSums(NamedTuple):
    """By item, sums over ratings: of how much these are above the mean of all, and above that of
    their users."""

    deviation: Floats
    better: Floats


class SaidOfItems(NamedTuple):
    """What the samples say of the items with ratings, for what is to be added to estimates.

    Attributes
    ----------
    learned, from_text : ndarray of float32, shape (n_items, samples, n_factors + 1)
        Rows as they were learned, and as the texts alone have them.
    lead : ndarray of float32, shape (n_items, c)
    variance : ndarray of shape (n_items,)
        Of ratings, as far as it is the item's.
    std : float
        Of all ratings.
    drift : DriftScale, or None
    """

    learned: Singles
    from_text: Singles
    lead: Singles
    variance: Floats
    std: float
    drift: DriftScale | None


class UserRows(NamedTuple):
    """What a fitted model keeps of users: see :class:`~.fitted.FittedBPMF`.

    Attributes
    ----------
    samples : ndarray of float32, shape (n_user_rows, samples, c + k + 1)
    open : ndarray of float32, shape (n_user_rows, ...)
    selection : ndarray of float32, shape (n_user_rows, c + 1)
    """

    samples: Singles
    open: Singles
    selection: Singles

    @classmethod
    def zeros(cls, n_rows: int, slots: int, c: int, k: int) -> UserRows:
        shapes = (n_rows, slots, c + k + 1), (n_rows, open_width(k)), (n_rows, c + 1)
        return cls(*(np.zeros(shape, np.float32) for shape in shapes))

    def of(self, users: slice) -> UserRows:
        """Those of some, to be written to."""
        return UserRows(*(table[users] for table in self))


class Survey(NamedTuple):
    """Moments of the rows with the users' weights, and weighted variances."""

    moments: Moments
    variance: float
