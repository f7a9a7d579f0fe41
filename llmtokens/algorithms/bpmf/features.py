"""What the Bayesian model knows of items and users before it sees a rating's value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...data.entities import EntityIndex
from ...runtime.arrays import Floats, Mask, Rows, Singles
from ..selection import leading

DAMP = 20.0  # ratings at which who rated an item, or what a user rated, counts half
LEAD = 16  # leading token dims that are multiplied with each other, and that histories use
_PRODUCT_SHARE = 0.12  # of the products in the square norm
_CLIP = 4.0
_BLOCK = 4096


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

    centre: Singles
    unit: Singles
    middle: Singles
    scale: Singles

    @classmethod
    def of(cls, tokens: Singles) -> TextFeatures:
        """Learn the four arrays from the tokens of all items that have one."""
        d = tokens.shape[1]
        tokens = tokens if len(tokens) else np.zeros((1, d), np.float32)
        centre = tokens.mean(axis=0, dtype=np.float64).astype(np.float32)
        start = cls(centre, _inverse(tokens[:, :LEAD].std(axis=0, dtype=np.float64)), *[centre] * 2)
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
        return start._replace(middle=middle, scale=block * even * np.float32(one_over(float(size))))

    def __call__(self, tokens: Singles) -> Singles:
        """Features of tokens, shape (n, d + n_products)."""
        made = np.hstack([tokens - self.centre, self._products(tokens) - self.middle])
        made *= self.scale
        return made

    def _products(self, tokens: Singles) -> Singles:
        unit = (tokens[:, :LEAD] - self.centre[:LEAD]) * self.unit
        a, b = np.triu_indices(unit.shape[1])
        clipped: Singles = np.clip(unit[:, a] * unit[:, b], -_CLIP, _CLIP)
        return clipped


def _inverse(sizes: Floats) -> Singles:
    """One over each size, zero for what is constant."""
    kept = sizes > 1e-6 * sizes.max(initial=1e-12)
    return np.where(kept, 1 / np.where(kept, sizes, 1.0), 0.0).astype(np.float32)


class Known(NamedTuple):
    """All features, for all rows of both entities; zeros where there is no token.

    Attributes
    ----------
    text : ndarray of float32, shape (n_item_rows, d)
    lead : ndarray of float32, shape (n_item_rows, c)
        The leading token dims, mean square norm 1: what users have weights of their own for.
    users : ndarray of float32, shape (n_user_rows, d_u)
        Users' tokens, centred, mean square entry 1 over those with ratings: what is learned does
        not depend on who else has a token. Zeros where they are made of these very ratings.
    item_tokens : ndarray of float32, shape (n_item_rows, ...)
    has_text, has_user_token : ndarray of bool, shape (n_item_rows,), (n_user_rows,)
    one_space : bool
        Whether tokens of users and items are texts in one space.
    parts : dict
        What turns new tokens into features.
    """

    text: Singles
    lead: Singles
    users: Singles
    item_tokens: Singles
    has_text: Mask
    has_user_token: Mask
    one_space: bool
    parts: dict[str, Any]

    @classmethod
    def of(cls, users: EntityIndex, items: EntityIndex, n_content: int) -> Known:
        own = items.tokens[items.has_token]
        make = TextFeatures.of(own)
        lead, _, lead_scale = leading(items, n_content)
        about = users.tokens[users.has_token]
        rated = about[: int(users.has_token[: users.n_warm].sum()) if not users.from_history else 0]
        centre = rated.mean(axis=0) if len(rated) else np.zeros(about.shape[1], np.float32)
        about, rated = about - centre, rated - centre
        scale = one_over(np.sqrt(np.mean(np.square(rated, dtype=np.float64))) if rated.size else 0)
        return cls(
            _spread_out(make(own), items.has_token),
            lead,
            _spread_out(about * np.float32(scale), users.has_token),
            items.tokens,
            items.has_token,
            users.has_token,
            users.in_space_of(items),
            make._asdict() | {"lead_scale": lead_scale, "user_centre": centre, "user_scale": scale},
        )


def one_over(size: float) -> float:
    return float(1 / size) if size > 1e-12 else 0.0


def _spread_out(rows: Singles, known: Mask) -> Singles:
    out = np.zeros((len(known), rows.shape[1]), np.float32)
    out[known] = rows
    return out


def centred_lead(text: Singles, item_counts: Rows) -> Floats:
    """What histories are made of: the leading features of the items with ratings, centred so that
    no history reads as an average one (a text SVD++; Koren 2008), shape (n_items, 16)."""
    made = text[: len(item_counts), :LEAD].astype(np.float64)
    made -= item_counts @ made / item_counts.sum()
    return made


def histories(ptr: Any, item: Any, leading: Floats) -> Floats:
    """What text users' items have, damped: shape (n_users, 16)."""
    counts = np.diff(ptr)
    user = np.repeat(np.arange(len(counts)), counts)
    sums = np.zeros((len(counts), leading.shape[1]))
    for k, column in enumerate(leading.T):
        sums[:, k] = np.bincount(user, column[item], len(counts))
    return sums / (counts + DAMP)[:, None]


def gram(rows: Singles, weights: Floats | None = None) -> Floats:
    """``rows' diag(weights) rows`` in double precision, block by block."""
    out = np.zeros((rows.shape[1], rows.shape[1]))
    for k in range(0, len(rows), _BLOCK):
        block = rows[k : k + _BLOCK].astype(np.float64)
        out += block.T @ (block if weights is None else block * weights[k : k + _BLOCK, None])
    return out
