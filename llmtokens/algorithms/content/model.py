"""LLMTokensContent: text alone, the baseline of cold-start work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...errors import DataError
from ...storage.layout import Array, Layout, Scalar
from ...tokens import LLMTokens
from ...tokens.reducer import unit_rows
from .. import fold_in as fold
from ..base import Scores, TokenAlgoBase
from ..rating_scale import SHRINK, mean_influence, user_means
from ..ridge import apply_map
from .forms import learn_cosine, learn_ridge, stars, unit
from .recent import Timestamps, recent

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

    *Taste changes.* With ``timestamps`` and a ``half_life``, a rating that is so much older than
    the user's newest one counts half as much in the user's ridge or profile, twice so much a
    quarter, and so on. What all users share does not age.

    Parameters
    ----------
    item_tokens : LLMTokens
        Required in ``fit``.
    method : {"ridge", "cosine"}, default="ridge"
    user_tokens : LLMTokens, optional
    timestamps : DataFrame, Surprise Dataset, or mapping, optional
        When ratings were made, which a trainset does not know: a frame with the columns user, item
        and timestamp, the data set itself where it has timestamps (as those of
        :mod:`llmtokens.datasets` do), or ``{(user, item): timestamp}``. There may be more pairs
        than those of the trainset, so that all folds of ``cross_validate`` can share it. ``save``
        keeps the weights that follow from it, and not the table.
    half_life : float, optional
        In the unit of the timestamps (of MovieLens: seconds, a day has 86,400; dates, also as
        ISO 8601 text, count in seconds). It is also the default of ``fold_in``.

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
        In ``fit``, without ``item_tokens``, for an unknown ``method``, for one of ``timestamps``
        and ``half_life`` without the other, or if a rating has no timestamp.

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
        timestamps: Timestamps | None = None,
        half_life: float | None = None,
    ) -> None:
        super().__init__(item_tokens=item_tokens, user_tokens=user_tokens)
        self.method = method
        self.timestamps = timestamps
        self.half_life = half_life

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> dict[str, Any]:
        if self.item_tokens is None:
            raise DataError(
                "found item_tokens=None; LLMTokensContent predicts from text alone: pass "
                "item_tokens=LLMTokens.from_frame(...)"
            )
        if self.method not in ("ridge", "cosine"):
            raise DataError(f"found method={self.method!r}; expected 'ridge' or 'cosine'")
        if self.timestamps is not None or self.half_life is not None:
            weight = recent(ratings, self.timestamps, self.half_life)
            ratings = replace(ratings, weight=weight)
        content, scale = unit(items)
        learn = learn_cosine if self.method == "cosine" else learn_ridge
        return learn(ratings, users, content) | {"item_scale_": scale, "ratings_": ratings}

    def _terms(self, user: int, item: int) -> dict[str, float]:
        est = float(self._score(np.array([user]), np.array([item]))[0][0])
        mean = self.ratings_.global_mean
        bias, text = float(self.user_level_[user]), float(self.item_level_[item])
        if self.method == "ridge":
            terms = {"mean": mean, "user bias": bias, "text": text - mean}
        else:
            terms = {"mean": mean, "user bias": bias - mean}
        return terms | {"content": est - sum(terms.values())}

    def _fold_in_user(
        self, row: int, items: NDArray[np.int64], values: Doubles, weights: Doubles
    ) -> dict[str, Any]:
        if self.method == "cosine":
            profile = (weights * stars(values, self.ratings_)) @ self.item_content_[items]
            taste = self.strength_ * unit_rows(profile[None])[0]
            return {
                "user_taste_": taste,
                "user_level_": self.user_base_[row] + user_means(self.ratings_)[row],
            }
        z = fold.update(*self._evidence(row, items, values), weights, self._spread())
        return {"user_taste_": z[:-1], "user_level_": self.user_base_[row] + z[-1]}

    def _fold_in_item(
        self, row: int, users: NDArray[np.int64], values: Doubles, weights: Doubles
    ) -> dict[str, Any]:
        token = self.items_.tokens[[row]].astype(np.float64) * self.item_scale_
        content = token if self.method == "ridge" else unit_rows(token)
        return {"item_content_": content, "item_level_": apply_map(self.item_map_, token)[0, 0]}

    def _influence(self, user: int, item: int) -> Doubles:
        items, values, weights = self.ratings_.of_user(user)
        if self.method == "cosine":
            mean = float(self.user_level_[user] - self.user_base_[user])
            moved = mean_influence(mean, values, weights)
            return moved + self._influence_on_profile(item, items, values, weights)
        query = np.append(self.item_content_[item].astype(np.float64), 1.0)
        return fold.influence(*self._evidence(user, items, values), weights, self._spread(), query)

    def _influence_on_profile(
        self, item: int, items: NDArray[np.int64], values: Doubles, weights: Doubles
    ) -> Doubles:
        given = self.item_content_[items].astype(np.float64)
        given *= (weights * stars(values, self.ratings_))[:, None]
        profile = given.sum(axis=0)
        others = unit_rows(profile - given) if len(items) > 1 else np.zeros_like(given)
        taste = unit_rows(profile[None]) - others
        out: Doubles = self.strength_ * taste @ self.item_content_[item].astype(np.float64)
        return out

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
        """Scores of all item rows, shape (n, n_item_rows): estimates less the user's level.

        NaN where there is no profile to be near to.
        """
        scores: NDArray[np.float32] = self.user_taste_[user_rows] @ self.item_content_.T
        scores += self.item_level_.astype(np.float32)
        if self.method == "cosine":
            scores[user_rows >= self.users_.n_warm] = np.nan
        return scores
