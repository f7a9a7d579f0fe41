"""How much memory does ``fit`` take, as a multiple of the ratings' own size?

A rating's own size is 16 bytes: two int32 ids and a float64. Each algorithm is fitted in a process
of its own to ratings at random, 100 a user, items as popular as in a power law; what counts is the
most memory the process held during ``fit`` above what it held before. Training is short, which
changes the time and not the memory; only LLMTokensBPMF keeps 57 samples by default and 3 here: what
the other 54 take, as its docstring says, is added. The trainset hands out rows from arrays:
10 million ratings in Surprise's own would take some 2 GB before the fit begins.

    python benchmarks/memory.py
    python benchmarks/memory.py --algorithm LLMTokensSVD --ratings 1000000
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import json
import subprocess
import sys
from collections import UserDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from common import save
from surprise import Trainset

import llmtokens
from llmtokens import LLMTokens
from llmtokens.compare import PeakMemory

OWN_SIZE = 16  # bytes a rating
N_DIMS = 64
SIZES = (1_000_000, 10_000_000)
SETTINGS: dict[str, dict[str, Any]] = {
    "LLMTokensSVD": {"n_epochs": 2, "random_state": 0},
    "LLMTokensBPMF": {"n_samples": 10, "burn_in": 0, "random_state": 0},
    "LLMTokensEASE": {},
    "LLMTokensContent": {},
}
MORE_SAMPLES = {"LLMTokensBPMF": 54}
SAMPLE_BYTES = (112, 48)  # a user, an item
N_ITEMS = {"LLMTokensEASE": 1_000}  # its memory grows with the square of the catalogue
MANY_ITEMS = 10_000


class Row:
    """The ratings of one user, as a list of (item, rating) that is not kept."""

    def __init__(self, item: np.ndarray, value: np.ndarray) -> None:
        self.item, self.value = item, value

    def __len__(self) -> int:
        return len(self.item)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.item.tolist(), self.value.tolist(), strict=True)


class Rows(UserDict[int, Row]):
    """``Trainset.ur`` over arrays sorted by user."""

    def __init__(self, item: np.ndarray, value: np.ndarray, ptr: np.ndarray) -> None:
        super().__init__()
        for user, (start, end) in enumerate(zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)):
            self.data[user] = Row(item[start:end], value[start:end])


def generated(n: int, n_items: int) -> tuple[LLMTokens, Trainset]:
    """About ``n`` ratings at random, no pair twice, and tokens for all items."""
    rng = np.random.default_rng(0)
    n_users = max(n // 100, 10)
    popular = (rng.random(n) ** 2 * n_items).astype(np.int64)
    pairs = np.unique(rng.integers(0, n_users, n) * n_items + popular)
    user, item = np.divmod(pairs, n_items)
    present, item = np.unique(item, return_inverse=True)
    ptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))])
    value = rng.integers(1, 6, len(user)).astype(float)
    trainset = Trainset(
        Rows(item.astype(np.int32), value, ptr), {}, n_users, len(present), len(user), (1, 5),
        {user: user for user in range(n_users)},
        {raw: inner for inner, raw in enumerate(present.tolist())},
    )  # fmt: skip
    tokens = LLMTokens.from_embeddings(range(n_items), rng.standard_normal((n_items, N_DIMS)))
    return tokens, trainset


def ratio(name: str, n: int) -> dict[str, float]:
    """Fit once, small, for what is loaded and compiled; then measure."""
    n_items = N_ITEMS.get(name, MANY_ITEMS)
    cls, settings = getattr(llmtokens, name), SETTINGS[name]
    tokens, trainset = generated(5_000, n_items)
    cls(item_tokens=tokens, **settings).fit(trainset)
    tokens, trainset = generated(n, n_items)
    memory = PeakMemory()
    cls(item_tokens=tokens, **settings).fit(trainset)
    sample = np.dot(SAMPLE_BYTES, (trainset.n_users, n_items)) / 1e6
    megabytes = memory.read() + MORE_SAMPLES.get(name, 0) * sample
    return {
        "n_ratings": trainset.n_ratings,
        "n_items": n_items,
        "mb": megabytes,
        "ratio": megabytes * 1e6 / (OWN_SIZE * trainset.n_ratings),
    }


def in_a_process(name: str, n: int) -> dict[str, float]:
    """:func:`ratio` where nothing else is in memory."""
    call = [sys.executable, __file__, "--algorithm", name, "--ratings", str(n)]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--algorithm", choices=SETTINGS, help="measure this one, here")
    arguments.add_argument("--ratings", type=int, default=SIZES[0])
    options = arguments.parse_args()
    if options.algorithm:
        print(json.dumps(ratio(options.algorithm, options.ratings)))
        return
    results: dict[str, Any] = {"bytes_a_rating": OWN_SIZE, "algorithms": {}}
    for name in SETTINGS:
        results["algorithms"][name] = rows = [in_a_process(name, n) for n in SIZES]
        for row in rows:
            print("{name:<18}{n_ratings:>12,} ratings {mb:>8,.0f} MB {ratio:>6.1f} x"
                  .format(name=name, **row), flush=True)  # fmt: skip
    print(save("memory", results))


if __name__ == "__main__":
    main()
