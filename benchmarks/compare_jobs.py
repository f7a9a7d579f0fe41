"""What do two processes give? ``compare`` with ``n_jobs`` 1 and 2: the same values, in what time?

Seven algorithms on five folds of two splits. Each run is in a fresh process, as a user's is: so the
start of the workers, their imports and what they compile are in the seconds. Take a machine with
two idle cores.

    python benchmarks/compare_jobs.py --data ml-latest-small
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
from common import load, movie_tokens, parser, save
from joblib.externals.loky import get_reusable_executor
from surprise import SVD, BaselineOnly, KNNBaseline
from surprise.model_selection import KFold

from llmtokens import LLMTokensContent, LLMTokensSVD
from llmtokens.compare import compare
from llmtokens.controls import UserMean, shuffled
from llmtokens.model_selection import ColdItemKFold

COSTS = ["fit_time", "test_time", "peak_memory"]


def seconds(folder: str, n_jobs: int) -> tuple[float, float, pd.DataFrame]:
    """Wall seconds of one comparison, CPU seconds of all its processes, and its values."""
    data = load(folder)
    tokens = movie_tokens(data)
    item_item = {"name": "pearson_baseline", "user_based": False}
    algorithms = {
        "user mean": UserMean(),
        "BaselineOnly": BaselineOnly(verbose=False),
        "SVD": SVD(random_state=0),
        "KNNBaseline": KNNBaseline(sim_options=item_item, verbose=False),
        "LLMTokensContent": LLMTokensContent(tokens),
        "LLMTokensSVD": LLMTokensSVD(item_tokens=tokens, random_state=0),
        "shuffled tokens": LLMTokensSVD(item_tokens=shuffled(tokens), random_state=0),
    }
    splits = {"warm": KFold(5, random_state=0), "cold-item": ColdItemKFold(5, random_state=0)}
    before, start = cpu_seconds(), time.perf_counter()
    found = compare(algorithms, data, splits, n_jobs=n_jobs, progress=False)
    wall = time.perf_counter() - start
    get_reusable_executor().shutdown()  # what children used is known when they are gone
    return wall, cpu_seconds() - before, found.table.drop(columns=COSTS)


def cpu_seconds() -> float:
    """Of this process and the children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    times: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    tables = []
    for _ in range(options.repeats):
        for n_jobs, taken in times.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                wall, used, table = pool.submit(seconds, options.data, n_jobs).result()
            taken.append(round(wall, 3))
            cpu[n_jobs].append(round(used, 3))
            tables.append(table)
            print(f"n_jobs={n_jobs}: {wall:.2f} s, {used:.2f} s of CPU", flush=True)
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)
    ratio = min(times[2]) / min(times[1])
    print(f"2 jobs take {ratio:.2f} of the time of 1, same values to the last bit")
    results = {
        "data": load(options.data).name,
        "seconds": {str(n_jobs): taken for n_jobs, taken in times.items()},
        "cpu_seconds": {str(n_jobs): used for n_jobs, used in cpu.items()},
        "ratio": round(ratio, 3),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "same_values": True,
    }
    print(save("compare_jobs", results))


if __name__ == "__main__":
    main()
