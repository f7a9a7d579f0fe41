"""What comes next: NDCG@10 and recall@10 over the whole catalogue, for one item a user.

Two protocols. *last*: the last rating of each user is held out, and other users' later ratings are
known. *cut*: nothing after one moment is known, and each user's first new item after it is to be
found; few come back, so it is asked at four moments. Everything rated counts as chosen. *shuffled*
is the control: the last item is held out by the true times, and the model is told the user's times
in random order. SASRec is asked about the last item alone.

SASRec runs in an environment of its own (see ``peers.py``). Two generated sets come first: a news
feed, every morning's articles to be ranked among all by text alone, and a shop, whose next purchase
is looked for.

    python benchmarks/sequence.py --data ml-latest-small
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import load, movie_tokens, save
from peer_libraries.driver import read
from peer_libraries.environments import installed, run
from peers import Codes, peer_parser
from ranking import Scored
from scipy import sparse
from surprise import AlgoBase, Trainset

from llmtokens import LLMTokens, LLMTokensContent, LLMTokensEASE
from llmtokens.controls import Popularity
from llmtokens.data.timestamps import Timestamps
from llmtokens.datasets import RatingData, load_events, news_feed, shop_events
from llmtokens.metrics import ndcg_at_k, precision_at_k, rank_all, recall_at_k
from llmtokens.model_selection import GlobalTimeSplit, NextItemSplit

SASREC = ["torch", "pytorch-lightning", "implicit", "typeguard", "attrs", "pydantic", "pandas<3"]
PROTOCOLS = {
    "last": [NextItemSplit()],
    "cut": [GlobalTimeSplit(share) for share in (0.65, 0.5, 0.35, 0.2)],
}
DAY = 86_400
Fold = tuple[Trainset, list[Any]]


class RecentNeighbours(Scored):
    """Item-kNN: cosines between items, a history that halves with every few items."""

    def __init__(self, codes: Codes, times: Timestamps, half: float = 3.0) -> None:
        super().__init__(codes, np.zeros(0))
        self.times, self.half = times, half

    def fit(self, trainset: Trainset) -> RecentNeighbours:
        super().fit(trainset)
        shape = len(self.codes.users), len(self.codes.items)
        pairs = [
            (trainset.to_raw_uid(u), trainset.to_raw_iid(i)) for u, i, _ in trainset.all_ratings()
        ]
        when = self.times.of_pairs(*zip(*pairs, strict=True))
        users = np.array([self.codes.users[u] for u, _ in pairs])
        items = np.array([self.codes.items[i] for _, i in pairs])
        order = np.lexsort((when, users))
        users, items = users[order], items[order]
        back = np.cumsum(np.bincount(users))[users] - 1 - np.arange(len(users))
        seen = sparse.csr_array((np.ones(len(users)), (users, items)), shape=shape)
        norm = sparse.diags_array(1 / np.sqrt(np.maximum(seen.sum(axis=0), 1)))
        recent = sparse.csr_array((0.5 ** (back / self.half), (users, items)), shape=shape)
        self.scores = (recent @ (norm @ (seen.T @ seen) @ norm)).toarray()
        return self


def measured(make: Callable[[], AlgoBase], folds: list[Fold]) -> dict[str, float]:
    """NDCG@10 and recall@10 over the users of all folds, and CPU seconds of a fit."""
    found = []
    for train, test in folds:
        algo, start = make(), time.process_time()
        algo.fit(train)
        seconds = time.process_time() - start
        lists = rank_all(algo, test, n=10)
        measures = (measure(lists, k=10, relevant=0.0) for measure in (ndcg_at_k, recall_at_k))
        found.append((*measures, seconds))
    users = [len(test) for _, test in folds]
    ndcg, recall, _ = np.average(found, axis=0, weights=users)
    return {
        "ndcg@10": round(ndcg, 4),
        "recall@10": round(recall, 4),
        "fit_s": round(float(np.mean([seconds for _, _, seconds in found])), 1),
    }


def shuffled(data: RatingData) -> Any:
    """The ratings, each user's times in random order."""
    rng = np.random.default_rng(0)
    by_user = data.ratings.groupby("user")["timestamp"]
    return data.ratings.assign(
        timestamp=by_user.transform(lambda times: rng.permutation(times.to_numpy()))
    )


def movies(data: RatingData, protocols: dict[str, list[Fold]]) -> dict[str, Any]:
    """All methods of ours and simple ones, by protocol."""
    codes, tokens, times = Codes(data), movie_tokens(data), data.ratings
    line_up: dict[str, Callable[[], AlgoBase]] = {
        "popularity": Popularity,
        "item-kNN, recent": lambda: RecentNeighbours(codes, Timestamps.of(times)),
        "EASE": lambda: LLMTokensEASE(implicit=True),
        "EASE, timestamps": lambda: LLMTokensEASE(implicit=True, timestamps=times),
        "LLMTokensEASE": lambda: LLMTokensEASE(tokens, implicit=True),
        "LLMTokensEASE, timestamps": lambda: LLMTokensEASE(tokens, implicit=True, timestamps=times),
    }
    found: dict[str, Any] = {}
    for protocol, folds in protocols.items():
        found[protocol] = {"users": sum(len(test) for _, test in folds)}
        for name, make in line_up.items():
            found[protocol][name] = measured(make, folds)
            print(protocol, name, found[protocol][name], flush=True)
    mixed = shuffled(data)
    control = measured(
        lambda: LLMTokensEASE(tokens, implicit=True, timestamps=mixed), protocols["last"]
    )
    found["shuffled"] = {"LLMTokensEASE, timestamps": control}
    print("shuffled", found["shuffled"], flush=True)
    return found


def sasrec(data: RatingData, fold: Fold, folder: Path, cache: Path) -> dict[str, Any]:
    """Its figures where the last item is held out, or why there are none."""
    python, versions = installed(cache, "rectools", SASREC, ["rectools"])
    if python is None:
        return {"not_installed": versions}
    codes, (train, test) = Codes(data), fold
    np.savez(folder / "side.npz", n_users=len(codes.users), n_items=len(codes.items))
    known = {(train.to_raw_uid(u), train.to_raw_iid(i)) for u, i, _ in train.all_ratings()}
    rows = [row for row in data.dataset.raw_ratings if row[:2] in known]
    last = _last(rows)
    inner = [row for row in rows if row[:2] not in last]
    _write(folder / "last.0.npz", codes, rows, test)
    _write(folder / "last.inner.npz", codes, inner, [row[:3] for row in last.values()])
    problem = run(python, "rectools", folder)
    if problem:
        return {"not_finished": problem}
    out = read(folder / "out" / "SASRec" / "last.0.npz")
    found = measured(lambda: Scored(codes, out.est), [fold])
    chosen = json.loads((folder / "out" / "SASRec" / "last.json").read_text())
    return {"packages": versions} | chosen | found | {"fit_s": round(float(out.seconds), 1)}


def _last(rows: list[Any]) -> dict[Any, Any]:
    """The last rating of each user who has more than two, by pair."""
    order = sorted(rows, key=lambda row: row[3])
    count = Counter(row[0] for row in order)
    last = {row[0]: row for row in order if count[row[0]] > 2}
    return {row[:2]: row for row in last.values()}


def _write(path: Path, codes: Codes, rows: list[Any], test: list[Any]) -> None:
    """A task, its rows in order of time; all of them count as liked."""
    rows = sorted(rows, key=lambda row: row[3])
    chosen = [(u, i, 5.0) for u, i, *_ in rows]
    np.savez(
        path, **codes.columns(chosen), **codes.columns([(u, i, 5.0) for u, i, _ in test], "test_")
    )


def feed() -> dict[str, Any]:
    """Precision@4 of a morning's new articles, among all and among themselves, by method."""
    data = news_feed()
    tokens = LLMTokens.from_frame(data.items, "{title}. {description}", categorical=["genres"])
    published, raw = data.items.set_index("item")["published"], data.dataset.raw_ratings
    first, times = int(published.min()), data.ratings
    line_up: dict[str, Callable[[], AlgoBase]] = {
        "content": lambda: LLMTokensContent(tokens, method="cosine"),
        "content, half-life": lambda: LLMTokensContent(
            tokens, method="cosine", timestamps=times, half_life=5 * DAY
        ),
        "LLMTokensEASE": lambda: LLMTokensEASE(tokens, implicit=True),
        "LLMTokensEASE, timestamps": lambda: LLMTokensEASE(tokens, implicit=True, timestamps=times),
    }
    found: dict[str, Any] = {name: {"among all": [], "among new": []} for name in line_up}
    for day in (20, 22, 24, 26, 28):
        now = first + day * DAY
        train = data.dataset.construct_trainset([row for row in raw if row[3] < now])
        new = set(published.index[published == now])
        test = [row[:3] for row in raw if now <= row[3] < now + DAY and row[1] in new]
        for name, make in line_up.items():
            algo = make().fit(train)
            for what, items in (
                ("among all", set(published.index[published <= now])),
                ("among new", new),
            ):
                lists = rank_all(algo, test, n=10, items=items)
                found[name][what].append(round(precision_at_k(lists, k=4, relevant=0.0), 4))
    return found


def shop() -> dict[str, Any]:
    """Hit@10 of the next purchase: among all goods, and among those new to the visitor."""
    events, items = shop_events()
    last = events[events["event"] == "buy"].groupby("user")["timestamp"].max()
    cut = events["user"].map(last)
    wanted = events[(events["event"] == "buy") & (events["timestamp"] == cut)]
    journey = 3600  # what was looked at in the last hour is a part of that purchase
    known = events[(events["timestamp"] < cut - journey) | cut.isna()]
    tokens = LLMTokens.from_frame(items, "{title}. {description}", categorical=["kind"])
    even = {"view": 1.0, "cart": 1.0, "buy": 1.0}
    everything = load_events(known, weights=even, items=items)
    learned = load_events(known, items=items)
    serious = load_events(known, weights={"cart": 1.0, "buy": 1.0}, items=items)
    line_up = {
        "EASE, all events alike": (everything, LLMTokensEASE(implicit=True)),
        "EASE, events added up": (everything, LLMTokensEASE()),
        "EASE, weights learned": (learned, LLMTokensEASE()),
        "EASE, carts and purchases": (serious, LLMTokensEASE(implicit=True)),
        "LLMTokensEASE, all events, timestamps": (
            everything,
            LLMTokensEASE(tokens, implicit=True, timestamps=everything.ratings),
        ),
        "LLMTokensEASE, carts and purchases, timestamps": (
            serious,
            LLMTokensEASE(tokens, implicit=True, timestamps=serious.ratings),
        ),
    }
    found: dict[str, Any] = {"weights": {str(k): v for k, v in learned.weights.items()}}
    for name, (data, algo) in line_up.items():
        algo.fit(data.dataset.build_full_trainset())
        found[name] = {}
        for what, seen in (("all", False), ("new", True)):
            lists = algo.recommend(wanted["user"].tolist(), n=10, exclude_seen=seen)
            listed = set(zip(lists["user"], lists["item"], strict=True))
            hits = [pair in listed for pair in zip(wanted["user"], wanted["item"], strict=True)]
            found[name][what] = round(float(np.mean(hits)), 4)
    return found


def main() -> None:
    options = peer_parser(__doc__ or "").parse_args()
    data = load(options.data)
    protocols = {
        name: [next(cv.split(data.dataset)) for cv in splits] for name, splits in PROTOCOLS.items()
    }
    results: dict[str, Any] = {"data": data.name, "feed": feed(), "shop": shop()}
    print(results, save("sequence", results), flush=True)  # part by part: it takes long
    results["movies"] = movies(data, protocols)
    save("sequence", results)
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results["SASRec"] = sasrec(data, protocols["last"][0], folder, options.cache)
    print(save("sequence", results))


if __name__ == "__main__":
    main()
