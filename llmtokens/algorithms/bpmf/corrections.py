"""What is to be added to the estimates of the samples: for users' picks, and for newcomers.

Learned from all ratings, wherever these are: see :mod:`llmtokens.algorithms.selection` and
:mod:`llmtokens.algorithms.newcomers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...runtime.arrays import Floats, Rows
from .. import newcomers
from ..drift import DriftScale
from ..ridge import TokenRidge
from ..selection import Correction, judging
from .conditional import pair_moments
from .features import Known
from .messages import SaidOfItems, UserRows
from .sampler import Sampler
from .shards import Shard, Team

_BLOCK = 2000  # items at a time


def corrections(
    team: Team, chain: Sampler, known: Known, parts: Mapping[str, Any], cold: UserRows, std: float
) -> dict[str, Any]:
    """The parts of a fitted model that are not of its samples.

    Parameters
    ----------
    team : Team
        Which has handed the samples over.
    chain : Sampler
        At its end; with features there is something to correct.
    parts : mapping
        What the samples have left.
    cold : UserRows
        Of users without ratings; their corrections are put there, as those of others are.
    """
    n_items, n_users = chain.size.n_items, chain.size.n_users
    correction = Correction.none(chain.size.n_content + 1)
    learned = np.zeros(2)
    sums = team.total(Shard.item_sums)
    text_share, counts = parts["text_share"], chain.item_counts
    if text_share.any():
        tells = _text_tells(known, sums.better / counts, counts)
        said = _said(known, parts, n_items, std)
        lead = known.lead[:n_items] * tells
        centre = counts @ lead.astype(np.float64) / chain.size.n_ratings
        judged = team.total(Shard.judge, judging(n_users), said, lead, centre)
        correction = Correction.judged(judged, centre)
        team.total(Shard.select, said, lead, correction)
        cold.selection[:, -1] = correction.usual
    if chain.has_features:
        usual = _of_unknown(parts, cold, n_items) + text_share[:n_items] * correction.usual

        def squares(by: Floats, less: Floats) -> float:
            return team.total(Shard.newcomer_squares, by, less)

        learned = newcomers.learn_from_sums(counts, sums.deviation, std * usual, squares) / std
    return {"correction": correction, "newcomers": learned}


def _text_tells(known: Known, better: Floats, counts: Rows) -> bool:
    """Whether tokens foretell how items are rated; else they foretell no user's picks either."""
    return bool(TokenRidge(known.item_tokens, counts).learn(better[:, None])[:-1].any())


def _said(known: Known, parts: Mapping[str, Any], n_items: int, std: float) -> SaidOfItems:
    samples, map_ = parts["item_samples"], parts["item_map"].astype(np.float64)
    from_text = np.empty_like(samples[:n_items])
    for k in range(0, n_items, _BLOCK):
        at = slice(k, min(k + _BLOCK, n_items))
        told = known.text[at] @ map_[:, :-1] + map_[:, -1:]
        unknown = samples[-1][:, None]
        from_text[at] = np.where(known.has_text[at, None], told, unknown).transpose(1, 0, 2)
    scale = DriftScale(parts["drift_variance"], parts["drift_tau"])
    return SaidOfItems(
        samples[:n_items], from_text, known.lead[:n_items],
        parts["item_open"][:n_items, 0].astype(np.float64), std, scale if scale.variance else None,
    )  # fmt: skip


def _of_unknown(parts: Mapping[str, Any], cold: UserRows, n_items: int) -> Floats:
    """What the samples say of items for a user of whom nothing is known."""
    unknown = np.array(cold.samples[-1:, : parts["item_samples"].shape[1]])
    nobody, items = np.zeros(n_items, np.int64), np.arange(n_items)
    return pair_moments(nobody, unknown, items, parts["item_samples"], parts["lead"])[0]
