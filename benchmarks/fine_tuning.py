"""From how many items does it pay to fine-tune an encoder, and does a reducer that knows ratings?

*Fine-tuning*: MiniLM learns from the ratings of the training set of an inner fold, by ``fine_tune``
with its defaults, on 300, 1,200, 3,000 and all items (a random part of them, with their ratings);
RMSE of LLMTokensContent on cold items of the fold, with tokens of the frozen model and of the tuned
one.

*Reducer*: tokens whose axes are those of the items' texts, X'X, beside axes that follow the
ratings, X'(I + c R)X, where R says, row by row, what share of the likes of those who like an item
go to another training item; c from 0 to 8. Cold items take the axes alone. Means of inner folds.

Inner folds: cold-item folds of the first cold-item training set.

    python benchmarks/fine_tuning.py --data ml-latest-small
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import load, parser, save
from scipy import sparse
from surprise import Dataset, Reader, accuracy

from llmtokens import LLMTokens, LLMTokensContent, SentenceEncoder
from llmtokens.datasets import RatingData
from llmtokens.encode import fine_tune
from llmtokens.model_selection import ColdItemKFold

SEED, SIZES, SHARES, LENGTHS = 0, (300, 1200, 3000, 0), (0.0, 0.5, 2.0, 8.0), (32, 128)


def inner(data: RatingData, n_items: int = 0) -> Iterator[tuple[Any, Any]]:
    """Training and test sets of the inner folds, with so many items; 0: all."""
    train, _ = next(ColdItemKFold(5, random_state=SEED).split(data.dataset))
    frame = pd.DataFrame(train.build_testset(), columns=["user", "item", "rating"])
    items = np.sort(frame["item"].unique())
    if n_items:
        items = np.random.default_rng(SEED).choice(items, n_items, replace=False)
    frame = frame[frame["item"].isin(items)]
    part = Dataset.load_from_df(frame, Reader(rating_scale=data.rating_scale))
    yield from ColdItemKFold(5, random_state=SEED).split(part)


def rmse(trainset: Any, testset: Any, tokens: LLMTokens) -> float:
    algo = LLMTokensContent(item_tokens=tokens).fit(trainset)
    return float(accuracy.rmse(algo.test(testset), verbose=False))


def following(
    embeddings: np.ndarray, ids: list[Any], trainset: Any, share: float, length: int
) -> np.ndarray:
    """Embeddings on the axes of X'(I + share R)X, X the centred rows of the training items."""
    known = pd.DataFrame(trainset.build_testset(), columns=["user", "item", "rating"])
    at = {raw: k for k, raw in enumerate(ids)}
    known = known[known["item"].isin(at)]
    liked = known[known["rating"] >= known.groupby("user")["rating"].transform("mean")]
    users = pd.factorize(liked["user"])[0]
    rows = liked["item"].map(at).to_numpy()
    seen = np.unique(known["item"].map(at).to_numpy())
    likes = sparse.csr_array((np.ones(len(rows)), (rows, users)), (len(ids), users.max() + 1))
    together = (likes @ likes.T).tocsr()
    together.setdiag(0)
    sums = np.asarray(together.sum(axis=1)).ravel()
    together = sparse.diags_array(1 / np.maximum(sums, 1)) @ together
    mean = embeddings[seen].mean(axis=0)
    centred = embeddings - mean
    mine = np.zeros_like(centred)
    mine[seen] = centred[seen]
    moment = mine.T @ mine + share * (mine.T @ (together @ mine))
    axes = np.linalg.eigh((moment + moment.T) / 2).eigenvectors
    return centred @ axes[:, ::-1][:, :length]


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="items; 0: all")
    options = arguments.parse_args()
    data = load(options.data)
    texts = (data.items["title"] + ". Genres: " + data.items["genres"].map(", ".join)).tolist()
    ids = data.items["item"].tolist()
    frozen = SentenceEncoder(device="cpu", show_progress=False)
    rows = frozen.encode(texts).astype(np.float64)
    folds = list(inner(data))
    reducer: dict[str, dict[str, float]] = {}
    for length in LENGTHS:
        for share in SHARES:
            errors = [
                rmse(
                    trainset,
                    testset,
                    LLMTokens.from_embeddings(
                        ids, following(rows, ids, trainset, share, length), n_components=length
                    ),
                )
                for trainset, testset in folds
            ]
            reducer.setdefault(f"{length} dims", {})[f"{share:g}"] = float(np.mean(errors))
            print(length, share, errors, flush=True)
    curve = [tuned(data, frozen, ids, texts, rows, n_items) for n_items in options.sizes]
    results = {"data": data.name, "seed": SEED, "curve": curve, "reducer": reducer}
    print(save("fine_tuning", results))


def tuned(
    data: RatingData,
    frozen: SentenceEncoder,
    ids: list[Any],
    texts: list[str],
    rows: np.ndarray,
    n_items: int,
) -> dict[str, float]:
    """RMSE on the cold items of one inner fold, with the frozen and with the tuned encoder."""
    trainset, testset = next(inner(data, n_items))
    ratings = pd.DataFrame(trainset.build_testset(), columns=["user", "item", "rating"])
    known = set(ratings["item"])
    asked = [k for k, raw in enumerate(ids) if raw in known | {item for _, item, _ in testset}]
    some = [ids[k] for k in asked]
    with tempfile.TemporaryDirectory() as folder:
        said = {raw: text for raw, text in zip(ids, texts, strict=True) if raw in known}
        encoder = fine_tune(frozen, ratings, said, Path(folder, "model"), random_state=SEED)
        encoder.cache = False
        made = encoder.encode([texts[k] for k in asked])
    found = {
        "items": len(known),
        "ratings": len(ratings),
        "frozen": rmse(trainset, testset, LLMTokens.from_embeddings(some, rows[asked])),
        "tuned": rmse(trainset, testset, LLMTokens.from_embeddings(some, made)),
        "moved": float(np.abs(made - rows[asked]).max()),
    }
    print(found, flush=True)
    return found


if __name__ == "__main__":
    main()
