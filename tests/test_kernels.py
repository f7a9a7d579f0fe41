"""A kernel does what its plain Python does, on whatever a fit hands it."""

from __future__ import annotations

import copy

import numba
import numpy as np
import pytest
from algorithms import DATA, make

from llmtokens.kernels import drift, gibbs, links, selection, sgd

KERNELS = {
    f"{module.__name__.split('.')[-1]}.{name}": (module, name)
    for module in (drift, gibbs, links, selection, sgd)
    for name, kernel in vars(module).items()
    if hasattr(kernel, "py_func") and not name.startswith("_")
}


@pytest.fixture(scope="module")
def calls():
    """The first call of every kernel: arguments before it, and these and the result after it."""
    seen = {}
    before_it = numba.get_num_threads()
    numba.set_num_threads(1)  # another thread would write its own rows meanwhile

    def watched(label, kernel):
        def call(*arguments):
            before = copy.deepcopy(arguments) if label not in seen else None
            found = kernel(*arguments)
            if before is not None:
                seen[label] = before, copy.deepcopy((*arguments, found))
            return found

        call.py_func = kernel.py_func
        return call

    train = DATA.dataset.build_full_trainset()
    pairs = train.build_testset()[:40]
    with pytest.MonkeyPatch.context() as patch:
        for label, (module, name) in KERNELS.items():
            patch.setattr(module, name, watched(label, getattr(module, name)))
        for name, changes in (
            ("LLMTokensSVD, users", {"n_epochs": 1, "timestamps": DATA.ratings}),
            ("LLMTokensSVD, no tokens", {"n_epochs": 1, "dtype": "float64"}),
            ("LLMTokensBPMF, users", {"n_samples": 2, "timestamps": DATA.ratings}),
        ):
            make(name, **changes).fit(train).test(pairs)
    numba.set_num_threads(before_it)
    return seen


def arrays(arguments):
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from arrays(argument)
        elif isinstance(argument, np.ndarray):
            yield argument


@pytest.mark.parametrize("label", KERNELS)
def test_a_kernel_does_what_its_plain_python_does(calls, label):
    before, after = calls[label]
    module, name = KERNELS[label]
    found = getattr(module, name).py_func(*before)
    for plain, compiled in zip(arrays((*before, found)), arrays(after), strict=True):
        close = 1e-3 if plain.dtype == np.float32 else 1e-7
        size = float(np.abs(plain[np.isfinite(plain)]).max(initial=0.0))
        np.testing.assert_allclose(compiled, plain, rtol=close, atol=close * size)
