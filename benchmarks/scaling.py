"""What does a fit of LLMTokensBPMF cost, against ratings and workers?

Generated ratings in files of Parquet, 100 a user, 10,000 items, 16 content dims, 64 token dims.
Without workers one process fits them from disk; with n, n processes of one thread do, a Dask
cluster beside the client, which is a process of its own. Printed are medians over sweeps of
seconds, seconds of CPU of all who sample, and those of one process in the links; how often in a
sweep workers wait for each other, and the bytes that go between two of them; the peak memory of the
client and of each worker. A Surprise Trainset of the same ratings stands beside, up to --trainset
ratings. The last lines say what that makes for a billion ratings on 32 machines.

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
from itertools import pairwise
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
    """One fit in this process: what was noted of each sweep, and peak memory."""
    from llmtokens.distributed import fit_bpmf

    given: dict[str, Any] = {"item_tokens": tokens(), "n_samples": 1, "burn_in": sweeps - 1}
    given |= {"random_state": 0, "checkpoint_every": 10**6}
    if not workers:
        instrument()
        start = time.perf_counter()
        fit_bpmf(folder, **given)
        return {"sweeps": noted(), "seconds": time.perf_counter() - start, "mb": [peak_mb()]}
    from distributed import Client

    call = [sys.executable, __file__, "--cluster", str(workers)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        with Client(other.stdout.readline().strip()) as client:
            client.run(instrument)
            start = time.perf_counter()
            fit_bpmf(folder, client=client, **given)
            seconds, found = time.perf_counter() - start, client.run(noted)
            memory = [peak_mb(), *client.run(peak_mb).values()]
        other.stdin.close()
    lead = max(
        found.values(), key=lambda sweeps: (len(sweeps) > 1, sum(x["rounds"] for x in sweeps))
    )
    for sweep, *others in zip(lead, *(x for x in found.values() if x is not lead), strict=False):
        sweep["cpu"] += sum(other["cpu"] for other in others)
    return {"sweeps": lead, "seconds": seconds, "mb": memory}


def cluster_of(workers: int) -> None:
    """A cluster, until standard input is closed; prints its address."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    ) as local:
        print(local.scheduler_address, flush=True)
        sys.stdin.read()


def instrument() -> None:
    """Have this process take notes, sweep by sweep, of what it does and sends."""
    import time

    from llmtokens.algorithms.bpmf import chain, shards
    from llmtokens.distributed import cluster

    chain.notes = notes = []  # type: ignore[attr-defined]
    moved = dict.fromkeys(("link_cpu", "rounds", "bytes_to_worker", "bytes_from_worker"), 0.0)

    def size_of(value: Any) -> int:
        if hasattr(value, "nbytes"):
            return int(value.nbytes)
        return sum(map(size_of, value)) if isinstance(value, tuple) else 8

    def note() -> None:
        notes.append({"end": time.perf_counter(), "cpu": time.process_time(), **moved})

    def after(owner: Any, name: str, then: Any) -> None:
        method = getattr(owner, name)

        def noted(self: Any, *args: Any) -> Any:
            start = time.process_time()
            out = method(self, *args)
            then(self, out, start, *args)
            return out

        setattr(owner, name, noted)

    def links(self: Any, out: Any, start: float, *args: Any) -> None:
        moved["link_cpu"] += time.process_time() - start

    def sent(self: Any, out: Any, start: float, *args: Any) -> None:
        if self._others:
            moved["rounds"] += 1
            moved["bytes_to_worker"] += size_of(args)
            moved["bytes_from_worker"] += size_of(out)

    after(chain.Chain, "step", lambda *_: note())
    after(shards.Shards, "draw_links", links)
    for name in ("total", "draw_links"):
        after(cluster.Cluster, name, sent)
    after(  # those who do not lead end a sweep with it
        cluster.Host, "partial",
        lambda self, out, start, phase, *_: note() if phase.__name__ == "close_links" else None,
    )  # fmt: skip


def noted() -> list[dict[str, float]]:
    """What was noted of each sweep but the first two, which compile."""
    from llmtokens.algorithms.bpmf import chain

    notes = chain.notes[1:]  # type: ignore[attr-defined]
    return [{k: b[k] - a[k] for k in a} for a, b in pairwise(notes)]


def measured(folder: Path, n: int, workers: int, sweeps: int) -> dict[str, Any]:
    """A fit in a process of its own."""
    call = [sys.executable, __file__, "--child", str(folder), str(workers), str(sweeps)]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    row = {"n_ratings": n, "workers": workers, "mb": found["mb"], "fit_seconds": found["seconds"]}
    names = {"seconds": "end", "cpu_seconds": "cpu"}
    names |= {"link_seconds": "link_cpu"} if not workers else {
        name: name for name in ("rounds", "bytes_to_worker", "bytes_from_worker")
    }  # fmt: skip
    for name, key in names.items():
        row[name] = float(np.median([sweep[key] for sweep in found["sweeps"]]))
    line = f"{n:>11,} ratings, {workers} workers: {row['seconds']:.3f} s a sweep, "
    line += f"{row['cpu_seconds']:.3f} s of CPU, "
    if workers:
        to, back = (row[name] / 2**20 for name in list(names)[-2:])
        line += f"{row['rounds']:.0f} rounds, {to:.1f} MB to and {back:.1f} MB from each worker, "
    else:
        line += f"{row['link_seconds']:.3f} of them in links, "
    line += f"whole fit {row['fit_seconds']:.0f} s, "
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
    arguments.add_argument("--cluster", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--child-trainset", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        folder, workers, sweeps = options.child
        print(json.dumps(one_fit(folder, int(workers), int(sweeps))))
        return
    if options.cluster:
        cluster_of(options.cluster)
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
