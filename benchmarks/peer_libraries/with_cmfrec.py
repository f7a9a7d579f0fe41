"""cmfrec: collective matrix factorisation, alone and with genres and year of items."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from cmfrec import CMF
from driver import main


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """Items without ratings have factors and bias from their features, where features are given."""
    columns = {"UserId": task.user, "ItemId": task.item, "Rating": task.rating}
    features = None
    own = dict(settings)
    name = own.pop("features")
    if name:
        block = getattr(side, name)
        features = pd.DataFrame(block, columns=[f"f{k}" for k in range(block.shape[1])])
        features.insert(0, "ItemId", np.arange(len(block)))
    model = CMF(**own, method="als", nthreads=1, verbose=False, random_state=1)
    model.fit(pd.DataFrame(columns), I=features)
    est = np.asarray(model.predict(task.test_user, task.test_item), float)
    return est


def grid() -> list[dict[str, Any]]:
    return [{"k": k, "lambda_": reg, "features": ""} for k in (10, 40) for reg in (6.0, 12.0, 24.0)]


def grid_with(features: str) -> list[dict[str, Any]]:
    return [
        {"k": k, "lambda_": reg, "w_item": weight, "features": features}
        for k in (5, 10)
        for reg in (1.5, 3.0, 6.0)
        for weight in (5.0, 20.0, 60.0)
    ]


if __name__ == "__main__":
    main(
        {"cmfrec": (predict, grid()), "cmfrec, genres and year": (predict, grid_with("structure"))}
    )
