"""LLMTokensContent: text alone, the baseline of cold-start work."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...layout import Array, Layout, Scalar
from ...roster import Roster
from ...tokens import LLMTokens
from ...trainset import Ratings
from .. import fold
from ..base import Scores, TokenAlgoBase
from ..levels import SHRINK, line, user_means
from ..ridge import TokenRidge, apply_map
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
    user_base_ : ndarray of float64, shape (n_user_rows,)
        A user's level before the first rating.
    item_scale_ : float
        Brings tokens to mean square norm 1.
    item_map_ : ndarray of float64, shape (d + 1, 1)
        Turns ``[x_i, 1]`` into ``item_level_``.
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

    _layout: ClassVar[Layout] = {
        "item_level_": Array(("item_rows",)),
        "user_level_": Array(("user_rows",)),
        "user_base_": Array(("user_rows",)),
        "item_content_": Array(("item_rows", "item_dims")),
        "user_taste_": Array(("user_rows", "item_dims")),
        "strength_": Scalar(float),
        "item_scale_": Scalar(float),
        "item_map_": Array(("item_dims + 1", 1)),
    }

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
        content, scale = _unit(items)
        learn = _learn_cosine if self.method == "cosine" else _learn_ridge
        return learn(ratings, users, content) | {"item_scale_": scale}

    def _terms(self, user: int, item: int) -> dict[str, float]:
        users, items = np.array([user]), np.array([item])
        levels = {
            "user level": float(self.user_level_[user]),
            "item level": float(self.item_level_[item]),
        }
        return levels | {"content": float(self._score(users, items)[0][0]) - sum(levels.values())}

    def _fold_in_user(
        self, row: int, items: NDArray[np.int64], values: Doubles, weights: Doubles
    ) -> dict[str, Any]:
        if self.method == "cosine":
            profile = (weights * _stars(values, self.ratings_)) @ self.item_content_[items]
            length = float(np.linalg.norm(profile))
            taste = self.strength_ * profile / (length if length > 0 else 1.0)
            return {
                "user_taste_": taste,
                "user_level_": self.user_base_[row] + user_means(self.ratings_)[row],
            }
        z = fold.update(*self._evidence(row, items, values), weights, self._spread())
        return {"user_taste_": z[:-1], "user_level_": self.user_base_[row] + z[-1]}

    def _fold_in_item(
        self, row: int, users: NDArray[np.int64], values: Doubles, weights: Doubles
    ) -> dict[str, Any]:
        token = self.items_.tokens[row].astype(np.float64)
        level = apply_map(self.item_map_, token[None] * self.item_scale_)[0, 0]
        length = float(np.linalg.norm(token))
        scale = self.item_scale_ if self.method == "ridge" else 1 / (length if length > 0 else 1.0)
        return {"item_content_": token * scale, "item_level_": level}

    def _influence(self, user: int, item: int) -> Doubles | None:
        if self.method == "cosine":
            return None
        items, values, weights = self.ratings_.of_user(user)
        query = np.append(self.item_content_[item].astype(np.float64), 1.0)
        return fold.influence(*self._evidence(user, items, values), weights, self._spread(), query)

    def _evidence(self, row: int, items: NDArray[np.int64], values: Doubles) -> fold.Evidence:
        design = np.column_stack(
            [self.item_content_[items].astype(np.float64), np.ones(len(items))]
        )
        return design, values - self.item_level_[items] - self.user_base_[row]

    def _spread(self) -> Doubles:
        """The ridge of a user, as the root of the prior's covariance."""
        n_dims = self.item_content_.shape[1]
        return np.diag(np.append(np.full(n_dims, self.strength_), 1 / SHRINK) ** 0.5)

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
    item_map = _from_text(content, ratings.item, residual, ratings.item_counts)
    item_map[-1] += ratings.global_mean
    level = apply_map(item_map, content)[:, 0]
    residual = ratings.value - level[ratings.item]
    about = _unit(users)[0]
    user_map = _from_text(about, ratings.user, residual, ratings.user_counts)
    base = apply_map(user_map, about)[:, 0]
    user_level = base.copy()
    residual = residual - base[ratings.user]

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
        "user_base_": base,
        "item_content_": content,
        "user_taste_": taste,
        "strength_": strength,
        "item_map_": item_map,
    }


def _learn_cosine(ratings: Ratings, users: Roster, content: NDArray[np.float32]) -> dict[str, Any]:
    norms = np.linalg.norm(content, axis=1, keepdims=True)
    content = (content / np.where(norms > 0, norms, 1)).astype(np.float32)
    weight = _stars(ratings.value, ratings)
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
        "user_base_": np.full(users.n_rows, offset),
        "item_map_": np.zeros((content.shape[1] + 1, 1)),
        "user_level_": np.concatenate(
            [means, np.full(users.n_rows - len(means), ratings.global_mean)]
        )
        + offset,
        "item_content_": content,
        "user_taste_": (slope * profile / np.where(lengths > 0, lengths, 1)).astype(np.float32),
        "strength_": slope,
    }


def _stars(values: Doubles, ratings: Ratings) -> Doubles:
    """Ratings between .05, the lowest given, and 1, the highest."""
    low, high = ratings.value.min(), ratings.value.max()
    return 0.05 + 0.95 * (values - low) / (high - low) if high > low else np.ones(len(values))


def _unit(side: Roster) -> tuple[NDArray[np.float32], float]:
    """Tokens of all rows, scaled to mean square norm 1 over those that have one; and the scale."""
    tokens = side.tokens
    if not side.has_token.any() or not tokens.any():
        return tokens, 1.0
    energy = np.mean(np.sum(np.square(tokens[side.has_token]), axis=1))
    return (tokens / np.sqrt(energy)).astype(np.float32), float(1 / np.sqrt(energy))


def _from_text(
    tokens: NDArray[np.float32],
    at: NDArray[np.int32],
    residual: Doubles,
    counts: NDArray[np.int64],
) -> Doubles:
    """Turns [token, 1] into the mean residual of a row, shape (d + 1, 1)."""
    means = np.bincount(at, residual, minlength=len(counts)) / np.maximum(counts, 1)
    return TokenRidge(tokens, counts).learn(means[:, None])
