"""From trained factors to every row that can be predicted, cold ones included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...kernels import sgd
from ...runtime.arrays import Floats, Rows, Singles
from ...runtime.threads import over_rows
from ..ridge import TokenRidge, apply_map
from ..selection import Correction, Said, leading
from ..user_text import UserText

_FEW = 2.0  # ratings at which half of an item's estimate still comes from its text
_LEAD = 16  # token dims that the selection correction knows
_JUDGES = 8  # leading directions of the users in which errors of item factors count


class Factors(NamedTuple):
    """Trained factors and biases of the ids with ratings."""

    pu: NDArray[Any]
    qi: NDArray[Any]
    bu: NDArray[Any]
    bi: NDArray[Any]


class ColdStart(NamedTuple):
    """Factors for every row of the entities, cold rows and the unknown one included.

    ``user_map`` and ``item_map`` turn [token, 1] into [p_u, b_u] and [q_i, b_i]; ``selection``
    are the users' corrections, linear in ``lead``, and ``correction`` what they are shrunk to.
    """

    pu: NDArray[Any]
    qi: NDArray[Any]
    bu: NDArray[Any]
    bi: NDArray[Any]
    user_map: Floats
    item_map: Floats
    text_share: NDArray[Any]
    correction: Correction
    selection: Floats
    lead: Singles
    lead_centre: Singles
    lead_scale: float

    @classmethod
    def without_tokens(cls, f: Factors) -> ColdStart:
        pu, qi, bu, bi = (np.concatenate([x, np.zeros_like(x[:1])]) for x in f)
        map_ = np.zeros((1, pu.shape[1] + 1))
        lead, centre = np.zeros((len(bi), 0), np.float32), np.zeros(0, np.float32)
        share, none, selection = np.zeros(len(bi)), Correction.none(1), np.zeros((len(bu), 1))
        return cls(pu, qi, bu, bi, map_, map_, share, none, selection, lead, centre, 0.0)

    @classmethod
    def of(
        cls,
        ratings: Ratings,
        y: Floats,
        users: EntityIndex,
        items: EntityIndex,
        f: Factors,
        ridge: TokenRidge,
        of_users: TokenRidge,
        about: UserText | None,
    ) -> ColdStart:
        """Of factors that were trained on ``y``, the ratings in their order on another scale."""
        counts = ratings.user_counts
        item_map = ridge.learn(np.column_stack([f.qi, f.bi]), _judge(f.pu, counts))
        if about is not None:
            item_map[:, : about.content.shape[1]] = about.item_map
        from_text = apply_map(item_map, items.tokens)
        kind = f.qi.dtype
        q_text, b_text = from_text[:, :-1].astype(kind), from_text[:, -1]

        said = _said(ratings, y, f, q_text[: ratings.n_items], b_text[: ratings.n_items])
        lead, lead_centre, lead_scale = leading(items, _LEAD)
        tells = item_map[:-1].any()  # else the tokens foretell no user's picks either
        correction, selection = Correction.learn(ratings, lead[: ratings.n_items] * tells, said)

        share = np.ones(items.n_rows)
        share[: ratings.n_items] = item_share(ratings.item_counts)
        qi, bi = q_text.copy(), b_text.copy()
        for rows, trained in ((qi, f.qi), (bi, f.bi)):
            blend = share[: ratings.n_items].reshape(-1, *[1] * (rows.ndim - 1))
            rows[: ratings.n_items] += (1 - blend) * (trained - rows[: ratings.n_items])

        known = np.column_stack([f.pu, f.bu])
        own = known.astype(np.float64)
        if about is not None:
            own[:, : about.taste.shape[1]] -= about.taste
        user_map = of_users.learn(own, _judge(f.qi, ratings.item_counts))
        if about is not None:
            user_map[:, : about.taste.shape[1]] += about.user_map
        rows = apply_map(user_map, users.tokens)
        rows[: ratings.n_users] = known
        return cls(
            np.ascontiguousarray(rows[:, :-1], kind), qi, rows[:, -1], bi, user_map, item_map,
            share, correction, selection, lead, lead_centre, lead_scale,
        )  # fmt: skip


def _said(
    ratings: Ratings,
    y: Floats,
    f: Factors,
    q_text: NDArray[Any],
    b_text: Floats,
) -> Callable[[Rows], Said]:
    """What the selection correction is learned from, of some ratings at a time."""
    kind, better, b_better = f.qi.dtype, np.ascontiguousarray(f.qi - q_text), f.bi - b_text

    def said(at: Rows) -> Said:
        user, item = ratings.user[at].astype(np.int64), ratings.item[at].astype(np.int64)
        learned, gap = np.zeros(len(at), kind), np.zeros(len(at), kind)

        def multiply(rows: tuple[int, int]) -> None:
            k = slice(*rows)
            sgd.pair_dots(user[k], item[k], f.pu, f.qi, learned[k])
            sgd.pair_dots(user[k], item[k], f.pu, better, gap[k])

        over_rows(len(at), multiply)
        gap = gap + b_better[item]
        return item, gap, y[at] - learned - f.bu[user] - f.bi[item] + gap

    return said


def item_share(counts: NDArray[Any]) -> Floats:
    """The share of an item's estimate that still comes from its text."""
    share: Floats = _FEW / (_FEW + counts)
    return share


def _judge(others: NDArray[Any], counts: NDArray[np.integer]) -> Floats:
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
