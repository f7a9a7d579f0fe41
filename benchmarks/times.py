"""How much do times tell? Random splits with times known, the past only, and a cut in time.

*Times known*: a random split; the moment of a prediction is known, and so are the user's ratings
before it and after it. *Past only*: the same split and the same fits, but what the user is like
just now is told from ratings before that moment alone. *TimeSplit*: what came before a moment
trains, what came next is tested. Beside each other: no times, times, and shuffled times, a control
that must fade.

    python benchmarks/times.py --data ml-latest-small
"""

from __future__ import annotations

import argparse
import time
from itertools import islice, product
from typing import Any

import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from quality import SEED, SPLITS
from surprise import Prediction, accuracy

from llmtokens import LLMTokensBPMF, LLMTokensSVD
from llmtokens.algorithms.drift import DriftScale, smoothed_at
from llmtokens.metrics import interval_coverage
from llmtokens.model_selection import TimeSplit

KINDS = ("warm", "cold-item", "few-shot-item")
CONTROLLED = ("warm",)  # splits with shuffled times


def past_only(algo: LLMTokensBPMF | LLMTokensSVD, test: list[Any]) -> list[Prediction]:
    """Predictions of what users are like just now from their ratings before that moment alone.

    The processes are smoothed for a copy of the user a prediction, who has earlier ratings only.
    """
    model, bayesian = algo.model_, isinstance(algo, LLMTokensBPMF)
    assert model.timestamps is not None
    uids, iids, truths = zip(*test, strict=True)
    users, items = model.users.rows(uids), model.items.rows(iids)
    times = model.timestamps.of_pairs(uids, iids)
    est, details = model.score(users, items)
    unit = model.std if bayesian else 1.0
    variance = (details["std"] / unit) ** 2 if bayesian else np.zeros(len(est))
    scale = DriftScale(model.drift_variance, model.drift_tau)
    for user in np.unique(users[users < model.users.n_warm]) if scale.variance else ():
        asked, known = np.flatnonzero(users == user), model.ratings.only(np.array([user]))
        rated = np.full(known.n, user), known.item.astype(np.int64)
        left, sure = (known.value - model.score(*rated)[0]) / unit, np.ones(known.n)
        if bayesian:
            sure = 1.0 / (model.user_open[rated[0], 0] * model.item_open[rated[1], 0])
        then, now = model.timestamps.of_ratings(known), times[asked]
        copy, before = np.nonzero(then[None] <= now[:, None])
        mean, spread = smoothed_at(
            copy, then[before], left[before], sure[before], scale, np.arange(len(asked)), now
        )
        est[asked] += unit * mean
        variance[asked] += spread
    est = np.clip(est, *model.ratings.scale)
    known_to = [{"std": float(d)} if bayesian else {} for d in unit * np.sqrt(variance)]
    return [
        Prediction(*row, float(e), {"was_impossible": False} | more)
        for row, e, more in zip(zip(uids, iids, truths, strict=True), est, known_to, strict=True)
    ]


def measured(predictions: list[Prediction]) -> dict[str, float]:
    found = {"rmse": float(accuracy.rmse(predictions, verbose=False))}
    if "std" not in predictions[0].details:
        return found
    return found | {"coverage 80%": float(interval_coverage(predictions, levels=(0.8,)).iloc[0])}


def run(options: argparse.Namespace) -> dict[str, Any]:
    data = load(options.data)
    tokens, times = movie_tokens(data), data.ratings
    mixed = np.random.default_rng(SEED).permutation(times["timestamp"])
    shuffled = times.assign(timestamp=mixed)
    splits = {name: SPLITS[name] for name in KINDS} | {"TimeSplit": TimeSplit()}
    whole = data.dataset.build_full_trainset()
    LLMTokensBPMF(tokens, n_samples=1, burn_in=0, timestamps=times).fit(whole)  # compile
    LLMTokensSVD(tokens, n_epochs=1, timestamps=times).fit(whole)
    rows: list[dict[str, Any]] = []
    for split, cv in splits.items():
        given: dict[str, Any] = {"none": None, "times": times}
        if split in CONTROLLED:
            given["shuffled times"] = shuffled
        folds = islice(cv.split(data.dataset), options.folds)
        for (fold, (train, test)), (name, when) in product(enumerate(folds), given.items()):
            for algo in (
                LLMTokensBPMF(tokens, random_state=SEED, timestamps=when),
                LLMTokensSVD(tokens, random_state=SEED, timestamps=when),
            ):
                cpu = time.process_time()
                algo.fit(train)
                about = {"split": split, "fold": fold, "algorithm": type(algo).__name__}
                about |= {"timestamps": name, "cpu": time.process_time() - cpu}
                about |= {"variance": algo.model_.drift_variance, "tau": algo.model_.drift_tau}
                rows.append(about | {"known": "both sides"} | measured(algo.test(test)))
                print(rows[-1], flush=True)
                if name == "times" and split in KINDS:
                    rows.append(about | {"known": "past only"} | measured(past_only(algo, test)))
                    print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    keys = ["algorithm", "split", "timestamps", "known"]
    summary = table.groupby(keys, sort=False).mean(numeric_only=True).drop(columns="fold")
    print(summary.round(4).to_string())
    return {
        "data": data.name,
        "seed": SEED,
        "folds": options.folds,
        "summary": summary.round(5).reset_index().to_dict("records"),
    }


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--folds", type=int, default=5)
    print(save("times", run(arguments.parse_args())))


if __name__ == "__main__":
    main()
