"""One side given the other in every sample: newcomers, and what a rating does to a prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import selection as picks
from ..base import TokenAlgoBase
from .cold_start import EVEN_ODDS
from .conditional import antithetic, conditional, influence
from .correction import prior_rows
from .posterior import products

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
        entities = self.users_ if side == "user" else self.items_
        return prior_rows(self._parts, side, entities, rows)

    def _user_evidence(self, row: int, items: Rows, values: Floats, weights: Floats) -> Evidence:
        """What a user's ratings say in every sample: design, what is open, and precisions."""
        f = self._parts
        n, c = f["users"].shape[1], f["lead"].shape[1]
        q = f["items"][items].astype(np.float64).transpose(1, 0, 2)
        x = np.broadcast_to(f["lead"][items], (n, len(items), c))
        design = np.concatenate([x, q[:, :, :-1], np.ones((n, len(items), 1))], axis=2)
        usual = picks.corrections(f, np.full(len(items), self.users_.unknown), items)
        open_ = (values - f["mean"]) / f["std"] - q[:, :, -1] - usual
        precision = weights / (f["user_open"][row, 0] * f["item_open"][items, 0])
        return design, open_, precision

    def _influence(self, user: int, item: int) -> Floats:
        """On the mean of the user's conditional given the items, as in fold-in."""
        f, prior = self._parts, self._prior("user", np.array([user]))[:, 0]
        n = len(prior)
        of_item = f["items"][item].astype(np.float64)
        lead = np.broadcast_to(f["lead"][item].astype(np.float64), (n, f["lead"].shape[1]))
        query = np.hstack([lead, of_item[:, :-1], np.ones((n, 1))])
        evidence = self._user_evidence(user, *self.ratings_.of_user(user))
        out: Floats = f["std"] * influence(*evidence, prior, f["user_spread"], query).mean(axis=0)
        return out

    def _fold_in_user(
        self, row: int, items: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        f, prior = self._parts, self._prior("user", np.array([row]))[:, 0]
        n, c = len(prior), f["lead"].shape[1]
        design, open_, precision = self._user_evidence(row, items, values, weights)
        drawn, _ = conditional(
            design, open_, precision, prior, f["user_spread"], antithetic(*prior.shape)
        )
        taste = np.column_stack([drawn[:, c:-1], np.ones(n)])
        learned = np.einsum("snk,sk->sn", design, drawn).mean(axis=0)
        q = f["items"][items].astype(np.float64).transpose(1, 0, 2)
        gap = np.einsum("snk,sk->sn", q - self._prior("item", items), taste).mean(axis=0)
        rest = (values - f["mean"]) / f["std"] - learned - q[:, :, -1].mean(axis=0) + gap
        opened = f["user_open"][row].copy()
        opened[1:-2] = products(taste, True).mean(axis=0)
        opened[-2] = np.mean(np.sum((taste[:, None] @ f["item_spread"])[:, 0] * taste, axis=1))
        opened[-1] = 0
        own = picks.Correction.of_entries(f).row(f["lead"][items], gap, rest, weights)
        return {"users": drawn, "user_open": opened, "picks": own}

    def _fold_in_item(
        self, row: int, users: Rows, values: Floats, weights: Floats
    ) -> dict[str, Any]:
        f, prior = self._parts, self._prior("item", np.array([row]))[:, 0]
        n, c = len(prior), f["lead"].shape[1]
        lead = f["lead"][row]
        if self.items_.has_token[row] and c:
            lead = (self.items_.tokens[row, :c] - f["centre"][:c]) * f["lead_scale"]
        v = f["users"][users].astype(np.float64).transpose(1, 0, 2)
        design = np.concatenate([v[:, :, c:-1], np.ones((n, len(users), 1))], axis=2)
        open_ = (values - f["mean"]) / f["std"] - v[:, :, :c] @ lead - v[:, :, -1]
        precision = weights / (f["item_open"][row, 0] * f["user_open"][users, 0])
        mean, spread = conditional(design, open_, precision, prior, f["item_spread"], None)
        opened, warm = f["item_open"][row].copy(), len(users) > 0
        share = 1.0
        if warm:
            known = 1 + f["item_spread"][:, -1, -1] * precision.sum()
            share = float(np.mean(EVEN_ODDS / known))
            opened[1:-2] = spread.mean(axis=0)[np.triu_indices(spread.shape[1])]
            opened[-2] = 0
        if not f["text_share"].any():
            share = 0.0
        return {"items": mean, "text_share": share, "item_open": opened, "lead": lead}
