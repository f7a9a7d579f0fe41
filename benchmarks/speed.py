"""How fast is LLMTokensSVD beside Surprise's SVD, on one thread and on two? Medians of ratios.

The ratings of the data set are repeated under new user ids until there are about a million. First
the script checks that both compute the same model (bit for bit, without tokens), then it times
``fit`` at 100 factors and 20 epochs with everything a user pays for, ``test``, and the import: CPU
seconds of one thread, and of ``fit`` on two threads the time on the clock.

    python benchmarks/speed.py --data ml-latest-small
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="2")

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numba
import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from surprise import SVD, AlgoBase, Dataset, Reader, Trainset

from llmtokens import LLMTokensSVD
from llmtokens.datasets import RatingData


def enlarged(data: RatingData, n: int) -> Trainset:
    """The ratings over and over, each time by new users, until there are about ``n``."""
    frame = data.ratings[["user", "item", "rating"]]
    top = int(frame["user"].max()) + 1
    copies = [frame.assign(user=frame["user"] + top * k) for k in range(round(n / len(frame)))]
    reader = Reader(rating_scale=data.rating_scale)
    return Dataset.load_from_df(pd.concat(copies), reader).build_full_trainset()


def same_model(trainset: Trainset) -> bool:
    """Whether both give equal parameters, to the last bit, where no tokens are involved."""
    theirs = SVD(n_epochs=2, random_state=0).fit(trainset)
    ours = LLMTokensSVD(n_epochs=2, shuffle=False, dtype="float64", random_state=0).fit(trainset)
    return all(
        np.array_equal(getattr(ours, x), getattr(theirs, x)) for x in ("bu", "bi", "pu", "qi")
    )


def seconds(call: Callable[[], object], n_threads: int = 1) -> tuple[float, float]:
    """Of one call in this process: CPU seconds, and those on the clock."""
    numba.set_num_threads(n_threads)
    start = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - start[0], time.perf_counter() - start[1]


def import_seconds(module: str) -> float:
    """Wall seconds of ``import module`` in a fresh interpreter."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(out.stdout)


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--ratings", type=int, default=1_000_000)
    arguments.add_argument("--repeats", type=int, default=5)
    options = arguments.parse_args()

    data = load(options.data)
    tokens = movie_tokens(data)
    trainset = enlarged(data, options.ratings)
    small = data.dataset.build_full_trainset()
    assert same_model(small), "the two models differ: a comparison of their speed means nothing"
    LLMTokensSVD(item_tokens=tokens, n_epochs=1).fit(small)  # compile before the clock runs

    pairs = trainset.build_testset()[:200_000]
    theirs, ours = SVD(n_epochs=20), LLMTokensSVD(item_tokens=tokens, n_factors=100, n_epochs=20)
    rows: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for name, call in {
            "surprise.SVD fit": lambda: theirs.fit(trainset),
            "LLMTokensSVD fit": lambda: ours.fit(trainset),
            "AlgoBase test": lambda: AlgoBase.test(theirs, pairs),
            "LLMTokensSVD test": lambda: ours.test(pairs),
        }.items():
            spent, clock = seconds(call)
            rows.setdefault(name, []).append(spent)
            rows.setdefault(f"{name}, clock", []).append(clock)
        two = seconds(lambda: ours.fit(trainset), n_threads=2)
        rows.setdefault("LLMTokensSVD fit on two threads, clock", []).append(two[1])
        for module in ("surprise", "llmtokens"):
            rows.setdefault(f"import {module}", []).append(import_seconds(module))

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(a / b for a, b in zip(rows[slow], rows[fast], strict=True))

    results = {
        "data": data.name,
        "n_ratings": trainset.n_ratings,
        "n_test": len(pairs),
        "seconds": {name: statistics.median(times) for name, times in rows.items()},
        "fit_ratio": ratio("surprise.SVD fit", "LLMTokensSVD fit"),
        "two_threads_ratio": ratio(
            "surprise.SVD fit, clock", "LLMTokensSVD fit on two threads, clock"
        ),
        "test_ratio": ratio("AlgoBase test", "LLMTokensSVD test"),
        "import_ms": 1e3
        * statistics.median(
            b - a for a, b in zip(rows["import surprise"], rows["import llmtokens"], strict=True)
        ),
    }
    for name, value in results["seconds"].items():
        print(f"{name:<40}{value:8.3f} s")
    print(f"fit   {results['fit_ratio']:.1f} x faster than surprise.SVD")
    print(f"      {results['two_threads_ratio']:.1f} x on two threads")
    print(f"test  {results['test_ratio']:.1f} x faster than AlgoBase.test")
    print(f"import llmtokens: {results['import_ms']:+.0f} ms beside import surprise")
    print(save("speed", results))


if __name__ == "__main__":
    main()
