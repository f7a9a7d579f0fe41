r"""What the text of users says of their taste: where ``p_u`` starts, and what it is shrunk to.

The leading factors of items are their leading token dims, centred, :math:`x_i`, and stay so; those
of a user start from :math:`t_u = c\, s_u + g A^T [s_u, 1]`, with :math:`s_u` the user's token. A is
a ridge regression from the tokens to what each user's own ratings say, its strength by leaving
users out; c and g are regressions of the residuals on the products of :math:`x_i` with the tokens
(where both sides' texts are of one space: their cosine, but for lengths) and with what A says of
users left out. What does not foretell residuals by three standard errors, with users as units, is
dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.entities import EntityIndex
from ..data.ratings import Ratings
from ..kernels import selection as kernels
from ..kernels import sgd
from ..runtime.arrays import Floats, Singles
from .ridge import TokenRidge, apply_map
from .selection import leading

_LEAD = 16  # token dims of items that the text of users speaks of
_DAMP = 10.0  # ratings at which a user's own are believed half
_SIGNIFICANT = 3.0  # standard errors
_BLOCK = 4096  # users at a time


@dataclass(frozen=True, eq=False)
class UserText:
    """How users' tokens become leading factors.

    Attributes
    ----------
    content : ndarray of float32, shape (n_items, k)
        ``x`` of the items with ratings.
    taste : ndarray of float32, shape (n_users, k)
        ``t`` of the users with ratings.
    user_map, item_map : ndarray of shape (n_dims + 1, k)
        Turn ``[token, 1]`` into ``t`` and ``x``.
    explained : ndarray of shape (n,)
        ``t_u . x_i`` of the ratings.
    """

    content: Singles
    taste: Singles
    user_map: Floats
    item_map: Floats
    explained: Floats

    @classmethod
    def learn(
        cls,
        ratings: Ratings,
        users: EntityIndex,
        items: EntityIndex,
        residual: Floats,
        n_factors: int,
        norm: float,
    ) -> UserText | None:
        """From residuals of standard deviation 1; None where the tokens say nothing of them."""
        lead, centre, scale = leading(items, min(_LEAD, n_factors))
        k, about = lead.shape[1], users.tokens
        if not (k and about.shape[1]):
            return None
        usual = ratings.item_counts @ lead[: ratings.n_items].astype(np.float64) / ratings.n
        item_map = np.zeros((items.tokens.shape[1] + 1, k))
        item_map[np.arange(k), np.arange(k)] = norm * scale
        item_map[-1] = -norm * (centre * np.float64(scale) + usual)
        x = apply_map(item_map, items.tokens[: ratings.n_items]).astype(np.float32)
        x[~items.has_token[: ratings.n_items]] = 0

        user_map, counts = np.zeros((about.shape[1] + 1, k)), ratings.user_counts
        if users.in_space_of(items):
            middle = counts @ about[: ratings.n_users, :k].astype(np.float64) / ratings.n
            own = about[: ratings.n_users, :k] - middle
            weight = _weight(ratings, residual, _products(ratings, own, x))
            user_map[np.arange(k), np.arange(k)] = weight
            user_map[-1] = -weight * middle
        left = residual - _products(ratings, apply_map(user_map, about[: ratings.n_users]), x)
        of_items = np.linalg.cholesky(_moment(ratings, x) + 1e-9 * norm**2 * np.eye(k))
        learned, left_out = TokenRidge(about, counts).learn_left_out(
            _tastes(ratings, x, left), of_items
        )
        if learned is not None:
            weight = _weight(ratings, left, _products(ratings, left_out, x))
            user_map += weight * learned
        if not user_map.any():
            return None
        taste = apply_map(user_map, about[: ratings.n_users]).astype(np.float32)
        return cls(x, taste, user_map, item_map, _products(ratings, taste, x))


def _products(ratings: Ratings, of_users: NDArray[np.floating], of_items: Singles) -> Floats:
    """Inner products of rows, for all ratings."""
    out = np.zeros(ratings.n, np.float32)
    user, item = ratings.user.astype(np.int64), ratings.item.astype(np.int64)
    sgd.pair_dots(user, item, np.ascontiguousarray(of_users, np.float32), of_items, out)
    return out.astype(np.float64)


def _weight(ratings: Ratings, residual: Floats, feature: Floats) -> float:
    """The slope of residuals on a feature less its mean per user; 0 where it might be chance."""
    n, user = ratings.n_users, ratings.user
    feature = feature - (np.bincount(user, feature, n) / ratings.user_counts)[user]
    along, square = np.bincount(user, residual * feature, n), float(feature @ feature)
    total = float(along.sum())
    return total / square if total > _SIGNIFICANT * float(np.linalg.norm(along)) else 0.0


def _moment(ratings: Ratings, x: Singles) -> Floats:
    """The second moment of ``x`` over the ratings."""
    wide = x.astype(np.float64)
    out: Floats = (wide.T * ratings.item_counts) @ wide / ratings.n
    return out


def _tastes(ratings: Ratings, x: Singles, residual: Floats) -> Floats:
    """A ridge regression on ``x`` for each user, (n_users, k)."""
    k, out = x.shape[1], np.empty((ratings.n_users, x.shape[1]))
    damp = _DAMP * np.trace(_moment(ratings, x)) / k * np.eye(k)
    wide = x.astype(np.float64)
    for start in range(0, ratings.n_users, _BLOCK):
        ptr = ratings.user_ptr[start : start + _BLOCK + 1]
        mine, n = slice(ptr[0], ptr[-1]), len(ptr) - 1
        square, along, size = np.empty((n, k, k)), np.empty((n, 1, k)), np.empty((n, 1))
        kernels.user_products(
            (0, n), ptr - ptr[0], ratings.item[mine].astype(np.int64), wide,
            residual[None, mine].copy(), square, along, size,
        )  # fmt: skip
        out[start : start + n] = np.linalg.solve(square + damp, along[:, 0, :, None])[:, :, 0]
    return out
