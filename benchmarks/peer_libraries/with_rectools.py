"""RecTools' SASRec (Kang, McAuley 2018): a transformer over the last hundred items of each user.

With the loss of gSASRec (Petrov, Macdonald 2023), and as many epochs as do best on an inner split.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from driver import main
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

_LISTED = 100  # items of a list that get a score
_SHAPE = {"n_factors": 64, "n_blocks": 2, "n_heads": 2, "session_max_len": 100, "batch_size": 16}
_LOSS = {"loss": "gBCE", "n_negatives": 32}  # an epoch takes a fifth of softmax's time


class Training:
    """A model that trains on, where it is asked about the same task with more epochs."""

    def __init__(self) -> None:
        self.task: SimpleNamespace | None = None

    def predict(
        self, task: SimpleNamespace, side: SimpleNamespace, settings: Mapping[str, Any]
    ) -> np.ndarray:
        """Scores of all pairs: the places in lists of 100. Rows of a task are in order of time."""
        if task is not self.task:
            torch.manual_seed(0)
            columns = {Columns.User: task.user, Columns.Item: task.item, Columns.Weight: 1.0}
            times = pd.Timestamp(0) + pd.to_timedelta(np.arange(len(task.user)), "s")
            self.data = Dataset.construct(pd.DataFrame(columns | {Columns.Datetime: times}))
            self.model = SASRecModel(**_SHAPE, **_LOSS, deterministic=True, verbose=0)
            self.task, self.done = task, 0
        more = settings["epochs"] - self.done
        self.model.fit_partial(self.data, min_epochs=more, max_epochs=more)
        self.done = settings["epochs"]
        users = np.unique(task.test_user)
        lists = self.model.recommend(users, self.data, k=_LISTED, filter_viewed=True)
        scores = np.full((int(side.n_users), int(side.n_items)), -1e9, np.float32)
        scores[lists[Columns.User], lists[Columns.Item]] = -lists[Columns.Rank]
        return scores


if __name__ == "__main__":
    epochs = [{"epochs": n} for n in (40, 80, 160, 320)]  # RecTools' default is 3
    main({"SASRec": (Training().predict, epochs)}, ranking=True)
