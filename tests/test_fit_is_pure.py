"""fit is pure: it leaves everything but itself alone, and itself where it fails.

``LLMTOKENS_INTERRUPTS=200`` interrupts each algorithm 200 times instead of twice.
"""

from __future__ import annotations

import copy
import gc
import os
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, USER_TOKENS, full, make
from threadpoolctl import threadpool_info

import llmtokens
from llmtokens.errors import DataError, LLMTokensError, LLMTokensWarning

PACKAGE = str(Path(llmtokens.__file__).parent)
INTERRUPTS = int(os.environ.get("LLMTOKENS_INTERRUPTS", "2"))
ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN, OTHER = full(ROWS[:900], DATA.rating_scale), full(ROWS[900:1500], DATA.rating_scale)
PAIRS = [row[:2] for row in ROWS[:1500:30]] + [("nobody", "nothing")]

pytestmark = pytest.mark.parametrize("name", ALGORITHMS)


def answers(algo):
    """What a fitted object says, in every way that depends on the fit."""
    said = [algo.predict(*pair) for pair in PAIRS]
    return said, algo.recommend(PAIRS[0][0], n=3).to_dict(), str(algo.explain(*PAIRS[0]))


def world():
    """Everything global that a fit could change."""
    import numba

    torch = sys.modules.get("torch")
    return {
        "numpy's generator": [np.array(x).tolist() for x in np.random.get_state()],
        "python's generator": random.getstate(),
        "warnings": list(warnings.filters),
        "numpy's errors": np.geterr(),
        "numpy's printing": np.get_printoptions(),
        "numba's threads": numba.get_num_threads(),
        "BLAS threads": {lib["filepath"]: lib["num_threads"] for lib in threadpool_info()},
        "torch's threads": torch and (torch.get_num_threads(), torch.get_num_interop_threads()),
        "collector": gc.isenabled(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "tracing": sys.gettrace(),
        "recursion": sys.getrecursionlimit(),
    }


def arguments(algo):
    """The trainset and the tokens, copied to the last bit, and the parameters."""
    trainset = {key: copy.deepcopy(value) for key, value in vars(TRAIN).items()}
    tokens = [
        (t.ids, t.labels, t.vectors.tobytes(), t.components.tobytes(), t.mean.tobytes())
        for t in (TOKENS, USER_TOKENS)
    ]
    parameters = {key: getattr(algo, key) for key in ALGORITHMS[algo_name(algo)][1]}
    return trainset, copy.deepcopy(tokens), parameters


def algo_name(algo):
    return next(name for name, (cls, _) in ALGORITHMS.items() if cls is type(algo))


def test_fit_and_test_change_nothing_but_the_object(name):
    pytest.importorskip("torch")
    algo = make(name)
    testset = TRAIN.build_testset()
    given, parameters = arguments(algo)[:2], dict(vars(algo))
    with np.errstate(over="raise", invalid="ignore", divide="warn"):
        before = world()
        algo.fit(TRAIN).test(testset)
        assert world() == before
    assert arguments(algo)[:2] == given
    for parameter in ALGORITHMS[name][1]:
        assert getattr(algo, parameter) is parameters[parameter]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([("a", 1, 3.0), ("b", 2, np.nan)], id="a NaN"),
        pytest.param([("a", "zzz", 1e31)], id="an absurd rating"),
    ],
)
def test_a_fit_that_is_refused_leaves_the_object_and_the_world_as_they_were(name, rows):
    algo = make(name).fit(TRAIN)
    said, state, before = answers(algo), dict(vars(algo)), world()
    with pytest.raises(DataError):
        algo.fit(full(rows))
    assert world() == before
    assert vars(algo).keys() == state.keys()
    assert all(getattr(algo, key) is value for key, value in state.items())
    assert answers(algo) == said


def test_something_that_is_no_trainset_is_refused_and_changes_nothing(name):
    algo = make(name).fit(TRAIN)
    said = answers(algo)
    for wrong in (None, DATA, DATA.dataset, "ratings.csv", []):
        with pytest.raises((LLMTokensError, TypeError, AttributeError)):
            algo.fit(wrong)
    assert answers(algo) == said


class Interrupter:
    """Raises an error at the n-th line that the library (or one function) runs, from 0."""

    def __init__(self, at, error, function=None):
        self.at, self.error, self.lines, self.where = at, error, 0, None
        self.function = function

    def __call__(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if frame.f_code.co_filename.endswith("threads.py"):  # what sets and resets, see below
            return None
        if self.function not in (None, frame.f_code.co_name):
            return None
        return self._line

    def _line(self, frame, event, argument):
        if event == "line":
            if self.lines == self.at:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self.lines += 1
                raise self.error
            self.lines += 1
        return self._line

    def run(self, work):
        before = sys.gettrace()
        sys.settrace(self)
        try:
            work()
        finally:
            sys.settrace(before)


def test_a_fit_interrupted_anywhere_leaves_the_object_as_it_was(name):
    """By Ctrl-C or for want of memory, at random lines of the library.

    Not among the lines of ``llmtokens.runtime.threads``, which set the threads of BLAS and put them
    back: nothing in Python can guard these against an interrupt.
    """
    algo = make(name).fit(TRAIN)
    said, before = answers(algo), world()
    undisturbed = answers(make(name).fit(OTHER))
    counting = Interrupter(-1, None)
    counting.run(lambda: make(name).fit(OTHER))
    moments = random.Random(name)
    for k in range(INTERRUPTS):
        error = [KeyboardInterrupt, MemoryError][k % 2]
        interrupter = Interrupter(moments.randrange(counting.lines), error())
        raised = DataError if error is MemoryError else error  # memory is named
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                interrupter.run(lambda: algo.fit(OTHER))
            except (error, raised) as met:
                if interrupter.error not in (met, met.__cause__):
                    raise
                now = answers(algo)  # of before, or of a fit that was done but for its return
                assert now in (said, undisturbed), interrupter.where
                assert algo.trainset is (TRAIN if now == said else OTHER)
                algo.fit(TRAIN)
            else:  # BPMF keeps the samples it has, and says so
                if interrupter.where is None:  # the lines of one fit may be a few less
                    algo.fit(TRAIN)
                    continue
                assert name.startswith("LLMTokensBPMF"), interrupter.where
                assert error is KeyboardInterrupt, interrupter.where
                assert [w.category for w in caught] == [LLMTokensWarning]
                assert algo.trainset is OTHER
                algo.fit(TRAIN)
        assert world() == before, interrupter.where
    assert answers(algo.fit(OTHER)) == undisturbed


def test_a_fit_interrupted_at_any_of_its_own_lines_changes_nothing_or_has_ended(name):
    if "BPMF" in name:
        pytest.skip("the lines are those of the others, and its fit is slow to trace")
    algo = make(name).fit(TRAIN)
    states = [(TRAIN, answers(algo)), (OTHER, answers(make(name).fit(OTHER)))]
    counting = Interrupter(-1, None, "fit")
    counting.run(lambda: make(name).fit(OTHER))
    ended = []
    for at in range(counting.lines)[-8:]:  # where the object is changed
        interrupter = Interrupter(at, KeyboardInterrupt(), "fit")
        with pytest.raises(KeyboardInterrupt):
            interrupter.run(lambda: algo.fit(OTHER))
        ended.append(algo.trainset is OTHER)
        assert (algo.trainset, answers(algo)) == states[ended[-1]], interrupter.where
        algo.fit(TRAIN)
    assert ended == sorted(ended)
    assert not ended[0]
