"""What is near a text, what is like an item, and who is like a user: by texts, or by ratings."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.ids import as_column
from ..errors import DataError, sample
from ..runtime.arguments import require_length
from ..runtime.arrays import Floats, Rows, cosines
from ..tokens import LLMTokens
from .interface import FittedModel
from .ranking import of_items, top_rows

_ONE_SIDE = 0.1587  # of a normal distribution, below one standard deviation under the mean
_NEAREST = 0.75  # of the way from the median to the nearest: similar, whatever the others are
_DAMPING = 20.0  # added to the product of lengths: few ratings in common say little


def require_item_tokens(model: FittedModel) -> LLMTokens:
    """The item tokens.

    Raises
    ------
    DataError
        If there are none.
    """
    if model.item_tokens is None:
        raise DataError(
            "this algorithm has no item_tokens, so it cannot be asked in words: "
            "fit with item_tokens"
        )
    return model.item_tokens


def to_texts(model: FittedModel, texts: Sequence[str]) -> Floats:
    """Cosine of the text of every item row with each of some, shape (n, n_item_rows); NaN where an
    item has none.

    In the encoder's own space; among tokens where the table has no embeddings.
    """
    tokens = require_item_tokens(model)
    if tokens.embeddings is None:
        near = [cosines(tokens.vectors, tokens.query(text)) for text in texts]
        return _by_row(model, np.array(near).reshape(len(near), len(tokens)))
    return _by_row(model, tokens.near(tokens.embed(texts)))


def least_similar(near: Floats) -> Floats:
    """From where cosines with questions, shape (n, n_items), are more than chance, shape (n,).

    Most items have nothing to do with a question, and those below the median certainly have not:
    how far they lie below it says how far others lie above by chance. The bound is where a normal
    distribution of that width would leave less than one of all items; or three quarters of the way
    from the median to the nearest, where that is less, as it is when many have a part of the
    question in common. Always above 0, and above the median.

    >>> noise = np.random.default_rng(0).normal(0.1, 0.05, 1000)
    >>> np.round(least_similar(np.append(noise, [0.6, 0.7])[None]), 2)
    array([0.25])
    """
    from scipy.special import ndtri

    n = near.shape[1]
    if n == 0:
        return np.full(len(near), np.inf)
    low, middle = np.quantile(near, [_ONE_SIDE, 0.5], axis=1)
    chance = middle - (middle - low) * ndtri(min(1 / n, 0.5))
    bound = np.minimum(chance, middle + _NEAREST * (near.max(axis=1) - middle))
    out: Floats = np.maximum(bound, np.nextafter(np.maximum(middle, 0.0), 1))
    return out


def to_item(model: FittedModel, item: int) -> Floats:
    """Cosine of the text of every item row with that of one of them; NaN where there is none."""
    tokens, row = model.item_tokens, int(model.text_rows[item])
    if tokens is None or row < 0:
        return np.full(model.items.n_rows, np.nan)
    return _by_row(model, tokens.similarities(tokens.ids[row]))


def _by_row(model: FittedModel, of_ids: Floats) -> Floats:
    """What the ids of the table have, the last axis, for every item row."""
    rows = model.text_rows
    out: Floats = np.where(rows >= 0, of_ids[..., rows], np.nan)
    return out


def similar_items(model: FittedModel, iid: Hashable, n: int, by: str) -> pd.DataFrame:
    """See :meth:`Serving.similar_items`."""
    raw, columns = _nearest(model, "item", iid, n, by)
    return of_items(model, raw, columns)


def similar_users(model: FittedModel, uid: Hashable, n: int, by: str) -> pd.DataFrame:
    """See :meth:`Serving.similar_users`."""
    raw, columns = _nearest(model, "user", uid, n, by)
    return pd.DataFrame({"user": as_column(raw)} | columns)


def _nearest(
    model: FittedModel, side: str, raw: Hashable, n: int, by: str
) -> tuple[list[Hashable], dict[str, Any]]:
    """Raw ids of a side, the most alike first, and how much they are."""
    require_length(n)
    index, tokens = model.items, model.item_tokens
    if side == "user":
        index, tokens = model.users, model.user_tokens
    row = known_row(index.row(raw), index.unknown, side, raw, index.ids)
    if _by(by) == "text":
        found = _by_text(tokens, f"{side}_tokens", index.ids[row], n)
        return found.index.tolist(), {"similarity": found.to_numpy()}
    near, common = _by_ratings(model, row, side, raw)
    rows = top_rows(np.where(near > 0, near, -np.inf), n)
    ids = [index.ids[other] for other in rows]
    return ids, {"similarity": near[rows], "common": common[rows]}


def _by(by: Any) -> str:
    if by not in ("text", "ratings"):
        raise DataError(f"found by={by!r:.60}; expected 'text' or 'ratings'")
    return str(by)


def known_row(row: int, unknown: int, side: str, raw: Hashable, ids: list[Hashable]) -> int:
    """A row.

    Raises
    ------
    DataError
        If it is that of somebody or something unknown.
    """
    if row == unknown:
        raise DataError(
            f"found the {side} {raw!r:.60}, which is unknown; expected one with ratings or a "
            f"token, such as {sample(ids, 3)}"
        )
    return row


def _by_text(tokens: LLMTokens | None, parameter: str, raw: Hashable, n: int) -> pd.Series:
    """Similarities by id, the nearest first."""
    if tokens is None or raw not in tokens:
        raise DataError(
            f"found {raw!r:.60}, which has no token to be near to others; expected {parameter} "
            "with it in them, or by='ratings'"
        )
    found = tokens.similar(raw, n)
    return pd.Series(found["similarity"].to_numpy(), index=pd.Index(found["id"], dtype=object))


def _by_ratings(model: FittedModel, row: int, side: str, raw: Hashable) -> tuple[Floats, Rows]:
    """Similarity to all rows with ratings, 0 for itself, and how many ratings both have.

    The damped cosine of who chose both (for users: of what both chose), where a choice counts from
    little, for the lowest rating, to 1, for the highest.
    """
    ratings = model.ratings
    n_warm = ratings.n_items if side == "item" else ratings.n_users
    if row >= n_warm:
        raise DataError(
            f"found the {side} {raw!r:.60}, which has no ratings; expected one that has, or "
            "by='text'"
        )
    shape = (ratings.n_users, ratings.n_items)
    chosen = sparse.csr_array(
        (ratings.stars(ratings.value), ratings.item, ratings.user_ptr), shape=shape
    )
    columns = chosen.T.tocsr() if side == "item" else chosen
    mine = columns[[row]].toarray()[0]
    lengths = np.sqrt(columns.multiply(columns).sum(axis=1))
    near = columns @ mine / (lengths * lengths[row] + _DAMPING)
    near[row] = 0.0
    common = columns.astype(bool).astype(np.int64) @ (mine > 0).astype(np.int64)
    return near, common
