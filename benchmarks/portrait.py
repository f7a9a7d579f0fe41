"""Does a portrait tell a user's taste? Genres liked in it, against ratings that were held apart.

Half of all ratings train. For the 150 users with the most others, and genres of which eight of
these others are at hand: the liking of ``algo.portrait``, beside how much higher the user rated the
genre among the others than all of them, each rating less what its item usually gets in training.
The control is a model fitted on tokens that are shuffled among the items.

    python benchmarks/portrait.py --data ml-latest-small
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from surprise import Dataset, Reader

from llmtokens import LLMTokens, LLMTokensBPMF, LLMTokensSVD
from llmtokens.controls import shuffled
from llmtokens.datasets import RatingData
from llmtokens.tokens.words import Words

SEED, USERS, FEWEST, DAMPING = 0, 150, 8, 10
SURE = 1.96  # standard deviations
ROUNDING = 1e-6  # a liking of less is none


def held_apart(data: RatingData, tokens: LLMTokens) -> tuple[Any, pd.Series]:
    """A trainset, and by user and genre how the other ratings lie."""
    apart = np.random.default_rng(SEED).random(len(data.ratings)) < 0.5
    train, test = data.ratings[~apart], data.ratings[apart].copy()
    mean, of_item = train["rating"].mean(), train.groupby("item")["rating"]
    usual = (of_item.sum() + DAMPING * mean) / (of_item.size() + DAMPING)
    test["above"] = test["rating"] - test["item"].map(usual).fillna(mean)
    test["above"] -= test.groupby("user")["above"].transform("mean")
    assert tokens.columns is not None
    genres = dict(zip(tokens.ids, tokens.columns["genres"], strict=True))
    test["genre"] = [genres.get(item, []) for item in test["item"]]
    most = test["user"].value_counts().index[:USERS]
    found = test[test["user"].isin(most)].explode("genre").groupby(["user", "genre"])["above"]
    reader = Reader(rating_scale=(data.ratings["rating"].min(), data.ratings["rating"].max()))
    rows = Dataset.load_from_df(train[["user", "item", "rating"]], reader)
    return rows.build_full_trainset(), found.mean()[found.size() >= FEWEST]


def likings(algo: Any, tokens: LLMTokens, users: list[Any]) -> pd.DataFrame:
    """Liking and std by user and genre, and whether a portrait would list it: chance would not."""
    model = algo.model_
    at = [model.items.row(item) for item in tokens.ids]
    words = Words.of(len(tokens), None, {"genres": (tokens.columns or {})["genres"]})
    found = {}
    for user in users:
        draws = np.atleast_2d(model.taste(model.users.row(user)))[:, at].T.astype(np.float64)
        means = words.means(draws)
        std = means.std(axis=1, ddof=1) if means.shape[1] > 1 else np.full(len(means), np.nan)
        liking, chance = means.mean(axis=1), words.by_chance(draws.mean(axis=1)[:, None])[:, 0]
        listed = (np.abs(liking) > words.least * chance) & (chance > ROUNDING)
        for genre, *row in zip(words.names, liking, std, listed, strict=True):
            found[user, genre] = row
    made = pd.DataFrame.from_dict(found, orient="index", columns=["liking", "std", "listed"])
    return made.set_axis(pd.MultiIndex.from_tuples(made.index, names=["user", "genre"]))


def judged(found: pd.DataFrame, above: pd.Series) -> dict[str, Any]:
    """How far likings foretell what was held apart, all, those listed, and of these the sure."""
    both = found.join(above.rename("above"), how="inner")
    tells = both["liking"].std() > ROUNDING
    right = np.sign(both["liking"]) == np.sign(both["above"])
    listed = both["listed"].astype(bool)
    sure = listed & (both["liking"].abs() > SURE * both["std"])
    return {
        "pairs": len(both),
        "correlation": float(np.corrcoef(both["liking"], both["above"])[0, 1]) if tells else None,
        "slope": float(np.polyfit(both["liking"], both["above"], 1)[0]) if tells else None,
        "right": float(right.mean()) if tells else None,
        "listed_pairs": int(listed.sum()),
        "listed_right": float(right[listed].mean()) if listed.any() else None,
        "sure_pairs": int(sure.sum()),
        "sure_right": float(right[sure].mean()) if sure.any() else None,
    }


def main() -> None:
    """Measure both algorithms that tell content apart, with their own and with shuffled tokens."""
    folder = parser(__doc__ or "").parse_args().data
    data = load(folder)
    tokens = movie_tokens(data)
    trainset, above = held_apart(data, tokens)
    users = list(dict.fromkeys(above.index.get_level_values("user")))
    results: dict[str, Any] = {}
    for kind, table in {"tokens": tokens, "shuffled": shuffled(tokens, random_state=SEED)}.items():
        for algo in (
            LLMTokensSVD(item_tokens=table, random_state=SEED),
            LLMTokensBPMF(item_tokens=table, random_state=SEED),
        ):
            name = f"{type(algo).__name__}, {kind}"
            results[name] = judged(likings(algo.fit(trainset), tokens, users), above)
            print(name, results[name], flush=True)
    save("portrait", {"data": data.name, "seed": SEED, "results": results})


if __name__ == "__main__":
    main()
