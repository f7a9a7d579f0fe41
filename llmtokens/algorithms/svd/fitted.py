"""A fitted factor model with biases and text: everything but how it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Rated, Ratings
from ...recommend.interface import Scores
from ...runtime.arrays import Floats, Rows, Singles
from ...runtime.locks import cached_property
from ...storage.models import Array, Layout, Scalar, nested
from .. import fold_in as fold
from ..drift import DriftScale, Sequence, smoothed_at
from ..ridge import apply_map
from ..selection import CORRECTED, CorrectedModel, Correction
from .cold_start import item_share

_ROUNDS = 5  # in which a user's factors and drift are found
_JUDGES = 100_000  # ratings
_LEAST_NOISE = 1e-6


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
        est = self._dots(users, items)
        est += self.mean + self.bu[users] + self.bi[items]
        if self.text_share.any():
            est += self.corrections(users, items) + self.newcomer_terms(users, items)
        if self.plain:
            unknown = (users >= self.users.n_warm) | (items >= self.items.n_warm)
            est[unknown] = np.nan
        return est, {}

    def _dots(self, users: Rows, items: Rows) -> Floats:
        """``q_i . p_u`` of pairs."""
        dots = np.einsum("nk,nk->n", self.pu[users], self.qi[items])
        return dots.astype(np.float64)

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

    def taste(self, user: int) -> Floats:
        """Of items as their texts say that they are, as if nobody had rated them."""
        apart = (self.pu[user] - self.pu[self.users.unknown]).astype(np.float64)
        told = self._prior("item", np.arange(self.items.n_rows))[:, :-1]
        out: Floats = told @ apart + self.taste_selected(user)
        return out

    def terms(self, user: int, item: int) -> dict[str, float]:
        factors = self._dots(np.array([user]), np.array([item]))
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
        drift = self.drift_at(np.full(len(items), user), self._times(user, items))
        prior = self._prior("user", np.array([user]))[0]
        known, open_ = self._user_regression(user, items, values - drift, prior)
        query = _with_one(self.qi[[item]])[0]
        return fold.influence(known, open_, weights, self.spreads.user, query)

    # -- learning newcomers --------------------------------------------------------------------

    def user_entries(self, row: int, rated: Rated, changes: Rated) -> dict[str, Any]:
        items, values, weights = rated
        start = np.append(self.pu[row], self.bu[row]).astype(np.float64)
        if fold.all_new(rated, changes):
            start = self._prior("user", np.array([row]))[0]
        if not len(items):
            return {"pu": start[:-1], "bu": start[-1]}
        design, open_ = self._user_regression(row, *changes[:2], start)
        known = _with_one(self.qi[items])
        z = start + fold.update(known, weights, self.spreads.user, (design, open_), changes[2])
        if self.drift_variance:
            scale, drift = DriftScale(self.drift_variance, self.drift_tau), np.zeros(len(items))
            s = Sequence.of(np.zeros(len(items), np.int64), self._times(row, items), 1)
            order = np.argsort(items, kind="stable")
            changed = order[np.searchsorted(items, changes[0], sorter=order)]
            for _ in range(_ROUNDS):  # to the mode of both, by turns
                left = self._user_regression(row, items, values, z)[1]
                drift[s.at] = s.smoothed(left[s.at], weights[s.at], scale)[0]
                news = design, open_ - drift[changed]
                z = start + fold.update(known, weights, self.spreads.user, news, changes[2])
            values = values - drift
        values = values - self.newcomer_terms(np.full(len(items), row), items)
        text = self._prior("item", items)
        shown = np.column_stack([self.qi[items], self.bi[items]]) - text
        gap = (shown / (1 - self.text_share[items])[:, None]) @ np.append(z[:-1], 1)
        rest = values - self.mean - z[-1] - text @ np.append(z[:-1], 1)
        selection = self.correction.row(self.lead[items], gap, rest, weights)
        return {"pu": z[:-1], "bu": z[-1], "selection": selection}

    def item_entries(self, row: int, rated: Rated, changes: Rated) -> dict[str, Any]:
        users, _, weights = rated
        z = np.append(self.qi[row], self.bi[row]).astype(np.float64)
        if fold.all_new(rated, changes):
            z = self._prior("item", np.array([row]))[0]
        news = self._item_regression(row, *changes[:2], z)
        z = z + fold.update(_with_one(self.pu[users]), weights, self.spreads.item, news, changes[2])
        share = float(item_share(weights.sum())) if self.text_share.any() else 0.0
        lead = self.lead[row]
        if self.items.has_token[row]:
            token = self.items.tokens[row, : len(lead)]
            lead = (token - self.lead_centre) * self.lead_scale
        return {"qi": z[:-1], "bi": z[-1], "text_share": share, "lead": lead}

    @cached_property
    def spreads(self) -> Spreads:
        """Worked out when they are first needed, from what training found."""
        if self.kept_spreads is not None:
            return self.kept_spreads
        noise = self._noise()
        return Spreads(self._learn_spread("user", noise), self._learn_spread("item", noise))

    def _learn_spread(self, side: str, noise: float) -> Floats:
        """From the second moment of the deviations of what training found from what is foretold
        without ratings, in units of the noise that training left in the ratings."""
        users = side == "user"
        rows = np.arange(self.users.n_warm if users else self.items.n_warm)
        factors, bias = (self.pu, self.bu) if users else (self.qi, self.bi)
        trained = np.column_stack([factors[rows], bias[rows]]).astype(np.float64)
        return fold.root_second_moment(trained - self._prior(side, rows)) / noise

    def _noise(self) -> float:
        """The root mean square error of training ratings, evenly chosen."""
        at = np.unique(np.linspace(0, self.ratings.n - 1, _JUDGES).astype(np.int64))
        pairs = self.ratings.user[at].astype(np.int64), self.ratings.item[at].astype(np.int64)
        errors = self.ratings.value[at] - self.score(*pairs)[0]
        return max(float(np.sqrt(np.mean(errors**2))), _LEAST_NOISE)

    def _prior(self, side: str, rows: Rows) -> Floats:
        """``[p_u, b_u]`` or ``[q_i, b_i]`` of rows, as if they had no ratings."""
        if side == "user":
            return apply_map(self.user_map, self.users.tokens[rows])
        return apply_map(self.item_map, self.items.tokens[rows])

    def _user_regression(self, row: int, items: Rows, values: Floats, z: Floats) -> fold.Regression:
        """A user's ratings of items: the design, and what ``z`` leaves open."""
        known, user = _with_one(self.qi[items]), np.full(len(items), row)
        usual = self.corrections(np.full(len(items), self.users.unknown), items)
        residual = values - self.newcomer_terms(user, items) - self.mean - self.bi[items] - usual
        return known, residual - known @ z

    def _item_regression(self, row: int, users: Rows, values: Floats, z: Floats) -> fold.Regression:
        """An item's ratings by users: the design, and what ``z`` leaves open."""
        known = _with_one(self.pu[users])
        values = values - self.newcomer_terms(users, np.full(len(users), row))
        return known, values - self.mean - self.bu[users] - known @ z


def _with_one(rows: NDArray[Any]) -> Floats:
    """Rows in float64, with a column of ones."""
    return np.column_stack([rows.astype(np.float64), np.ones(len(rows))])
