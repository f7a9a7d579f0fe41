"""A fitted factor model with biases and text: everything but how it was trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...kernels import sgd
from ...recommend.interface import Scores
from ...runtime.arrays import Floats, Rows, Singles
from ...runtime.cached import cached_property
from ...storage.layout import Array, Layout, Scalar, nested
from .. import fold_in as fold
from ..drift import DriftScale, Sequence, smoothed_at
from ..ridge import apply_map
from ..selection import CORRECTED, CorrectedModel, Correction
from .cold_start import item_share

_ROUNDS = 5  # in which a user's factors and drift are found


class Spreads(NamedTuple):
    """Roots of the covariances that newcomers' ``[p_u, b_u]`` and ``[q_i, b_i]`` have before their
    ratings, both of shape (n_factors + 1, n_factors + 1)."""

    user: Floats
    item: Floats


@dataclass(frozen=True, eq=False)
class FittedSVD(CorrectedModel):
    r"""Predicts, explains and folds in by

    .. math:: \hat r_{ui} = \mu + b_u + b_i + q_i^T p_u + w_i D_u^T [x_i - \bar x, 1]

    A new user's :math:`[p_u, b_u]` is the ridge regression of :mod:`~llmtokens.algorithms.fold_in`
    on their ratings, towards what a user without ratings gets; an item's :math:`[q_i, b_i]`
    likewise, towards what its text says, which also keeps the share :math:`w_i` as in training.

    Attributes
    ----------
    pu, qi : ndarray of shape (n_user_rows, n_factors), (n_item_rows, n_factors)
    bu, bi : ndarray of shape (n_user_rows,), (n_item_rows,)
    mean : float
        ``mu``; 0 without biases.
    plain : bool
        No biases and no tokens: nothing can be said of unknown ids.
    lead_centre : ndarray of float32, shape (d - 1,)
    lead_scale : float
        A token's row of ``lead`` is ``(token[:d - 1] - lead_centre) * lead_scale``.
    user_map, item_map : ndarray of shape (n_dims + 1, n_factors + 1)
        Turn ``[token, 1]`` into ``[p_u, b_u]`` and ``[q_i, b_i]`` of rows without ratings.
    drift_variance, drift_tau : float
        Of what users are like just now: in units of the noise, 0 where there is no such term; and
        the time after which little of it is left.
    kept_spreads : Spreads or None
        What :attr:`spreads` was before anything was learned after the fit.
    """

    mean: float
    plain: bool
    pu: NDArray[Any]
    bu: NDArray[Any]
    qi: NDArray[Any]
    bi: NDArray[Any]
    lead_centre: Singles
    lead_scale: float
    user_map: Floats
    item_map: Floats
    drift_variance: float = 0.0
    drift_tau: float = 1.0
    kept_spreads: Spreads | None = None

    layout: ClassVar[Layout] = {
        "mean": Scalar(float),
        "plain": Scalar(bool),
        "pu": Array(("user_rows", "factors")),
        "bu": Array(("user_rows",)),
        "qi": Array(("item_rows", "factors")),
        "bi": Array(("item_rows",)),
        **CORRECTED,
        "lead_centre": Array(("lead",)),
        "lead_scale": Scalar(float),
        "user_map": Array(("user_dims + 1", "factors + 1")),
        "item_map": Array(("item_dims + 1", "factors + 1")),
        "drift_variance": Scalar(float),
        "drift_tau": Scalar(float),
        "spreads.user": Array(("factors + 1", "factors + 1")),
        "spreads.item": Array(("factors + 1", "factors + 1")),
    }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> Self:
        parts = nested(arrays)
        correction, spreads = Correction(**parts.pop("correction")), Spreads(**parts.pop("spreads"))
        return cls(ratings, users, items, **parts, correction=correction, kept_spreads=spreads)

    # -- predicting ----------------------------------------------------------------------------

    def score(self, users: Rows, items: Rows) -> Scores:
        dots = np.zeros(len(users), self.pu.dtype)
        sgd.pair_dots_fast(users, items, self.pu, self.qi, dots)
        est = dots.astype(np.float64)
        est += self.mean + self.bu[users] + self.bi[items]
        if self.text_share.any():
            est += self.corrections(users, items) + self.newcomer_terms(users, items)
        if self.plain:
            unknown = (users >= self.users.n_warm) | (items >= self.items.n_warm)
            est[unknown] = np.nan
        return est, {}

    def score_at(self, users: Rows, items: Rows, times: Floats) -> Scores:
        est, details = self.score(users, items)
        return est + self.drift_at(users, times), details

    def drift_at(self, users: Rows, times: Floats) -> Floats:
        """What users are like at some times, as far as their ratings tell; zeros where a time is
        NaN, or the user has no ratings."""
        out = np.zeros(len(users))
        asked = np.flatnonzero(np.isfinite(times) & (users < self.users.n_warm))
        if self.timestamps is None or not self.drift_variance or not len(asked):
            return out
        known, who = np.unique(users[asked], return_inverse=True)
        ratings = self.ratings.only(known)
        left = ratings.value - self.score(known[ratings.user], ratings.item.astype(np.int64))[0]
        out[asked] = smoothed_at(
            ratings.user, self.timestamps.of_ratings(ratings), left, np.ones(ratings.n),
            DriftScale(self.drift_variance, self.drift_tau), who, times[asked],
        )[0]  # fmt: skip
        return out

    def _times(self, user: int, items: Rows) -> Floats:
        """When a user rated items, NaN where unknown."""
        if self.timestamps is None:
            return np.full(len(items), np.nan)
        uid, iids = self.users.ids[user], [self.items.ids[row] for row in items]
        return self.timestamps.of_pairs([uid] * len(items), iids)

    def rank_scores(self, users: Rows) -> Floats:
        out: Floats = (self.pu[users] @ self.qi.T).astype(np.float64)
        out += self.bi
        out += (self.mean + self.bu[users])[:, None]
        if self.text_share.any():
            out += self.all_corrections(users)
        if self.plain:
            out[:, self.items.n_warm :] = np.nan
            out[users >= self.users.n_warm] = np.nan
        return out

    def terms(self, user: int, item: int) -> dict[str, float]:
        factors = np.zeros(1, self.pu.dtype)
        sgd.pair_dots_fast(np.array([user]), np.array([item]), self.pu, self.qi, factors)
        terms = {
            "mean": self.mean,
            "user bias": float(self.bu[user]),
            "item bias": float(self.bi[item]),
            "factors": float(factors[0]),
        }
        if self.text_share.any():
            correction = self.corrections(np.array([user]), np.array([item]))
            terms["selection correction"] = float(correction[0])
        if self.newcomers.any():
            new = self.newcomer_terms(np.array([user]), np.array([item]))
            terms["new user"] = float(new[0])
        return terms

    def influence(self, user: int, item: int) -> Floats:
        """On the user's ridge regression given the items, as in fold-in."""
        items, values, weights = self.ratings.of_user(user)
        same = np.full(len(items), user)
        values = values - self.newcomer_terms(same, items)
        values = values - self.drift_at(same, self._times(user, items))
        known, open_ = self._user_evidence(user, items, values)
        query = _with_one(self.qi[[item]])[0]
        return fold.influence(known, open_, weights, self.spreads.user, query)

    # -- learning newcomers --------------------------------------------------------------------

    def user_entries(
        self, row: int, items: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        prior = self._prior("user", np.array([row]))[0]
        values = values - self.newcomer_terms(np.full(len(items), row), items)
        design, open_ = self._user_evidence(row, items, values)
        z = prior + fold.update(design, open_, weights, self.spreads.user)
        if self.drift_variance:
            scale = DriftScale(self.drift_variance, self.drift_tau)
            s = Sequence.of(np.zeros(len(items), np.int64), self._times(row, items), 1)
            drift = np.zeros(len(items))
            for _ in range(_ROUNDS):  # to the mode of both, by turns
                left = open_ - design @ (z - prior)
                drift[s.at] = s.smoothed(left[s.at], weights[s.at], scale)[0]
                z = prior + fold.update(design, open_ - drift, weights, self.spreads.user)
            values = values - drift
        text = self._prior("item", items)
        shown = np.column_stack([self.qi[items], self.bi[items]]) - text
        gap = (shown / (1 - self.text_share[items])[:, None]) @ np.append(z[:-1], 1)
        rest = values - self.mean - z[-1] - text @ np.append(z[:-1], 1)
        selection = self.correction.row(self.lead[items], gap, rest, weights)
        return {"pu": z[:-1], "bu": z[-1], "selection": selection}

    def item_entries(
        self, row: int, users: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        prior = self._prior("item", np.array([row]))[0]
        values = values - self.newcomer_terms(users, np.full(len(users), row))
        known, open_ = self._item_evidence(row, users, values)
        z = prior + fold.update(known, open_, weights, self.spreads.item)
        share = float(item_share(weights.sum())) if self.text_share.any() else 0.0
        lead = self.lead[row]
        if self.items.has_token[row]:
            token = self.items.tokens[row, : len(lead)]
            lead = (token - self.lead_centre) * self.lead_scale
        return {"qi": z[:-1], "bi": z[-1], "text_share": share, "lead": lead}

    @cached_property
    def spreads(self) -> Spreads:
        """Worked out when they are first needed, from what training found."""
        return self.kept_spreads or Spreads(self._learn_spread("user"), self._learn_spread("item"))

    def _learn_spread(self, side: str) -> Floats:
        ratings, users = self.ratings, side == "user"
        counts, others_counts = ratings.user_counts, ratings.item_counts
        trained = self.pu, self.bu
        if not users:
            counts, others_counts, trained = others_counts, counts, (self.qi, self.bi)
        prior = self._prior(side, np.arange(len(counts)))[:, : self.pu.shape[1] + 1]
        deviations = np.column_stack(trained)[: len(counts)].astype(np.float64) - prior
        counts_where = fold.unbiased(others_counts)

        def evidence() -> Iterator[fold.Judged]:
            for row in fold.judges(counts).tolist():
                others, values, _ = ratings.of_user(row) if users else ratings.of_item(row)
                take = fold.excerpt(len(others))
                of = self._user_evidence if users else self._item_evidence
                others, same = others[take], np.full(len(take), row)
                pairs = (same, others) if users else (others, same)
                open_ = values[take] - self.newcomer_terms(*pairs)
                yield *of(row, others, open_), counts_where[others]

        return fold.learn_spread(deviations, evidence())

    def _prior(self, side: str, rows: Rows) -> Floats:
        """``[p_u, b_u]`` or ``[q_i, b_i]`` of rows, as if they had no ratings."""
        if side == "user":
            return apply_map(self.user_map, self.users.tokens[rows])
        return apply_map(self.item_map, self.items.tokens[rows])

    def _user_evidence(self, row: int, items: Rows, values: Floats) -> fold.Evidence:
        prior = self._prior("user", np.array([row]))[0]
        known = _with_one(self.qi[items])
        usual = self.corrections(np.full(len(items), self.users.unknown), items)
        residual = values - self.mean - self.bi[items] - usual
        return known, residual - known @ prior

    def _item_evidence(self, row: int, users: Rows, values: Floats) -> fold.Evidence:
        prior = self._prior("item", np.array([row]))[0]
        known = _with_one(self.pu[users])
        return known, values - self.mean - self.bu[users] - known @ prior


def _with_one(rows: NDArray[Any]) -> Floats:
    """Rows in float64, with a column of ones."""
    return np.column_stack([rows.astype(np.float64), np.ones(len(rows))])
