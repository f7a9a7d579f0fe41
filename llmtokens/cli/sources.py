"""From options to data, tokens, algorithms and splits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from surprise import SVD, AlgoBase, BaselineOnly, KNNBaseline, SVDpp
from surprise.model_selection import KFold

from .. import persist
from ..algorithms.base import TokenAlgoBase
from ..algorithms.bpmf import LLMTokensBPMF
from ..algorithms.content import LLMTokensContent
from ..algorithms.ease import LLMTokensEASE
from ..algorithms.svd import LLMTokensSVD
from ..blocks import fields
from ..controls import UserMean, shuffled
from ..datasets import RatingData, load_items, load_movielens, load_ratings, synthetic
from ..encode import Encoder, HashingEncoder, SentenceEncoder
from ..errors import DataError
from ..ids import IdIndex
from ..model_selection import (
    ColdItemKFold,
    ColdItemTimeSplit,
    ColdUserKFold,
    FewShotItemKFold,
    FewShotUserKFold,
    TimeSplit,
)
from ..roster import Roster
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
OURS: dict[str, type[TokenAlgoBase]] = {
    cls.__name__: cls for cls in (LLMTokensSVD, LLMTokensBPMF, LLMTokensEASE, LLMTokensContent)
}
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


def open_items(path: str, id: str) -> pd.DataFrame:
    """A table of items, its ids in the column "item"; for a MovieLens folder its movies."""
    if Path(path).is_dir():
        return load_movielens(path).items
    return load_items(path, item=id)


def open_ratings(data: str, user: str, item: str, rating: str) -> RatingData:
    """A table of ratings with these columns, or a MovieLens folder or name."""
    if Path(data).is_file() and not data.endswith(".zip"):
        return load_ratings(data, user=user, item=item, rating=rating)
    return load_movielens(data)


def make_tokens(
    items: pd.DataFrame,
    texts: Sequence[str],
    encoder: Encoder,
    categorical: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    n_components: int = 128,
) -> LLMTokens:
    """Tokens of items, by default from the columns that a table of items usually has."""
    have = set(items.columns)
    if not texts:
        usual = ("{title}. {description}", "{title}. Genres: {genres}", "{title}", "{text}")
        texts = [next((text for text in usual if have >= set(fields(text))), usual[2])]
    return LLMTokens.from_frame(
        items,
        list(texts),
        categorical=[c for c in ("genres",) if c in have] if categorical is None else categorical,
        numeric=[c for c in ("year",) if c in have] if numeric is None else numeric,
        id="item",
        encoder=encoder,
        n_components=n_components,
    )


def make_algorithm(name: str, tokens: Path | None, parameters: dict[str, Any]) -> TokenAlgoBase:
    """One of ours, by name, with tokens from a file."""
    if name not in OURS:
        raise DataError(f"found --algo {name}; expected one of {', '.join(OURS)}")
    table = None if tokens is None else LLMTokens.load(tokens)
    known = set(signature(OURS[name]).parameters)
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise DataError(f"found --param {unknown[0]}; {name} has {', '.join(sorted(known))}")
    return OURS[name](item_tokens=table, **parameters)


def open_model(path: Path) -> TokenAlgoBase:
    """A fitted model from its file."""
    algo = persist.load(path)
    assert isinstance(algo, TokenAlgoBase)
    return algo


def raw_id(roster: Roster, text: str) -> Hashable:
    """The id that reads like this, in the type the model knows it by; else the text itself."""
    row = IdIndex(roster.ids).row(text)
    return text if row < 0 else roster.ids[row]


def make_algorithms(names: Sequence[str], tokens: LLMTokens, seed: int) -> dict[str, AlgoBase]:
    """Algorithms by name, each of ours followed by its control: the same with shuffled tokens."""
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


def sides(names: Sequence[str]) -> list[Literal["item", "user"]]:
    """What learning curves are asked for, each once."""
    for name in names:
        if name not in ("item", "user"):
            raise DataError(f"found --curve {name}; expected item or user")
    return [side for side in get_args(Literal["item", "user"]) if side in names]


def _seeded(cls: type[AlgoBase], seed: int, **parameters: Any) -> AlgoBase:
    if cls is KNNBaseline:  # item-item, as its figures are usually quoted
        options = {"name": "pearson_baseline", "user_based": False}
        return KNNBaseline(sim_options=options, verbose=False)
    takes = set(signature(cls).parameters) | set(signature(cls.__init__).parameters)
    if "random_state" in takes:
        parameters["random_state"] = seed
    return cls(verbose=False, **parameters) if "verbose" in takes else cls(**parameters)
