"""What LLMTokensContent has learned: levels and tastes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...data.ratings import Rated
from ...recommend.interface import FittedModel, Scores
from ...runtime.arrays import Floats, Rows, Singles, unit_rows
from ...storage.models import Array, Layout, Scalar
from .. import fold_in as fold
from ..rating_scale import SHRINK, mean_influence, user_means
from ..ridge import apply_map
from .forms import stars


@dataclass(frozen=True, eq=False)
class FittedContent(FittedModel):
    """Predicts by ``user_level + item_level + user_taste . item_content``, as pairs of rows.

    Attributes
    ----------
    item_level : ndarray of float64, shape (n_item_rows,)
        ``mu + x_i . w`` (cosine: zeros).
    user_level : ndarray of float64, shape (n_user_rows,)
        ``s_u . c + b_u`` (cosine: ``m_u + alpha``).
    item_content : ndarray of float32, shape (n_item_rows, d)
        ``x_i`` (cosine: at norm 1).
    user_taste : ndarray of float32, shape (n_user_rows, d)
        ``v_u`` (cosine: ``beta`` times the profile at norm 1).
    user_base : ndarray of float64, shape (n_user_rows,)
        A user's level before the first rating.
    item_scale : float
        Brings tokens to mean square norm 1.
    item_map : ndarray of float64, shape (d + 1, 1)
        Turns ``[x_i, 1]`` into ``item_level``.
    user_map : ndarray of float64, shape (d_u + 1, d + 1)
        Turns ``[s_u, 1]`` into taste and level before the first rating (cosine: zeros).
    strength : float
        ``tau`` (cosine: ``beta``).
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
        return fold.influence(*self._evidence(user, items, values), weights, self._spread(), query)

    def _influence_on_profile(
        self, item: int, items: Rows, values: Floats, weights: Floats
    ) -> Floats:
        given = self.item_content[items].astype(np.float64)
        given *= (weights * stars(values, self.ratings))[:, None]
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
            profile = (weights * stars(values, self.ratings)) @ self.item_content[items]
            taste = self.strength * unit_rows(profile[None])[0]
            return {
                "user_taste": taste,
                "user_level": self.user_base[row] + user_means(self.ratings)[row],
            }
        evidence = self._evidence(row, items, values)
        z = self._base(row) + fold.update(evidence[0], weights, self._spread(), evidence, weights)
        return {"user_taste": z[:-1], "user_level": z[-1], "user_base": self._base(row)[-1]}

    def item_entries(self, row: int, rated: Rated, changes: Rated) -> dict[str, Any]:
        token = self.items.tokens[[row]].astype(np.float64) * self.item_scale
        content = token if self.method == "ridge" else unit_rows(token)
        return {"item_content": content, "item_level": apply_map(self.item_map, token)[0, 0]}

    def _evidence(self, row: int, items: Rows, values: Floats) -> fold.Evidence:
        design = np.column_stack([self.item_content[items].astype(np.float64), np.ones(len(items))])
        return design, values - self.item_level[items] - design @ self._base(row)

    def _base(self, row: int) -> Floats:
        """A user's taste and level before the first rating, shape (d + 1,)."""
        out: Floats = apply_map(self.user_map, self.users.tokens[row].astype(np.float64))
        return out

    def _spread(self) -> Floats:
        """The ridge of a user, as the root of the prior's covariance."""
        n_dims = self.item_content.shape[1]
        return np.diag(np.append(np.full(n_dims, self.strength), 1 / SHRINK) ** 0.5)
