"""A fold as arrays: small enough to send to another process, and exact enough to come back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from surprise import Trainset

from ..errors import DataError
from ..runtime.arrays import Floats, Rows
from .digest import digest

Testset = list[tuple[Hashable, Hashable, float]]


@dataclass(frozen=True, eq=False)
class Table:
    """One of a trainset's two dictionaries of lists: ``{row: [(column, rating), ...]}``."""

    rows: NDArray[np.int32]
    counts: Rows
    columns: NDArray[np.int32]
    values: Floats

    @classmethod
    def pack(cls, lists: dict[int, list[tuple[int, float]]]) -> Table:
        counts = np.fromiter(map(len, lists.values()), np.int64, len(lists))
        pairs = chain.from_iterable(chain.from_iterable(lists.values()))
        flat = np.fromiter(pairs, np.float64, 2 * int(counts.sum())).reshape(-1, 2)
        rows = np.fromiter(lists, np.int32, len(lists))
        return cls(rows, counts, flat[:, 0].astype(np.int32), np.ascontiguousarray(flat[:, 1]))

    def unpack(self) -> defaultdict[int, list[tuple[int, float]]]:
        pairs = list(zip(self.columns.tolist(), self.values.tolist(), strict=True))
        ends = np.cumsum(self.counts).tolist()
        lists: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        for row, start, end in zip(self.rows.tolist(), [0, *ends], ends, strict=False):
            lists[row] = pairs[start:end]
        return lists


@dataclass(frozen=True, eq=False)
class Fold:
    """A trainset and a testset.

    joblib writes large arrays to shared memory once, however many processes get them: that is why
    a trainset, a dictionary of lists of tuples, is not sent as it is.
    """

    by_user: Table
    by_item: Table
    scale: tuple[float, float]
    user_ids: list[Hashable]
    item_ids: list[Hashable]
    test_ids: list[Hashable]
    test_pairs: NDArray[np.int32]
    test_values: Floats

    @classmethod
    def pack(cls, trainset: Trainset, testset: Sequence[tuple[Hashable, Hashable, float]]) -> Fold:
        """Raises DataError where there is nothing to train on or to test."""
        if trainset.n_ratings == 0 or len(testset) == 0:
            raise DataError(
                f"found {trainset.n_ratings} ratings to train on and {len(testset)} to test; "
                "expected some of both"
            )
        codes: dict[Hashable, int] = {}
        pairs = [[codes.setdefault(raw, len(codes)) for raw in row[:2]] for row in testset]
        return cls(
            by_user=Table.pack(trainset.ur),
            by_item=Table.pack(trainset.ir),
            scale=tuple(trainset.rating_scale),
            user_ids=_in_order(trainset._raw2inner_id_users),
            item_ids=_in_order(trainset._raw2inner_id_items),
            test_ids=list(codes),
            test_pairs=np.array(pairs, np.int32),
            test_values=np.array([row[2] for row in testset], np.float64),
        )

    @cached_property
    def digest(self) -> str:
        """By content: the same ratings in the same order and the same split of them."""
        return digest([getattr(self, name) for name in self.__dataclass_fields__])

    @property
    def n_train(self) -> int:
        return len(self.by_user.values)

    @property
    def n_test(self) -> int:
        return len(self.test_values)

    def trainset(self) -> Trainset:
        """The trainset that was packed, equal in every entry and every order."""
        return Trainset(
            self.by_user.unpack(),
            self.by_item.unpack(),
            len(self.by_user.rows),
            len(self.by_item.rows),
            self.n_train,
            self.scale,
            {raw: inner for inner, raw in enumerate(self.user_ids)},
            {raw: inner for inner, raw in enumerate(self.item_ids)},
        )

    def testset(self) -> Testset:
        """The testset that was packed."""
        users, items = self.test_columns()
        return list(zip(users, items, self.test_values.tolist(), strict=True))

    def test_columns(self) -> tuple[list[Hashable], list[Hashable]]:
        """Raw user ids and raw item ids of the testset."""
        ids = self.test_ids
        users, items = self.test_pairs.T.tolist()
        return [ids[k] for k in users], [ids[k] for k in items]

    def test_counts(self) -> tuple[Rows, Rows]:
        """Training ratings of the user and of the item of every test pair, each shape (n_test,)."""
        users, items = self.test_columns()
        return _counts(self.by_user, self.user_ids, users), _counts(
            self.by_item, self.item_ids, items
        )


def _in_order(raw2inner: dict[Hashable, int]) -> list[Hashable]:
    return sorted(raw2inner, key=raw2inner.__getitem__)


def _counts(table: Table, known: list[Hashable], raw_ids: Iterable[Hashable]) -> Rows:
    inner = {raw: k for k, raw in enumerate(known)}
    by_inner = dict(zip(table.rows.tolist(), table.counts.tolist(), strict=True))
    return np.array([by_inner.get(inner.get(raw, -1), 0) for raw in raw_ids], np.int64)
