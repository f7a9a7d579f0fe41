"""What the text of users is worth, what they did, and what new users without either are told.

Three parts. *Planted*: 500 users and 400 items whose tokens are their taste and their nature.
*Written*: the generated set whose users tell their taste in words, for new users, users with three
ratings, and known ones; beside shuffled texts, and texts in the items' space. *MovieLens*: users
have no text there; none, their histories as tokens, and random tokens.

    python benchmarks/users.py --data ml-latest-small
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from surprise import Dataset, Reader
from surprise.model_selection import KFold

from llmtokens import LLMTokens, LLMTokensBPMF, LLMTokensContent, LLMTokensSVD
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


def algorithms(items: LLMTokens, of_users: dict[str, Any], content: bool = True) -> dict[str, Any]:
    """Each algorithm with each kind of tokens of users."""
    made: dict[str, Any] = {}
    for kind, users in of_users.items():
        made[f"LLMTokensSVD, {kind}"] = LLMTokensSVD(items, users, random_state=SEED)
        made[f"LLMTokensBPMF, {kind}"] = LLMTokensBPMF(items, users, random_state=SEED)
        if content:
            made[f"LLMTokensContent, {kind}"] = LLMTokensContent(items, user_tokens=users)
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


def random_tokens(data: RatingData) -> LLMTokens:
    ids = data.ratings["user"].unique()
    return LLMTokens.from_embeddings(ids, np.random.RandomState(SEED).normal(size=(len(ids), 16)))


def run(options: argparse.Namespace) -> dict[str, Any]:
    movies = load(options.data)
    data, items, users = planted()
    found = {
        "planted": compare(
            algorithms(items, {"no tokens": None, "tokens": users}, content=False),
            data, {"cold-user": SPLITS["cold-user"]}, ["rmse"],
        )
    }  # fmt: skip
    for name, full in (("written, short", False), ("written, full", True)):
        stories = synthetic(full_profiles=full)
        found[name] = compare(algorithms(*written(stories)), stories, SPLITS, ["rmse"])
    of_movies = {
        "no tokens of users": None,
        "history": "history",
        "random tokens": random_tokens(movies),
    }
    found["MovieLens"] = compare(
        algorithms(movie_tokens(movies), of_movies), movies, SPLITS, ["rmse"]
    )
    results: dict[str, Any] = {"data": movies.name, "seed": SEED}
    for name, part in found.items():
        print(name, part, sep="\n", end="\n\n")
        summary = part.summary().drop(columns=["peak_memory"]).round(5)
        results[name] = summary.to_dict("records")
    return results


if __name__ == "__main__":
    print(save("users", run(parser(__doc__ or "").parse_args())))
