"""A fitted factor model with biases and text: everything but how it was trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...kernels import sgd
from ...storage.layout import Array, Layout, Scalar
from .. import fold_in as fold
from ..base import Scores, TokenAlgoBase
from ..ridge import apply_map
from ..selection import Correction, all_corrections, corrections
from .cold_start import item_share
from .earlier import brought_forward

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


class FactorModel(TokenAlgoBase):
    r"""Predicts, explains and folds in by

    .. math:: \hat r_{ui} = \mu + b_u + b_i + q_i^T p_u + w_i D_u^T [x_i - \bar x, 1]

    A new user's :math:`[p_u, b_u]` is the ridge regression of :mod:`~llmtokens.algorithms.fold_in`
    on their ratings, towards what a user without ratings gets; an item's :math:`[q_i, b_i]`
    likewise, towards what its text says, which also keeps the share :math:`w_i` as in training.

    Attributes
    ----------
    pu, qi : ndarray of shape (n_users, n_factors), (n_items, n_factors)
    bu, bi : ndarray of shape (n_users,), (n_items,)
    """

    _layout: ClassVar[Layout] = {
        "mean": Scalar(float),
        "plain": Scalar(bool),
        "pu": Array(("user_rows", "factors")),
        "bu": Array(("user_rows",)),
        "qi": Array(("item_rows", "factors")),
        "bi": Array(("item_rows",)),
        "text_share": Array(("item_rows",)),
        **Correction.layout("lead"),
        "lead": Array(("item_rows", "lead")),
        "lead_centre": Array(("lead",)),
        "lead_scale": Scalar(float),
        "user_map": Array(("user_dims + 1", "factors + 1")),
        "item_map": Array(("item_dims + 1", "factors + 1")),
        "user_spread": Array(("factors + 1", "factors + 1")),
        "item_spread": Array(("factors + 1", "factors + 1")),
    }

    _brought_forward = staticmethod(brought_forward)

    def _state(self) -> dict[str, Any]:
        if self._parts["user_spread"] is None:
            self._parts |= {
                "user_spread": self._learn_spread("user"),
                "item_spread": self._learn_spread("item"),
            }
        return dict(self._parts)

    def _restore(
        self, state: dict[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> dict[str, Any]:
        return {
            "_parts": state,
            "pu": state["pu"][: users.n_warm],
            "qi": state["qi"][: items.n_warm],
            "bu": state["bu"][: users.n_warm],
            "bi": state["bi"][: items.n_warm],
        }

    # -- predicting ----------------------------------------------------------------------------

    def _score(self, users: Rows, items: Rows) -> Scores:
        f = self._parts
        est = np.zeros(len(users), f["pu"].dtype)
        sgd.pair_dots_fast(users, items, f["pu"], f["qi"], est)
        est = est.astype(np.float64)
        est += f["mean"] + f["bu"][users] + f["bi"][items]
        if f["text_share"].any():
            est += corrections(f, users, items)
        if f["plain"]:
            unknown = (users >= self.users_.n_warm) | (items >= self.items_.n_warm)
            est[unknown] = np.nan
        return est, {}

    def _rank_scores(self, user_rows: Rows) -> Floats:
        f = self._parts
        out = (f["pu"][user_rows] @ f["qi"].T).astype(np.float64)
        out += f["bi"]
        out += (f["mean"] + f["bu"][user_rows])[:, None]
        if f["text_share"].any():
            out += all_corrections(f, user_rows)
        if f["plain"]:
            out[:, self.items_.n_warm :] = np.nan
            out[user_rows >= self.users_.n_warm] = np.nan
        return out

    def _terms(self, user: int, item: int) -> dict[str, float]:
        f = self._parts
        factors = np.zeros(1, f["pu"].dtype)
        sgd.pair_dots_fast(np.array([user]), np.array([item]), f["pu"], f["qi"], factors)
        terms = {
            "mean": f["mean"],
            "user bias": float(f["bu"][user]),
            "item bias": float(f["bi"][item]),
            "factors": float(factors[0]),
        }
        if f["text_share"].any():
            correction = corrections(f, np.array([user]), np.array([item]))
            terms["selection correction"] = float(correction[0])
        return terms

    # -- learning newcomers --------------------------------------------------------------------

    def _prior(self, side: str, rows: Rows) -> Floats:
        """``[p_u, b_u]`` or ``[q_i, b_i]`` of rows, as if they had no ratings."""
        entities = self.users_ if side == "user" else self.items_
        return apply_map(self._parts[f"{side}_map"], entities.tokens[rows])

    def _user_evidence(self, row: int, items: Rows, values: Floats) -> fold.Evidence:
        f, prior = self._parts, self._prior("user", np.array([row]))[0]
        known = _with_one(f["qi"][items])
        usual = corrections(f, np.full(len(items), self.users_.unknown), items)
        residual = values - f["mean"] - f["bi"][items] - usual
        return known, residual - known @ prior

    def _item_evidence(self, row: int, users: Rows, values: Floats) -> fold.Evidence:
        f, prior = self._parts, self._prior("item", np.array([row]))[0]
        known = _with_one(f["pu"][users])
        return known, values - f["mean"] - f["bu"][users] - known @ prior

    def _fold_in_user(
        self, row: int, items: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        f, prior = self._parts, self._prior("user", np.array([row]))[0]
        z = prior + fold.update(*self._user_evidence(row, items, values), weights, f["user_spread"])
        text = self._prior("item", items)
        shown = np.column_stack([f["qi"][items], f["bi"][items]]) - text
        gap = (shown / (1 - f["text_share"][items])[:, None]) @ np.append(z[:-1], 1)
        rest = values - f["mean"] - z[-1] - text @ np.append(z[:-1], 1)
        picks = Correction.of_entries(f).row(f["lead"][items], gap, rest, weights)
        return {"pu": z[:-1], "bu": z[-1], "picks": picks}

    def _fold_in_item(
        self, row: int, users: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        f, prior = self._parts, self._prior("item", np.array([row]))[0]
        known, open_ = self._item_evidence(row, users, values)
        z = prior + fold.update(known, open_, weights, f["item_spread"])
        share = float(item_share(weights.sum())) if f["text_share"].any() else 0.0
        lead = f["lead"][row]
        if self.items_.has_token[row]:
            token = self.items_.tokens[row, : len(lead)]
            lead = (token - f["lead_centre"]) * f["lead_scale"]
        return {"qi": z[:-1], "bi": z[-1], "text_share": share, "lead": lead}

    def _influence(self, user: int, item: int) -> Floats:
        f = self._state()
        items, values, weights = self.ratings_.of_user(user)
        known, open_ = self._user_evidence(user, items, values)
        query = _with_one(f["qi"][[item]])[0]
        return fold.influence(known, open_, weights, f["user_spread"], query)

    def _learn_spread(self, side: str) -> Floats:
        ratings, users = self.ratings_, side == "user"
        trained = (self.pu, self.bu) if users else (self.qi, self.bi)
        counts = ratings.user_counts if users else ratings.item_counts
        prior = self._prior(side, np.arange(len(counts)))[:, : self.pu.shape[1] + 1]

        counts_where = fold.unbiased(ratings.item_counts if users else ratings.user_counts)

        def evidence() -> Iterator[fold.Judged]:
            for row in fold.judges(counts).tolist():
                others, values, _ = ratings.of_user(row) if users else ratings.of_item(row)
                take = fold.excerpt(len(others))
                of = self._user_evidence if users else self._item_evidence
                yield *of(row, others[take], values[take]), counts_where[others[take]]

        return fold.learn_spread(np.column_stack(trained).astype(np.float64) - prior, evidence())


def _with_one(rows: NDArray[Any]) -> Floats:
    """Rows in float64, with a column of ones."""
    return np.column_stack([rows.astype(np.float64), np.ones(len(rows))])
