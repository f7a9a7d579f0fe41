"""What the text of users is worth, what they did, and what new users without either are told.

Three parts. *Planted*: 500 users and 400 items whose tokens are their taste and their nature.
*Written*: the generated set whose users tell their taste in words, for new users, users with three
ratings, and known ones; beside shuffled texts, and texts in the items' space; and where sixty of
them do, for these. *MovieLens*: users
have no text there; cold users, and for the others none, their histories as tokens, random tokens.

    python benchmarks/users.py --data ml-latest-small
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from surprise import Dataset, Reader
from surprise.model_selection import KFold

from llmtokens import LLMTokens, LLMTokensBPMF, LLMTokensContent, LLMTokensEASE, LLMTokensSVD
from llmtokens.compare import compare
from llmtokens.controls import shuffled
from llmtokens.datasets import RatingData, synthetic
from llmtokens.model_selection import ColdUserKFold, FewShotUserKFold

SEED = 0
SPLITS = {
    "cold-user": ColdUserKFold(5, random_state=SEED),
    "three ratings": FewShotUserKFold(5, n_given=3, random_state=SEED),
    "warm": KFold(5, random_state=SEED),
}
ESSENTIAL = ("no tokens", "tokens", "no text of users", "text of users", "history", "shuffled")


@dataclass(frozen=True)
class First:
    """The first folds of a split, as the Bayesian model takes its time; asked about some users."""

    cv: Any
    n_splits: int
    users: frozenset[Any] | None = None

    def split(self, data: Any) -> Any:
        for train, test in islice(self.cv.split(data), self.n_splits):
            yield train, [row for row in test if self.users is None or row[0] in self.users]

    def get_n_folds(self) -> int:
        return self.n_splits


def algorithms(
    items: LLMTokens, of_users: dict[str, Any], bayesian: bool = True, content: bool = True
) -> dict[str, Any]:
    """Each algorithm with each kind of tokens of users; the Bayesian one with the essential."""
    made: dict[str, Any] = {}
    for kind, users in of_users.items():
        made[f"LLMTokensSVD, {kind}"] = LLMTokensSVD(items, users, random_state=SEED)
        if bayesian and kind in ESSENTIAL:
            made[f"LLMTokensBPMF, {kind}"] = LLMTokensBPMF(items, users, random_state=SEED)
        if content:
            made[f"LLMTokensContent, {kind}"] = LLMTokensContent(items, user_tokens=users)
            made[f"LLMTokensEASE, {kind}"] = LLMTokensEASE(items, user_tokens=users)
    return made


def planted() -> tuple[Any, LLMTokens, LLMTokens]:
    """Ratings that follow from two tables of tokens, and these."""
    rng = np.random.RandomState(SEED)
    taste, nature = rng.normal(size=(500, 6)), rng.normal(size=(400, 6))
    rows = [
        (u, int(i), float(np.clip(3 + 0.4 * taste[u] @ nature[i] + 0.6 * rng.normal(), 1, 5)))
        for u in range(500)
        for i in rng.choice(400, 30, replace=False)
    ]
    data = Dataset.load_from_df(pd.DataFrame(rows, columns=["user", "item", "rating"]), Reader())
    items = LLMTokens.from_embeddings(range(400), nature)
    return data, items, LLMTokens.from_embeddings(range(500), taste)


def written(data: RatingData) -> tuple[LLMTokens, dict[str, Any]]:
    """Tokens of the items, and kinds of tokens of the users."""
    items = LLMTokens.from_frame(
        data.items, "{title}. {description}", categorical=["genres"], numeric=["year"]
    )
    users = LLMTokens.from_frame(data.users, "{profile}")
    return items, {
        "no text of users": None,
        "text of users": users,
        "text of users, in the items' space": LLMTokens.from_frame(
            data.users, "{profile}", like=items
        ),
        "shuffled": shuffled(users),
    }


def few_told(data: RatingData, items: LLMTokens) -> tuple[dict[str, LLMTokensBPMF], frozenset[Any]]:
    """The Bayesian model where sixty users have a text, and these users."""
    told = data.users.sample(60, random_state=SEED)
    shared = LLMTokens.from_frame(told, "{profile}", like=items)
    kinds = {
        "no text of users": None,
        "text of few": LLMTokens.from_frame(told, "{profile}"),
        "text of few, in the items' space": shared,
        "text of few, in the items' space, shuffled": shuffled(shared),
    }
    made = {
        f"LLMTokensBPMF, {kind}": LLMTokensBPMF(items, users, random_state=SEED)
        for kind, users in kinds.items()
    }
    return made, frozenset(told["user"])


def random_tokens(data: RatingData) -> LLMTokens:
    ids = data.ratings["user"].unique()
    return LLMTokens.from_embeddings(ids, np.random.RandomState(SEED).normal(size=(len(ids), 16)))


def run(options: argparse.Namespace) -> None:
    movies = load(options.data)
    tokens = movie_tokens(movies)
    data, items, users = planted()
    cold = {"cold-user": SPLITS["cold-user"]}
    splits = {name: First(cv, options.folds) for name, cv in SPLITS.items()}
    known = {name: splits[name] for name in ("three ratings", "warm")}
    both = {"no tokens": None, "tokens": users}
    of_movies = {
        "no tokens": None,
        "history": "history",
        "random tokens": random_tokens(movies),
    }
    results: dict[str, Any] = {"data": movies.name, "seed": SEED, "folds": options.folds}
    told = synthetic()
    few, of_them = few_told(told, written(told)[0])
    asked = {name: First(cv, options.folds, of_them) for name, cv in SPLITS.items()}
    for name, line_up, on, where in (
        ("planted", algorithms(items, both, content=False), data, cold),
        ("MovieLens, cold users", algorithms(tokens, {"no tokens": None}), movies, cold),
        *(
            (name, algorithms(*written(stories), bayesian=not full), stories, splits)
            for name, full in (("written, short", False), ("written, full", True))
            for stories in [synthetic(full_profiles=full)]
        ),
        ("written, few", few, told, asked),
        ("MovieLens, users with ratings", algorithms(tokens, of_movies), movies, known),
    ):
        found = compare(line_up, on, where, ["rmse"], folder=options.folder, progress=False)
        print(name, found, sep="\n", end="\n\n", flush=True)
        results[name] = found.summary().drop(columns=["peak_memory"]).round(5).to_dict("records")
        save("users", results)  # part by part: it takes long


if __name__ == "__main__":
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--folds", type=int, default=5, help="but for cold users; fewer is quicker"
    )
    arguments.add_argument("--folder", type=Path, help="keep trials here, and resume from them")
    run(arguments.parse_args())
