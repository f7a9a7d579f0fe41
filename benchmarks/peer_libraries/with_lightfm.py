"""LightFM with the WARP loss: factors learned to rank what was rated above what was not."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from driver import main
from lightfm import LightFM
from scipy import sparse


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """Scores of all pairs; ratings of at least ``least`` count as positive."""
    own = dict(settings)
    epochs, least = own.pop("epochs"), own.pop("least")
    user, item = task.user[task.rating >= least], task.item[task.rating >= least]
    shape = (int(side.n_users), int(side.n_items))
    rows = sparse.coo_matrix((np.ones(len(user), np.float32), (user, item)), shape)
    model = LightFM(**own, loss="warp", random_state=0)
    model.fit(rows, epochs=epochs, num_threads=1)
    user_bias, users = model.get_user_representations()
    item_bias, items = model.get_item_representations()
    return users @ items.T + user_bias[:, None] + item_bias


if __name__ == "__main__":
    grid = [
        {"no_components": k, "epochs": n, "item_alpha": reg, "user_alpha": reg, "least": 4.0}
        for k in (8, 16, 32)
        for n in (10, 20, 40)
        for reg in (0.0, 1e-4)
    ]
    grid.append({"no_components": 32, "epochs": 20, "least": 0.0})
    main({"LightFM WARP": (predict, grid)}, ranking=True)
