"""Top-10 lists for every user: ``recommend_all`` beside the recipe of Surprise's FAQ.

The recipe is ``build_anti_testset``, a prediction for every pair, and a sort of every user's. Both
work on the same model (``LLMTokensSVD`` without tokens equals ``surprise.SVD`` to the last bit),
each in a fresh process that measures its own seconds and peak memory; then the lists are compared.
Both sort by what ``recommend`` sorts by, ``log(n_i + 1/2) + log Phi((est - mean) / s)``, of
estimates that are not cut off at the ends of the scale. Two lists are the same if these scores are:
ties may come in any order.

    python benchmarks/recommend.py --data ml-latest-small
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from common import load, movie_tokens, parser, save
from scipy import special
from surprise import SVD

from llmtokens import LLMTokensSVD
from llmtokens.compare import PeakMemory

N = 10
Lists = dict[Any, list[tuple[Any, float]]]


def by_recipe(folder: str) -> tuple[float, float, Lists]:
    """Seconds, MB, and the lists of Surprise's FAQ."""
    trainset = load(folder).dataset.build_full_trainset()
    algo = SVD(random_state=0).fit(trainset)
    memory, start = PeakMemory(), time.perf_counter()
    pairs = [(uid, iid) for uid, iid, _ in trainset.build_anti_testset()]
    est = np.array([algo.predict(uid, iid, clip=False).est for uid, iid in pairs])
    values = np.array([rating for _, _, rating in trainset.all_ratings()])
    counts = np.array([len(trainset.ir[trainset.to_inner_iid(iid)]) for _, iid in pairs])
    liked = special.log_ndtr((est - trainset.global_mean) / values.std())
    top: Lists = defaultdict(list)
    for (uid, iid), score in zip(pairs, (np.log(counts + 0.5) + liked).tolist(), strict=True):
        top[uid].append((iid, score))
    for uid, rated in top.items():
        rated.sort(key=lambda pair: pair[1], reverse=True)
        top[uid] = rated[:N]
    return time.perf_counter() - start, memory.read(), dict(top)


def by_blocks(folder: str) -> tuple[float, float, Lists]:
    """The same by ``recommend_all``."""
    trainset = load(folder).dataset.build_full_trainset()
    algo = LLMTokensSVD(shuffle=False, dtype="float64", random_state=0).fit(trainset)
    algo.recommend(trainset.to_raw_uid(0))  # compile before the clock runs
    memory, start = PeakMemory(), time.perf_counter()
    frame = algo.recommend_all(N)
    seconds, peak = time.perf_counter() - start, memory.read()
    top: Lists = defaultdict(list)
    for line in frame.itertuples():
        top[line.user].append((line.item, line.score))
    return seconds, peak, dict(top)


def compare(theirs: Lists, ours: Lists) -> dict[str, float]:
    """Shares of users whose lists are the same item by item, and the same but for ties."""
    assert theirs.keys() == ours.keys()
    same = [[i for i, _ in theirs[u]] == [i for i, _ in ours[u]] for u in theirs]
    level = [
        np.allclose([e for _, e in theirs[u]], [e for _, e in ours[u]], atol=1e-9) for u in theirs
    ]
    return {"identical": float(np.mean(same)), "same_but_for_ties": float(np.mean(level))}


def question_ms(folder: str, repeats: int) -> dict[str, float]:
    """Milliseconds of one ``recommend`` and one ``ask`` (a new text each time), medians."""
    data = load(folder)
    algo = LLMTokensSVD(item_tokens=movie_tokens(data), random_state=0)
    algo.fit(data.dataset.build_full_trainset())
    users = data.ratings["user"].unique()[: repeats + 1]
    times: dict[str, list[float]] = {"recommend": [], "ask": []}
    for k, uid in enumerate(users):
        for name, call in {
            "recommend": lambda uid=uid: algo.recommend(uid),
            "ask": lambda uid=uid, k=k: algo.ask(f"a quiet film about {k} robots", uid=uid),
        }.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(ms[1:])) for name, ms in times.items()}


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=30)
    options = arguments.parse_args()

    found = []
    for work in (by_recipe, by_blocks):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(work, options.data).result())
    (slow, much, theirs), (fast, little, ours) = found
    agreement = compare(theirs, ours)
    assert agreement["same_but_for_ties"] == 1, "the lists differ: their speed means nothing"
    results = {
        "data": load(options.data).name,
        "n_users": len(ours),
        "n": N,
        "seconds": {"recipe": slow, "recommend_all": fast},
        "peak_mb": {"recipe": much, "recommend_all": little},
        "ratio": slow / fast,
        **agreement,
        "ms": question_ms(options.data, options.repeats),
    }
    print(f"recipe         {slow:8.2f} s {much:8.0f} MB")
    print(f"recommend_all  {fast:8.2f} s {little:8.0f} MB, {slow / fast:.0f} x faster")
    print(f"lists          {agreement['identical']:.1%} identical, all the same but for ties")
    for name, ms in results["ms"].items():
        print(f"{name:<14} {ms:8.1f} ms")
    print(save("recommend", results))


if __name__ == "__main__":
    main()
