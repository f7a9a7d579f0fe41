"""Folds in order of time: nothing is predicted from what came later."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, sample
from .split import SIDES, Mask, Split, sorted_codes


class TimeSplit(Split):
    """Train on all ratings before a moment, test on those between it and the next moment.

    The ratings in order of time are cut into ``n_splits + 1`` parts of about equal size; fold k
    trains on the first k parts and tests on the next. Ratings of one moment are never divided:
    every training rating is strictly older than every rating it is tested on.

    Parameters
    ----------
    n_splits : int, default=5
        At least 1.

    Notes
    -----
    The ratings need timestamps, as numbers or as text that reads as one. ``raw_ratings`` of
    :mod:`llmtokens.datasets` keep them; ``Dataset.load_from_df`` drops them.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> [(trainset.n_ratings, len(testset)) for trainset, testset in TimeSplit(3).split(data)]
    [(250, 250), (500, 250), (750, 250)]
    """

    least_splits = 1

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        time = _timestamps(raw)
        cuts = np.sort(time)[np.arange(1, self.n_splits + 1) * len(time) // (self.n_splits + 1)]
        return [
            (time < start, (time >= start) & (time < end))
            for start, end in pairwise([*cuts.tolist(), np.inf])
        ]

    def _why_empty(self, name: str) -> str:
        return "too many ratings share one timestamp, and those are never divided; lower n_splits"


class ColdItemTimeSplit(TimeSplit):
    """As :class:`TimeSplit`, but tested only on the items nobody had rated before the cut.

    An item is new to a fold if its first rating is not older than the fold's cut; the test set is
    the ratings of new items up to the next cut. This is how cold items come in life, where
    :class:`ColdItemKFold` holds out old ones as well.

    Parameters
    ----------
    n_splits : int, default=5
        At least 1.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> trainset, testset = next(ColdItemTimeSplit(n_splits=1).split(data))
    >>> known = {trainset.to_raw_iid(inner) for inner in trainset.all_items()}
    >>> known & {item for _, item, _ in testset}
    set()
    """

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        masks = super()._masks(raw)
        item, n_items = sorted_codes(raw, SIDES.index("item"))
        known = [np.bincount(item[train], minlength=n_items) > 0 for train, _ in masks]
        return [(train, test & ~old[item]) for (train, test), old in zip(masks, known, strict=True)]

    def _why_empty(self, name: str) -> str:
        return f"no item is new in it, or {super()._why_empty(name)}"


def _timestamps(raw: Sequence[tuple[Any, ...]]) -> NDArray[np.float64]:
    values = [row[3] for row in raw]
    try:
        time = np.array(values, np.float64)  # Surprise reads them from files as text
    except (TypeError, ValueError):
        time = np.array([np.nan])
    if len(time) == 0 or not np.isfinite(time).all():
        odd = [value for value in dict.fromkeys(values) if not _is_number(value)]
        raise DataError(
            f"found {len(values)} ratings with timestamps such as {sample(odd, 3) or 'none'}; "
            "expected a number (say, seconds) for each: load the data with llmtokens.datasets and "
            "name their column, timestamp=... (Dataset.load_from_df drops them)"
        )
    return time


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False
