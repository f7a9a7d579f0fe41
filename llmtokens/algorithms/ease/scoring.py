"""A fitted EASE: its scores, its ratings, and how it learns newcomers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...storage.layout import Array, Layout, Scalar, grown
from ..base import Scores, TokenAlgoBase
from ..rating_scale import bend, mean_influence, user_means
from .interactions import (
    USERS,
    influence_on_row,
    interactions,
    opinions,
    popularity_of,
    spliced,
    text_scores,
    used_features,
)
from .low_rank_update import relearned
from .parts import State, gathered, matrix, named, state_of
from .solver import DenseItems, FactoredItems, Items
from .text_kernel import Landmarks, TextSmoother

Floats = NDArray[np.float32]

_PLAIN = ("popularity_", "l2_", "token_weight_", "user_mean_", "lines_")


class ScoreModel(TokenAlgoBase):
    """Scores ``s_u = x_u B``, and ratings from scores.

    A new or changed user is scored by ``B`` as it is. New and changed items enter ``B`` exactly,
    and with them whatever users have done since: :mod:`~llmtokens.algorithms.ease.low_rank_update`.
    """

    implicit: bool
    max_dense: int
    l2_: float
    token_weight_: float
    popularity_: Floats
    user_mean_: NDArray[np.float64]
    lines_: NDArray[np.float64]
    bounds_: tuple[float, float]
    ends_: tuple[float, float]
    interactions_: sparse.csr_array
    item_weights_: Items
    smoother_: TextSmoother | None
    learned_: sparse.csr_array

    _layout: ClassVar[Layout] = {
        "popularity_": Array(("items",)),
        "l2_": Scalar(float),
        "token_weight_": Scalar(float),
        "user_mean_": Array(("user_rows",)),
        "bounded": Scalar(bool),
        "lowest": Scalar(float),
        "highest": Scalar(float),
        "lines_": Array((2, 2, 2)),
        "weights_precision": Array(("items",)),
        "weights_weights": Array(("items", "items"), optional=True),
        "weights_left": Array(("items", "rank"), optional=True),
        "weights_right": Array(("items", "rank"), optional=True),
        "weights_own_weight": Array(("items",), optional=True),
        "text_features": Array(("item_rows", "landmarks"), optional=True),
        "text_mixing": Array(("items", "landmarks"), optional=True),
        "landmarks_tokens": Array(("landmarks", "item_dims"), optional=True),
        "landmarks_root": Array(("landmarks", "landmarks"), optional=True),
        "landmarks_scale": Scalar(float, optional=True),
        "learned_indptr": Array(("learned_users + 1",), "int", optional=True),
        "learned_indices": Array(("learned",), "int", below="items", optional=True),
        "learned_data": Array(("learned",), optional=True),
    }

    # -- as plain data ---------------------------------------------------------------------------

    def _state(self) -> State:
        own = {name: getattr(self, name) for name in _PLAIN}
        own["bounded"] = bool(np.isfinite(self.bounds_[0]))
        own["lowest"], own["highest"] = self.ends_
        if self.learned_ is not self.interactions_:
            own |= named("learned", self.learned_, ("indptr", "indices", "data"))
        return dict.fromkeys(self._layout) | own | state_of(self.item_weights_, self.smoother_)

    def _restore(
        self, state: State, ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> State:
        weights, text, landmarks, learned = (
            gathered(prefix, state) for prefix in ("weights", "text", "landmarks", "learned")
        )
        ends = (state["lowest"], state["highest"])
        rows = getattr(self, "interactions_", None)  # those of today: see _relearned
        if rows is None:  # from a file
            rows = interactions(ratings, ends, self.implicit)
        return {name: state[name] for name in _PLAIN} | {
            "bounds_": ratings.scale if state["bounded"] else (-np.inf, np.inf),
            "ends_": ends,
            "interactions_": rows,
            "item_weights_": (DenseItems if "weights" in weights else FactoredItems)(**weights),
            "smoother_": TextSmoother(**text, landmarks=Landmarks(**landmarks)) if text else None,
            "learned_": matrix(learned, rows.shape) if learned else rows,
        }

    # -- predicting ------------------------------------------------------------------------------

    def _terms(self, user: int, item: int) -> dict[str, float]:
        """Those of the line; what bends it near the ends of the scale is not among them."""
        score = float(self._rank_scores(np.array([user]))[0, item])
        known, cold = user < self.users_.n_warm, item >= self.items_.n_warm
        name = "choices" if known else "popularity"
        if self.implicit:
            low, high = self.ratings_.scale
            return {"lowest rating": low, name: (high - low) * score}
        mean, (slope, centre) = self.ratings_.global_mean, self.lines_[int(not known), int(cold)]
        bias = float(self.user_mean_[user]) - mean
        return {"mean": mean, "user bias": bias, name: float(slope * (score - centre))}

    def _influence(self, user: int, item: int) -> NDArray[np.float64]:
        """On the score, which is linear in the user's row, and on the user's mean."""
        items, values, weights = self.ratings_.of_user(user)
        given = influence_on_row(items, weights * opinions(values, self.ends_, self.implicit))
        on_score = np.empty(len(items))
        for start in range(0, len(items), USERS):
            at = slice(start, start + USERS)
            n = len(items[at])
            ones = sparse.csr_array(
                (given[at], (np.arange(n), items[at])), shape=(n, self.items_.n_warm)
            )
            on_score[at] = self._with_cold_items(self.item_weights_.scores(ones))[:, item]
        score, mean = self._rank_scores(np.array([user]))[0, item], self.user_mean_[user]
        scores = score - np.append(0, on_score)
        means = mean - np.append(0, mean_influence(mean, values, weights))
        pairs = np.full(len(scores), user), np.full(len(scores), item)
        est = self._as_ratings(*pairs, scores, means)
        return est[0] - est[1:]

    def _score(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Scores:
        est = np.empty(len(users))
        distinct, at = np.unique(users, return_inverse=True)
        order = np.argsort(at, kind="stable")
        cuts = np.searchsorted(at[order], np.arange(0, len(distinct) + USERS, USERS))
        for k, (start, stop) in enumerate(pairwise(cuts)):
            pairs = order[start:stop]
            block = self._rank_scores(distinct[k * USERS : (k + 1) * USERS])
            est[pairs] = block[at[pairs] - k * USERS, items[pairs]]
        return self._as_ratings(users, items, est, self.user_mean_[users]), {}

    def _rank_scores(self, user_rows: NDArray[np.int64]) -> Floats:
        """Scores of all item rows, shape (n, n_item_rows); higher is better."""
        known = user_rows < self.users_.n_warm
        warm = np.empty((len(user_rows), self.items_.n_warm), np.float32)
        warm[known] = self.item_weights_.scores(self.interactions_[user_rows[known]])
        warm[~known] = self.popularity_
        return self._with_cold_items(warm)

    def _with_cold_items(self, warm: Floats) -> Floats:
        """Scores (n, n_items) of warm items, completed to all item rows."""
        out = np.empty((len(warm), self.items_.n_rows), np.float32)
        out[:, : self.items_.n_warm] = warm
        out[:, self.items_.n_warm :] = text_scores(
            warm, self.smoother_, slice(self.items_.n_warm, None)
        )
        return out

    def _as_ratings(
        self,
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        scores: NDArray[np.float64],
        means: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        low, high = self.ratings_.scale
        if self.implicit:
            return bend(low + (high - low) * scores, low, high)
        low, high = self.bounds_
        unknown, cold = users >= self.users_.n_warm, items >= self.items_.n_warm
        slope, centre = self.lines_[unknown.astype(int), cold.astype(int)].T
        return bend(means + slope * (scores - centre), low, high)

    # -- learning newcomers ----------------------------------------------------------------------

    def _grown(self, state: State, side: str, source: Any, n_warm: int) -> State:
        """What :meth:`_with_items` makes anew waits for it."""
        waits = {"popularity_", "text_mixing"} if side == "item" else set()
        layout = {
            name: spec
            for name, spec in self._layout.items()
            if name not in waits and not (waits and name.startswith("weights_"))
        }
        return grown(layout, state, side, source, n_warm)

    def _relearned(
        self,
        before: Any,
        state: State,
        new_items: Sequence[int],
        users: Sequence[int],
        items: Sequence[int],
    ) -> Iterator[State]:
        if new_items or items:
            self.interactions_ = interactions(self.ratings_, self.ends_, self.implicit)
            state = state | self._with_items(before, state, new_items, items)
        else:
            self.interactions_ = spliced(
                before.interactions_, self.ratings_, np.array(users), self.ends_, self.implicit
            )
            state = state | named("learned", before.learned_, ("indptr", "indices", "data"))
        mean = state["user_mean_"].copy()
        mean[users] = user_means(self.ratings_)[users]
        yield state | {"user_mean_": mean}

    def _with_items(
        self, before: Any, state: State, new_items: Sequence[int], items: Sequence[int]
    ) -> State:
        """The parts of the state that items have a share in."""
        features, n, smoother = state["text_features"], self.items_.n_warm, before.smoother_
        if smoother is not None:
            if self.item_tokens is not before.item_tokens:  # there is new text
                features = features.copy()
                features[items] = smoother.landmarks.features(self.items_.tokens[items])
            smoother = smoother.relearned(features, n)
        if all(row >= n for row in [*new_items, *items]):
            return state_of(before.item_weights_, smoother)
        old, new = (
            (rows, used_features(text, rows.shape[1]))
            for rows, text in ((before.learned_, before.smoother_), (self.interactions_, smoother))
        )
        weights = relearned(
            before.item_weights_, old, new, self.token_weight_, self.l2_, self.max_dense
        )
        learned = dict.fromkeys(("learned_indptr", "learned_indices", "learned_data"))
        popularity = popularity_of(self.interactions_)
        return state_of(weights, smoother) | learned | {"popularity_": popularity}
