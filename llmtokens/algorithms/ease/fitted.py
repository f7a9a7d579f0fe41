"""A fitted EASE: its scores, its ratings, and how it learns newcomers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...errors import FileFormatError
from ...recommend.interface import FittedModel, Growth, Scores
from ...runtime.arrays import Floats, Rows, Singles, unit_rows
from ...runtime.blocks import ALONE, in_blocks, rows_alike
from ...storage.models import Array, Layout, Scalar, nested
from ...storage.triangles import lower, packed, symmetric
from ..rating_scale import mean_influence, soft_clip, user_means
from .cold_start import ColdStart, nearness
from .interactions import (
    COLD_SHARE,
    USERS,
    influence_on_row,
    interactions,
    log_popularity,
    opinions,
    popularity_of,
    rating_lines,
    spliced,
    text_scores,
    used_features,
)
from .levels import Levels
from .sequence import History, Sequence
from .solver import DenseItems, FactoredItems, Items, relearned, solve, unformed
from .text_kernel import Landmarks, TextFeatures, TextKernel
from .tuning import added_without_user, without_users
from .user_text import UserText

_JUDGES = 500  # users from whom lines are learned anew
_HALVES = ("weights.inner", "text_kernel.inner", "text_kernel.landmarks.root")
_TOGETHER = 32  # users whose scores are one product


@dataclass(frozen=True, eq=False)
class FittedEASE(FittedModel):
    """Scores ``s_u = x_u B``, and ratings from scores.

    A new or changed user is scored by ``B`` as it is. New and changed items enter ``B`` exactly,
    and with them whatever users have done since: see ``solver.relearned``. The
    attributes that :class:`LLMTokensEASE` has too are described there.

    Attributes
    ----------
    implicit : bool
        Ratings carry no opinion.
    max_dense : int
        Catalogue size up to which ``B`` is exact.
    weights : DenseItems or FactoredItems
        B; its rows of X are ``learned``.
    lowest, highest : float
        The ends of the training ratings.
    bounded : bool
        Whether these lie inside the rating scale.
    half_choice : float
        What half a choice adds to ``popularity``.
    """

    implicit: bool
    max_dense: int
    interactions: sparse.csr_array
    learned: sparse.csr_array
    weights: Items
    text_kernel: TextKernel | None
    user_text: UserText | None
    popularity: Singles
    popularity_weight: float
    half_choice: float
    l2: float
    token_weight: float
    user_mean: Floats
    lowest: float
    highest: float
    bounded: bool
    item_level: Floats
    lines: Floats
    cold_start: ColdStart
    sequence: Sequence | None

    layout: ClassVar[Layout] = {
        "implicit": Scalar(bool),
        "max_dense": Scalar(int),
        "popularity": Array(("items",)),
        "popularity_weight": Scalar(float),
        "half_choice": Scalar(float),
        "l2": Scalar(float),
        "token_weight": Scalar(float),
        "user_mean": Array(("user_rows",)),
        "lowest": Scalar(float),
        "highest": Scalar(float),
        "bounded": Scalar(bool),
        "item_level": Array(("item_rows",)),
        "lines": Array((2, 2)),
        "cold_start.from_history": Scalar(bool),
        "cold_start.power": Scalar(float),
        "cold_start.rate": Scalar(float),
        "cold_start.share": Scalar(float),
        "sequence.taste_power": Scalar(float, optional=True),
        "sequence.taste_rate": Scalar(float, optional=True),
        "sequence.next_power": Scalar(float, optional=True),
        "sequence.next_rate": Scalar(float, optional=True),
        "sequence.share": Scalar(float, optional=True),
        "weights.precision": Array(("items",)),
        "weights.weights": Array(("items", "items"), optional=True),
        "weights.factor": Array(("items", "rank"), optional=True),
        "weights.inner": Array(("half of weights.inner",), optional=True),
        "weights.own_weight": Array(("items",), optional=True),
        "text_kernel.inner": Array(("half of text_kernel.inner",), optional=True),
        "text_kernel.landmarks.tokens": Array(("landmarks", "item_dims"), optional=True),
        "text_kernel.landmarks.root": Array(("half of text_kernel.inner",), optional=True),
        "text_kernel.landmarks.scale": Scalar(float, optional=True),
        "user_text.map": Array(("user_dims + 1", "directions"), optional=True),
        "user_text.directions": Array(("directions", "items"), optional=True),
        "learned.indptr": Array(("learned_users + 1",), "int", optional=True),
        "learned.indices": Array(("learned",), "int", below="items", optional=True),
        "learned.data": Array(("learned",), optional=True),
    }

    # -- as arrays -----------------------------------------------------------------------------

    def arrays(self) -> dict[str, Any]:
        """What follows from ratings and tokens is left out, and so is the half that mirrors."""
        arrays = super().arrays()
        if self.learned is self.interactions:
            arrays |= {path: None for path in arrays if path.startswith("learned.")}
        if isinstance(self.weights, FactoredItems) and self.weights.is_of_users:
            arrays["weights.factor"] = None
        halves = {path: packed(arrays[path]) for path in _HALVES if arrays[path] is not None}
        return arrays | halves

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> Self:
        parts = nested(arrays)
        weights, text, learned, sequence, cold_start, of_users = (
            parts.pop(name)
            for name in ("weights", "text_kernel", "learned", "sequence", "cold_start", "user_text")
        )
        text_kernel = _text_kernel(items, **text) if "inner" in text else None
        rows = interactions(ratings, (parts["lowest"], parts["highest"]), parts["implicit"])
        taught = _matrix(learned, rows.shape) if learned else rows
        if "weights" not in weights:
            if "factor" in weights:
                weights["rows"] = taught[:0]
            else:
                factor: Singles | TextFeatures = used_features(None, rows.shape[1])
                if text_kernel is not None and parts["token_weight"]:
                    factor = text_kernel.leading
                weights |= {"rows": taught, "factor": factor}
            rank = weights["rows"].shape[0] + weights["factor"].shape[1]
            weights["inner"] = symmetric(weights["inner"], rank)
        return cls(
            ratings, users, items, **parts,
            interactions=rows,
            learned=taught,
            weights=(DenseItems if "weights" in weights else FactoredItems)(**weights),
            text_kernel=text_kernel,
            user_text=UserText(**of_users) if of_users else None,
            cold_start=ColdStart(**cold_start),
            sequence=Sequence(**sequence) if sequence else None,
        )  # fmt: skip

    @property
    def has_opinions(self) -> bool:
        return not self.implicit

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest training rating."""
        return self.lowest, self.highest

    @property
    def bounds(self) -> tuple[float, float]:
        """The rating scale; (-inf, inf) if training ratings lie outside it."""
        return self.ratings.scale if self.bounded else (-np.inf, np.inf)

    def without_row(self, row: int, ratings: Ratings, users: EntityIndex) -> Self:
        rows = learned = interactions(ratings, self.ends, self.implicit)
        if self.learned is not self.interactions:
            n = self.learned.shape[0]  # those who came later had no part in the weights
            learned = sparse.csr_array(self.learned[np.arange(n) != row])
        weights = self.weights
        if isinstance(weights, FactoredItems) and weights.is_of_users:
            if learned.shape[0] < weights.rows.shape[0]:  # they were part of V
                features = used_features(self.text_kernel, rows.shape[1])
                weights = solve(learned, features, self.token_weight, self.l2, self.max_dense)
                weights = unformed(weights, self.text_kernel)
            else:
                weights = replace(weights, rows=learned)
        return replace(
            self, ratings=ratings, users=users, interactions=rows, learned=learned,
            weights=weights, user_mean=np.delete(self.user_mean, row),
        )  # fmt: skip

    # -- predicting ------------------------------------------------------------------------------

    def score(self, users: Rows, items: Rows) -> Scores:
        est = np.empty(len(users))
        distinct, at = np.unique(users, return_inverse=True)
        order, cold = np.argsort(at, kind="stable"), bool(np.any(items >= self.items.n_warm))
        cuts = np.searchsorted(at[order], np.arange(0, len(distinct) + USERS, USERS))
        for k, (start, stop) in enumerate(pairwise(cuts)):
            pairs = order[start:stop]
            block = self._likings(distinct[k * USERS : (k + 1) * USERS], cold)
            est[pairs] = block[at[pairs] - k * USERS, items[pairs]]
        return self._as_ratings(users, items, est, self.user_mean[users]), {}

    def rank_scores(self, users: Rows) -> Singles:
        """Tastes, with as much of what is popular and of items without ratings as lists are best
        with; how well each item comes next, where times say more than the ratings alone do."""
        out, cold = self._tastes(users), self.cold_start
        if cold.is_usual:
            out[:, self.items.n_warm :] *= np.float32(cold.share / COLD_SHARE)
        known = users < self.users.n_warm
        if cold.is_usual and self.sequence is None:
            if self.popularity_weight:
                weighed = np.float32(self.popularity_weight) * self.popularity
                out[known, : self.items.n_warm] += weighed
        elif known.any():
            out[known] = self._next(users[known])
        return out

    def _tastes(self, users: Rows, cold: bool = True) -> Singles:
        """What ratings follow from: all that a user did counts alike; of ``cold`` items if asked.

        A list asks twice for the same few users, for its order and for its ratings: theirs are kept
        until others are asked for.
        """
        if len(users) > _TOGETHER:
            return self._fresh_tastes(users, cold)
        kept: dict[tuple[int, bool], Singles] = self.__dict__.get("_kept", {})
        asked = users.tolist()
        fresh = [u for u in dict.fromkeys(asked) if (u, cold) not in kept and (u, True) not in kept]
        if fresh:
            made = self._fresh_tastes(np.array(fresh), cold)
            known = {key: row for key, row in kept.items() if key[0] in asked}
            kept = known | {(u, cold): row for u, row in zip(fresh, made, strict=True)}
            self.__dict__["_kept"] = kept
        return np.array([kept[(u, (u, True) in kept or cold)] for u in asked], np.float32)

    def _fresh_tastes(self, users: Rows, cold: bool) -> Singles:
        out = np.zeros((len(users), self.items.n_rows), np.float32)
        places = self._places if len(users) > 1 else ALONE
        block = np.full(_TOGETHER, self.users.unknown)
        for at, some, taken in in_blocks(users, block, places):
            made = self._tastes_of_block(some, cold)
            out[at, : made.shape[1]] = made[taken]
        return out

    @cached_property
    def _places(self) -> Rows:
        """Rows of a block that are rounded as the first one is."""
        busy = int(np.argmax(np.diff(self.interactions.indptr)))
        told = np.flatnonzero(self.users.has_token[self.users.n_warm :]) + self.users.n_warm
        asked = [busy, *told[:1]] if self.user_text is not None else [busy]
        blocks = [self._tastes_of_block(np.full(_TOGETHER, user), True) for user in asked]
        return rows_alike(np.hstack(blocks))

    def _tastes_of_block(self, some: Rows, cold: bool) -> Singles:
        """Those of 32 users; of the warm items alone if ``cold`` ones are not asked for."""
        known = some < self.users.n_warm
        own = self.interactions[some[known]]
        ptr = np.zeros(_TOGETHER + 1, own.indptr.dtype)
        ptr[1:][known] = np.diff(own.indptr)
        shape = (_TOGETHER, self.items.n_warm)
        rows = sparse.csr_array((own.data, own.indices, ptr.cumsum(dtype=ptr.dtype)), shape=shape)
        warm = self.weights.scores(rows)
        warm[~known] = self.popularity
        if self.user_text is not None:
            told = ~known & self.users.has_token[some]
            tokens = np.where(told[:, None], self.users.tokens[some], 0)
            warm[told] += self.user_text.scores(tokens)[told]
        return self._with_cold_items(warm, warm, COLD_SHARE) if cold else warm

    def _next(self, users: Rows) -> Singles:
        rows, cold = self.interactions[users], self.cold_start
        warm = self.weights.scores(rows)
        if self.sequence is not None:
            warm = self.weights.scores(sparse.csr_array(rows.multiply(self._taste_recency[users])))
            if self.sequence.share:
                next_rows = self._next_recency[users]
                warm += self.sequence.following(self.weights, next_rows, self._followers)
        own = sparse.csr_array(rows.multiply(self._cold_recency[users]))
        if not cold.from_history:
            return self._with_cold_items(warm, self.weights.scores(own), cold.share)
        n_warm, texts = self.items.n_warm, self._unit_tokens
        return np.hstack(
            [warm, np.float32(cold.share) * nearness(own, texts[:n_warm], texts[n_warm:])]
        )

    @cached_property
    def _unit_tokens(self) -> Singles:
        made: Singles = unit_rows(self.items.tokens)
        return made

    @cached_property
    def _history(self) -> History:
        times = np.full(self.ratings.n, np.nan)
        if self.timestamps is not None:
            times = self.timestamps.of_ratings(self.ratings)
        return History.of(self.ratings, times)

    @cached_property
    def _taste_recency(self) -> sparse.csr_array:
        assert self.sequence is not None
        return self._history.recent(self.sequence.taste)

    @cached_property
    def _next_recency(self) -> sparse.csr_array:
        assert self.sequence is not None
        return self._history.recent(self.sequence.next)

    @cached_property
    def _followers(self) -> sparse.csr_array:
        assert self.sequence is not None
        return self._history.followers(self.sequence.next)

    @cached_property
    def _cold_recency(self) -> sparse.csr_array:
        return self._history.recent(self.cold_start.recency)

    def _with_cold_items(self, warm: Singles, told: Singles, share: float) -> Singles:
        """Scores (n, n_items) of warm items, and of the others by text from what ``told`` holds."""
        out = np.empty((len(warm), self.items.n_rows), np.float32)
        out[:, : self.items.n_warm] = warm
        cold = slice(self.items.n_warm, None)
        out[:, self.items.n_warm :] = text_scores(told, self.text_kernel, cold, share)
        return out

    def _likings(self, users: Rows, cold: bool = True) -> Singles:
        """What lines lead from to ratings: tastes, of known users as if weights had never seen
        them, and of the others the logarithm of what is popular."""
        tastes = self._tastes(users, cold)
        if self.implicit:
            return tastes
        known, n = users < self.users.n_warm, self.items.n_warm
        tastes[~known] = log_popularity(tastes[~known], self.half_choice)
        if known.any():
            own = tastes[known, :n]
            tastes[known, :n] = without_users(self.weights, *self._seen(users[known], own))
        return tastes

    def _seen(self, users: Rows, scores: Singles) -> tuple[Singles, Singles, Singles, Singles]:
        """Of users with ratings: scores and rows of X, and those that weights have seen of them."""
        rows = self.interactions[users].toarray()
        if self.learned is self.interactions:
            return scores, rows, scores, rows
        learned, of_learned = np.zeros_like(rows), np.zeros_like(scores)
        for k in np.flatnonzero(users < self.learned.shape[0]):
            row = self.learned[users[k : k + 1]]
            learned[k] = row.toarray()[0]
            same = np.array_equal(learned[k], rows[k])
            of_learned[k] = scores[k] if same else self.weights.scores(row)[0]
        return scores, rows, of_learned, learned

    def _as_ratings(self, users: Rows, items: Rows, scores: Floats, means: Floats) -> Floats:
        if self.implicit:
            low, high = self.ratings.scale
            return soft_clip(low + (high - low) * scores, low, high)
        slope, offset = self.lines[(users >= self.users.n_warm).astype(int)].T
        est = means + self.item_level[items] + slope * scores + offset
        return soft_clip(est, *self.bounds)

    def terms(self, user: int, item: int) -> dict[str, float]:
        """Those of the line; what bends it near the ends of the scale is not among them."""
        score = float(self._likings(np.array([user]))[0, item])
        known = user < self.users.n_warm
        name = "choices" if known else "popularity"
        if self.implicit:
            low, high = self.ratings.scale
            return {"lowest rating": low, name: (high - low) * score}
        mean, (slope, offset) = self.ratings.global_mean, self.lines[int(not known)]
        return {
            "mean": mean,
            "user bias": float(self.user_mean[user]) - mean,
            "item bias": float(self.item_level[item]),
            name: float(slope * score + offset),
        }

    def influence(self, user: int, item: int) -> Floats:
        """On the score, which is linear in the user's row, and on the user's mean."""
        items, values, weights = self.ratings.of_user(user)
        given = influence_on_row(items, weights * opinions(values, self.ends, self.implicit))
        on_score = given * self._per_choice(user, item)[items]
        score, mean = self._likings(np.array([user]))[0, item], self.user_mean[user]
        scores = score - np.append(0, on_score)
        means = mean - np.append(0, mean_influence(mean, values, weights))
        pairs = np.full(len(scores), user), np.full(len(scores), item)
        est = self._as_ratings(*pairs, scores, means)
        return est[0] - est[1:]

    def _per_choice(self, user: int, item: int) -> Singles:
        """What a choice of each warm item adds to the user's score of one, shape (n_items,)."""
        n = self.items.n_warm
        counts = np.zeros(n, np.float32)  # of the scores of warm items
        if item < n:
            counts[item] = 1
        elif self.text_kernel is None:
            counts[:] = COLD_SHARE / n
        else:
            counts = COLD_SHARE * self.text_kernel.mean_of(item)
        added = self.weights.per_choice(counts)
        if self.implicit or item >= n:
            return added
        seen = self._seen(np.array([user]), self._tastes(np.array([user]))[:, :n])
        return added_without_user(self.weights, added, item, *(each[0] for each in seen[2:]))

    # -- learning newcomers ----------------------------------------------------------------------

    def relearned(self, growth: Growth) -> Self:
        """All that is new at once."""
        ratings, users = growth.ratings, np.array(growth.learn_users, np.int64)
        users = users[users < ratings.n_users]  # the others are known by their tokens
        mean = self.user_mean if growth.user_source is None else self.user_mean[growth.user_source]
        mean = mean.copy()
        mean[users] = user_means(ratings)[users]
        model = replace(
            self, ratings=ratings, users=growth.users, items=growth.items, user_mean=mean,
            timestamps=growth.timestamps,
        )  # fmt: skip
        if not (growth.new_items or growth.learn_items):
            rows = spliced(self.interactions, ratings, users, self.ends, self.implicit)
            return replace(model, interactions=rows)
        rows = interactions(ratings, self.ends, self.implicit)
        levels = Levels.learn(ratings, mean, growth.items)
        model = replace(model, item_level=levels.of_items)
        if self.user_text is not None:
            model = replace(model, user_text=self.user_text.with_items(rows.shape[1]))
        text_kernel = self._new_text_kernel(growth)
        if all(row >= growth.items.n_warm for row in [*growth.new_items, *growth.learn_items]):
            learned = rows if self.learned is self.interactions else self.learned
            return replace(model, interactions=rows, learned=learned, text_kernel=text_kernel)
        old, new = (
            (x, used_features(text, x.shape[1]))
            for x, text in ((self.learned, self.text_kernel), (rows, text_kernel))
        )
        weights = relearned(self.weights, old, new, self.token_weight, self.l2, self.max_dense)
        popularity = popularity_of(rows)
        some = np.unique(np.linspace(0, ratings.n_users - 1, _JUDGES).astype(np.int64))
        judged = ratings.only(some), mean[some], rows[some]
        half = 0.5 / ratings.n_users
        lines = rating_lines(*judged, weights, popularity, half, levels)
        return replace(
            model, interactions=rows, learned=rows, weights=unformed(weights, text_kernel),
            text_kernel=text_kernel, popularity=popularity, half_choice=half, lines=lines,
        )  # fmt: skip

    def _new_text_kernel(self, growth: Growth) -> TextKernel | None:
        if self.text_kernel is None:
            return None
        features, source = self.text_kernel.features, growth.item_source
        told = growth.learn_items if growth.items.table is not self.items.table else []
        if source is not None or told:
            source = np.arange(len(features)) if source is None else source
            features = features.grown(growth.items, source, told)
        return self.text_kernel.relearned(features, growth.items.n_warm)


def _text_kernel(items: EntityIndex, inner: Singles, landmarks: Mapping[str, Any]) -> TextKernel:
    m = len(landmarks["tokens"])
    known = Landmarks(**{**landmarks, "root": lower(landmarks["root"], m)})
    if not known.is_sound:
        raise FileFormatError("'text_kernel.landmarks.root' is not the root of a kernel")
    features = TextFeatures.unmade(known, items.tokens, items.has_token)
    return TextKernel(features, features.of(slice(items.n_warm)), symmetric(inner, m))


def _matrix(parts: Mapping[str, Any], shape: tuple[int, int]) -> sparse.csr_array:
    """X as it was when B was learned; a file may lie."""
    ptr, indices, data = (parts[name] for name in ("indptr", "indices", "data"))
    n_users = len(ptr) - 1
    if n_users > shape[0] or ptr[0] != 0 or ptr[-1] != len(data) or np.any(np.diff(ptr) < 0):
        raise FileFormatError("'learned.indptr' does not divide the ratings among the users")
    return sparse.csr_array((data, indices, ptr), shape=(n_users, shape[1]))
