"""Does LLMTokensEASE with text fit a catalogue of 20,000 items into 4 GB?

Random ratings of a popularity like a power law, random tokens: what counts is the most memory the
whole process ever held, libraries and data included, and not how well it ranks. ``fit`` chooses
its parameters; then a new user and a new item are learned.

    python benchmarks/catalogue.py --items 20000
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
from common import save
from surprise import Dataset, Reader

from llmtokens import LLMTokens, LLMTokensEASE

LIMIT_GB = 4.0


def measured(n_items: int, n_users: int, n_ratings: int, n_dims: int) -> dict[str, float]:
    """Peak GB of this process, and CPU seconds."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(10, n_items + 10)
    item = np.append(np.arange(n_items), rng.choice(n_items, n_ratings, p=share / share.sum()))
    pairs = pd.DataFrame({"user": rng.integers(0, n_users, len(item)), "item": item})
    frame = pairs.drop_duplicates().assign(rating=lambda f: rng.integers(1, 6, len(f)))
    tokens = LLMTokens.from_embeddings(range(n_items), rng.normal(size=(n_items, n_dims)))
    trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    seconds, start = {}, time.process_time()
    algo = LLMTokensEASE(item_tokens=tokens).fit(trainset)
    seconds["fit, s"] = time.process_time() - start
    start = time.process_time()
    algo.fold_in("new", dict.fromkeys(range(20), 5.0))
    seconds["fold_in, s"] = time.process_time() - start
    start = time.process_time()
    algo.fold_in_item("new", ratings=dict.fromkeys(frame["user"].unique()[:20].tolist(), 5.0))
    seconds["fold_in_item, s"] = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"ratings": trainset.n_ratings, "peak, GB": peak, **seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--users", type=int, nargs="+", default=[600, 5000])
    parser.add_argument("--ratings", type=int, default=500_000)
    parser.add_argument("--dims", type=int, default=128)
    options = parser.parse_args()
    results = {"items": options.items, "limit, GB": LIMIT_GB, "users": {}}
    for n_users in options.users:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            work = pool.submit(measured, options.items, n_users, options.ratings, options.dims)
            found = results["users"][n_users] = work.result()
        print(n_users, "users:", {name: round(value, 2) for name, value in found.items()})
        assert options.items > 20_000 or found["peak, GB"] < LIMIT_GB
    print(save("catalogue", results))


if __name__ == "__main__":
    main()
