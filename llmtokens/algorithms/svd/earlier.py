"""Files written before the selection correction knew the content of items."""

from __future__ import annotations

from typing import Any

import numpy as np

_DAMP = 10.0  # ratings that the mean of all users counted for


def brought_forward(state: dict[str, Any], n_item_rows: int) -> dict[str, Any]:
    """The entries as they are written today; what has them already comes back as it is.

    A user's correction was one number, the last column of ``user_map`` what it was shrunk to.
    """
    old, map_ = (np.asarray(state.get(name, 0.0)) for name in ("picks", "user_map"))
    if "lead" in state or old.ndim != 1 or map_.ndim != 2 or not map_.size:
        return state
    return state | {
        "picks": old[:, None],
        "pick_mean": np.array([[map_[-1, -1]], [0.0]]),
        "pick_spread": np.array([[[1.0]], [[0.0]]]),
        "pick_noise": np.array([_DAMP, 1.0]),
        "pick_centre": np.zeros(0),
        "pick_usual": float(map_[-1, -1]),
        "lead": np.zeros((n_item_rows, 0), np.float32),
        "lead_centre": np.zeros(0, np.float32),
        "lead_scale": 0.0,
        "user_map": map_[:, :-1],
    }
