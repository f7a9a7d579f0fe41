"""What the Bayesian model knows of items and users before it sees a rating's value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...roster import Roster
from ...trainset import Ratings

Floats = NDArray[np.float64]

_DAMP = 20.0  # ratings at which who rated an item, or what a user rated, counts half
_LEAD = 16  # leading token dims that are multiplied with each other, and that histories use
_PRODUCT_SHARE = 0.12  # of the products in the square norm
_CLIP = 4.0
_BLOCK = 4096


class Links(NamedTuple):
    """Who rated an item, centred and damped: ``H = diag(scale) (R - n_raters share')``, sparse.

    ``R`` is the 0/1 matrix of items by users, ``n_raters`` how many rated an item and ``share`` the
    part of all ratings that a user made; rows with few ratings are damped, and the whole has mean
    square norm 1. Users' items are ``idx[ptr[u]:ptr[u + 1]]``.
    """

    ptr: NDArray[np.int64]
    idx: NDArray[np.int32]
    scale: Floats
    n_raters: Floats
    share: Floats

    @classmethod
    def of(cls, ratings: Ratings) -> Links | None:
        """None where everybody rated everything, so that the links say nothing."""
        pairs = np.unique(ratings.user.astype(np.int64) * ratings.n_items + ratings.item)
        user, item = np.divmod(pairs, ratings.n_items)
        counts = np.bincount(user, minlength=ratings.n_users)
        count = np.bincount(item, minlength=ratings.n_items).astype(np.float64)
        share = counts / len(pairs)
        scale = 1 / (count + _DAMP)
        raters = np.bincount(item, share[user], minlength=ratings.n_items)
        squares = scale**2 * (count - 2 * count * raters + count**2 * np.sum(share**2))
        norm = np.sqrt(squares.mean())
        if not norm > 1e-6:
            return None
        ptr = np.concatenate([[0], np.cumsum(counts)])
        return cls(ptr, item.astype(np.int32), scale / norm, count, share)


class TextFeatures(NamedTuple):
    """Features of an item from its token: all dims and the products of the leading ones.

    Each column is divided by the root of its standard deviation, half-way to equal variance, and
    all by one number, which makes the mean square entry 1.

    Attributes
    ----------
    centre : (d,)
    unit : (16,) or fewer
        One over the standard deviation of the leading dims.
    middle : (n_products,)
        Means of the products.
    scale : (d + n_products,)
    """

    centre: NDArray[np.float32]
    unit: NDArray[np.float32]
    middle: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, tokens: NDArray[np.float32]) -> TextFeatures:
        """Learn the four arrays from the tokens of all items that have one."""
        d = tokens.shape[1]
        tokens = tokens if len(tokens) else np.zeros((1, d), np.float32)
        centre = tokens.mean(axis=0, dtype=np.float64).astype(np.float32)
        start = cls(
            centre, _inverse(tokens[:, :_LEAD].std(axis=0, dtype=np.float64)), *[centre] * 2
        )
        products = start._products(tokens)
        middle = products.mean(axis=0)
        norms = [
            np.sum(np.square(x, dtype=np.float64)) for x in (tokens - centre, products - middle)
        ]
        weight = np.sqrt(_PRODUCT_SHARE * norms[0] / norms[1]) if norms[1] > 0 else 0.0
        block = np.concatenate([np.ones(d), np.full(len(middle), weight)]).astype(np.float32)
        raw = start._replace(middle=middle, scale=block)(tokens)
        even = np.sqrt(_inverse(raw.std(axis=0, dtype=np.float64)))
        raw *= even
        size = np.sqrt(np.mean(np.square(raw, dtype=np.float64))) if raw.size else 0.0
        return start._replace(
            middle=middle, scale=block * even * np.float32(_one_over(float(size)))
        )

    def __call__(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of tokens, shape (n, d + n_products)."""
        made = np.hstack([tokens - self.centre, self._products(tokens) - self.middle])
        made *= self.scale
        return made

    def _products(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        unit = (tokens[:, :_LEAD] - self.centre[:_LEAD]) * self.unit
        a, b = np.triu_indices(unit.shape[1])
        clipped: NDArray[np.float32] = np.clip(unit[:, a] * unit[:, b], -_CLIP, _CLIP)
        return clipped


def _inverse(sizes: Floats) -> NDArray[np.float32]:
    """One over each size, zero for what is constant."""
    kept = sizes > 1e-6 * sizes.max(initial=1e-12)
    return np.where(kept, 1 / np.where(kept, sizes, 1.0), 0.0).astype(np.float32)


class Known(NamedTuple):
    """All features, for all rows of both rosters; zeros where there is no token.

    Attributes
    ----------
    text : ndarray of float32, shape (n_item_rows, d)
    lead : ndarray of float32, shape (n_item_rows, c)
        The leading token dims, mean square norm 1: what users have weights of their own for.
    users : ndarray of float32, shape (n_user_rows, d_u)
        Users' tokens, centred, mean square entry 1.
    parts : dict
        What turns new tokens into features.
    """

    text: NDArray[np.float32]
    lead: NDArray[np.float32]
    users: NDArray[np.float32]
    parts: dict[str, Any]

    @classmethod
    def of(cls, users: Roster, items: Roster, n_content: int) -> Known:
        own = items.tokens[items.has_token]
        make = TextFeatures.of(own)
        lead = own[:, :n_content] - make.centre[:n_content]
        lead_scale = _one_over(
            np.sqrt(np.sum(np.square(lead, dtype=np.float64)) / max(len(own), 1))
        )
        about = users.tokens[users.has_token]
        centre = about.mean(axis=0) if len(about) else np.zeros(about.shape[1], np.float32)
        about = about - centre
        scale = _one_over(np.sqrt(np.mean(np.square(about, dtype=np.float64))) if about.size else 0)
        return cls(
            _spread_out(make(own), items.has_token),
            _spread_out(lead * np.float32(lead_scale), items.has_token),
            _spread_out(about * np.float32(scale), users.has_token),
            make._asdict() | {"lead_scale": lead_scale, "user_centre": centre, "user_scale": scale},
        )


def _one_over(size: float) -> float:
    return float(1 / size) if size > 1e-12 else 0.0


def _spread_out(rows: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    out = np.zeros((len(known), rows.shape[1]), np.float32)
    out[known] = rows
    return out


def histories(ratings: Ratings, text: NDArray[np.float32]) -> NDArray[np.float32]:
    """What text a user's items have, centred, damped, mean square entry 1: shape (n_users, 16).

    A user without ratings would have zeros, which reads as the average history (a text SVD++;
    Koren 2008).
    """
    leading = text[: ratings.n_items, :_LEAD].astype(np.float64)
    leading -= ratings.item_counts @ leading / ratings.n
    sums = np.zeros((ratings.n_users, leading.shape[1]))
    for k, column in enumerate(leading.T):
        sums[:, k] = np.bincount(ratings.user, column[ratings.item], ratings.n_users)
    sums /= (ratings.user_counts + _DAMP)[:, None]
    size = _one_over(float(np.sqrt(np.mean(sums**2))) if sums.size else 0.0)
    return (sums * size).astype(np.float32)


def gram(rows: NDArray[np.float32], weights: Floats | None = None) -> Floats:
    """``rows' diag(weights) rows`` in double precision, block by block."""
    out = np.zeros((rows.shape[1], rows.shape[1]))
    for k in range(0, len(rows), _BLOCK):
        block = rows[k : k + _BLOCK].astype(np.float64)
        out += block.T @ (block if weights is None else block * weights[k : k + _BLOCK, None])
    return out
