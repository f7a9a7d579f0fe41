"""What does a fit of LLMTokensBPMF cost, against ratings and workers?

Generated ratings, 100 a user, 10,000 items, 16 content dims, 64 token dims. With no workers one
process streams them from disk; with n, a LocalCluster of n processes holds them. Seconds a sweep
are from the difference of two runs; bytes are those of the arrays that a sweep sends to a worker,
and gets from it; memory is the peak of each process. A Surprise Trainset of the same ratings stands
beside, up to --trainset ratings. The last lines say what that makes for a billion ratings on 32
machines.

    python benchmarks/scaling.py --sizes 1000000 5000000 20000000
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bpmf_speed import peak_mb
from common import save

from llmtokens import LLMTokens

N_ITEMS, DIMS, PART = 10_000, 64, 5_000_000
MACHINES, BILLION = 32, 10**9


def generate(n: int, folder: Path) -> None:
    """Parquet files of ``n`` ratings: 100 a user, items as popular as in a power law."""
    for k, first in enumerate(range(0, n, PART)):
        rng, size = np.random.default_rng(k), min(PART, n - first)
        n_users = size // 100
        popular = (rng.random((n_users, 100)) ** 2 * (N_ITEMS - 100)).astype(np.int64)
        popular.sort(axis=1)
        frame = pd.DataFrame({
            "user": np.repeat(np.arange(n_users) + first // 100, 100),
            "item": (popular + np.arange(100)).ravel(),  # so that nobody rates an item twice
            "rating": rng.integers(1, 6, size).astype(np.float32),
        })  # fmt: skip
        frame.to_parquet(folder / f"part-{k:03d}.parquet")


def tokens() -> LLMTokens:
    rng = np.random.default_rng(0)
    return LLMTokens.from_embeddings(range(N_ITEMS), rng.standard_normal((N_ITEMS, DIMS)))


def one_fit(folder: str, workers: int, sweeps: int) -> dict[str, Any]:
    """One fit in this process: when each sweep ended, what went to workers, and peak memory."""
    from llmtokens.algorithms.bpmf.chain import Chain
    from llmtokens.algorithms.bpmf.shards import Shards
    from llmtokens.distributed import cluster, fit_bpmf

    ends: list[Any] = []
    moved, step = [0.0, 0.0], Chain.step  # seconds in the links, or bytes to and from a worker

    def timed(self: Chain) -> None:
        step(self)
        ends.append((time.perf_counter(), time.process_time(), *moved))

    Chain.step = timed  # type: ignore[method-assign]
    given: dict[str, Any] = {"item_tokens": tokens(), "n_samples": 1, "burn_in": sweeps - 1}
    given |= {"random_state": 0, "checkpoint_every": 10**6}
    if not workers:
        drawing = Shards.draw_links

        def clocked(self: Any, *args: Any) -> Any:
            start = time.process_time()
            out = drawing(self, *args)
            moved[0] += time.process_time() - start
            return out

        Shards.draw_links = clocked  # type: ignore[method-assign]
        fit_bpmf(folder, **given)
        return {"ends": ends, "mb": [peak_mb()]}
    from distributed import Client, LocalCluster

    total, links = cluster.Cluster.total, cluster.Cluster.draw_links

    def counted_total(self: Any, phase: Any, *args: Any) -> Any:
        out = total(self, phase, *args)
        moved[0] += size_of(args)
        moved[1] += size_of(out)
        return out

    def counted_links(self: Any, sweep: int, carry: Any, *args: Any) -> Any:
        out = links(self, sweep, carry, *args)
        moved[0] += size_of(carry)
        moved[1] += size_of(out)
        return out

    cluster.Cluster.total = counted_total  # type: ignore[method-assign]
    cluster.Cluster.draw_links = counted_links  # type: ignore[method-assign]
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        fit_bpmf(folder, client=client, **given)
        return {"ends": ends, "mb": [peak_mb(), *client.run(peak_mb).values()]}


def size_of(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(size_of, value)) if isinstance(value, tuple) else 8


def measured(folder: Path, n: int, workers: int, sweeps: int) -> dict[str, Any]:
    """A fit in a process of its own."""
    call = [sys.executable, __file__, "--child", str(folder), str(workers), str(sweeps)]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    ends = np.array(found["ends"])
    gaps = np.diff(ends[1:], axis=0)  # the first sweeps compile
    row = {"n_ratings": n, "workers": workers, "mb": found["mb"]}
    names = ("link_seconds",) if not workers else ("bytes_to_worker", "bytes_from_worker")
    for name, column in zip(("seconds", "cpu_seconds", *names), gaps.T, strict=False):
        row[name] = float(np.median(column))
    line = f"{n:>11,} ratings, {workers} workers: {row['seconds']:.2f} s a sweep, "
    if workers:
        to, back = (row[name] / 2**20 for name in names)
        line += f"{to:.1f} MB to and {back:.1f} MB from each worker, "
    else:
        line += f"{row['cpu_seconds']:.2f} s of CPU, {row['link_seconds']:.2f} of them in links, "
    print(f"{line}peak MB {[round(mb) for mb in row['mb']]}", flush=True)
    return row


def trainset_mb(folder: str) -> float:
    """Peak memory of a Surprise Trainset of the same ratings, its table included."""
    from surprise import Dataset, Reader

    frame = pd.read_parquet(folder)
    Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    return peak_mb()


def extrapolated(rows: list[dict[str, Any]]) -> dict[str, float]:
    """A billion ratings on 32 machines of one core each, from the largest fit without workers.

    The links' columns, in 3 groups, go from machine to machine: 32 + 3 - 1 steps of 32 x 3.
    """
    large = max((row for row in rows if not row["workers"]), key=lambda row: row["n_ratings"])
    links = large["link_seconds"] / large["n_ratings"]
    each = large["cpu_seconds"] / large["n_ratings"] - links
    sent = [row for row in rows if row["workers"]]
    moved = sum(sent[-1][key] for key in ("bytes_to_worker", "bytes_from_worker")) if sent else 0.0
    steps, bandwidth = int(np.ceil(np.log2(MACHINES))), 1.25e9  # bytes a second: 10 gigabits
    found = {
        "seconds_of_ratings": each * BILLION / MACHINES,
        "seconds_of_links": links * BILLION * (MACHINES + 2) / (3 * MACHINES),
        "seconds_of_network": steps * moved / bandwidth,
    }
    total = sum(found.values())
    print(
        f"{BILLION:,} ratings on {MACHINES} machines, a sweep: {each * 1e6:.3f} us a rating x "
        f"{BILLION / MACHINES:,.0f} = {found['seconds_of_ratings']:.1f} s; links "
        f"{links * 1e6:.3f} us x {BILLION:,} x {MACHINES + 2} / {3 * MACHINES} = "
        f"{found['seconds_of_links']:.1f} s; network {moved / 2**20:.1f} MB x {steps} steps at 10 "
        f"Gbit/s = {found['seconds_of_network']:.2f} s; 200 sweeps {200 * total / 3600:.1f} h"
    )
    return found | {"hours_of_200_sweeps": 200 * total / 3600}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--sizes", type=int, nargs="*", default=[1_000_000, 5_000_000, 20_000_000, 50_000_000]
    )
    arguments.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    arguments.add_argument("--most", type=int, default=5_000_000, help="ratings with workers")
    arguments.add_argument("--trainset", type=int, default=5_000_000)
    arguments.add_argument("--sweeps", type=int, default=6)
    arguments.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments.add_argument("--child-trainset", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        folder, workers, sweeps = options.child
        print(json.dumps(one_fit(folder, int(workers), int(sweeps))))
        return
    if options.child_trainset:
        print(trainset_mb(options.child_trainset))
        return
    rows, trainsets = [], []
    for n in options.sizes:
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home)
            generate(n, folder)
            for workers in options.workers:
                if not workers or n <= options.most:
                    rows.append(measured(folder, n, workers, options.sweeps))
            if n <= options.trainset:
                call = [sys.executable, __file__, "--child-trainset", str(folder)]
                done = subprocess.run(call, check=True, capture_output=True, text=True)
                trainsets.append({"n_ratings": n, "mb": float(done.stdout)})
                print(f"{n:>11,} ratings: Surprise Trainset, peak {float(done.stdout):,.0f} MB")
    results = {"rows": rows, "trainset": trainsets, "billion": extrapolated(rows)}
    print(save("scaling", results))


if __name__ == "__main__":
    main()
