"""How far off are estimates, by how often an item was rated in training?

RMSE, and the mean of estimate less rating, of ``LLMTokensEASE`` beside BaselineOnly and
LLMTokensSVD: on five folds of the ratings, and on ratings of users held out whole.

    python benchmarks/estimates.py --data ml-latest-small
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import load, movie_tokens, parser, save
from surprise import BaselineOnly
from surprise.model_selection import KFold

from llmtokens import LLMTokensEASE, LLMTokensSVD
from llmtokens.model_selection import ColdUserKFold

SEED = 0
LEAST = {"none": 0, "1": 1, "2 to 4": 2, "5 to 9": 5, "10 and more": 10}  # training ratings


def main() -> None:
    data = load(parser(__doc__ or "").parse_args().data)
    tokens = movie_tokens(data)
    models = {
        "BaselineOnly": BaselineOnly(verbose=False),
        "LLMTokensSVD": LLMTokensSVD(tokens, random_state=SEED),
        "LLMTokensEASE": LLMTokensEASE(tokens),
    }
    splits = {"known users": KFold(5, random_state=SEED), "new users": ColdUserKFold(5, SEED)}
    results: dict[str, Any] = {"data": data.name, "seed": SEED}
    for split, cv in splits.items():
        errors: dict[str, list[float]] = {name: [] for name in models}
        rated: list[int] = []
        for trainset, testset in cv.split(data.dataset):
            counts = {trainset.to_raw_iid(i): len(of) for i, of in trainset.ir.items()}
            rated += [counts.get(iid, 0) for _, iid, _ in testset]
            for name, model in models.items():
                errors[name] += [p.est - p.r_ui for p in model.fit(trainset).test(testset)]
        kind = np.digitize(rated, [*LEAST.values()]) - 1
        results[split] = {
            name: {"all": figures(np.array(of))}
            | {label: figures(np.array(of)[kind == k]) for k, label in enumerate(LEAST)}
            for name, of in errors.items()
        }
        for name, found in results[split].items():
            print(f"{split:12} {name:14}", {label: of["rmse"] for label, of in found.items()})
    print(save("estimates", results))


def figures(errors: np.ndarray) -> dict[str, float]:
    """Of estimates less ratings."""
    return {
        "ratings": len(errors),
        "rmse": round(float(np.sqrt(np.mean(errors**2))), 4),
        "bias": round(float(errors.mean()), 4),
    }


if __name__ == "__main__":
    main()
