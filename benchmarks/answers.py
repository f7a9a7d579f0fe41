"""Are the answers those that a person would accept? Questions in words, and lists.

*Ask*: 30 questions, each with the films whose tags, as users gave them, name what is asked for; the
tags are in no text that is encoded (title and genres). ``precision@5`` of ``ask`` beside the cosine
of whole embeddings with the question; then with a user, for 40 users, beside the cosine over what
that user has not rated, with the mean estimate of what is listed. Questions for choosing settings
are others, ``CHOSEN_ON``; ``--choose`` shows what they say of ``weight``.

*Recommend*: NDCG@10 over the whole catalogue on the folds of ``ranking.py``, relevant from 4, of
lists by ``recommend`` beside lists by the estimate alone (for LLMTokensBPMF also by the estimate
less its standard deviation), by popularity, and of LLMTokensEASE.

    python benchmarks/answers.py --data ml-latest-small
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import load, movie_tokens, parser, save
from surprise.model_selection import KFold

from llmtokens import LLMTokens, LLMTokensBPMF, LLMTokensEASE, LLMTokensSVD
from llmtokens.datasets import RatingData

SEED, K, N_USERS = 0, 5, 40
QUESTIONS = {
    "superheroes who save the city": ["superhero", "comic book"],
    "travelling through time": ["time travel"],
    "a heist that needs a clever plan": ["heist"],
    "the mafia and its families": ["mafia", "organized crime"],
    "something for Christmas": ["christmas"],
    "a play by Shakespeare, filmed": ["shakespeare"],
    "a trial in court": ["court", "lawyers"],
    "a boxer in the ring": ["boxing"],
    "the Holocaust": ["holocaust"],
    "the war in Vietnam": ["vietnam"],
    "ghosts in an old house": ["ghosts"],
    "robots that think": ["robots", "artificial intelligence"],
    "soldiers of the Second World War": ["world war ii"],
    "a serial killer is hunted": ["serial killer"],
    "kung fu": ["martial arts"],
    "visitors from another planet": ["aliens"],
    "astronauts lost in space": ["space", "space opera"],
    "reporters after a story": ["journalism"],
    "a dog as the hero": ["dogs", "animal movie"],
    "terrorists take hostages": ["terrorism", "kidnapping"],
    "the world after its end": ["post apocalyptic", "post-apocalyptic", "dystopia"],
    "zombies": ["zombies"],
    "wizards and magic": ["wizards", "magic"],
    "a baseball team": ["baseball"],
    "getting married": ["wedding", "marriage"],
    "Japanese animation": ["anime"],
    "life at high school": ["high school", "adolescence"],
    "waiting for execution in prison": ["death penalty"],
    "a plot to kill the president": ["president", "assassination"],
    "gambling in a casino": ["gambling"],
}
CHOSEN_ON = {
    "drugs and addicts": ["drugs"],
    "racism in America": ["racism", "race"],
    "corrupt police": ["police", "corruption"],
    "how films are made in Hollywood": ["movie business"],
    "madness and mental illness": ["mental illness"],
    "a novel by Stephen King": ["stephen king"],
    "faith and the Bible": ["religion", "bible"],
    "a pregnant woman": ["pregnancy"],
    "a divorce": ["divorce"],
    "a drinker": ["alcoholism"],
    "a man who lost his memory": ["amnesia"],
    "prostitutes": ["prostitution"],
    "politics and elections": ["politics"],
    "a parody of other films": ["spoof"],
    "a cartoon by Disney": ["disney"],
    "musicians and their songs": ["music"],
    "India": ["india"],
    "the Australian outback": ["australia"],
    "Ireland": ["ireland"],
    "Africa": ["africa"],
    "pirates and sword fights": ["swashbuckler"],
    "homeless people": ["homeless"],
    "the American Civil War": ["civil war"],
    "twins": ["twins"],
    "revenge": ["revenge"],
    "a murder mystery": ["murder", "mystery"],
    "men dressed as women": ["men in drag", "cross dressing"],
    "television and its stars": ["television"],
    "a killer in a hockey mask": ["jason"],
    "a vampire or a witch in a gothic castle": ["gothic"],
}
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def accepted(folder: str, questions: dict[str, list[str]]) -> dict[str, set[Any]]:
    """The films whose tags name what each question asks for."""
    tags = pd.read_csv(Path(folder) / "tags.csv")
    found = tags.assign(tag=tags["tag"].str.lower().str.strip()).groupby("tag")["movieId"].agg(set)
    return {text: set().union(*(found[tag] for tag in named)) for text, named in questions.items()}


def precision(items: list[Any], wanted: set[Any]) -> float:
    """Share of the K places that hold what is wanted; an empty place does not."""
    return sum(item in wanted for item in items[:K]) / K


def by_cosine(tokens: LLMTokens, text: str) -> list[Any]:
    """All ids, by the cosine of their whole texts with the question."""
    near = tokens.embeddings @ tokens.embed(text)
    return [tokens.ids[row] for row in np.argsort(-near, kind="stable")]


def answers(
    data: RatingData, tokens: LLMTokens, wanted: dict[str, set[Any]], weights: tuple[float, ...]
) -> dict[str, Any]:
    """Precision of answers to anybody and to users, and the estimates of what is listed."""
    order = {text: by_cosine(tokens, text) for text in wanted}
    users = np.random.default_rng(SEED).choice(
        np.sort(data.ratings["user"].unique()), N_USERS, replace=False
    )
    seen = data.ratings.groupby("user")["item"].agg(set)
    found: dict[str, Any] = {
        "cosine": float(np.mean([precision(order[text], wanted[text]) for text in wanted]))
    }
    for cls in (LLMTokensEASE, LLMTokensSVD):
        algo = cls(item_tokens=tokens).fit(data.dataset.build_full_trainset())
        alone = {text: algo.ask(text, K)["item"].tolist() for text in wanted}
        part: dict[str, Any] = {
            "ask": float(np.mean([precision(alone[text], wanted[text]) for text in wanted]))
        }
        rows = []
        for uid in users.tolist():
            for text, right in wanted.items():
                unseen = [item for item in order[text] if item not in seen[uid]][:K]
                est = [algo.predict(uid, item).est for item in unseen]
                row = {"cosine, unseen": (precision(unseen, right), float(np.mean(est)))}
                for weight in weights:
                    frame = algo.ask(text, K, uid, weight)
                    hits = precision(frame["item"].tolist(), right)
                    row[f"weight {weight:g}"] = (hits, float(frame["est"].mean()))
                rows.append(row)
        part["with uid"] = {
            name: {
                "precision@5": float(np.mean([row[name][0] for row in rows])),
                "mean_estimate": float(np.nanmean([row[name][1] for row in rows])),
            }
            for name in rows[0]
        }
        found[cls.__name__] = part
    return found


def ndcg(algo: Any, scores: Callable[[Any], Any], testset: list[Any]) -> float:
    """NDCG@10 over the whole catalogue but for what a user rated in training, relevant from 4."""
    model, relevant = algo.model_, pd.DataFrame(testset, columns=["user", "item", "rating"])
    liked = relevant[relevant["rating"] >= 4].groupby("user")["item"].agg(list)
    rows = model.users.rows(liked.index.tolist())
    gains = []
    for row, items in zip(rows, liked, strict=True):
        mine = np.array(scores(np.array([row]))[0], np.float64)
        mine[model.items.unknown] = -np.inf
        mine[model.ratings.of_user(int(row))[0]] = -np.inf
        top = np.argsort(-mine, kind="stable")[:10]
        right = set(model.items.rows(items).tolist()) - {model.items.unknown}
        gain = sum(1 / np.log2(2 + k) for k, item in enumerate(top.tolist()) if item in right)
        gains.append(gain / sum(1 / np.log2(2 + k) for k in range(min(10, len(items)))))
    return float(np.mean(gains))


def by_list(algo: Any, testset: list[Any]) -> float:
    """The same of what ``recommend`` returns, for all users in one call."""
    relevant = pd.DataFrame(testset, columns=["user", "item", "rating"])
    liked = relevant[relevant["rating"] >= 4].groupby("user")["item"].agg(list)
    lists = algo.recommend(liked.index.tolist(), 10).groupby("user", sort=False)["item"].agg(list)
    gains = []
    for uid, items in liked.items():
        gain = sum(1 / np.log2(2 + k) for k, item in enumerate(lists[uid]) if item in set(items))
        gains.append(gain / sum(1 / np.log2(2 + k) for k in range(min(10, len(items)))))
    return float(np.mean(gains))


def recommended(data: RatingData, tokens: LLMTokens, folds: int) -> dict[str, Any]:
    """NDCG@10 by algorithm and by what its lists are sorted by, a mean over folds."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for k, (trainset, testset) in enumerate(KFold(5, random_state=SEED).split(data.dataset)):
        if k == folds:
            break
        for cls, given in (
            (LLMTokensSVD, {"random_state": SEED}),
            (LLMTokensBPMF, {"random_state": SEED}),
            (LLMTokensEASE, {}),
        ):
            algo = cls(item_tokens=tokens, **given).fit(trainset)
            note(f"{cls.__name__}, recommend", by_list(algo, testset))
            model = algo.model_
            if cls is LLMTokensEASE:
                counts = np.zeros(model.items.n_rows)
                counts[: model.ratings.n_items] = model.ratings.item_counts
                note("popularity", ndcg(algo, lambda _, c=counts: c[None], testset))
                continue
            note(f"{cls.__name__}, estimate", ndcg(algo, model.rank_scores, testset))
            if cls is LLMTokensBPMF:
                every = np.arange(model.items.n_rows)

                def bound(rows: Any, model: Any = model, every: Any = every) -> Any:
                    est, more = model.score(np.full(len(every), rows[0]), every)
                    return (est - more["std"])[None]

                note(f"{cls.__name__}, estimate less std", ndcg(algo, bound, testset))
    return {name: {"mean": float(np.mean(x)), "folds": x} for name, x in found.items()}


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--folds", type=int, default=5, help="of the lists")
    arguments.add_argument("--choose", action="store_true", help="show what settings are chosen on")
    options = arguments.parse_args()
    data = load(options.data)
    tokens = movie_tokens(data)
    if options.choose:
        print(pd.Series(answers(data, tokens, accepted(options.data, CHOSEN_ON), WEIGHTS)).to_json(
            indent=1))  # fmt: skip
        return
    results = {
        "data": data.name,
        "seed": SEED,
        "questions": len(QUESTIONS),
        "users": N_USERS,
        "ask": answers(data, tokens, accepted(options.data, QUESTIONS), (0.0, 0.75)),
        "ndcg@10": recommended(data, tokens, options.folds),
    }
    print(pd.Series(results).to_json(indent=1))
    print(save("answers", results))


if __name__ == "__main__":
    main()
