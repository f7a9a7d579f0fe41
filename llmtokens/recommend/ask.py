"""Items by a description in words, for anybody or to one user's taste."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError
from ..tokens.reducer import unit_rows
from .arguments import require_length, require_share
from .ranking import basis, lines, relevance, top_rows

if TYPE_CHECKING:
    from .methods import Serving


def ask(algo: Serving, text: str, n: int, user: int | None, weight: float) -> pd.DataFrame:
    """See :meth:`Serving.ask`."""
    if algo.item_tokens is None:
        raise DataError(
            "this algorithm has no item_tokens, so it cannot be asked in words: "
            "fit with item_tokens"
        )
    require_length(n)
    require_share("weight", weight)
    entities = algo.items_
    similar = cosines(entities.tokens, algo.item_tokens.query(text))
    has_token = entities.has_token.copy()
    score = similar.copy()
    score[~has_token] = -np.inf
    if user is not None:
        taste = relevance(algo, np.array([user]), np.arange(entities.n_rows), True)[0]
        known = has_token & np.isfinite(taste)
        score[~known] = -np.inf
        score[known] = (1 - weight) * by_rank(similar[known]) + weight * by_rank(taste[known])
    best = top_rows(score, n)
    who = algo.users_.unknown if user is None else user
    frame = lines(
        algo, np.full(len(best), who), best, {"score": score[best], "similarity": similar[best]}
    )
    return frame if user is None else frame.assign(basis=basis(algo, user))


def by_rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal scores of the ranks: what makes two scales of any shape weigh alike."""
    from scipy.stats import norm, rankdata

    scores: NDArray[np.float64] = norm.ppf((rankdata(values) - 0.5) / len(values))
    return scores


def cosines(vectors: NDArray[np.floating], vector: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of every row with one vector; 0 where either has no length."""
    lengths = np.linalg.norm(vectors, axis=1)
    products = (vectors @ unit_rows(vector[None])[0]).astype(np.float64)
    cosine: NDArray[np.float64] = products / np.where(lengths > 0, lengths, 1)
    return cosine
