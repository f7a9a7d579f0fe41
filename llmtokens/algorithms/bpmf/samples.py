"""A fitted Bayesian model as samples of all rows: everything but how they were drawn."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...errors import DataError, FileFormatError
from ...kernels import pairs
from ...storage.layout import Array, Layout, Scalar
from ..base import Scores
from ..selection import Correction, all_corrections, corrections
from .compact import Compact, compacted
from .features import LEAD
from .given import GivenRatings

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class Means:
    """Posterior means of the rows with ratings, computed when first asked for: a pass over all
    samples, which learning one row must not wait for."""

    def __init__(self, state: dict[str, Any], n_users: int, n_items: int) -> None:
        self._state, self._n_users, self._n_items = state, n_users, n_items

    @cached_property
    def by_name(self) -> dict[str, Singles]:
        f = self._state
        c, k, std = f["lead"].shape[1], f["items"].shape[2] - 1, f["std"]
        of_users = std * f["users"][: self._n_users].mean(axis=1)
        of_items = f["items"][: self._n_items].mean(axis=1)
        return {
            "pu": of_users[:, c : c + k],
            "qi": of_items[:, :k],
            "bu": of_users[:, c + k],
            "bi": std * of_items[:, k],
        }


class SampleModel(GivenRatings):
    r"""Predicts, explains and folds in by the mean over samples of

    .. math:: \mu + \sigma (a_u^T x_i + p_u^T q_i + b_u + b_i) + w_i \sigma D_u^T [x_i - \bar x, 1]

    Newcomers and influences: :class:`~llmtokens.algorithms.bpmf.given.GivenRatings`.
    """

    _layout: ClassVar[Layout] = {
        "mean": Scalar(float),
        "std": Scalar(float),
        "users": Array(("user_rows", "samples", "user_width + 1")),
        "items": Array(("item_rows", "samples", "factors + 1")),
        "text_share": Array(("item_rows",)),
        **Correction.layout("content"),
        "lead": Array(("item_rows", "content")),
        "user_open": Array(("user_rows", "open")),
        "item_open": Array(("item_rows", "open")),
        "user_map": Array(("samples", "user_features + 1", "user_width + 1")),
        "item_map": Array(("samples", "text + 1", "factors + 1")),
        "user_spread": Array(("samples", "user_width + 1", "user_width + 1")),
        "item_spread": Array(("samples", "factors + 1", "factors + 1")),
        "user_centre": Array(("user_features",)),
        "user_scale": Scalar(float),
        "lead_scale": Scalar(float),
        "centre": Array(("text_dims",)),
        "unit": Array(("leading",)),
        "middle": Array(("products",)),
        "scale": Array(("text",)),
    }

    def _state(self) -> dict[str, Any]:
        return dict(self._parts)

    def _restore(
        self, state: dict[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> dict[str, Any]:
        _check_widths(state, users, items)
        return {"_parts": state, "_means": Means(state, users.n_warm, items.n_warm)}

    pu = property(lambda self: self._means.by_name["pu"])
    qi = property(lambda self: self._means.by_name["qi"])
    # Surprise sets these two to None at the start of fit
    bu = property(lambda self: self._means.by_name["bu"], lambda self, _: None)
    bi = property(lambda self: self._means.by_name["bi"], lambda self, _: None)

    # -- predicting ----------------------------------------------------------------------------

    def _score(self, users: Rows, items: Rows) -> Scores:
        f = self._parts
        mean, variance = np.empty(len(users)), np.empty(len(users))
        pairs.pair_moments(users, items, f["users"], f["items"], f["lead"], mean, variance)
        mean += corrections(f, users, items)
        variance += np.einsum("nk,nk->n", f["user_open"][users], f["item_open"][items])
        return f["mean"] + f["std"] * mean, {"std": f["std"] * np.sqrt(variance)}

    def _rank_scores(self, user_rows: Rows) -> Floats:
        f = self._parts
        c, n = f["lead"].shape[1], f["items"].shape[1]
        users = f["users"][user_rows]
        tastes = users[:, :, c:].copy()
        tastes[:, :, -1] = 1.0  # what multiplies b_i
        flat = f["items"].reshape(len(f["items"]), -1)
        out = (tastes.reshape(len(users), -1) @ flat.T).astype(np.float64) / n
        out += users[:, :, :c].mean(axis=1) @ f["lead"].T
        out += users[:, :, -1].mean(axis=1)[:, None]
        out += all_corrections(f, user_rows)
        out *= f["std"]
        out += f["mean"]
        return out

    def _terms(self, user: int, item: int) -> dict[str, float]:
        f = self._parts
        c = f["lead"].shape[1]
        of_user, of_item = f["users"][user].astype(np.float64), f["items"][item].astype(np.float64)
        terms = {
            "user bias": of_user[:, -1],
            "item bias": of_item[:, -1],
            "factors": np.sum(of_user[:, c:-1] * of_item[:, :-1], axis=1),
        }
        if c:
            terms["content"] = of_user[:, :c] @ f["lead"][item]
        if f["text_share"].any():
            terms["selection correction"] = corrections(f, np.array([user]), np.array([item]))
        return {"mean": f["mean"]} | {
            name: f["std"] * float(np.mean(term)) for name, term in terms.items()
        }

    def compact(
        self, rank: int, testset: Iterable[tuple[Hashable, Hashable, Any]] | None = None
    ) -> Compact:
        """One pair of factor matrices in place of many samples, for serving.

        Parameters
        ----------
        rank : int
            Of the truncated SVD of the posterior mean of all users x items.
        testset : iterable of (user id, item id, rating), optional
            Where to measure what that costs; by default the training ratings.

        Returns
        -------
        Compact
            Its ``rmse_cost`` is the root mean square difference to the full estimates.

        Raises
        ------
        DataError
            If the rank is not a positive int.
        NotFittedError
            Before ``fit``.
        """
        self._require_fitted()
        if not (isinstance(rank, (int, np.integer)) and rank >= 1):
            raise DataError(f"found rank={rank!r}; expected an int of at least 1")
        if testset is None:
            users, items = self.ratings_.user.astype(np.int64), self.ratings_.item.astype(np.int64)
        else:
            pairs = list(testset)
            users = self.users_.rows([row[0] for row in pairs])
            items = self.items_.rows([row[1] for row in pairs])
        full = self._estimates(users, items, True)[0]
        entities = (self.users_, self.items_)
        return compacted(self._parts, rank, self.ratings_.scale, entities, (users, items, full))


def _check_widths(state: dict[str, Any], users: EntityIndex, items: EntityIndex) -> None:
    """Lengths that depend on each other: kernels rely on them, and a file may lie."""
    leading, products = len(state["unit"]), len(state["middle"])
    dims, content = len(state["centre"]), state["lead"].shape[1]
    right = {
        "users": state["users"].shape[2] == content + state["items"].shape[2]
        and (state["users"].shape[1] > 0),
        "centre": dims == items.tokens.shape[1],
        "unit": leading == min(LEAD, dims),
        "middle": products == leading * (leading + 1) // 2,
        "scale": len(state["scale"]) == dims + products,
        "user_centre": len(state["user_centre"]) == users.tokens.shape[1],
    }
    if not all(right.values()):
        wrong = [name for name, well in right.items() if not well]
        raise FileFormatError(f"{wrong} are not as long as the other parts ask for")
