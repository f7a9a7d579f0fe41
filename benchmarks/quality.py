"""How accurate, for known items, cold ones, items with five ratings, and cold users?

All algorithms run on the same five folds of each split, with their defaults; Surprise's SVD also
with settings found by a grid search on inner folds of the first training set. The controls: the
user's mean, a ridge on genres and year, tokens of genres and year alone, shuffled tokens, random
ones, and none.

    python benchmarks/quality.py --data ml-latest-small
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from common import load, movie_tokens, parser, save
from surprise import SVD, AlgoBase, BaselineOnly, Dataset, KNNBaseline, Prediction, Reader
from surprise.model_selection import GridSearchCV, KFold

from llmtokens import LLMTokens, LLMTokensBPMF, LLMTokensContent, LLMTokensSVD
from llmtokens.compare import compare
from llmtokens.controls import UserMean, random_like, shuffled
from llmtokens.datasets import RatingData
from llmtokens.metrics import interval_coverage
from llmtokens.model_selection import ColdItemKFold, ColdUserKFold, FewShotItemKFold

SEED = 0
SPLITS = {
    "warm": KFold(5, random_state=SEED),
    "cold-item": ColdItemKFold(5, random_state=SEED),
    "few-shot-item": FewShotItemKFold(5, n_given=5, random_state=SEED),
    "cold-user": ColdUserKFold(5, random_state=SEED),
}
GRID = {"n_factors": [50, 100], "n_epochs": [40, 60], "reg_all": [0.05, 0.08, 0.12]}


def tuned_svd(data: RatingData) -> SVD:
    """SVD with the best settings on three inner folds of the first warm training set."""
    train, _ = next(SPLITS["warm"].split(data.dataset))
    search = GridSearchCV(SVD, GRID | {"random_state": [SEED]}, ["rmse"], KFold(3, SEED))
    known = pd.DataFrame(train.build_testset(), columns=["user", "item", "rating"])
    search.fit(Dataset.load_from_df(known, Reader(rating_scale=data.rating_scale)))
    print("SVD, tuned:", search.best_params["rmse"])
    return SVD(**search.best_params["rmse"])


def coverage(predictions: list[Prediction], level: float) -> float:
    """Share of ratings inside the predictive interval of this level."""
    return float(interval_coverage(predictions, levels=(level,)).iloc[0])


MEASURES = {"rmse": "rmse", "mae": "mae"}
COVERAGE = {f"coverage {level:.0%}": partial(coverage, level=level) for level in (0.5, 0.8, 0.95)}


def with_deviations(tokens: LLMTokens) -> dict[str, AlgoBase]:
    """The algorithms that also say how sure they are."""
    seed = {"random_state": SEED}
    return {
        "LLMTokensBPMF": LLMTokensBPMF(item_tokens=tokens, **seed),
        "LLMTokensBPMF, shuffled tokens": LLMTokensBPMF(item_tokens=shuffled(tokens), **seed),
        "LLMTokensBPMF, no tokens": LLMTokensBPMF(**seed),
    }


def line_up(data: RatingData, tokens: LLMTokens) -> dict[str, AlgoBase]:
    """The other algorithms, by the name in the table."""
    structure = LLMTokens.from_frame(data.items, categorical=["genres"], numeric=["year"])
    item_item = {"name": "pearson_baseline", "user_based": False}
    svd = {"random_state": SEED}
    return {
        "user mean": UserMean(),
        "BaselineOnly": BaselineOnly(verbose=False),
        "SVD": SVD(**svd),
        "SVD, tuned": tuned_svd(data),
        "KNNBaseline": KNNBaseline(sim_options=item_item, verbose=False),
        "ridge on genres and year": LLMTokensContent(item_tokens=structure),
        "LLMTokensContent": LLMTokensContent(item_tokens=tokens),
        "LLMTokensSVD": LLMTokensSVD(item_tokens=tokens, **svd),
        "LLMTokensSVD, genres and year": LLMTokensSVD(item_tokens=structure, **svd),
        "LLMTokensSVD, shuffled tokens": LLMTokensSVD(item_tokens=shuffled(tokens), **svd),
        "LLMTokensSVD, random tokens": LLMTokensSVD(item_tokens=random_like(tokens), **svd),
        "LLMTokensSVD, no tokens": LLMTokensSVD(**svd),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    data = load(options.data)
    tokens, short = movie_tokens(data), {"n_samples": 1, "burn_in": 0}
    for algorithm in (
        LLMTokensSVD(tokens, n_epochs=1), LLMTokensBPMF(tokens, **short), LLMTokensBPMF(**short)
    ):  # fmt: skip
        algorithm.fit(data.dataset.build_full_trainset())  # compile before the clock runs
    found = [
        compare(algorithms, data, SPLITS, measures, n_jobs=options.jobs, folder=options.folder)
        for algorithms, measures in (
            (line_up(data, tokens), MEASURES),
            (with_deviations(tokens), MEASURES | COVERAGE),
        )
    ]
    print(*found, sep="\n\n")
    summary = pd.concat([part.summary() for part in found]).drop(columns=["peak_memory"]).round(5)
    return {
        "data": data.name,
        "seed": SEED,
        "settings": {
            name: text for part in found for name, text in part.settings["algorithms"].items()
        },
        "summary": summary.to_dict("records"),
    }


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--jobs", type=int, default=1)
    arguments.add_argument("--folder", type=Path, help="keep trials here, and resume from them")
    print(save("quality", run(arguments.parse_args())))


if __name__ == "__main__":
    main()
