"""Is a user who was folded in predicted as well as after a full refit, and how long does it take?

A tenth of the users are held out; of each, 20 ratings are given and the others predicted: by the
model that never saw them, after ``fold_in`` of each user, after one ``partial_fit`` of all of
them, and by a model trained with their ratings. Five disjoint tenths; times are CPU time.

    python benchmarks/foldin.py --data ml-latest-small
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from surprise import AlgoBase, Dataset, Reader, Trainset, accuracy

from llmtokens import (
    LLMTokens,
    LLMTokensBPMF,
    LLMTokensContent,
    LLMTokensEASE,
    LLMTokensSVD,
)
from llmtokens.datasets import RatingData

GIVEN = 20
Split = tuple[pd.DataFrame, pd.DataFrame, list[tuple]]


def splits(data: RatingData, n: int) -> Iterator[Split]:
    """Other users' ratings, 20 of each held-out user, and the rest of theirs as a test set."""
    frame = data.ratings[["user", "item", "rating"]]
    users = np.random.default_rng(0).permutation(frame["user"].unique())
    for held in np.array_split(users, 10)[:n]:
        mine = frame[frame["user"].isin(held)].sample(frac=1, random_state=0)
        count = mine.groupby("user").cumcount()
        test = list(mine[count >= GIVEN].itertuples(index=False, name=None))
        yield frame[~frame["user"].isin(held)], mine[count < GIVEN], test


def trainset(frame: pd.DataFrame, data: RatingData) -> Trainset:
    reader = Reader(rating_scale=data.rating_scale)
    return Dataset.load_from_df(frame, reader).build_full_trainset()


def rmse(algo: AlgoBase, test: list[tuple]) -> float:
    return accuracy.rmse(algo.test(test), verbose=False)


def models(tokens: LLMTokens) -> dict[str, Callable[[], AlgoBase]]:
    """What makes each algorithm, with its defaults."""
    return {
        "LLMTokensSVD": lambda: LLMTokensSVD(item_tokens=tokens, random_state=0),
        "LLMTokensSVD, no tokens": lambda: LLMTokensSVD(random_state=0),
        "LLMTokensBPMF": lambda: LLMTokensBPMF(item_tokens=tokens, random_state=0),
        "LLMTokensEASE": lambda: LLMTokensEASE(item_tokens=tokens),
        "LLMTokensContent": lambda: LLMTokensContent(item_tokens=tokens),
        "LLMTokensContent, cosine": lambda: LLMTokensContent(item_tokens=tokens, method="cosine"),
    }


def judge(
    make: Callable[[], AlgoBase],
    rest: Trainset,
    given: pd.DataFrame,
    test: list[tuple],
    found: dict[str, list[float]],
) -> None:
    """Add what a model of the other users' ratings makes of those that are given."""
    base = make().fit(rest)
    found["never seen"].append(rmse(base, test))
    start = time.process_time()
    base.model_.arrays()  # what the first fold_in, or save, works out once
    found["once, ms"].append(1e3 * (time.process_time() - start))
    known = given[base.items_.rows(given["item"]) != base.items_.unknown]
    folded = copy.copy(base)
    for uid, rows in known.groupby("user"):
        pairs = list(zip(rows["item"], rows["rating"], strict=True))
        start = time.process_time()
        folded.fold_in(uid, pairs)
        found["fold_in, ms"].append(1e3 * (time.process_time() - start))
    found["fold_in"].append(rmse(folded, test))
    found["partial_fit"].append(rmse(copy.copy(base).partial_fit(given), test))


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--folds", type=int, default=5)
    options = arguments.parse_args()

    data = load(options.data)
    results = {}
    for name, make in models(movie_tokens(data)).items():
        found: dict[str, list[float]] = defaultdict(list)
        for rest, given, test in splits(data, options.folds):
            judge(make, trainset(rest, data), given, test, found)
            refit = make().fit(trainset(pd.concat([rest, given]), data))
            found["refit"].append(rmse(refit, test))
        results[name] = {
            key: float(np.median(values) if key.endswith("ms") else np.mean(values))
            for key, values in found.items()
        }
        print(name)
        for key, value in results[name].items():
            print(f"  {key:<14}{value:8.4f}")
    print(save("foldin", {"data": data.name, "given": GIVEN, "models": results}))


if __name__ == "__main__":
    main()
