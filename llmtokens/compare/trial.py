"""One trial of a comparison: one algorithm on one fold, timed, measured and kept on disk.

A fold is sent as arrays: small enough for another process, and exact enough to come back.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from surprise import AlgoBase, Prediction, Reader, Trainset
from surprise.dataset import Dataset

from ..algorithms.base import TokenAlgoBase
from ..errors import DataError
from ..metrics import rank_all
from ..runtime.arrays import Floats, Rows
from ..runtime.locks import Lock
from ..runtime.memory import give_back_memory
from ..runtime.threads import most_threads, one_blas_thread
from ..storage import container as store
from ..storage.files import write_text
from ..tokens import LLMTokens
from .measures import Measure, take
from .settings import digest

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


@dataclass(frozen=True)
class Outcome:
    """What came out of a trial; times in seconds, memory in MB (10^6 bytes), NaN where unknown."""

    values: dict[str, float]
    errors: dict[str, str] = field(default_factory=dict)
    fit_time: float = math.nan
    test_time: float = math.nan
    peak_memory: float = math.nan
    predicted: dict[str, Floats] = field(default_factory=dict)
    lasting: bool = True  # the same trial would come to the same again

    def write(self, path: Path) -> None:
        """Keep a trial; its predictions first, so that the JSON file means done."""
        if self.predicted:
            store.write(path.with_suffix(".safetensors"), "predictions", {}, self.predicted)
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        payload = {"values": _plain(self.values), "errors": self.errors} | _plain(numbers)
        write_text(path, json.dumps(payload, allow_nan=False))

    @classmethod
    def read(
        cls, path: Path, measures: Mapping[str, Measure], n_predictions: int | None
    ) -> Outcome | None:
        """The outcome kept at ``path``; None where there is none that is whole and complete."""
        try:
            payload = json.loads(path.read_text(encoding="utf-8"))
            values = {name: float(payload["values"][name]) for name in measures}
            errors = {name: str(text) for name, text in dict(payload["errors"]).items()}
            fit, test, peak = (float(payload[name]) for name in _NUMBERS)
            arrays: dict[str, Any] = {}
            if n_predictions is not None:
                _, _, arrays = store.read(path.with_suffix(".safetensors"), "predictions")
                shapes = {(name, array.shape, array.dtype.kind) for name, array in arrays.items()}
                est, std = (("est", (n_predictions,), "f"), ("std", (n_predictions,), "f"))
                if shapes not in ({est}, {est, std}):
                    return None
                arrays = {name: np.array(array) for name, array in arrays.items()}  # close the file
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
            return None
        return cls(values, errors, fit, test, peak, arrays)


_NUMBERS = ("fit_time", "test_time", "peak_memory")


@dataclass(frozen=True, eq=False)
class Work:
    """What the trials of a comparison have in common."""

    algorithms: Sequence[AlgoBase]
    measures: Mapping[str, Measure]
    keep_predictions: bool


_FEW = 20  # users, and ratings of each, that a process begins with
_SHORT = {"n_epochs": 2, "burn_in": 2, "n_samples": 2}
_one_at_a_time = Lock()  # numpy's global generator and stdout belong to the process


def run(work: Work, a: int, fold: Fold) -> Outcome:
    """Fit a copy of algorithm number ``a``, predict the testset, measure.

    The outcome depends on the arguments alone: numpy's global generator, which Surprise uses where
    ``random_state`` is None, is seeded from the fold, and BLAS, whose sums depend on the number of
    its threads, gets one. Whatever the algorithm raises is noted in the outcome.
    """
    with _one_at_a_time.held:
        trainset, testset = _unpacked(fold)
        algorithm = _copy(work.algorithms[a])
        before = np.random.get_state()  # noqa: NPY002
        _compile(algorithm, trainset, testset)
        np.random.seed(int(fold.digest[:8], 16))  # noqa: NPY002
        try:
            with one_blas_thread(), contextlib.redirect_stdout(io.StringIO()):
                return _run(algorithm, trainset, testset, work.measures, work.keep_predictions)
        finally:
            np.random.set_state(before)  # noqa: NPY002


def _run(
    algorithm: AlgoBase,
    trainset: Trainset,
    testset: Testset,
    measures: Mapping[str, Measure],
    keep_predictions: bool,
) -> Outcome:
    failed = dict.fromkeys(measures, math.nan)
    memory = PeakMemory()
    start = time.perf_counter()
    try:
        algorithm.fit(trainset)
        fitted = time.perf_counter()
        predictions = algorithm.test(testset)
        tested = time.perf_counter()
        peak = memory.read()
        if len(predictions) != len(testset):
            raise DataError(f"found {len(predictions)} predictions for {len(testset)} test ratings")
    except Exception as error:  # the other trials go on, the table says so
        return Outcome(failed, dict.fromkeys(measures, _message(error)), lasting=False)
    values, errors, lasting = failed, dict[str, str](), True
    rankings = cache(partial(rank_all, algorithm, testset))
    for name, measure in measures.items():
        try:
            values[name] = take(measure, predictions, algorithm, rankings)
        except Exception as error:
            errors[name] = _message(error)
            # What the data lack they will lack; memory, a disk or a package may be there by then.
            lasting = lasting and isinstance(error, DataError)
    predicted = _predicted(predictions) if keep_predictions else {}
    return Outcome(values, errors, fitted - start, tested - fitted, peak, predicted, lasting)


_compiled: set[tuple[Any, ...]] = set()


def _compile(algorithm: AlgoBase, trainset: Trainset, testset: Testset) -> None:
    """Have numba compile, or load, what an algorithm of ours runs, before any of it is timed.

    Once in each process for each algorithm and kinds of parameters, by a fit to a few ratings.
    """
    kinds = ((k, v if isinstance(v, (str, bool)) else type(v)) for k, v in vars(algorithm).items())
    which = (type(algorithm), *sorted(kinds, key=str))
    if not isinstance(algorithm, TokenAlgoBase) or which in _compiled:
        return
    _compiled.add(which)
    few = [
        (trainset.to_raw_uid(u), trainset.to_raw_iid(i), rating, None)
        for u in islice(trainset.all_users(), _FEW)
        for i, rating in trainset.ur[u][:_FEW]
    ]
    quick = _copy(algorithm)
    vars(quick).update({name: n for name, n in _SHORT.items() if hasattr(quick, name)})
    small = Dataset(Reader(rating_scale=trainset.rating_scale)).construct_trainset(few)
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # the trial will say it
        warnings.simplefilter("ignore")
        with one_blas_thread(), contextlib.redirect_stdout(io.StringIO()):
            quick.fit(small).test(testset[:_FEW])
            if getattr(quick, "n_threads", 1) is None:  # several, where there are many ratings
                quick.n_threads = most_threads()
                quick.fit(small)


def _copy(algorithm: AlgoBase) -> AlgoBase:
    """A copy to fit; token tables are immutable and large, so they are shared."""
    shared = {id(v): v for v in vars(algorithm).values() if isinstance(v, LLMTokens)}
    return copy.deepcopy(algorithm, shared)


def _predicted(predictions: list[Prediction]) -> dict[str, Floats]:
    columns = {"est": np.array([p.est for p in predictions], np.float64)}
    if all("std" in p.details for p in predictions):
        columns["std"] = np.array([p.details["std"] for p in predictions], np.float64)
    return columns


_last: list[tuple[str, Trainset, Testset]] = []


def _unpacked(fold: Fold) -> tuple[Trainset, Testset]:
    """The fold as Surprise wants it; the last one is kept, the next trial often has the same."""
    last = next(iter(_last), None)
    if last is None or last[0] != fold.digest:
        last = fold.digest, fold.trainset(), fold.testset()
        _last[:] = [last]
    return last[1:]


def forget() -> None:
    """Free the fold kept in this process."""
    _last.clear()


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _plain(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """JSON has no NaN and no infinity."""
    return {key: value if math.isfinite(value) else str(value) for key, value in numbers.items()}


class PeakMemory:
    """The most memory this process held at once since construction, above what it held then.

    Resident memory as Linux counts it (``VmHWM``, reset through ``/proc/self/clear_refs``), so
    numpy's and compiled code's memory are in it, other processes' is not. Memory that the process
    had freed, but not given back, can be used again unseen: take it as a lower bound.
    """

    def __init__(self) -> None:
        give_back_memory()
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _status("VmRSS")
        except OSError:
            self._before = math.nan

    def read(self) -> float:
        """In MB (10^6 bytes); NaN where the system does not tell."""
        if math.isnan(self._before):
            return math.nan
        return max(0.0, _status("VmHWM") - self._before)


def _status(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) * 1024 / 1e6 if found else math.nan
