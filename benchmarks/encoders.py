"""What does an encoder cost, and what is it worth?

*Cost*: texts a second of CPU time on one thread, over 2,000 titles with genres, the best of three
rounds in turns; the size of a file of tokens without and with
the embeddings that ``ask`` needs. *Worth*: RMSE of LLMTokensSVD on cold items, five folds, and the
precision of ``ask`` on the questions of ``answers.py``, without a user and with each of 40. All
with defaults, and with genres and year beside the text. The static table is distilled from the same
MiniLM by model2vec (``pip install "model2vec[distill]"``), 256 dims.

*More text*: cold items with the tags that users gave them as a text block of its own (each tag
once, the most given first), beside the tags of other items.

    python benchmarks/encoders.py --data ml-latest-small
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from answers import N_USERS, QUESTIONS, SEED, K, accepted, precision
from common import load, parser, save

from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD, SentenceEncoder, StaticEncoder
from llmtokens.compare import compare
from llmtokens.datasets import RatingData
from llmtokens.encode import Encoder, models
from llmtokens.model_selection import ColdItemKFold

N_TEXTS, ROUNDS, FOLDS = 2000, 3, 5
TEMPLATE = "{title}. Genres: {genres}"


def distilled(folder: str) -> str:
    """A static table of MiniLM, in model2vec's format."""
    from model2vec.distill import distill

    distill(models.find(None).location, device="cpu").save_pretrained(folder)
    return folder


def encoders(static: str) -> dict[str, Encoder | None]:
    """By the name in the table; None: no text."""
    return {
        "none": None,
        "HashingEncoder": HashingEncoder(),
        "StaticEncoder": StaticEncoder(static),
        'SentenceEncoder(precision="int8")': SentenceEncoder(precision="int8"),
        "SentenceEncoder": SentenceEncoder(device="cpu"),
    }


def uncached(encoder: Encoder) -> Encoder:
    """The same, to be timed."""
    if isinstance(encoder, SentenceEncoder):
        return SentenceEncoder(cache=False, device="cpu", precision=encoder.precision)
    return encoder


def speed(named: dict[str, Encoder], texts: list[str]) -> dict[str, float]:
    """Texts a second."""
    timed = {name: uncached(encoder) for name, encoder in named.items()}
    found = dict.fromkeys(timed, 0.0)
    for encoder in timed.values():
        encoder.encode(["Alien"])  # load the weights before the clock runs
    for _ in range(ROUNDS):
        for name, encoder in timed.items():
            start = time.process_time()
            encoder.encode(texts)
            found[name] = max(found[name], len(texts) / (time.process_time() - start))
    return found


def sizes(tokens: LLMTokens) -> dict[str, int]:
    """Bytes of a file with the tokens, and of the embeddings beside them."""
    with tempfile.TemporaryDirectory() as folder:
        tokens.save(Path(folder, "tokens"))
        whole = Path(folder, "tokens").stat().st_size
    embeddings = 0 if tokens.embeddings is None else tokens.embeddings.nbytes
    return {"tokens_bytes": whole - embeddings, "embeddings_bytes": embeddings}


def asked(data: RatingData, tokens: LLMTokens, wanted: dict[str, set[Any]]) -> dict[str, float]:
    """Precision of answers to anybody, and to users."""
    algo = LLMTokensSVD(item_tokens=tokens, random_state=SEED)
    algo.fit(data.dataset.build_full_trainset())
    users = np.random.default_rng(SEED).choice(
        np.sort(data.ratings["user"].unique()), N_USERS, replace=False
    )

    def hits(uid: Any) -> float:
        return float(np.mean([
            precision(algo.ask(text, K, uid)["item"].tolist(), right)
            for text, right in wanted.items()
        ]))  # fmt: skip

    return {"ask": hits(None), "ask_with_user": float(np.mean([hits(u) for u in users.tolist()]))}


def cold(data: RatingData, named: dict[str, LLMTokens]) -> dict[str, list[float]]:
    """RMSE on cold items, by fold."""
    algorithms = {name: LLMTokensSVD(t, random_state=SEED) for name, t in named.items()}
    splits = {"cold-item": ColdItemKFold(FOLDS, random_state=SEED)}
    table = compare(algorithms, data, splits, ["rmse"]).table
    rows = table[table["measure"] == "rmse"]
    return {name: rows.loc[rows["algorithm"] == name, "value"].tolist() for name in named}


def tagged(data: RatingData, folder: str) -> pd.DataFrame:
    """The items with what users call them: each tag once, the most given first."""
    tags = pd.read_csv(Path(folder) / "tags.csv")
    tags["tag"] = tags["tag"].astype(str).str.strip().str.lower()
    counts = tags.groupby(["movieId", "tag"]).size().rename("n").reset_index()
    counts = counts.sort_values(["movieId", "n", "tag"], ascending=[True, False, True])
    said = counts.groupby("movieId")["tag"].agg(", ".join)
    return data.items.assign(tags=data.items["item"].map(said))


def others(items: pd.DataFrame) -> pd.DataFrame:
    """The same items have tags, but those of another."""
    has = items["tags"].notna().to_numpy()
    mixed = items["tags"].to_numpy(object).copy()
    mixed[has] = np.random.default_rng(SEED).permutation(mixed[has])
    return items.assign(tags=mixed)


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--static", help="folder of a static table; by default one is distilled")
    options = arguments.parse_args()
    data = load(options.data)
    structure: dict[str, Any] = {"categorical": ["genres"], "numeric": ["year"]}
    with tempfile.TemporaryDirectory() as folder:
        named = encoders(options.static or distilled(folder))
        tokens = {
            name: LLMTokens.from_frame(
                data.items, TEMPLATE if encoder else (), encoder=encoder, **structure
            )
            for name, encoder in named.items()
        }
        texts = (data.items["title"] + ". Genres: " + data.items["genres"].map(", ".join)).tolist()
        picked = np.random.default_rng(SEED).choice(len(texts), N_TEXTS, replace=False)
        rates = speed({k: e for k, e in named.items() if e}, [texts[k] for k in picked])
        wanted = accepted(options.data, QUESTIONS)
        answered = {name: asked(data, tokens[name], wanted) for name, e in named.items() if e}
    errors = cold(data, tokens)
    items = tagged(data, options.data)
    more = {
        "title and genres": tokens["SentenceEncoder"],
        "and tags": LLMTokens.from_frame(items, [TEMPLATE, "{tags}"], **structure),
        "and tags of others": LLMTokens.from_frame(
            others(items), [TEMPLATE, "{tags}"], **structure
        ),
    }
    results = {
        "data": data.name,
        "seed": SEED,
        "folds": FOLDS,
        "questions": len(QUESTIONS),
        "users": N_USERS,
        "items": len(items),
        "items_with_tags": int(items["tags"].notna().sum()),
        "encoders": {
            name: {
                **({"texts_a_second": rates[name]} if name in rates else {}),
                **sizes(tokens[name]),
                **answered.get(name, {}),
                "rmse_cold": errors[name],
            }
            for name in named
        },
        "rmse_cold_more_text": cold(data, more),
    }
    print(pd.Series(results).to_json(indent=1))
    print(save("encoders", results))


if __name__ == "__main__":
    main()
