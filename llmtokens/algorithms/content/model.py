"""LLMTokensContent: text alone, the baseline of cold-start work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ...data.entities import EntityIndex
from ...data.ratings import Rated, Ratings
from ...errors import DataError
from ...recommend.interface import FittedModel, Scores
from ...runtime.arrays import Floats, Rows, Singles, unit_rows
from ...storage.models import Array, Layout, Scalar
from ...tokens import LLMTokens
from .. import fold_in as fold
from ..base import TokenAlgoBase, fitted
from ..rating_scale import SHRINK, mean_influence, user_means
from ..ridge import apply_map
from .forms import learn_cosine, learn_ridge, recent, unit


@dataclass(frozen=True, eq=False)
class FittedContent(FittedModel):
    """Predicts by ``user_level + item_level + user_taste . item_content``, as pairs of rows.

    What it holds is described at :class:`LLMTokensContent`; ``user_map``, shape (d_u + 1, d + 1),
    turns ``[s_u, 1]`` into taste and level before the first rating (cosine: zeros).
    """

    method: str
    item_level: Floats
    user_level: Floats
    user_base: Floats
    item_content: Singles
    user_taste: Singles
    strength: float
    item_scale: float
    item_map: Floats
    user_map: Floats

    layout: ClassVar[Layout] = {
        "method": Scalar(str),
        "item_level": Array(("item_rows",)),
        "user_level": Array(("user_rows",)),
        "user_base": Array(("user_rows",)),
        "item_content": Array(("item_rows", "item_dims")),
        "user_taste": Array(("user_rows", "item_dims")),
        "strength": Scalar(float),
        "item_scale": Scalar(float),
        "item_map": Array(("item_dims + 1", 1)),
        "user_map": Array(("user_dims + 1", "item_dims + 1")),
    }

    def score(self, users: Rows, items: Rows) -> Scores:
        shared = np.einsum("nd,nd->n", self.user_taste[users], self.item_content[items])
        return self.user_level[users] + self.item_level[items] + shared, {}

    def rank_scores(self, users: Rows) -> Singles:
        """Scores of all item rows, shape (n, n_item_rows): estimates less the user's level.

        NaN where there is no profile to be near to.
        """
        scores: Singles = self.user_taste[users] @ self.item_content.T
        scores += self.item_level.astype(np.float32)
        if self.method == "cosine":
            scores[users >= self.users.n_warm] = np.nan
        return scores

    def terms(self, user: int, item: int) -> dict[str, float]:
        est = float(self.score(np.array([user]), np.array([item]))[0][0])
        mean = self.ratings.global_mean
        bias, text = float(self.user_level[user]), float(self.item_level[item])
        if self.method == "ridge":
            terms = {"mean": mean, "user bias": bias, "text": text - mean}
        else:
            terms = {"mean": mean, "user bias": bias - mean}
        return terms | {"content": est - sum(terms.values())}

    def influence(self, user: int, item: int) -> Floats:
        items, values, weights = self.ratings.of_user(user)
        if self.method == "cosine":
            mean = float(self.user_level[user] - self.user_base[user])
            moved = mean_influence(mean, values, weights)
            return moved + self._influence_on_profile(item, items, values, weights)
        query = np.append(self.item_content[item].astype(np.float64), 1.0)
        regression = self._regression(user, items, values)
        return fold.influence(*regression, weights, self._prior_root(), query)

    def _influence_on_profile(
        self, item: int, items: Rows, values: Floats, weights: Floats
    ) -> Floats:
        given = self.item_content[items].astype(np.float64)
        given *= (weights * self.ratings.stars(values))[:, None]
        profile = given.sum(axis=0)
        others = unit_rows(profile - given) if len(items) > 1 else np.zeros_like(given)
        taste = unit_rows(profile[None]) - others
        out: Floats = self.strength * taste @ self.item_content[item].astype(np.float64)
        return out

    def user_entries(self, row: int, rated: Rated, changes: Rated) -> dict[str, Any]:
        items, values, weights = rated
        if self.method == "cosine":
            if not len(items):
                return {}  # a profile is made of ratings
            profile = (weights * self.ratings.stars(values)) @ self.item_content[items]
            taste = self.strength * unit_rows(profile[None])[0]
            return {
                "user_taste": taste,
                "user_level": self.user_base[row] + user_means(self.ratings)[row],
            }
        regression = self._regression(row, items, values)
        z = self._base(row) + fold.update(
            regression[0], weights, self._prior_root(), regression, weights
        )
        return {"user_taste": z[:-1], "user_level": z[-1], "user_base": self._base(row)[-1]}

    def item_entries(self, row: int, rated: Rated, changes: Rated) -> dict[str, Any]:
        token = self.items.tokens[[row]].astype(np.float64) * self.item_scale
        content = token if self.method == "ridge" else unit_rows(token)
        return {"item_content": content, "item_level": apply_map(self.item_map, token)[0, 0]}

    def _regression(self, row: int, items: Rows, values: Floats) -> fold.Regression:
        design = np.column_stack([self.item_content[items].astype(np.float64), np.ones(len(items))])
        return design, values - self.item_level[items] - design @ self._base(row)

    def _base(self, row: int) -> Floats:
        """A user's taste and level before the first rating, shape (d + 1,)."""
        out: Floats = apply_map(self.user_map, self.users.tokens[row].astype(np.float64))
        return out

    def _prior_root(self) -> Floats:
        """The ridge of a user, as the root of the prior's covariance."""
        n_dims = self.item_content.shape[1]
        return np.diag(np.append(np.full(n_dims, self.strength), 1 / SHRINK) ** 0.5)


class LLMTokensContent(TokenAlgoBase):
    r"""Ratings from the text of items alone; no item has a parameter of its own.

    ``method="ridge"``: one ridge regression on tokens for everybody, and one per user for how this
    user differs:

    .. math:: \hat r_{ui} = \mu + x_i \cdot w + s_u \cdot c + b_u + x_i \cdot v_u

    ``w`` (and ``c``, where users have tokens ``s_u``) are weighted ridges on the mean residuals of
    items (users), the penalty by leave-one-item-out. ``[v_u, b_u]`` minimise

    .. math:: \sum_i (e_{ui} - b_u - x_i \cdot v_u)^2 + 5 b_u^2 + |v_u - v^0_u|^2 / \tau

    with :math:`v^0_u` what a user's token tells of the taste, linear in it, and zero where it tells
    nothing (:mod:`~llmtokens.algorithms.user_text`),
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
    user_tokens : LLMTokens or "history", optional
        With "history" they are made from what users rated, in each ``fit`` from its own trainset.
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

    fitted_type = FittedContent
    model_: FittedContent

    item_level_ = fitted(lambda model: model.item_level)
    user_level_ = fitted(lambda model: model.user_level)
    user_base_ = fitted(lambda model: model.user_base)
    item_content_ = fitted(lambda model: model.item_content)
    user_taste_ = fitted(lambda model: model.user_taste)
    strength_ = fitted(lambda model: model.strength)
    item_scale_ = fitted(lambda model: model.item_scale)
    item_map_ = fitted(lambda model: model.item_map)

    def __init__(
        self,
        item_tokens: LLMTokens | None = None,
        method: str = "ridge",
        user_tokens: LLMTokens | str | None = None,
        timestamps: Any = None,
        half_life: float | None = None,
    ) -> None:
        super().__init__(item_tokens=item_tokens, user_tokens=user_tokens)
        self.method = method
        self.timestamps = timestamps
        self.half_life = half_life

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> FittedContent:
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
        return FittedContent(
            ratings, users, items, method=self.method, item_scale=scale,
            **learn(ratings, users, items, content),
        )  # fmt: skip
