"""Items by a description in words, for anybody or to one user's taste."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError
from ..runtime.arguments import require_length, require_share
from ..runtime.arrays import Floats
from ..tokens.reducer import unit_rows
from .interface import FittedModel
from .ranking import basis, lines, relevance, top_rows


def ask(model: FittedModel, text: str, n: int, user: int | None, weight: float) -> pd.DataFrame:
    """See :meth:`Serving.ask`."""
    if model.item_tokens is None:
        raise DataError(
            "this algorithm has no item_tokens, so it cannot be asked in words: "
            "fit with item_tokens"
        )
    require_length(n)
    require_share("weight", weight)
    entities = model.items
    similar = cosines(entities.tokens, model.item_tokens.query(text))
    has_token = entities.has_token.copy()
    score = similar.copy()
    score[~has_token] = -np.inf
    if user is not None:
        taste = relevance(model, np.array([user]), np.arange(entities.n_rows), True)[0]
        known = has_token & np.isfinite(taste)
        score[~known] = -np.inf
        score[known] = (1 - weight) * by_rank(similar[known]) + weight * by_rank(taste[known])
    best = top_rows(score, n)
    who = model.users.unknown if user is None else user
    frame = lines(
        model, np.full(len(best), who), best, {"score": score[best], "similarity": similar[best]}
    )
    return frame if user is None else frame.assign(basis=basis(model, user))


def by_rank(values: Floats) -> Floats:
    """Normal scores of the ranks: what makes two scales of any shape weigh alike."""
    from scipy.stats import norm, rankdata

    scores: Floats = norm.ppf((rankdata(values) - 0.5) / len(values))
    return scores


def cosines(vectors: NDArray[np.floating], vector: NDArray[np.floating]) -> Floats:
    """Cosine of every row with one vector; 0 where either has no length."""
    lengths = np.linalg.norm(vectors, axis=1)
    products = (vectors @ unit_rows(vector[None])[0]).astype(np.float64)
    cosine: Floats = products / np.where(lengths > 0, lengths, 1)
    return cosine
