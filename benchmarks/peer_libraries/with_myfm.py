"""myFM: Bayesian factorisation machines by Gibbs sampling, with features of items, and with dates.

The strongest of those published with it: the day as a feature, what the user has rated and who has
rated the item as features of either (timeSVD++ in both directions), and an ordered-probit
likelihood. The days of the predictions are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from driver import main
from myfm import MyFMOrderedProbit, MyFMRegressor, RelationBlock
from scipy import sparse


def one_hot(ids: np.ndarray, n: int) -> sparse.csr_matrix:
    """A row per id, with a single 1; of one that is not below n, none."""
    known = np.flatnonzero(ids < n)
    return sparse.csr_matrix((np.ones(len(known)), (known, ids[known])), (len(ids), n))


def of_length_one(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    """A row of n ones as n times 1 / sqrt(n)."""
    counts = np.maximum(np.asarray(rows.sum(axis=1)).ravel(), 1)
    return sparse.csr_matrix(sparse.diags(1 / np.sqrt(counts)) @ rows)


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """Posterior mean; ids and days without ratings have columns that nothing was learned for."""
    n_users, n_items = int(side.n_users), int(side.n_items)
    users = [sparse.identity(n_users, format="csr")]
    items = [sparse.identity(n_items, format="csr")]
    for name in settings["features"]:
        block = getattr(side, name)
        items.append(sparse.csr_matrix(block / np.sqrt((block**2).sum(1).mean())))
    days = np.unique(task.day)
    columns = [len(days)] if settings["days"] else []
    if settings["neighbours"]:
        pairs = np.ones(len(task.user)), (task.user, task.item)
        rated = sparse.csr_matrix(pairs, (n_users, n_items))
        users.append(of_length_one(rated))
        items.append(of_length_one(sparse.csr_matrix(rated.T)))

    def given(part: str) -> tuple[sparse.csr_matrix, list[RelationBlock]]:
        user, item, day = (getattr(task, part + name) for name in ("user", "item", "day"))
        at = np.searchsorted(days, day)
        at[days[np.minimum(at, len(days) - 1)] != day] = len(days)
        table = one_hot(at, len(days)) if settings["days"] else sparse.csr_matrix((len(user), 0))
        blocks = [(user, sparse.hstack(users)), (item, sparse.hstack(items))]
        return table, [RelationBlock(rows, block.tocsr()) for rows, block in blocks]

    shapes = [*columns, *(part.shape[1] for part in (*users, *items))]
    kept = {"n_iter": settings["n_iter"], "n_kept_samples": settings["n_iter"] - 30}
    if not settings["probit"]:
        model = MyFMRegressor(rank=settings["rank"], random_seed=0)
        table, blocks = given("")
        model.fit(table, task.rating, blocks, group_shapes=shapes, **kept)
        return model.predict(*given("test_"))
    levels, level = np.unique(task.rating, return_inverse=True)
    probit = MyFMOrderedProbit(rank=settings["rank"], random_seed=0)
    table, blocks = given("")
    probit.fit(table, level, blocks, group_shapes=shapes, **kept)
    return probit.predict_proba(*given("test_")) @ levels


def grid(
    *features: str, days: bool = False, neighbours: bool = False, probit: bool = False
) -> list[dict[str, Any]]:
    chosen = {"days": days, "neighbours": neighbours, "probit": probit}
    return [{"rank": 10, "n_iter": 200, "features": features, **chosen}]


if __name__ == "__main__":
    main(
        {
            "myFM": (predict, grid()),
            "myFM, genres and year": (predict, grid("structure")),
            "myFM, dates": (predict, grid("structure", days=True, neighbours=True)),
            "myFM, dates, ordered probit": (
                predict,
                grid("structure", days=True, neighbours=True, probit=True),
            ),
        },
        only={"myFM, dates": ["warm"], "myFM, dates, ordered probit": ["warm"]},
    )
