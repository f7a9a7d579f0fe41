"""RecTools' SASRec (Kang, McAuley 2018): a transformer over the last hundred items of each user."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from driver import main
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

_LISTED = 100  # items of a list that get a score


def predict(
    task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
) -> np.ndarray:
    """Scores of all pairs: the places in lists of 100. Rows of a task are in order of time."""
    frame = pd.DataFrame({Columns.User: task.user, Columns.Item: task.item, Columns.Weight: 1.0})
    frame[Columns.Datetime] = pd.Timestamp(0) + pd.to_timedelta(np.arange(len(frame)), "s")
    data = Dataset.construct(frame)
    model = SASRecModel(**settings, session_max_len=100, deterministic=True, verbose=0)
    model.fit(data)
    users = np.unique(task.test_user)
    lists = model.recommend(users=users, dataset=data, k=_LISTED, filter_viewed=True)
    scores = np.full((int(side.n_users), int(side.n_items)), -1e9, np.float32)
    scores[lists[Columns.User], lists[Columns.Item]] = -lists[Columns.Rank]
    return scores


if __name__ == "__main__":
    import torch

    torch.manual_seed(0)
    # twenty times RecTools' default of epochs, in batches that fit into memory; not chosen further,
    # for a fit takes a quarter of an hour
    settings = {"n_factors": 64, "n_blocks": 2, "n_heads": 2, "batch_size": 32, "epochs": 60}
    main({"SASRec": (predict, [settings])}, ranking=True)
