"""What the iterators share: one ``split``, which checks every fold before the first is used."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import compress
from numbers import Integral
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np
from surprise import Dataset, Trainset

from ..errors import DataError
from ..runtime.arrays import Mask, Rows

Testset = list[tuple[Hashable, Hashable, float]]
SIDES = ("user", "item")  # the first two columns of Surprise's raw_ratings


class Split:
    """What the iterators share: arguments and folds are checked before the first one is handed out.

    A subclass writes ``_masks``: the ratings to train on and to test on, for every fold.
    """

    least_splits: ClassVar[int] = 2

    def __init__(self, n_splits: int = 5) -> None:
        self.n_splits = n_splits

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"

    def get_n_folds(self) -> int:
        """The number of folds."""
        return self.n_splits

    def split(self, data: Dataset) -> Iterator[tuple[Trainset, Testset]]:
        """Trainset and testset of one fold after the other.

        Parameters
        ----------
        data : surprise.Dataset
            With ``raw_ratings``: from a file, a frame, or :mod:`llmtokens.datasets`.

        Raises
        ------
        DataError
            For arguments out of range, and for a fold without ratings to train or to test on.
        """
        raw = getattr(data, "raw_ratings", None)
        if raw is None:
            raise DataError(
                f"found a {type(data).__name__} without raw_ratings; expected a Dataset with its "
                "folds still to make: Dataset.load_from_file, load_from_df or llmtokens.datasets"
            )
        require_at_least("n_splits", self.n_splits, self.least_splits)
        masks = self._masks(raw)
        for fold, (train, test) in enumerate(masks, start=1):
            for name, mask in (("train", train), ("test", test)):
                if not mask.any():
                    raise DataError(
                        f"{self!r}: fold {fold} of {self.n_splits} has no ratings to {name} on: "
                        f"{self._why_empty(name)}"
                    )
        return (
            (
                data.construct_trainset(list(compress(raw, train.tolist()))),
                data.construct_testset(list(compress(raw, test.tolist()))),
            )
            for train, test in masks
        )

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        raise NotImplementedError

    def _why_empty(self, name: str) -> str:
        raise NotImplementedError


def require_at_least(name: str, value: object, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise DataError(f"found {name}={value!r}; expected an integer of at least {least}")


def sorted_codes(raw: Sequence[tuple[Any, ...]], column: int) -> tuple[Rows, int]:
    """Each rating's id as its place among the distinct ids, and how many those are.

    The ids are in the order of their text: this is what makes the folds independent of the order
    of the ratings and of the type of the ids.
    """
    ids = list(map(itemgetter(column), raw))
    distinct = sorted(dict.fromkeys(ids), key=lambda raw_id: (str(raw_id), type(raw_id).__name__))
    place = {raw_id: k for k, raw_id in enumerate(distinct)}
    return np.fromiter(map(place.__getitem__, ids), np.int64, len(ids)), len(distinct)
