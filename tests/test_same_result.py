"""Same seed, same result: for every algorithm, however and wherever it runs.

One and two jobs of Surprise's tools are compared in ``test_contract.py``.

``HYPOTHESIS_PROFILE=long`` tries 100 random data sets per algorithm instead of 2.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, USER_TOKENS, full, make
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import llmtokens
from llmtokens import LLMTokens
from llmtokens.errors import LLMTokensWarning

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
some_data = settings(
    max_examples=100 if LONG else 2,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate] if not LONG else [Phase.generate, Phase.shrink],
)
USERS, ITEMS = USER_TOKENS.ids[:12], TOKENS.ids[:20]


@st.composite
def tables(draw):
    """Ratings of known users and items, and their scale."""
    low, high = draw(st.sampled_from([(1.0, 5.0), (-10.0, 10.0), (0.0, 1.0)]))
    row = st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS), st.floats(low, high))
    return draw(st.lists(row, min_size=2, max_size=60)), (low, high)


def estimates(algo):
    pairs = [(u, i, None) for u in [*USERS[:6], "nobody"] for i in [*ITEMS[:9], "nothing"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LLMTokensWarning)
        return [(p.est, p.details.get("std")) for p in algo.test(pairs)]


def fitted(name, rows, scale, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LLMTokensWarning)
        return make(name, **changes).fit(full(rows, scale))


@pytest.mark.parametrize("name", ALGORITHMS)
@given(table=tables(), other=tables())
@some_data
def test_again_refitted_saved_pickled_or_on_two_threads_it_is_the_same(name, table, other):
    import numba
    from threadpoolctl import threadpool_limits

    first = fitted(name, *table)
    expected = estimates(first)
    assert estimates(fitted(name, *table)) == expected

    used = fitted(name, *other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LLMTokensWarning)
        used.fit(full(*table))
    assert estimates(used) == expected
    assert estimates(pickle.loads(pickle.dumps(first))) == expected

    with tempfile.TemporaryDirectory() as folder:
        first.save(Path(folder, "model"))
        assert estimates(llmtokens.load(Path(folder, "model"))) == expected

    threads = numba.get_num_threads()
    try:
        for n in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(n)
            with threadpool_limits(n):
                assert estimates(fitted(name, *table)) == expected
    finally:
        numba.set_num_threads(threads)


ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))[:1200]
SCALE = DATA.rating_scale


def everything():
    """Estimates of all algorithms, with two threads where there may be two."""
    return {
        name: estimates(fitted(name, ROWS, SCALE, **({"n_threads": 2} if "BPMF" in name else {})))
        for name in ALGORITHMS
    }


def _send(pipe):
    pipe.send(everything())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_process_that_was_spawned_or_forked_gives_the_same(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    here = everything()
    context = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs,))
    process.start()
    theirs.close()
    assert mine.poll(600), "no answer"
    assert mine.recv() == here
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if "SVD" in name])
@given(table=tables())
@some_data
def test_single_precision_differs_from_double_by_less_than_a_hundred_thousandth(name, table):
    single, double = (
        np.array([est for est, _ in estimates(fitted(name, *table, dtype=dtype))])
        for dtype in ("float32", "float64")
    )
    low, high = table[1]
    assert np.abs(single - double).max() <= 1e-5 * (high - low)


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "item_tokens" in ALGORITHMS[n][1]])
def test_embeddings_in_single_or_double_precision_are_the_same_embeddings(name):
    vectors = np.random.default_rng(0).normal(size=(len(ITEMS), 5)).astype(np.float32)
    one, two = (
        LLMTokens.from_embeddings(ITEMS, array) for array in (vectors, vectors.astype(np.float64))
    )
    rows = [row for row in ROWS if row[1] in set(ITEMS)]
    a, b = (estimates(fitted(name, rows, SCALE, item_tokens=tokens)) for tokens in (one, two))
    assert a == b
