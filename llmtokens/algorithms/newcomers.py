r"""What users without ratings will say of items, beside what an average user would.

A model's average user, :math:`\hat r_{\cdot i}`, rates everything. Those who rate an item that
hardly anybody does are other people: they rate much, sternly, and what they found was seldom chosen
for a reason. So the estimate of a user without ratings gets

.. math:: g_i = \alpha + \beta \frac{10}{10 + n_i}

added, with :math:`n_i` ratings of the item and the two numbers by least squares over the ratings:
of each rating, from what the model says of the item without it. As a user's own ratings come in,
their share falls: :math:`2 / (2 + n_u)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data.ratings import Ratings
from ..kernels import sgd
from ..runtime.arrays import Floats, Rows
from ..runtime.threads import over_rows

_RARE = 10.0  # ratings at which an item is half-way from rare to popular
_NEW = 2.0  # ratings at which a user is half new
_OWN = 8.0  # an item's estimate owes 1 / (n + 8) to each of its n ratings
_SIGNIFICANT = 2.0  # standard errors by which rare items must differ


def learn(ratings: Ratings, estimates: Floats) -> Floats:
    """``[alpha, beta]``.

    Parameters
    ----------
    ratings : Ratings
    estimates : ndarray of shape (n_items,)
        Of a user without ratings, on the scale of the ratings, less their mean.
    """
    rated = ratings.user_ptr, ratings.item, ratings.deviation
    sums, of_users = np.empty(ratings.n_items), np.empty(ratings.n_users)
    sgd.item_totals(*rated, np.zeros(ratings.n_users), sums)

    def squares(by: Floats, less: Floats) -> float:
        over_rows(ratings.n_users, sgd.user_totals, *rated, by, less, of_users)
        return float(of_users @ of_users)

    return learn_from_sums(ratings.item_counts, sums, estimates, squares)


def learn_from_sums(
    counts: Rows, sums: Floats, estimates: Floats, squares: Callable[[Floats, Floats], float]
) -> Floats:
    """The same from sums over ratings, whoever holds these.

    Parameters
    ----------
    counts, sums : ndarray of shape (n_items,)
        How many ratings there are of each item, and the sum of their deviations from the mean.
    squares : callable
        Given ``by`` and ``less``, both (n_items,), the sum over users of the square of a sum over
        their ratings: of the deviation, times ``by`` and less ``less`` of the item.
    """
    n, owed = int(counts.sum()), 1 - 1 / (counts + _OWN)
    open_, rare = (sums - counts * estimates) / owed, _rarity(np.maximum(counts - 1, 0))
    middle, centre = float(counts @ rare) / n, float(open_.sum()) / n
    centred = rare - middle
    square = float(counts @ centred**2)
    slope = float(centred @ open_) / square if square > 1e-9 * n else 0.0
    # what is left of the ratings of one user is alike: users are counted, not ratings
    less = centred * (estimates / owed + centre + slope * centred)
    if abs(slope) * square <= _SIGNIFICANT * np.sqrt(squares(centred / owed, less)):
        slope = 0.0
    return np.array([centre - slope * middle, slope])


def gaps(learned: Floats, counts: Rows | float) -> Floats:
    """``g`` of items with so many ratings, (n,)."""
    out: Floats = learned[0] + learned[1] * _rarity(counts)
    return out


def newness(counts: Rows | float) -> Floats:
    """The share of ``g`` that users with so many ratings still get, (n,)."""
    out: Floats = _NEW / (_NEW + np.asarray(counts, np.float64))
    return out


def _rarity(counts: Rows | float) -> Floats:
    out: Floats = _RARE / (_RARE + np.asarray(counts, np.float64))
    return out
