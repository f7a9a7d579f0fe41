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
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from quality import SEED, SPLITS
from surprise import Prediction, accuracy

from llmtokens import LLMTokensBPMF
from llmtokens.metrics import interval_coverage
from llmtokens.model_selection import TimeSplit

KINDS = ("warm", "cold-item", "few-shot-item")


def past_only(algo: LLMTokensBPMF, test: list[Any]) -> list[Prediction]:
    """Predictions, each from a model whose user's later ratings have no time."""
    model, when = algo.model_, algo.model_.timestamps
    assert when is not None
    found: list[Prediction] = []
    by_user = pd.Series(range(len(test))).groupby([row[0] for row in test])
    for uid, places in by_user:
        row = int(model.users.rows([uid])[0])
        items = [model.items.ids[k] for k in model.ratings.of_user(row)[0]]
        own = when.of_pairs([uid] * len(items), items)
        for place in places:
            moment = float(when.of_pairs([uid], [test[place][1]])[0])
            later = {(uid, iid): moment for iid, t in zip(items, own, strict=True) if t <= moment}
            later[uid, test[place][1]] = moment
            trial = object.__new__(LLMTokensBPMF)
            trial.__dict__ |= vars(algo)
            trial.model_ = replace(model, timestamps=type(when).of(later))
            found += trial.test([test[place]])
    return found


def measured(predictions: list[Prediction]) -> dict[str, float]:
    covered = interval_coverage(predictions, levels=(0.8,))
    return {
        "rmse": accuracy.rmse(predictions, verbose=False),
        "coverage 80%": float(covered.iloc[0]),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    data = load(options.data)
    tokens, times = movie_tokens(data), data.ratings
    mixed = np.random.default_rng(SEED).permutation(times["timestamp"])
    shuffled = times.assign(timestamp=mixed)
    splits = {name: SPLITS[name] for name in KINDS} | {"TimeSplit": TimeSplit()}
    whole = data.dataset.build_full_trainset()
    LLMTokensBPMF(tokens, n_samples=1, burn_in=0, timestamps=times).fit(whole)  # compile
    rows: list[dict[str, Any]] = []
    for split, cv in splits.items():
        for fold, (train, test) in enumerate(cv.split(data.dataset)):
            if fold == options.folds:
                break
            for name, given in {"none": None, "times": times, "shuffled times": shuffled}.items():
                algo, start = (
                    LLMTokensBPMF(tokens, random_state=SEED, timestamps=given),
                    time.time(),
                )
                cpu = time.process_time()
                algo.fit(train)
                about = {"split": split, "fold": fold, "timestamps": name}
                about |= {"seconds": time.time() - start, "cpu": time.process_time() - cpu}
                about |= {"variance": algo.model_.drift_variance, "tau": algo.model_.drift_tau}
                rows.append(about | {"known": "both sides"} | measured(algo.test(test)))
                print(rows[-1], flush=True)
                if name == "times" and split in options.past:
                    rows.append(about | {"known": "past only"} | measured(past_only(algo, test)))
                    print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    keys = ["split", "timestamps", "known"]
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
    arguments.add_argument("--past", nargs="*", default=["warm"], help="splits with past only")
    print(save("times", run(arguments.parse_args())))


if __name__ == "__main__":
    main()
