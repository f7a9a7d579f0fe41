"""One trial of a comparison: one algorithm on one fold, timed, measured and kept on disk."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import io
import json
import math
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from surprise import AlgoBase, Prediction, Reader, Trainset
from surprise.dataset import Dataset

from ..algorithms.base import TokenAlgoBase
from ..errors import DataError
from ..metrics import rank_all
from ..runtime.arrays import Floats
from ..runtime.locks import Lock
from ..runtime.threads import most_threads, one_blas_thread
from ..storage import container as store
from ..storage.files import write_text
from ..tokens import LLMTokens
from .folds import Fold, Testset
from .measures import Measure, take


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
    with _one_at_a_time:
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
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
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
