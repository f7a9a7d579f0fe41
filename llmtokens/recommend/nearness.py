"""How near items are by their texts alone."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..runtime.arrays import Floats, cosines
from ..tokens import LLMTokens
from .interface import FittedModel


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


def to_text(model: FittedModel, text: str) -> Floats:
    """Cosine of the text of every item row with a text; NaN where an item has none.

    In the encoder's own space; among tokens where the table has no embeddings.
    """
    tokens = require_item_tokens(model)
    if tokens.embeddings is None:
        return _by_row(model, cosines(tokens.vectors, tokens.query(text)))
    near = (tokens.embeddings @ tokens.embed(text)).astype(np.float64)
    return _by_row(model, np.where(tokens.embeddings.any(axis=1), near, np.nan))


def to_item(model: FittedModel, item: int) -> Floats:
    """Cosine of the text of every item row with that of one of them; NaN where there is none."""
    tokens, row = model.item_tokens, int(model.text_rows[item])
    if tokens is None or row < 0:
        return np.full(model.items.n_rows, np.nan)
    return _by_row(model, tokens.similarities(tokens.ids[row]))


def _by_row(model: FittedModel, of_ids: Floats) -> Floats:
    """What the ids of the table have, for every item row."""
    rows = model.text_rows
    return np.where(rows >= 0, of_ids[rows], np.nan)
