"""How fast is LLMTokensBPMF beside myFM's MyFMRegressor, and how does its cost grow?

One thread, CPU seconds. Both factorise the ratings of the data set at rank 10 with 200 iterations,
all text features of the items and histories of the users as side information; LLMTokensBPMF fits
its 16 content dims, links and precisions besides. myFM lives in a virtual environment of its own
(it needs setuptools < 80). The cost of a sweep is then measured on generated ratings.

    python benchmarks/bpmf_speed.py --data ml-latest-small
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
from common import load, movie_tokens, parser, save

from llmtokens import LLMTokens
from llmtokens.algorithms.bpmf import LLMTokensBPMF
from llmtokens.algorithms.bpmf.features import Known, centred_lead, histories
from llmtokens.data.entities import EntityIndex
from llmtokens.data.ratings import Ratings

SWEEPS = 200
MYFM = """
import json, sys, time
import numpy as np, scipy.sparse as sp, myfm
d = np.load(sys.argv[1])
block = lambda x: sp.hstack([sp.eye(len(x)), sp.csr_matrix(x)]).tocsr()
blocks = [myfm.RelationBlock(d[k], block(d[k + "_x"])) for k in ("user", "item")]
fm = myfm.MyFMRegressor(rank=10, random_seed=0)
start = time.process_time()
fm.fit(None, d["y"], X_rel=blocks, n_iter=int(sys.argv[2]), n_kept_samples=1)
print(json.dumps(time.process_time() - start))
"""
CHILD = """
import json, sys, time
sys.path.insert(0, sys.argv[3])
from bpmf_speed import generated, peak_mb
from llmtokens.algorithms.bpmf import LLMTokensBPMF
tokens, ratings, users, items = generated(int(sys.argv[1]))
algo = LLMTokensBPMF(tokens, n_samples=1, burn_in=int(sys.argv[2]) - 1, random_state=0)
before = peak_mb()
start = time.process_time()
algo._learn(ratings, users, items)
print(json.dumps([time.process_time() - start, before, peak_mb()]))
"""


def generated(n: int) -> tuple[LLMTokens, Ratings, EntityIndex, EntityIndex]:
    """About ``n`` ratings at random: 100 a user, items as popular as in a power law."""
    rng = np.random.default_rng(0)
    n_users, n_items = max(n // 100, 10), 10_000
    popular = (rng.random(n) ** 2 * n_items).astype(np.int64)
    pairs = np.unique(rng.integers(0, n_users, n) * n_items + popular)
    user, item = np.divmod(pairs, n_items)
    present, item = np.unique(item, return_inverse=True)
    counts = np.bincount(user, minlength=n_users)
    ratings = Ratings(
        user.astype(np.int32), item.astype(np.int32), rng.integers(1, 6, len(user)).astype(float),
        np.concatenate([[0], np.cumsum(counts)]), (1.0, 5.0), list(range(n_users)),
        present.tolist(),
    )  # fmt: skip
    tokens = LLMTokens.from_embeddings(range(n_items), rng.standard_normal((n_items, 64)))
    return (
        tokens, ratings, EntityIndex.build("user", ratings.user_ids, None),
        EntityIndex.build("item", ratings.item_ids, tokens),
    )  # fmt: skip


def peak_mb() -> float:
    """Peak resident memory of this process; ``ru_maxrss`` would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def seconds_of_myfm(home: Path, data: Path) -> float:
    """CPU seconds of its fit; installs it first where it is not yet."""
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "setuptools<80", "wheel", "pybind11", "numpy", "scipy"], check=True)
        subprocess.run([*pip, "--no-build-isolation", "myfm"], check=True)
    call = [str(python), "-c", MYFM, str(data), str(SWEEPS)]
    return float(json.loads(subprocess.run(call, check=True, capture_output=True).stdout))


def growth(sizes: list[int]) -> list[dict[str, float]]:
    """CPU seconds a sweep, from the difference of two runs, and peak memory, by ratings."""
    rows = []
    for n in sizes:
        runs = []
        for sweeps in (2, 7):
            call = [sys.executable, "-c", CHILD, str(n), str(sweeps), str(Path(__file__).parent)]
            done = subprocess.run(call, check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout))
        rows.append({
            "n_ratings": n, "seconds_a_sweep": (runs[1][0] - runs[0][0]) / 5,
            "mb_before_fit": runs[1][1], "mb_peak": runs[1][2],
        })  # fmt: skip
        print("{n_ratings:>10,} ratings {seconds_a_sweep:8.3f} s a sweep, peak {mb_peak:,.0f} MB"
              .format(**rows[-1]))  # fmt: skip
    return rows


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--sizes", type=int, nargs="*", default=[100_000, 1_000_000, 5_000_000])
    arguments.add_argument("--myfm", default=str(Path(tempfile.gettempdir()) / "llmtokens-myfm"),
                           help="virtual environment with myFM, made where missing")  # fmt: skip
    options = arguments.parse_args()

    data = load(options.data)
    tokens = movie_tokens(data)
    trainset = data.dataset.build_full_trainset()
    ratings = Ratings.from_trainset(trainset)
    users, items = (EntityIndex.build("user", ratings.user_ids, None),
                    EntityIndex.build("item", ratings.item_ids, tokens))  # fmt: skip
    text = Known.of(users, items, 16).text[: ratings.n_items]
    history = histories(ratings.user_ptr, ratings.item, centred_lead(text, ratings.item_counts))
    history /= np.sqrt(np.mean(history**2))
    LLMTokensBPMF(tokens, n_samples=1, burn_in=1).fit(trainset)  # compile before the clock runs

    theirs, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "data.npz"
        np.savez(arrays, user=ratings.user.astype(np.int64), item=ratings.item.astype(np.int64),
                 y=ratings.value, item_x=text, user_x=history)  # fmt: skip
        for _ in range(options.repeats):
            algo = LLMTokensBPMF(tokens, n_samples=SWEEPS - 30, burn_in=30, random_state=0)
            start = time.process_time()
            algo.fit(trainset)
            ours.append(time.process_time() - start)
            theirs.append(seconds_of_myfm(Path(options.myfm), arrays))
    results = {
        "data": data.name,
        "n_ratings": trainset.n_ratings,
        "sweeps": SWEEPS,
        "seconds": {"myFM": statistics.median(theirs), "LLMTokensBPMF": statistics.median(ours)},
        "ratio": statistics.median(a / b for a, b in zip(theirs, ours, strict=True)),
        "mb_peak": peak_mb(),
        "mb_posterior": sum(
            x.nbytes for x in algo.model_.arrays().values() if isinstance(x, np.ndarray)
        )
        / 2**20,
    }
    for name, value in results["seconds"].items():
        print(f"{name:<16}{value:8.2f} s")
    print(f"{results['ratio']:.1f} x faster than myFM")
    results["growth"] = growth(options.sizes)
    print(save("bpmf_speed", results))


if __name__ == "__main__":
    main()
