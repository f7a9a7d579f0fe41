"""One side given the other in every sample: newcomers, and what a rating does to a prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import TokenAlgoBase
from .conditional import antithetic, conditional, influence
from .features import TextFeatures
from .newcomers import EVEN_ODDS
from .posterior import products
from .shard import damped

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Evidence = tuple[Floats, Floats, Floats]


class GivenRatings(TokenAlgoBase):
    """In each sample a row is Gaussian given the other side.

    A new user's ``[a_u, p_u, b_u]`` is drawn from that conditional; of a new item's ``[q_i, b_i]``
    its mean is kept. Influences are on its mean, in closed form.
    """

    _parts: dict[str, Any]

    def _prior(self, side: str, rows: Rows) -> Floats:
        """What every sample says of rows without ratings, shape (samples, n, width)."""
        f = self._parts
        roster = self.users_ if side == "user" else self.items_
        tokens, map_ = roster.tokens[rows], f[f"{side}_map"].astype(np.float64)
        if side == "item":
            features = TextFeatures(f["centre"], f["unit"], f["middle"], f["scale"])(tokens)
        else:
            features = (tokens - f["user_centre"]) * f["user_scale"]
        made: Floats = features @ map_[:, :-1] + map_[:, -1:]
        stranger = f[f"{side}s"][roster.stranger][:, None, : map_.shape[2]]
        return np.where(roster.has_token[rows][:, None], made, stranger)

    def _user_evidence(self, row: int, items: Rows, values: Floats, weights: Floats) -> Evidence:
        """What a user's ratings say in every sample: design, what is open, and precisions."""
        f = self._parts
        n, c = f["users"].shape[1], f["lead"].shape[1]
        q = f["items"][items].astype(np.float64).transpose(1, 0, 2)
        x = np.broadcast_to(f["lead"][items], (n, len(items), c))
        design = np.concatenate([x, q[:, :, :-2], np.ones((n, len(items), 1))], axis=2)
        start = f["users"][self.users_.stranger][:, -1].astype(np.float64)
        open_ = (values - f["mean"]) / f["std"] - q[:, :, -2] - q[:, :, -1] * start[:, None]
        precision = weights / (f["user_open"][row, 0] * f["item_open"][items, 0])
        return design, open_, precision

    def _influence(self, user: int, item: int) -> Floats:
        """On the mean of the user's conditional given the items, as in fold-in."""
        f, prior = self._parts, self._prior("user", np.array([user]))[:, 0]
        n = len(prior)
        of_item = f["items"][item].astype(np.float64)
        lead = np.broadcast_to(f["lead"][item].astype(np.float64), (n, f["lead"].shape[1]))
        query = np.hstack([lead, of_item[:, :-2], np.ones((n, 1))])
        evidence = self._user_evidence(user, *self.ratings_.of_user(user))
        out: Floats = f["std"] * influence(*evidence, prior, f["user_spread"], query).mean(axis=0)
        return out

    def _fold_in_user(
        self, row: int, items: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        f, prior = self._parts, self._prior("user", np.array([row]))[:, 0]
        n, c = len(prior), f["lead"].shape[1]
        design, open_, precision = self._user_evidence(row, items, values, weights)
        q = f["items"][items].astype(np.float64).transpose(1, 0, 2)
        start = f["users"][self.users_.stranger][:, -1].astype(np.float64)
        drawn, _ = conditional(
            design, open_, precision, prior, f["user_spread"], antithetic(*prior.shape)
        )
        taste = np.column_stack([drawn[:, c:-1], np.ones(n)])
        delta = start
        if f["users"][:, :, -1].any():
            text = self._prior("item", items)
            gap = np.einsum("snk,sk->sn", q[:, :, :-1] - text, taste)
            delta = damped(gap @ weights, weights.sum(), start)
        opened = f["user_open"][row].copy()
        opened[1:-2] = products(taste, True).mean(axis=0)
        opened[-2] = np.mean(np.sum((taste[:, None] @ f["item_spread"])[:, 0] * taste, axis=1))
        opened[-1] = 0
        return {"users": np.column_stack([drawn, delta]), "user_open": opened}

    def _fold_in_item(
        self, row: int, users: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        f, prior = self._parts, self._prior("item", np.array([row]))[:, 0]
        n, c = len(prior), f["lead"].shape[1]
        lead = f["lead"][row]
        if self.items_.has_token[row] and c:
            lead = (self.items_.tokens[row, :c] - f["centre"][:c]) * f["lead_scale"]
        v = f["users"][users].astype(np.float64).transpose(1, 0, 2)
        design = np.concatenate([v[:, :, c:-2], np.ones((n, len(users), 1))], axis=2)
        open_ = (values - f["mean"]) / f["std"] - v[:, :, :c] @ lead - v[:, :, -2]
        precision = weights / (f["item_open"][row, 0] * f["user_open"][users, 0])
        mean, spread = conditional(design, open_, precision, prior, f["item_spread"], None)
        opened, warm = f["item_open"][row].copy(), len(users) > 0
        share = np.ones(n)
        if warm:
            share = EVEN_ODDS / (1 + f["item_spread"][:, -1, -1] * precision.sum())
            opened[1:-2] = spread.mean(axis=0)[np.triu_indices(spread.shape[1])]
            opened[-2] = 0
        if not f["users"][:, :, -1].any():
            share = np.zeros(n)
        return {"items": np.column_stack([mean, share]), "item_open": opened, "lead": lead}
