"""How well do they rank? NDCG@10 over the whole catalogue, training items excluded.

Relevant is what a user rated 4 or more in the test part; the folds are those of ``quality.py``.
implicit's ALS and LightFM's WARP run in environments of their own (see ``peers.py``), with settings
chosen on a split of the first training set; ``LLMTokensEASE`` chooses its own in each ``fit``. Cold
items are ranked among themselves: the candidates are the items of the test part.

*Mostly unrated*: the ratings of few users, and the whole catalogue, most of which none of them has
rated, as candidates; beside items without ratings at the weight that ``fit`` chose for them, the
same model with 0.3 for all data, and with none of them in its lists.

    python benchmarks/ranking.py --data ml-latest-small
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import load, movie_tokens, save
from peer_libraries.driver import read
from peer_libraries.environments import installed, run
from peers import Codes, peer_parser, write_tasks
from quality import SEED, SPLITS
from surprise import AlgoBase, Prediction, Trainset
from surprise.model_selection import KFold

from llmtokens import LLMTokens, LLMTokensContent, LLMTokensEASE
from llmtokens.algorithms.ease.cold_start import ColdStart
from llmtokens.datasets import RatingData, load_ratings
from llmtokens.metrics import ndcg_at_k, rank_all

PEERS = {"implicit": ["implicit"], "lightfm": ["lightfm"]}
FEW_USERS = (20, 60, 200)
LABELS = {"implicit": "implicit ALS", "lightfm": "LightFM WARP"}
Make = Callable[[int], AlgoBase]  # from the number of the fold


class Scored(AlgoBase):
    """Scores that are there already, as an algorithm: rows and columns are numbers of ids."""

    def __init__(self, codes: Codes, scores: np.ndarray) -> None:
        super().__init__()
        self.codes, self.scores = codes, scores

    def test(self, testset: Iterable[tuple[Any, Any, Any]], verbose: bool = False) -> list[Any]:
        users = [self.codes.users[u] for u, _, _ in testset]
        items = [self.codes.items[i] for _, i, _ in testset]
        pairs = zip(testset, self.scores[users, items].tolist(), strict=True)
        return [Prediction(u, i, r, est, {}) for (u, i, r), est in pairs]


class Popularity(Scored):
    """Items in the order of how many rated them."""

    def __init__(self, codes: Codes) -> None:
        super().__init__(codes, np.zeros(0))

    def fit(self, trainset: Trainset) -> Popularity:
        super().fit(trainset)
        counts = np.zeros(len(self.codes.items))
        for inner, ratings in trainset.ir.items():
            counts[self.codes.items[trainset.to_raw_iid(inner)]] = len(ratings)
        self.scores = np.broadcast_to(counts, (len(self.codes.users), len(counts)))
        return self


def by_peers(
    folder: Path, cache: Path, codes: Codes
) -> tuple[dict[str, Make], dict[str, Any], list[Any]]:
    """Algorithms made of the peers' scores, what they are, and who is absent."""
    made: dict[str, Make] = {}
    about: dict[str, Any] = {}
    absent = []
    for name, packages in PEERS.items():
        python, versions = installed(cache, name, packages)
        problem = versions if python is None else run(python, name, folder)
        if problem:
            absent.append({"name": name, "reason": problem})
            continue
        out = folder / "out" / LABELS[name].replace(" ", "_")
        made[LABELS[name]] = partial(_scored, codes, out)
        about[LABELS[name]] = versions | json.loads((out / "warm.json").read_text())
    return made, about, absent


def _scored(codes: Codes, out: Path, fold: int) -> Scored:
    return Scored(codes, read(out / f"warm.{fold}.npz").est)


def ndcg(data: RatingData, split: str, line_up: dict[str, Make], folds: int) -> dict[str, Any]:
    """NDCG@10 by algorithm, one value a fold."""
    found: dict[str, list[float]] = {name: [] for name in line_up}
    for fold, (train, test) in zip(range(folds), SPLITS[split].split(data.dataset), strict=False):
        items = {i for _, i, _ in test} if split == "cold-item" else None
        for name, make in line_up.items():
            lists = rank_all(make(fold).fit(train), test, n=10, items=items)
            found[name].append(round(ndcg_at_k(lists, k=10), 5))
            print(f"{split}, fold {fold + 1}: {name} {found[name][-1]:.4f}", flush=True)
    return found


class FixedShare(LLMTokensEASE):
    """Items without ratings count for a given share of what their text says."""

    def __init__(self, item_tokens: LLMTokens, share: float) -> None:
        super().__init__(item_tokens=item_tokens)
        self.share = share

    def fit(self, trainset: Trainset) -> FixedShare:
        super().fit(trainset)
        self.model_ = replace(self.model_, cold_start=ColdStart(share=self.share))
        return self


def mostly_unrated(data: RatingData, tokens: LLMTokens, folds: int) -> list[dict[str, Any]]:
    """NDCG@10 among all items, from the ratings of few users."""
    found = []
    for n_users in FEW_USERS:
        chance = np.random.default_rng(SEED)
        some = chance.choice(data.ratings["user"].unique(), n_users, replace=False)
        part = load_ratings(data.ratings[data.ratings["user"].isin(some)], data.items)
        line_up: dict[str, AlgoBase] = {
            "as chosen": LLMTokensEASE(item_tokens=tokens),
            "0.3": FixedShare(tokens, 0.3),
            "none": FixedShare(tokens, 1e-9),
        }
        row: dict[str, Any] = {"users": n_users, "ratings": len(part.ratings)}
        row["items rated"] = part.ratings["item"].nunique()
        row["ndcg@10"] = {name: [] for name in line_up}
        row["share"] = []
        for train, test in KFold(folds, random_state=SEED).split(part.dataset):
            for name, algo in line_up.items():
                lists = rank_all(algo.fit(train), test, n=10, items=tokens.ids)
                row["ndcg@10"][name].append(round(ndcg_at_k(lists, k=10), 5))
            row["share"].append(line_up["as chosen"].cold_start_.share)
        print(row, flush=True)
        found.append(row)
    return found


def main() -> None:
    options = peer_parser(__doc__ or "").parse_args()
    data = load(options.data)
    tokens = movie_tokens(data)
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        codes = write_tasks(data, folder, {"warm": SPLITS["warm"]}, options.folds)
        peers, about, absent = by_peers(folder, options.cache, codes)
        ease: dict[str, Make] = {
            "EASE without tokens": lambda _: LLMTokensEASE(),
            "LLMTokensEASE": lambda _: LLMTokensEASE(item_tokens=tokens),
        }
        warm = ndcg(
            data, "warm", {"popularity": lambda _: Popularity(codes)} | peers | ease, options.folds
        )
    content: dict[str, Make] = {
        "content cosine": lambda _: LLMTokensContent(item_tokens=tokens, method="cosine"),
        "LLMTokensEASE": ease["LLMTokensEASE"],
        "LLMTokensEASE, timestamps": lambda _: LLMTokensEASE(tokens, timestamps=data.ratings),
    }
    cold = ndcg(data, "cold-item", content, options.folds)
    results = {
        "data": data.name,
        "seed": SEED,
        "folds": options.folds,
        "relevant_from": 4,
        "ndcg@10": {"warm": warm, "cold-item": cold},
        "mostly unrated": mostly_unrated(data, tokens, options.folds),
        "peers": about,
        "not_installed": absent,
    }
    print(save("ranking", results))


if __name__ == "__main__":
    main()
