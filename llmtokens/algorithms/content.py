"""LLMTokensContent: text alone, the baseline of cold-start work."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..roster import Roster
from ..tokens import LLMTokens
from ..trainset import Ratings
from .base import Scores, TokenAlgoBase
from .levels import line, user_means
from .ridge import TokenRidge
from .user_ridge import choose_strength, user_ridge

Doubles = NDArray[np.float64]


class LLMTokensContent(TokenAlgoBase):
    r"""Ratings from the text of items alone; no item has a parameter of its own.

    ``method="ridge"``: one ridge regression on tokens for everybody, and one per user for how this
    user differs:

    .. math:: \hat r_{ui} = \mu + x_i \cdot w + s_u \cdot c + b_u + x_i \cdot v_u

    ``w`` (and ``c``, where users have tokens ``s_u``) are weighted ridges on the mean residuals of
    items (users), the penalty by leave-one-item-out. ``[v_u, b_u]`` minimise

    .. math:: \sum_i (e_{ui} - b_u - x_i \cdot v_u)^2 + 5 b_u^2 + |v_u|^2 / \tau

    over what the user rated, with ``e`` the residuals of the rest and one ``tau`` for all, by
    pooled leave-one-rating-out. All in closed form: d x d per user, or n_u x n_u where n_u < d.

    ``method="cosine"``: Rocchio's profile (Pazzani & Billsus 2007) on the rating scale,

    .. math:: \hat r_{ui} = m_u + \alpha + \beta \cos(x_i, \sum_j g_{uj} x_j / |x_j|)

    with ``g`` the rating, .05 for the lowest to 1 for the highest one of the data, ``m_u`` the
    user's shrunk mean, and ``alpha, beta`` from a regression on training ratings, each left out of
    its own profile.

    Tokens are scaled to mean square norm 1. Unknown users get the population's part, items without
    a token the mean one.

    Parameters
    ----------
    item_tokens : LLMTokens
        Required in ``fit``.
    method : {"ridge", "cosine"}, default="ridge"
    user_tokens : LLMTokens, optional

    Attributes
    ----------
    item_level_ : ndarray of float64, shape (n_item_rows,)
        ``mu + x_i . w`` (cosine: zeros).
    user_level_ : ndarray of float64, shape (n_user_rows,)
        ``s_u . c + b_u`` (cosine: ``m_u + alpha``).
    item_content_ : ndarray of float32, shape (n_item_rows, d)
        ``x_i`` (cosine: at norm 1).
    user_taste_ : ndarray of float32, shape (n_user_rows, d)
        ``v_u`` (cosine: ``beta`` times the profile at norm 1).
    strength_ : float
        ``tau`` (cosine: ``beta``).

    Raises
    ------
    DataError
        In ``fit``, without ``item_tokens`` or for an unknown ``method``.

    References
    ----------
    M. Pazzani, D. Billsus, "Content-Based Recommendation Systems", The Adaptive Web, 2007.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from surprise import Dataset, Reader
    >>> from llmtokens import LLMTokens
    >>> from llmtokens.algorithms.content import LLMTokensContent
    >>> tokens = LLMTokens.from_embeddings("abcdef", np.repeat([[1.0, 0.0], [0.0, 1.0]], 3, axis=0))
    >>> frame = pd.DataFrame([(u, i, 5 if i in "ab" else 2) for u in "xyz" for i in "abde"])
    >>> trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    >>> algo = LLMTokensContent(tokens).fit(trainset)
    >>> algo.predict("x", "c").est > 3.5 > algo.predict("x", "f").est  # neither was ever rated
    True
    """

    def __init__(
        self,
        item_tokens: LLMTokens | None = None,
        method: str = "ridge",
        user_tokens: LLMTokens | None = None,
    ) -> None:
        super().__init__(item_tokens=item_tokens, user_tokens=user_tokens)
        self.method = method

    def _learn(self, ratings: Ratings, users: Roster, items: Roster) -> dict[str, Any]:
        if self.item_tokens is None:
            raise DataError(
                "found item_tokens=None; LLMTokensContent predicts from text alone: pass "
                "item_tokens=LLMTokens.from_frame(...)"
            )
        if self.method not in ("ridge", "cosine"):
            raise DataError(f"found method={self.method!r}; expected 'ridge' or 'cosine'")
        content = _unit(items)
        if self.method == "cosine":
            return _learn_cosine(ratings, users, content)
        return _learn_ridge(ratings, users, content)

    def _score(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Scores:
        shared = np.einsum("nd,nd->n", self.user_taste_[users], self.item_content_[items])
        return self.user_level_[users] + self.item_level_[items] + shared, {}

    def _rank_scores(self, user_rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of all item rows, shape (n, n_item_rows): estimates less the user's level."""
        scores: NDArray[np.float32] = self.user_taste_[user_rows] @ self.item_content_.T
        scores += self.item_level_.astype(np.float32)
        return scores


def _learn_ridge(ratings: Ratings, users: Roster, content: NDArray[np.float32]) -> dict[str, Any]:
    warm = content[: ratings.n_items].astype(np.float64)
    residual = ratings.value - user_means(ratings)[ratings.user]
    level = ratings.global_mean + _from_text(content, ratings.item, residual, ratings.item_counts)
    residual = ratings.value - level[ratings.item]
    user_level = _from_text(_unit(users), ratings.user, residual, ratings.user_counts)
    residual = residual - user_level[ratings.user]

    strength = choose_strength(ratings, warm, residual)
    taste = np.zeros((users.n_rows, warm.shape[1]), np.float32)
    for u in range(ratings.n_users):
        mine = slice(ratings.user_ptr[u], ratings.user_ptr[u + 1])
        solution = user_ridge(warm[ratings.item[mine]], residual[mine], strength)
        taste[u] = solution[:-1]
        user_level[u] += solution[-1]
    return {
        "item_level_": level,
        "user_level_": user_level,
        "item_content_": content,
        "user_taste_": taste,
        "strength_": strength,
    }


def _learn_cosine(ratings: Ratings, users: Roster, content: NDArray[np.float32]) -> dict[str, Any]:
    norms = np.linalg.norm(content, axis=1, keepdims=True)
    content = (content / np.where(norms > 0, norms, 1)).astype(np.float32)
    low, high = ratings.value.min(), ratings.value.max()
    weight = (
        0.05 + 0.95 * (ratings.value - low) / (high - low) if high > low else np.ones(ratings.n)
    )
    profile = np.zeros((users.n_rows, content.shape[1]))
    cosine = np.zeros(ratings.n)
    for u in range(ratings.n_users):
        mine = slice(ratings.user_ptr[u], ratings.user_ptr[u + 1])
        x = content[ratings.item[mine]].astype(np.float64)
        profile[u] = weight[mine] @ x
        others = profile[u] - weight[mine, None] * x
        length = np.linalg.norm(others, axis=1)
        cosine[mine] = np.einsum("nd,nd->n", others, x) / np.where(length > 1e-9, length, np.inf)
    means = user_means(ratings)
    residual = ratings.value - means[ratings.user]
    slope, centre = line(cosine, residual)
    lengths = np.linalg.norm(profile, axis=1, keepdims=True)
    offset = float(residual.mean()) - slope * centre
    return {
        "item_level_": np.zeros(len(content)),
        "user_level_": np.concatenate(
            [means, np.full(users.n_rows - len(means), ratings.global_mean)]
        )
        + offset,
        "item_content_": content,
        "user_taste_": (slope * profile / np.where(lengths > 0, lengths, 1)).astype(np.float32),
        "strength_": slope,
    }


def _unit(side: Roster) -> NDArray[np.float32]:
    """Tokens of all rows, scaled to mean square norm 1 over those that have one."""
    tokens = side.tokens
    if not side.has_token.any() or not tokens.any():
        return tokens
    energy = np.mean(np.sum(np.square(tokens[side.has_token]), axis=1))
    return (tokens / np.sqrt(energy)).astype(np.float32)


def _from_text(
    tokens: NDArray[np.float32],
    at: NDArray[np.int32],
    residual: Doubles,
    counts: NDArray[np.int64],
) -> Doubles:
    """The mean residual of each row, as the tokens foretell it."""
    means = np.bincount(at, residual, minlength=len(counts)) / np.maximum(counts, 1)
    return TokenRidge(tokens, counts).predict(means[:, None])[:, 0]
