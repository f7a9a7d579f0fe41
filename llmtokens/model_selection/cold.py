"""Folds of items or users: cold, or with a handful of ratings each."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from surprise.utils import get_rng

from ..errors import DataError
from .split import SIDES, Mask, Split, require_at_least, sorted_codes


class _KFold(Split):
    """Ids of one side are dealt into folds; ``n_given`` ratings of each stay in training."""

    _side: ClassVar[str]
    n_given = 0

    def __init__(self, n_splits: int = 5, random_state: Any = None) -> None:
        super().__init__(n_splits)
        self.random_state = random_state

    def _masks(self, raw: Sequence[tuple[Any, ...]]) -> list[tuple[Mask, Mask]]:
        require_at_least("n_given", self.n_given, 0)
        rng = get_rng(self.random_state)
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
        if self.n_given:
            held[_draw(own, raw, self._side, self.n_given, rng)] = -1
        tests = [held == k for k in range(self.n_splits)]
        return [(~test, test) for test in tests]

    def _why_empty(self, name: str) -> str:
        return (
            f"each of its {self._side}s has n_given={self.n_given} ratings or fewer; lower n_given "
            "or n_splits"
        )


class _FewShotKFold(_KFold):
    def __init__(self, n_splits: int = 5, n_given: int = 5, random_state: Any = None) -> None:
        super().__init__(n_splits, random_state)
        self.n_given = n_given


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

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> FewShotItemKFold(n_given=3, random_state=0)
    FewShotItemKFold(n_splits=5, random_state=0, n_given=3)
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


def _draw(
    own: NDArray[np.int64],
    raw: Sequence[tuple[Any, ...]],
    side: str,
    n: int,
    rng: np.random.RandomState,
) -> NDArray[np.int64]:
    """Positions of ``n`` random ratings of each id, or of all it has."""
    other, _ = sorted_codes(raw, 1 - SIDES.index(side))
    value = np.fromiter(map(itemgetter(2), raw), np.float64, len(raw))
    key = np.empty(len(raw))
    key[np.lexsort((value, other, own))] = rng.random_sample(len(raw))
    order = np.lexsort((key, own))
    counts = np.bincount(own)
    nth = np.arange(len(raw)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[nth < n]
