"""LensKit's BiasedMF: matrix factorisation of what biases leave, by ALS."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from driver import main
from lenskit.als import BiasedMFScorer
from lenskit.data import ItemList, from_interactions_df
from lenskit.pipeline import predict_pipeline


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """Its rating pipeline: unknown items and users get LensKit's fallback, the biases."""
    columns = {"user_id": task.user, "item_id": task.item, "rating": task.rating}
    data = from_interactions_df(pd.DataFrame(columns))
    pipeline = predict_pipeline(BiasedMFScorer(**settings), fallback=True)
    pipeline.train(data)
    est = np.full(len(task.test_user), np.nan)
    for user in np.unique(task.test_user).tolist():
        own = np.flatnonzero(task.test_user == user)
        items = ItemList(item_ids=task.test_item[own])
        est[own] = pipeline.run("rating-predictor", query=user, items=items).scores()
    return est


if __name__ == "__main__":
    grid = [
        {"embedding_size": k, "epochs": 10, "regularization": reg}
        for k in (40, 100)
        for reg in (0.1, 0.2)
    ]
    main({"LensKit BiasedMF": (predict, grid)})
