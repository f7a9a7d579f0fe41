"""myFM: Bayesian factorisation machines by Gibbs sampling, alone and with features of items."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from driver import main
from myfm import MyFMRegressor, RelationBlock
from scipy import sparse


def one_hot(ids: np.ndarray, n: int) -> sparse.csr_matrix:
    """A row per id, with a single 1."""
    return sparse.csr_matrix((np.ones(len(ids)), (np.arange(len(ids)), ids)), (len(ids), n))


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """Posterior mean; ids without ratings have one-hot columns that nothing was learned for."""
    n_users, n_items = int(side.n_users), int(side.n_items)
    parts = [sparse.identity(n_items, format="csr")]
    for name in settings["features"]:
        block = getattr(side, name)
        parts.append(sparse.csr_matrix(block / np.sqrt((block**2).sum(1).mean())))
    items = sparse.hstack(parts).tocsr()
    model = MyFMRegressor(rank=settings["rank"], random_seed=0)
    model.fit(
        one_hot(task.user, n_users),
        task.rating,
        [RelationBlock(task.item, items)],
        n_iter=settings["n_iter"],
        n_kept_samples=settings["n_iter"] - 30,
        group_shapes=[n_users, *(part.shape[1] for part in parts)],
    )
    return model.predict(one_hot(task.test_user, n_users), [RelationBlock(task.test_item, items)])


def grid(*features: str) -> list[dict[str, Any]]:
    return [{"rank": 10, "n_iter": 200, "features": features}]


if __name__ == "__main__":
    main(
        {
            "myFM": (predict, grid()),
            "myFM, genres and year": (predict, grid("structure")),
        }
    )
