"""From trained factors to every row that can be predicted, cold ones included."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import sgd
from ...roster import Roster
from ...trainset import Ratings
from ..ridge import TokenRidge, apply_map

_FEW = 2.0  # ratings at which half of an item's estimate still comes from its text
_DAMP_PICKS = 10.0
_JUDGES = 8  # leading directions of the users in which errors of item factors count


class Factors(NamedTuple):
    """Trained factors and biases of the ids with ratings."""

    pu: NDArray[Any]
    qi: NDArray[Any]
    bu: NDArray[Any]
    bi: NDArray[Any]


class Sides(NamedTuple):
    """Factors for every row of the rosters, cold rows and the stranger included.

    ``user_map`` and ``item_map`` turn [token, 1] into [p_u, b_u, delta_u] and [q_i, b_i].
    """

    pu: NDArray[Any]
    qi: NDArray[Any]
    bu: NDArray[Any]
    bi: NDArray[Any]
    picks: NDArray[Any]
    text_share: NDArray[Any]
    user_map: NDArray[np.float64]
    item_map: NDArray[np.float64]

    @classmethod
    def without_tokens(cls, f: Factors) -> Sides:
        pu, qi, bu, bi = (np.concatenate([x, np.zeros_like(x[:1])]) for x in f)
        maps = [np.zeros((1, pu.shape[1] + extra)) for extra in (2, 1)]
        return cls(pu, qi, bu, bi, np.zeros(len(bu)), np.zeros(len(bi)), *maps)

    @classmethod
    def of(
        cls, ratings: Ratings, users: Roster, items: Roster, f: Factors, ridge: TokenRidge
    ) -> Sides:
        counts = ratings.user_counts
        item_map = ridge.learn(np.column_stack([f.qi, f.bi]), _judge(f.pu, counts))
        from_text = apply_map(item_map, items.tokens)
        kind = f.qi.dtype
        q_text, b_text = from_text[:, :-1].astype(kind), from_text[:, -1]

        # by how much a user's picks are better than their text says
        gap = np.zeros(ratings.n, kind)
        lead = np.ascontiguousarray(f.qi - q_text[: ratings.n_items])
        sgd.pair_dots_fast(
            ratings.user.astype(np.int64), ratings.item.astype(np.int64), f.pu, lead, gap
        )
        gap = gap + (f.bi - b_text[: ratings.n_items])[ratings.item]
        sums = np.bincount(ratings.user, gap, minlength=ratings.n_users)
        picks = damped_picks(sums, counts, gap.mean())

        share = np.ones(items.n_rows)
        share[: ratings.n_items] = item_share(ratings.item_counts)
        qi, bi = q_text.copy(), b_text.copy()
        for rows, learned in ((qi, f.qi), (bi, f.bi)):
            blend = share[: ratings.n_items].reshape(-1, *[1] * (rows.ndim - 1))
            rows[: ratings.n_items] += (1 - blend) * (learned - rows[: ratings.n_items])

        known = np.column_stack([f.pu, f.bu, picks])
        judge = np.vstack([_judge(f.qi, ratings.item_counts), np.zeros((1, _JUDGES))])
        user_map = TokenRidge(users.tokens, counts).learn(known, judge)
        rows = apply_map(user_map, users.tokens)
        rows[: ratings.n_users] = known
        return cls(
            np.ascontiguousarray(rows[:, :-2], kind), qi, rows[:, -2], bi, rows[:, -1], share,
            user_map, item_map,
        )  # fmt: skip


def item_share(counts: NDArray[Any]) -> NDArray[np.float64]:
    """The share of an item's estimate that still comes from its text."""
    share: NDArray[np.float64] = _FEW / (_FEW + counts)
    return share


def damped_picks(sums: Any, counts: Any, mean: float) -> Any:
    """By how much a user's picks are better than their text says, shrunk to the mean of all."""
    return (sums + _DAMP_PICKS * mean) / (counts + _DAMP_PICKS)


def _judge(others: NDArray[Any], counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Turns errors of [factors, bias] into errors of ratings, as the other side weighs them.

    Columns are the leading directions of the second moment of [other side's factors, 1] over the
    ratings, each times its root mean square, shape (n_factors + 1, _JUDGES).
    """
    weights = np.column_stack([others, np.ones(len(others))]).astype(np.float64)
    moment = (weights * counts[:, None]).T @ weights / counts.sum()
    values, axes = np.linalg.eigh(moment)
    judge = np.zeros((len(values), _JUDGES))
    judge[:, -len(values) :] = (axes * np.sqrt(np.maximum(values, 0)))[:, -_JUDGES:]
    return judge
