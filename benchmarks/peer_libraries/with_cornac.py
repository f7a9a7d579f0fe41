"""Cornac's MF: biased matrix factorisation by SGD."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from cornac.data import Dataset
from cornac.models import MF
from driver import main


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """``rate``: an unknown item gets Cornac's default, the global mean."""
    triples = zip(task.user.tolist(), task.item.tolist(), task.rating.tolist(), strict=True)
    train = Dataset.from_uir(list(triples), seed=0)
    model = MF(**settings, use_bias=True, seed=0).fit(train)
    users = [train.uid_map.get(u, train.num_users) for u in task.test_user.tolist()]
    items = [train.iid_map.get(i, train.num_items) for i in task.test_item.tolist()]
    return np.array([model.rate(u, i) for u, i in zip(users, items, strict=True)])


if __name__ == "__main__":
    grid = [  # that of Surprise's SVD in quality.py, and a second step size
        {"k": k, "learning_rate": lr, "lambda_reg": reg, "max_iter": n}
        for k in (50, 100)
        for lr in (0.005, 0.01)
        for reg in (0.05, 0.08, 0.12)
        for n in (40, 60)
    ]
    main({"Cornac MF": (predict, grid)})
