"""Folds of items or users: cold, or with a handful of ratings each."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np

from ..errors import DataError
from ..runtime.arguments import generator
from ..runtime.arrays import Mask, Rows
from .split import SIDES, Split, require_at_least, sorted_codes


class _KFold(Split):
    """Ids of one side are dealt into folds; ``n_given`` ratings of each stay in training."""

    _side: ClassVar[str]
    n_given = 0
    n_reserved = 0

    def __init__(self, n_splits: int = 5, random_state: Any = None) -> None:
        super().__init__(n_splits)
        self.random_state = random_state

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        for name in ("n_given", "n_reserved"):
            require_at_least(name, getattr(self, name), 0)
        rng = generator(self.random_state)
        own, n_ids = sorted_codes(raw, SIDES.index(self._side))
        if self.n_splits > n_ids:
            raise DataError(
                f"{self!r}: found {n_ids} {self._side}s; expected at least n_splits: ask for "
                "fewer folds"
            )
        fold = np.empty(n_ids, np.int64)
        for k, ids in enumerate(np.array_split(rng.permutation(n_ids), self.n_splits)):
            fold[ids] = k
        held = fold[own]
        untested = max(self.n_given, self.n_reserved)
        if not untested:
            return [(held != k, held == k) for k in range(self.n_splits)]
        nth = _places(own, raw, self._side, rng)
        held[(nth < self.n_given) | (np.bincount(own)[own] <= untested)] = -1
        return [(held != k, (held == k) & (nth >= untested)) for k in range(self.n_splits)]

    def _why_empty(self, name: str) -> str:
        word = "n_reserved" if self.n_reserved > self.n_given else "n_given"
        return (
            f"each of its {self._side}s has {word}={getattr(self, word)} ratings or fewer; lower "
            f"{word} or n_splits"
        )


class _FewShotKFold(_KFold):
    def __init__(
        self, n_splits: int = 5, n_given: int = 5, random_state: Any = None, n_reserved: int = 0
    ) -> None:
        super().__init__(n_splits, random_state)
        self.n_given = n_given
        self.n_reserved = n_reserved


class ColdItemKFold(_KFold):
    """Items are dealt into folds; all ratings of a fold's items are its test set.

    Parameters
    ----------
    n_splits : int, default=5
        At least 2, at most the number of items; folds differ by one item at most.
    random_state : int, RandomState or None
        As in Surprise. With the same int the same items are held out together, whatever the order
        of the ratings, and whether the ids were read as text or as numbers.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> from surprise import SVD
    >>> from surprise.model_selection import cross_validate
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> result = cross_validate(SVD(), data, cv=ColdItemKFold(3, random_state=0))
    >>> result["test_rmse"].shape
    (3,)
    """

    _side = "item"


class ColdUserKFold(_KFold):
    """Users are dealt into folds; all ratings of a fold's users are its test set.

    The parameters are those of :class:`ColdItemKFold`.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> [trainset.n_users for trainset, _ in ColdUserKFold(5, random_state=0).split(data)]
    [40, 40, 40, 40, 40]
    """

    _side = "user"


class FewShotItemKFold(_FewShotKFold):
    """Items are dealt into folds; ``n_given`` random ratings of each stay in training.

    Parameters
    ----------
    n_splits : int, default=5
    n_given : int, default=5
        An item with this many ratings or fewer keeps them all in training, and is not tested on.
    random_state : int, RandomState or None
        As in :class:`ColdItemKFold`. With the same int, the same items are held out as there, and
        the ratings given with a small ``n_given`` are among those given with a larger one.
    n_reserved : int, default=0
        Of an item that is held out, so many ratings are not tested on, though only ``n_given`` of
        them are given. Splits that differ in ``n_given`` alone then test the same items on the same
        ratings: this is what a learning curve is made of.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> FewShotItemKFold(n_given=3, random_state=0)
    FewShotItemKFold(n_splits=5, random_state=0, n_given=3, n_reserved=0)
    >>> trainset, testset = next(FewShotItemKFold(n_given=3, random_state=0).split(data))
    >>> {len(trainset.ir[trainset.to_inner_iid(item)]) for _, item, _ in testset}
    {3}
    """

    _side = "item"


class FewShotUserKFold(_FewShotKFold):
    """Users are dealt into folds; ``n_given`` random ratings of each stay in training.

    The parameters are those of :class:`FewShotItemKFold`.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> trainset, testset = next(FewShotUserKFold(n_given=4, random_state=0).split(data))
    >>> {len(trainset.ur[trainset.to_inner_uid(user)]) for user, _, _ in testset}
    {4}
    """

    _side = "user"


def _places(
    own: Rows, raw: Sequence[tuple[Any, ...]], side: str, rng: np.random.RandomState
) -> Rows:
    """Place of each rating, from 0, in a random order of those of its id."""
    other, _ = sorted_codes(raw, 1 - SIDES.index(side))
    value = np.fromiter(map(itemgetter(2), raw), np.float64, len(raw))
    key = np.empty(len(raw))
    key[np.lexsort((value, other, own))] = rng.random_sample(len(raw))
    order = np.lexsort((key, own))
    counts = np.bincount(own)
    nth = np.empty(len(raw), np.int64)
    nth[order] = np.arange(len(raw)) - np.repeat(np.cumsum(counts) - counts, counts)
    return nth
