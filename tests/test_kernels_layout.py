"""Kernels are compiled for the layout of their arrays: sums over strided ones round otherwise."""

from __future__ import annotations

import pytest
from faults import output

EVERYTHING = """
import gc, warnings
from numba.core import types
from numba.core.dispatcher import Dispatcher
from algorithms import ALGORITHMS, DATA, make
from llmtokens.algorithms.bpmf.sampler import Sampler

train = DATA.dataset.build_full_trainset()
pairs = [(u, i, None) for u in [1, 2, "nobody"] for i in [1, 2, "nothing"]]
warnings.simplefilter("ignore")

def use(algo):
    algo.test(pairs)
    algo.recommend(1, n=3)
    algo.fold_in("new", [(1, 5.0), (2, 1.0)])
    algo.test([("new", i, None) for _, i, _ in pairs])

for name in ALGORITHMS:
    use(make(name).fit(train))

sweep = Sampler.sweep
def interrupted(sampler):
    if sampler.sweeps == 14:
        raise KeyboardInterrupt
    sweep(sampler)
Sampler.sweep = interrupted
use(make("LLMTokensBPMF").fit(train))

compiled = 0
for kernel in gc.get_objects():
    if isinstance(kernel, Dispatcher) and kernel.__module__.startswith("llmtokens.kernels"):
        for signature in kernel.signatures:
            compiled += 1
            for name, kind in zip(kernel.py_func.__code__.co_varnames, signature):
                if isinstance(kind, types.Array) and (kind.layout != "C" or not kind.aligned):
                    print(kernel.__name__, name, kind)
print(compiled)
"""


@pytest.mark.slow
def test_every_kernel_is_given_contiguous_arrays_after_an_interrupt_too():
    *strided, compiled = output(EVERYTHING).splitlines()
    assert strided == []
    assert int(compiled) > 10
