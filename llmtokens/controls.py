"""Controls: what a result has to beat before it says anything about text."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .algorithms.base import TokenAlgoBase, fitted
from .data.entities import EntityIndex
from .data.ratings import Ratings
from .errors import DataError
from .recommend.interface import FittedModel, Scores
from .runtime.arguments import generator
from .runtime.arrays import Floats, Rows
from .tokens import LLMTokens


def shuffled(tokens: LLMTokens, random_state: int | np.random.RandomState | None = 0) -> LLMTokens:
    """The same tokens, each given to another id: text that is real, and about something else.

    What a model still gains over none with these comes from the extra parameters, not from what
    the text says.

    Parameters
    ----------
    tokens : LLMTokens
    random_state : int, RandomState or None, default=0

    Returns
    -------
    LLMTokens
        The same ids and rows; no id keeps its own row (a random cycle through all ids).

    Raises
    ------
    DataError
        If ``random_state`` is none.

    Examples
    --------
    >>> from llmtokens import LLMTokens
    >>> tokens = LLMTokens.from_embeddings(["a", "b", "c"], [[0, 0], [3, 0], [0, 1]])
    >>> other = shuffled(tokens)
    >>> bool((other.vectors == tokens.vectors).all(axis=1).any())
    False
    >>> sorted(other.vectors[:, 0]) == sorted(tokens.vectors[:, 0])
    True
    """
    order = generator(random_state).permutation(len(tokens))
    vectors = np.empty_like(tokens.vectors)
    vectors[order] = tokens.vectors[np.roll(order, 1)]
    return replace(tokens, vectors=vectors)


def random_like(
    tokens: LLMTokens, random_state: int | np.random.RandomState | None = 0
) -> LLMTokens:
    """Gaussian noise in place of tokens, with the same variance in each dimension.

    Parameters
    ----------
    tokens : LLMTokens
    random_state : int, RandomState or None, default=0

    Returns
    -------
    LLMTokens
        The same ids; rows drawn from N(mean, diag(variance)) of the given rows.

    Raises
    ------
    DataError
        If ``random_state`` is none.

    Examples
    --------
    >>> from llmtokens import LLMTokens
    >>> tokens = LLMTokens.from_embeddings(["a", "b", "c"], [[0, 0], [3, 0], [0, 1]])
    >>> random_like(tokens).vectors.shape == tokens.vectors.shape
    True
    """
    rows = tokens.vectors.astype(np.float64)
    noise = generator(random_state).standard_normal(rows.shape)
    return replace(tokens, vectors=(rows.mean(0) + noise * rows.std(0)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class _FittedUserMean(FittedModel):
    """The biases of the users with ratings, ``bu``, shape (n_users,)."""

    bu: Floats

    def score(self, users: Rows, items: Rows) -> Scores:
        known = np.append(self.bu, np.zeros(self.users.n_rows - len(self.bu)))
        return self.ratings.global_mean + known[users], {}


class UserMean(TokenAlgoBase):
    """The mean of all ratings, moved towards the user's own: the bar for items without ratings.

    ``r_ui = mu + b_u`` with ``b_u = sum_i (r_ui - mu) / (n_u + shrinkage)``. It knows nothing of
    items, so on cold items whatever beats it has learned something about them.

    Parameters
    ----------
    shrinkage : float, default=5
        So many ratings at the mean are added to each user's.

    Attributes
    ----------
    bu : ndarray of float64, shape (n_users,)

    Examples
    --------
    >>> import pandas as pd
    >>> from surprise import Dataset, Reader
    >>> rows = [("ann", 1, 5), ("ann", 2, 4), ("bob", 1, 2)]
    >>> frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    >>> trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    >>> algo = UserMean(shrinkage=1).fit(trainset)
    >>> round(algo.predict("ann", "new").est, 3), round(algo.predict("cid", "new").est, 3)
    (4.222, 3.667)
    """

    model_: _FittedUserMean

    bu = fitted(lambda model: model.bu)

    def __init__(self, shrinkage: float = 5) -> None:
        super().__init__()
        self.shrinkage = shrinkage

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> _FittedUserMean:
        bu = _shrunk_means(ratings, ratings.user, ratings.user_counts, self.shrinkage)
        return _FittedUserMean(ratings, users, items, bu)


@dataclass(frozen=True, eq=False)
class _FittedPopularity(FittedModel):
    """The shrunk means of the items with ratings, ``bi``, shape (n_items,)."""

    bi: Floats

    def score(self, users: Rows, items: Rows) -> Scores:
        known = np.append(self.bi, np.zeros(self.items.n_rows - len(self.bi)))
        return self.ratings.global_mean + known[items], {}

    def rank_scores(self, users: Rows) -> Floats:
        counts = self.ratings.item_counts.astype(np.float64)
        row = np.append(counts, np.zeros(self.items.n_rows - len(counts)))
        return np.tile(row, (len(users), 1))


class Popularity(TokenAlgoBase):
    """What most have rated, for everybody: the bar for lists.

    Lists are sorted by the number of training ratings. As estimates of ratings it has the items'
    means: ``r_ui = mu + b_i`` with ``b_i = sum_u (r_ui - mu) / (n_i + shrinkage)``.

    Parameters
    ----------
    shrinkage : float, default=5
        So many ratings at the mean are added to each item's.

    Attributes
    ----------
    bi : ndarray of float64, shape (n_items,)

    Examples
    --------
    >>> import pandas as pd
    >>> from llmtokens.metrics import rank_all
    >>> from surprise import Dataset, Reader
    >>> rows = [("ann", 1, 2), ("ann", 2, 5), ("bob", 1, 2), ("cid", 3, 5)]
    >>> frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    >>> algo = Popularity().fit(Dataset.load_from_df(frame, Reader()).build_full_trainset())
    >>> rank_all(algo, [("cid", 1, 3)]).to_frame()["item"].tolist()
    [1, 2]
    """

    model_: _FittedPopularity

    bi = fitted(lambda model: model.bi)

    def __init__(self, shrinkage: float = 5) -> None:
        super().__init__()
        self.shrinkage = shrinkage

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> _FittedPopularity:
        bi = _shrunk_means(ratings, ratings.item, ratings.item_counts, self.shrinkage)
        return _FittedPopularity(ratings, users, items, bi)

    def _warn_of_equal(self, ratings: Ratings) -> None:
        """Nothing: lists go by counts, which equal ratings have, too."""


def _shrunk_means(
    ratings: Ratings, of: NDArray[np.integer], counts: Rows, shrinkage: float
) -> Floats:
    """How far the ratings of each row lie above the mean of all, moved towards it."""
    if not shrinkage >= 0:
        raise DataError(f"found shrinkage={shrinkage!r}; expected a number of 0 or more")
    sums = np.bincount(of, ratings.value - ratings.global_mean, minlength=len(counts))
    means: Floats = sums / np.maximum(counts + shrinkage, 1e-12)
    return means
