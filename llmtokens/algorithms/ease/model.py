"""LLMTokensEASE: ranking in closed form, with the text of items."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...errors import DataError
from ...layout import Array, Layout, Scalar
from ...roster import Roster
from ...tokens import LLMTokens
from ...trainset import Ratings
from ..base import Scores, TokenAlgoBase
from ..levels import bend, bounds, line, user_means
from .gram import DenseItems, FactoredItems, Items, solve
from .heldout import choose, left_out_scores
from .smoother import TextSmoother

Floats = NDArray[np.float32]

_USERS = 256  # rows of scores made at once
_FLOOR = 0.05  # what the lowest rating says: it was chosen, and disliked
_COLD = 0.3  # items nobody has rated yet are mostly not the ones that many will like
_FEATURES = 1000  # kernel features that take part in the Gram matrix


class LLMTokensEASE(TokenAlgoBase):
    r"""Embarrassingly shallow autoencoder (Steck 2019) whose items know their text.

    A user's row ``x_u`` holds ``.05 + .95 (r - low) / (high - low)`` for what they rated (``low``
    and ``high``: the lowest and highest training rating), 1 with ``implicit=True``, 0 elsewhere.
    Scores are ``s_u = x_u B``, with

    .. math:: \min_B |X - XB|^2 + a |T' - T'B|^2 + l |B|^2, \quad diag(B) = 0:
        \quad P = (X'X + a T T' + l I)^{-1}, \quad B = I - P / diag(P)

    ``T`` are kernel features of the tokens (near texts have large inner products, see
    :class:`~llmtokens.algorithms.ease.smoother.TextSmoother`): each is one more user, who "likes" a
    neighbourhood of texts. Items without ratings are scored by a regression from text to the user's
    scores of the others, and count for 0.3 of that: among themselves their order is the text's, and
    beside rated items they wait for their first ratings.

    ``l`` and ``a`` are chosen on the training ratings by exact leave-one-out (the user left out of
    ``B``, the rating out of ``x_u``): the discounted gain of what was rated among all that was not.
    Text that does not help gets ``a = 0``. There is no randomness.

    ``predict`` and ``test`` give ratings: ``user mean + slope (score - centre)``, from a regression
    on left-out scores (cold items and unknown users have lines of their own), bent near the ends of
    the scale so that the order of a user's scores survives there. With ``implicit=True`` the score
    itself is brought to the scale. Whoever is unknown gets the most popular first.

    Parameters
    ----------
    item_tokens : LLMTokens, optional
    l2 : float, optional
        ``l``; None: chosen in ``fit``.
    token_weight : float, optional
        ``a``; None: chosen in ``fit``.
    implicit : bool, default=False
        Ratings carry no opinion: all count as 1.
    max_dense : int, default=10_000
        Catalogue size up to which ``B`` is exact whatever the number of users: 4 bytes x n_items^2.
        A larger one is exact while n_users (+ 1,000 with text) is at most 3,072 and less than half
        the items, and otherwise keeps 1,024 directions and a diagonal.

    Attributes
    ----------
    interactions_ : scipy.sparse.csr_array of float32, shape (n_users, n_items)
        X.
    item_weights_ : DenseItems or FactoredItems
        B.
    smoother_ : TextSmoother or None
        The regression for cold items.
    popularity_ : ndarray of float32, shape (n_items,)
        Mean row of X.
    l2_, token_weight_ : float
    user_mean_ : ndarray of float64, shape (n_users + 1,)
        Mean rating of each user, shrunk to that of all; last, the stranger.
    bounds_ : tuple of float
        The rating scale; (-inf, inf) if training ratings lie outside it.
    lines_ : ndarray of float64, shape (2, 2, 2)
        Slope and centre that lead from scores to ratings, by (unknown user, cold item).

    References
    ----------
    H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.

    Examples
    --------
    >>> import pandas as pd
    >>> from surprise import Dataset, Reader
    >>> from llmtokens.algorithms.ease import LLMTokensEASE
    >>> seen = [(u, i, 5) for u in "abc" for i in "xy"] + [(u, i, 5) for u in "def" for i in "vw"]
    >>> frame = pd.DataFrame([*seen, ("g", "x", 5), ("g", "v", 1)])
    >>> trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    >>> algo = LLMTokensEASE(l2=1.0).fit(trainset)
    >>> algo.predict("g", "y").est > algo.predict("g", "w").est
    True
    """

    _layout: ClassVar[Layout] = {
        "popularity_": Array(("items",)),
        "l2_": Scalar(float),
        "token_weight_": Scalar(float),
        "user_mean_": Array(("user_rows",)),
        "bounded": Scalar(bool),
        "lines_": Array((2, 2, 2)),
        "weights_precision": Array(("items",)),
        "weights_weights": Array(("items", "items"), optional=True),
        "weights_left": Array(("items", "rank"), optional=True),
        "weights_right": Array(("items", "rank"), optional=True),
        "weights_own_weight": Array(("items",), optional=True),
        "text_features": Array(("item_rows", "landmarks"), optional=True),
        "text_mixing": Array(("items", "landmarks"), optional=True),
    }

    def __init__(
        self,
        item_tokens: LLMTokens | None = None,
        l2: float | None = None,
        token_weight: float | None = None,
        implicit: bool = False,
        max_dense: int = 10_000,
    ) -> None:
        super().__init__(item_tokens=item_tokens)
        self.l2 = l2
        self.token_weight = token_weight
        self.implicit = implicit
        self.max_dense = max_dense

    def _learn(self, ratings: Ratings, users: Roster, items: Roster) -> dict[str, Any]:
        self._check_parameters()
        rows = _interactions(ratings, self.implicit)
        smoother = None
        features = np.zeros((ratings.n_items, 0), np.float32)
        if items.tokens.shape[1]:
            smoother = TextSmoother.learn(items, ratings.item_counts)
            features = smoother.features[: ratings.n_items, :_FEATURES]
        l2, weight = choose(rows, features, self.l2, self.token_weight, self.max_dense)
        weights = solve(rows, features, weight, l2, self.max_dense)
        means = np.append(user_means(ratings), ratings.global_mean)
        popularity = (rows.sum(axis=0) / ratings.n_users).astype(np.float32)
        return {
            "interactions_": rows,
            "item_weights_": weights,
            "smoother_": smoother,
            "popularity_": popularity,
            "l2_": l2,
            "token_weight_": weight,
            "user_mean_": means,
            "bounds_": bounds(ratings),
            "lines_": _rating_lines(ratings, means, rows, weights, popularity, smoother),
        }

    def _check_parameters(self) -> None:
        if self.l2 is not None and not 0 < self.l2 < np.inf:
            raise DataError(
                f"found l2={self.l2!r}; expected a number above 0, or None to choose it"
            )
        if self.token_weight is not None and not 0 <= self.token_weight < np.inf:
            raise DataError(
                f"found token_weight={self.token_weight!r}; expected a number from 0 up, or None "
                "to choose it"
            )
        if self.max_dense < 1:
            raise DataError(f"found max_dense={self.max_dense!r}; expected at least 1")

    def _state(self) -> dict[str, Any]:
        weights: Any = self.item_weights_
        parts = {f"weights_{k}": v for k, v in vars(weights).items()}
        if self.smoother_ is not None:
            parts |= {f"text_{k}": v for k, v in vars(self.smoother_).items()}
        names = ("popularity_", "l2_", "token_weight_", "user_mean_", "lines_")
        own = {name: getattr(self, name) for name in names}
        bounded = {"bounded": bool(np.isfinite(self.bounds_[0]))}
        return dict.fromkeys(self._layout) | own | parts | bounded

    def _restore(
        self, state: dict[str, Any], ratings: Ratings, users: Roster, items: Roster
    ) -> dict[str, Any]:
        out = {k: v for k, v in state.items() if k.endswith("_")}
        parts = [
            {k.removeprefix(prefix): v for k, v in state.items()
             if k.startswith(prefix) and v is not None}
            for prefix in ("weights_", "text_")
        ]  # fmt: skip
        dense = "weights" in parts[0]
        return out | {
            "bounds_": ratings.scale if state["bounded"] else (-np.inf, np.inf),
            "interactions_": _interactions(ratings, self.implicit),
            "item_weights_": (DenseItems if dense else FactoredItems)(**parts[0]),
            "smoother_": TextSmoother(**parts[1]) if parts[1] else None,
        }

    def _fold_in_user(
        self, row: int, items: NDArray[np.int64], values: Any, weights: Any
    ) -> dict[str, Any]:
        return {"user_mean_": user_means(self.ratings_)[row]}

    def _influence(self, user: int, item: int) -> NDArray[np.float64]:
        """Of the score, which is linear in the ratings, times the slope of the rating line."""
        items, _, _ = self.ratings_.of_user(user)
        given = self.interactions_[[user]].toarray()[0][items]
        out = np.empty(len(items))
        for start in range(0, len(items), _USERS):
            at = slice(start, start + _USERS)
            n = len(items[at])
            ones = sparse.csr_array(
                (given[at], (np.arange(n), items[at])), shape=(n, self.items_.n_warm)
            )
            out[at] = self._with_cold_items(self.item_weights_.scores(ones))[:, item]
        low, high = self.ratings_.scale
        cold = int(item >= self.items_.n_warm)
        return out * (high - low if self.implicit else self.lines_[0, cold, 0])

    def _score(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Scores:
        est = np.empty(len(users))
        distinct, at = np.unique(users, return_inverse=True)
        order = np.argsort(at, kind="stable")
        cuts = np.searchsorted(at[order], np.arange(0, len(distinct) + _USERS, _USERS))
        for k, (start, stop) in enumerate(pairwise(cuts)):
            pairs = order[start:stop]
            block = self._rank_scores(distinct[k * _USERS : (k + 1) * _USERS])
            est[pairs] = block[at[pairs] - k * _USERS, items[pairs]]
        return self._as_ratings(users, items, est), {}

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
        out[:, self.items_.n_warm :] = _text_scores(
            warm, self.smoother_, slice(self.items_.n_warm, None)
        )
        return out

    def _as_ratings(
        self, users: NDArray[np.int64], items: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        low, high = self.ratings_.scale
        if self.implicit:
            return bend(low + (high - low) * scores, low, high)
        low, high = self.bounds_
        unknown, cold = users >= self.users_.n_warm, items >= self.items_.n_warm
        slope, centre = self.lines_[unknown.astype(int), cold.astype(int)].T
        return bend(self.user_mean_[users] + slope * (scores - centre), low, high)


def _interactions(ratings: Ratings, implicit: bool) -> sparse.csr_array:
    """X; several ratings of one item by one user are averaged."""
    low, high = ratings.value.min(), ratings.value.max()
    if implicit or low == high:
        values = np.ones(ratings.n)
    else:
        values = _FLOOR + (1 - _FLOOR) * (ratings.value - low) / (high - low)
    if ratings.weight is not None:
        values = values * ratings.weight
    shape = (ratings.n_users, ratings.n_items)
    rows, counts = (
        sparse.csr_array((data, (ratings.user, ratings.item)), shape=shape)
        for data in (values, np.ones(ratings.n))
    )
    rows.data /= counts.data
    return rows.astype(np.float32)


def _text_scores(warm: Floats, smoother: TextSmoother | None, rows: slice) -> Floats:
    """What the text says of item rows, from the scores of warm items, at a cold item's weight."""
    if smoother is None:
        return _COLD * warm.mean(axis=1, keepdims=True)
    return _COLD * smoother.smooth(warm, rows)


def _rating_lines(
    ratings: Ratings,
    means: NDArray[np.float64],
    rows: sparse.csr_array,
    items: Items,
    popularity: Floats,
    smoother: TextSmoother | None,
) -> NDArray[np.float64]:
    """Slopes and centres of ``rating - mean`` on scores, by (unknown user, cold item)."""
    warm = slice(0, ratings.n_items)
    scores = np.empty((2, 2, ratings.n))
    scores[1, 0] = popularity[ratings.item]
    text = np.broadcast_to(_text_scores(popularity[None], smoother, warm), (1, ratings.n_items))
    scores[1, 1] = text[0, ratings.item]
    for start in range(0, ratings.n_users, _USERS):
        stop = min(start + _USERS, ratings.n_users)
        mine = slice(ratings.user_ptr[start], ratings.user_ptr[stop])
        at = ratings.user[mine] - start, ratings.item[mine]
        block = left_out_scores(items, rows[start:stop])
        scores[0, 0, mine] = block[at]
        scores[0, 1, mine] = np.broadcast_to(_text_scores(block, smoother, warm), block.shape)[at]
    known = ratings.value - means[ratings.user]
    return np.array(
        [
            [line(of_kind, residual) for of_kind in by_user]
            for by_user, residual in zip(
                scores, (known, ratings.value - ratings.global_mean), strict=True
            )
        ]
    )
