"""A fitted model that goes on learning: what it is told survives the process."""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..algorithms.base import TokenAlgoBase
from ..data.ids import as_written
from ..errors import DataError, LLMTokensWarning
from ..recommend.ranking import of_items
from ..runtime.arrays import Floats
from ..runtime.locks import Lock
from ..storage import models
from .log import Feedback, FeedbackLog


class LiveModel:
    """A model's file, and what was learned since it was written, which a log beside it holds.

    ``algo`` is replaced by another whenever something is learned, and never changed: whoever reads
    takes it once. Feedback is learned, written and acknowledged in this order, so that what cannot
    be learned is not written, and nobody is thanked for what is not.

    Parameters
    ----------
    path : str or path
        A fitted model. Its log is ``<path>.feedback.jsonl``, and is learned again here, in order.
    encoder : Encoder, optional
        As :func:`llmtokens.load` takes it.

    Raises
    ------
    StorageError, FileFormatError
        As :func:`llmtokens.load` and :class:`~llmtokens.serve.log.FeedbackLog`.

    Warns
    -----
    LLMTokensWarning
        If lines of the log are about items that the model does not know, as after a new fit, or
        outside its scale. They stay in the log.
    """

    algo: TokenAlgoBase

    def __init__(self, path: str | os.PathLike[str], encoder: Any = None) -> None:
        self.path = Path(path)
        self.algo = models.load(self.path, encoder=encoder)
        self._log = FeedbackLog(self.path.with_name(self.path.name + ".feedback.jsonl"))
        self._lock = Lock()
        skipped = [record for record in self._log if not self._replayed(record)]
        if skipped:
            warnings.warn(
                f"{len(skipped)} of {len(self._log)} lines of {str(self._log.path)!r} say nothing "
                f"to this model, the first being about the item {skipped[0].item!r:.60}; they are "
                "left in the log",
                LLMTokensWarning,
                stacklevel=3,
            )

    def learn(self, user: Hashable, item: Hashable, rating: float | None) -> Feedback:
        """Take in a rating, or (None) a click, which counts as the median of all ratings.

        A click on what the user has rated already says nothing new, and leaves the rating.

        Raises
        ------
        DataError
            For an unknown item, or a rating outside the scale.
        StorageError
            If the log cannot be written; then nothing is learned.
        """
        with self._lock.held:
            model = self.algo.model_
            users, items = model.users, model.items
            uid = users.as_known(user)
            if users.row(uid) == users.unknown:
                uid = as_written([uid], users.ids[: users.n_warm])[0]
            iid, value = items.as_known(item), rating
            if value is None:
                rated, values, _ = model.ratings.of_user(users.row(uid))
                own = values[rated == items.row(iid)]
                value = own[0] if len(own) else _median(model.ratings.value)
            record = Feedback(uid, iid, float(value), rating is None, time.time())
            after = _with(self.algo, record)
            self._log.append(record)
            self.algo = after
        return record

    def forget(self, user: Hashable) -> int:
        """Let a user be as if never seen: nothing of theirs stays, in the model, its file, the log.

        The file is written anew, with everybody else's feedback in it.

        Returns
        -------
        int
            How many ratings went.

        Raises
        ------
        DataError
            For an unknown user, or the only one.
        StorageError
            If a file cannot be written.
        """
        with self._lock.held:
            uid = self.algo.users_.as_known(user)
            after = copy.copy(self.algo).forget(uid)
            gone = self.algo.ratings_.n - after.ratings_.n
            self._log.drop(uid)  # first: or it would bring back who is gone from the file
            after.save(self.path)
            self.algo = after
        return gone

    def ratings_of(self, user: Hashable) -> pd.DataFrame:
        """Item, label and rating of all that a user has rated."""
        model = self.algo.model_
        rows, values, _ = model.ratings.of_user(model.users.row(model.users.as_known(user)))
        raw = [model.items.ids[row] for row in rows.tolist()]
        return of_items(model, raw, {"rating": values})

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    def _replayed(self, record: Feedback) -> bool:
        model = self.algo.model_
        user, item = model.users.as_known(record.user), model.items.as_known(record.item)
        try:
            self.algo = _with(self.algo, replace(record, user=user, item=item))
        except DataError:
            return False
        return True


def _median(values: Floats) -> float:
    """The median, of two the higher: a rating that somebody has given."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _with(algo: TokenAlgoBase, record: Feedback) -> TokenAlgoBase:
    """The algorithm that knows this, too; the other one goes on as it was."""
    times = None if algo.model_.timestamps is None else [record.time]
    return copy.copy(algo).fold_in(record.user, [(record.item, record.rating)], timestamps=times)
