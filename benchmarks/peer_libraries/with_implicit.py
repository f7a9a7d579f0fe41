"""implicit's ALS: weighted matrix factorisation of who rated what (Hu, Koren, Volinsky 2008)."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from driver import main
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """Scores of all pairs; all ratings count as positive, the weight is alpha times the rating."""
    own = dict(settings)
    weights = own.pop("alpha") * task.rating
    shape = (int(side.n_users), int(side.n_items))
    rows = sparse.csr_matrix((weights, (task.user, task.item)), shape, dtype=np.float32)
    model = AlternatingLeastSquares(**own, num_threads=1, random_state=0)
    model.fit(rows, show_progress=False)
    return model.user_factors @ model.item_factors.T


if __name__ == "__main__":
    grid = [
        {"factors": k, "regularization": reg, "alpha": alpha, "iterations": 15}
        for k in (32, 64, 128)
        for reg, alpha in ((10.0, 1.0), (30.0, 2.0), (50.0, 3.0), (100.0, 5.0))
    ]
    main({"implicit ALS": (predict, grid)}, ranking=True)
