"""What EASE reads from ratings: who chose what, and how scores become ratings again."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ...data.ratings import Ratings
from ...runtime.arrays import Floats, Rows, Singles
from ..rating_scale import line
from .levels import Levels, residuals
from .solver import Items
from .text_kernel import TextKernel
from .tuning import left_out_scores

USERS = 256  # rows of scores made at once
_FLOOR = 0.05  # what the lowest rating says: it was chosen, and disliked
COLD_SHARE = 0.3  # items nobody has rated yet are mostly not the ones that many will like


def interactions(ratings: Ratings, ends: tuple[float, float], implicit: bool) -> sparse.csr_array:
    """X; several ratings of one item by one user are averaged.

    ``ends``: the lowest and the highest training rating.
    """
    values = opinions(ratings.value, ends, implicit)
    if ratings.weight is not None:
        values = values * ratings.weight
    shape = (ratings.n_users, ratings.n_items)
    counted = values + 1j  # one sort adds up both the values of a pair and how many there are
    own = counted, ratings.item.copy(), ratings.user_ptr.copy()  # summed up in place
    rows = sparse.csr_array(own, shape=shape)
    rows.sum_duplicates()
    means = (rows.data.real / rows.data.imag).astype(np.float32)
    return sparse.csr_array((means, rows.indices, rows.indptr), shape=shape)


def spliced(
    rows: sparse.csr_array,
    ratings: Ratings,
    users: Rows,
    ends: tuple[float, float],
    implicit: bool,
) -> sparse.csr_array:
    """X where only these users have other ratings than in ``rows``, or are new."""
    at = np.arange(ratings.n_users)
    at[users] = rows.shape[0] + np.arange(len(users))
    fresh = interactions(ratings.only(users), ends, implicit)
    return sparse.vstack([rows, fresh], format="csr")[at]


def opinions(values: Floats, ends: tuple[float, float], implicit: bool) -> Floats:
    """What ratings say of their items, from .05 to 1, shape (n,)."""
    low, high = ends
    if implicit or low == high:
        return np.ones(len(values))
    opinion: Floats = np.clip((values - low) / (high - low), 0, 1)
    return _FLOOR + (1 - _FLOOR) * opinion


def influence_on_row(items: Rows, opinions: Floats) -> Floats:
    """By how much ``x_ui`` is higher for having each of a user's ratings, shape (n,)."""
    _, at, times = np.unique(items, return_inverse=True, return_counts=True)
    total, n = np.bincount(at, opinions)[at], times[at]
    out: Floats = total / n - np.where(n > 1, total - opinions, 0) / np.maximum(n - 1, 1)
    return out


def used_features(text_kernel: TextKernel | None, n_items: int) -> Singles:
    """``T``, shape (n_items, d)."""
    if text_kernel is None:
        return np.zeros((n_items, 0), np.float32)
    return text_kernel.leading.whole[:n_items]


def popularity_of(rows: sparse.csr_array) -> Singles:
    """Mean row of X."""
    mean: Singles = (rows.sum(axis=0) / rows.shape[0]).astype(np.float32)
    return mean


def text_scores(
    warm: Singles, text_kernel: TextKernel | None, rows: slice, share: float
) -> Singles:
    """What the text says of item rows, from the scores of warm items, at a cold item's weight."""
    if text_kernel is None:
        return np.float32(share) * warm.mean(axis=1, keepdims=True)
    return np.float32(share) * text_kernel.smooth(warm, rows)


def log_popularity(scores: Singles, half_choice: float) -> Singles:
    """What ratings of users who have none are told from, also of what nobody has chosen."""
    out: Singles = np.log(np.maximum(scores, 0) + np.float32(half_choice))
    return out


def rating_lines(
    ratings: Ratings,
    means: Floats,
    rows: sparse.csr_array,
    items: Items,
    popularity: Singles,
    half_choice: float,
    levels: Levels,
) -> Floats:
    """Slopes and offsets of what means and levels leave open, by scores, for known and unknown
    users: each rating is left out of what it is foretold from.

    Parameters
    ----------
    ratings : Ratings
    means : ndarray of shape (n,)
        Of its users.
    rows : sparse array, shape (n, n_items)
        Theirs of X.
    popularity : ndarray of shape (n_items,)
        The mean row of X, of all users.
    half_choice : float
        Half of what one of these users adds to it by choosing.
    """
    residual, weight = residuals(ratings, means)
    level = levels.without(ratings.item, residual, weight)
    scores = np.empty((2, ratings.n), np.float32)
    for start in range(0, ratings.n_users, USERS):
        stop = min(start + USERS, ratings.n_users)
        mine, some = slice(ratings.user_ptr[start], ratings.user_ptr[stop]), rows[start:stop]
        at = ratings.user[mine] - start, ratings.item[mine]
        scores[0, mine] = left_out_scores(items, some)[at]
        scores[1, mine] = (popularity - np.float32(2 * half_choice) * some.toarray())[at]
    scores[1] = log_popularity(scores[1], half_choice)
    usual = ratings.value - ratings.global_mean
    return np.array([_line(scores[0], residual - level), _line(scores[1], usual - level)])


def _line(scores: Singles, residual: Floats) -> tuple[float, float]:
    slope, centre = line(scores.astype(np.float64), residual)
    return slope, float(residual.mean()) - slope * centre
