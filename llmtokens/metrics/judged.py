"""Lists with a verdict on each entry: what the ranking measures count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np
import pandas as pd

from ..errors import DataError
from ..runtime.arrays import Floats, Mask
from .lists import Predictions, Rankings, as_rankings


@dataclass(frozen=True, eq=False)
class Judged:
    """Which entries are relevant, and which of those stand in the first k places."""

    lists: Rankings
    good: Mask
    good_at_k: Mask

    @classmethod
    def of(cls, predictions: Predictions, relevant: float, k: int | None) -> Judged:
        if not isinstance(relevant, Real):
            raise DataError(
                f"found relevant={relevant!r}; expected the least rating of a liked item"
            )
        lists = as_rankings(predictions)
        if k is not None:
            lists.check(k)
        good = lists.rating >= relevant
        if not good.any():
            known = lists.rating[~np.isnan(lists.rating)]
            if not len(known):
                raise DataError(
                    "found no true ratings in the lists; expected those of a testset that was held "
                    "out: rank_all leaves out what a user rated in training"
                )
            raise DataError(
                f"found true ratings from {known.min():g} to {known.max():g}; expected some of at "
                f"least relevant={relevant:g}: set relevant to what counts as liked on this scale"
            )
        return cls(lists, good, good if k is None else good & (lists.rank <= k))

    @cached_property
    def n_relevant(self) -> Floats:
        """Relevant items per user, NaN for none: NaN then runs through what is made of it."""
        count = self.lists.per_user(self.good)
        return np.where(count > 0, count, np.nan)

    @cached_property
    def hits(self) -> Floats:
        return self.lists.per_user(self.good_at_k)

    def result(self, values: Floats, per_user: bool) -> float | pd.Series:
        return self.lists.result(np.where(np.isnan(self.n_relevant), np.nan, values), per_user)
