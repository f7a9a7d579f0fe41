"""From options to data, tokens, algorithms and splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surprise import SVD, AlgoBase, BaselineOnly, KNNBaseline, SVDpp
from surprise.model_selection import KFold

from ..algorithms.svd import LLMTokensSVD
from ..controls import UserMean, shuffled
from ..datasets import RatingData, load_movielens, load_ratings, synthetic
from ..encode import Encoder, HashingEncoder, SentenceEncoder
from ..errors import DataError
from ..model_selection import (
    ColdItemKFold,
    ColdItemTimeSplit,
    ColdUserKFold,
    FewShotItemKFold,
    FewShotUserKFold,
    TimeSplit,
)
from ..tokens import LLMTokens

SPLITS = {
    "warm": KFold,
    "cold-item": ColdItemKFold,
    "cold-user": ColdUserKFold,
    "few-shot-item": FewShotItemKFold,
    "few-shot-user": FewShotUserKFold,
    "time": TimeSplit,
    "cold-item-time": ColdItemTimeSplit,
}
PEERS: dict[str, type[AlgoBase]] = {
    cls.__name__: cls for cls in (UserMean, BaselineOnly, SVD, SVDpp, KNNBaseline)
}
OURS: dict[str, type[AlgoBase]] = {cls.__name__: cls for cls in (LLMTokensSVD,)}
DEFAULT_ALGORITHMS = ("BaselineOnly", "SVD", "KNNBaseline", "LLMTokensSVD")
DEFAULT_SPLITS = ("warm", "cold-item")


def open_data(data: str | None, items: Path | None) -> RatingData:
    """A MovieLens name or folder, a table of ratings, or (None) the generated data set."""
    if data is None:
        return synthetic()
    if items is not None or Path(data).is_file():
        return load_ratings(data, items)
    return load_movielens(data)


def open_encoder(name: str | None, data: str | None) -> Encoder:
    """By default all-MiniLM-L6-v2; for the generated data set the encoder without weights."""
    if name == "hashing" or (name is None and data is None):
        return HashingEncoder()
    return SentenceEncoder(name, show_progress=True)


def make_tokens(data: RatingData, texts: Sequence[str], encoder: Encoder) -> LLMTokens:
    """Tokens of the items, from templates or from the columns a table of items usually has."""
    have = data.items.columns
    if not texts:
        texts = ["{title}. {description}" if "description" in have else "{title}. Genres: {genres}"]
    return LLMTokens.from_frame(
        data.items,
        list(texts),
        categorical=[name for name in ("genres",) if name in have],
        numeric=[name for name in ("year",) if name in have],
        encoder=encoder,
    )


def make_algorithms(names: Sequence[str], tokens: LLMTokens, seed: int) -> dict[str, AlgoBase]:
    """Algorithms by name; each of ours is followed by its control, the same with shuffled tokens."""
    made: dict[str, AlgoBase] = {}
    for name in names or DEFAULT_ALGORITHMS:
        if name in OURS:
            made[name] = _seeded(OURS[name], seed, item_tokens=tokens)
            made[f"{name}, shuffled tokens"] = _seeded(
                OURS[name], seed, item_tokens=shuffled(tokens, seed)
            )
        elif name in PEERS:
            made[name] = _seeded(PEERS[name], seed)
        else:
            raise DataError(f"found --algo {name}; expected one of {', '.join((*PEERS, *OURS))}")
    return made


def make_splits(names: Sequence[str], folds: int, seed: int) -> dict[str, Any]:
    """Cross-validation iterators by name."""
    made = {}
    for name in names or DEFAULT_SPLITS:
        if name not in SPLITS:
            raise DataError(f"found --split {name}; expected one of {', '.join(SPLITS)}")
        ordered = name.endswith("time")
        made[name] = SPLITS[name](folds) if ordered else SPLITS[name](folds, random_state=seed)
    return made


def _seeded(cls: type[AlgoBase], seed: int, **parameters: Any) -> AlgoBase:
    from inspect import signature

    if cls is KNNBaseline:  # item-item, as its figures are usually quoted
        options = {"name": "pearson_baseline", "user_based": False}
        return KNNBaseline(sim_options=options, verbose=False)
    takes = set(signature(cls).parameters) | set(signature(cls.__init__).parameters)
    if "random_state" in takes:
        parameters["random_state"] = seed
    return cls(verbose=False, **parameters) if "verbose" in takes else cls(**parameters)
