"""What ``llmtokens benchmark`` can be asked for by name: algorithms, splits, measures, curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from inspect import signature
from typing import Any, Literal, get_args

from surprise import SVD, AlgoBase, BaselineOnly, KNNBaseline, SVDpp
from surprise.model_selection import KFold

from ..algorithms.content import LLMTokensContent
from ..compare import full_ranking
from ..controls import Popularity, UserMean, shuffled
from ..curves import N_GIVEN
from ..datasets import RatingData
from ..errors import DataError
from ..metrics import (
    auc,
    catalogue_coverage,
    classification,
    exposure_gini,
    f1_at_k,
    hit_rate_at_k,
    intra_list_diversity,
    map_at_k,
    mrr,
    ndcg_at_k,
    novelty,
    precision_at_k,
    recall_at_k,
)
from ..model_selection import (
    ColdItemKFold,
    ColdItemTimeSplit,
    ColdUserKFold,
    FewShotItemKFold,
    FewShotUserKFold,
    TimeSplit,
)
from ..tokens import LLMTokens
from .sources import OURS

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
    cls.__name__: cls for cls in (UserMean, Popularity, BaselineOnly, SVD, SVDpp, KNNBaseline)
}
STRUCTURE = "StructureRidge"
ALGORITHMS = (*PEERS, STRUCTURE, *OURS)
ACCURACY = ("rmse", "mae", "mse", "fcp")
RANKING: dict[str, Any] = {
    "precision": precision_at_k,
    "recall": recall_at_k,
    "f1": f1_at_k,
    "hit-rate": hit_rate_at_k,
    "map": map_at_k,
    "ndcg": ndcg_at_k,
    "mrr": mrr,
    "auc": auc,
}
LISTS: dict[str, Any] = {
    "coverage": catalogue_coverage,
    "gini": exposure_gini,
    "novelty": novelty,
    "diversity": intra_list_diversity,
}
LIKED = {
    "liked-accuracy": "accuracy",
    "liked-precision": "precision",
    "liked-recall": "recall",
    "liked-f1": "f1",
    "liked-auc": "roc_auc",
}
MEASURES = (*ACCURACY, "liked", *LIKED, *RANKING, *LISTS)
Side = Literal["item", "user"]


def known(option: str, names: Iterable[str], choices: Iterable[str]) -> list[str]:
    """The names, each once; an error for one that is no choice."""
    choices = list(choices)
    for name in names:
        if name not in choices:
            raise DataError(f"found --{option} {name}; expected one of {', '.join(choices)}")
    return list(dict.fromkeys(names))


Structure = tuple[Sequence[str], Sequence[str]]  # categorical and numeric columns of the items


def algorithm_names(asked: Sequence[str], structure: Structure, implicit: bool) -> list[str]:
    """Those asked for, if the data have what they need; else the usual ones for such data."""
    if STRUCTURE in asked and not any(structure):
        raise DataError(
            f"found --algo {STRUCTURE}, but among the columns of the items neither genres nor "
            "year: name yours with --categorical and --numeric, or leave it out"
        )
    if asked or implicit:
        return list(asked or ["LLMTokensEASE"])
    control = [STRUCTURE] if any(structure) else []
    return ["UserMean", "BaselineOnly", "SVD", "KNNBaseline", *control, "LLMTokensSVD"]


def make_algorithms(
    names: Sequence[str],
    tokens: LLMTokens | None,
    wordless: LLMTokens | None,
    seed: int,
    implicit: bool,
) -> dict[str, AlgoBase]:
    """Algorithms by name, each of ours followed by its control: the same with shuffled tokens.

    ``tokens`` may be None where none of ours is among them, and ``wordless``, tokens without a word
    of text, where ``STRUCTURE`` is not: what a ridge on these reaches, text has to beat.
    """
    made: dict[str, AlgoBase] = {}
    for name in names:
        if name == STRUCTURE:
            made[name] = LLMTokensContent(wordless)
        elif name in OURS and tokens is not None:
            for label, own in (
                (name, tokens),
                (f"{name}, shuffled tokens", shuffled(tokens, seed)),
            ):
                made[label] = _seeded(OURS[name], seed, item_tokens=own, implicit=implicit)
        else:
            made[name] = _seeded(PEERS[name], seed)
    return made


def make_splits(names: Sequence[str], folds: int, seed: int) -> dict[str, Any]:
    """Cross-validation iterators by name."""
    made = {}
    for name in known("split", names, SPLITS) or ("warm", "cold-item"):
        ordered = name.endswith("time")
        if folds < 2 and not ordered:
            raise DataError(
                f"found --folds {folds} and --split {name}; expected at least 2: only splits by "
                "time may have 1"
            )
        made[name] = SPLITS[name](folds) if ordered else SPLITS[name](folds, random_state=seed)
    return made


def measure_names(asked: Sequence[str], data: RatingData) -> list[str]:
    """Names of measures, all known; those that are usual for such data where none is asked for."""
    implicit = data.ratings["rating"].nunique() == 1
    names = asked or (("ndcg@10", "recall@10") if implicit else ("rmse", "mae"))
    for text in names:
        name, at, k = text.partition("@")
        takes_length = name in LISTS or (name in RANKING and name != "auc")
        if name not in MEASURES or (at and not (takes_length and k.isdecimal() and int(k))):
            raise DataError(
                f"found --measure {text}; expected one of {', '.join(MEASURES)}, those of lists "
                "with a length where they take one, such as ndcg@10"
            )
    each = [[*LIKED] if name == "liked" else [name] for name in names]
    return list(dict.fromkeys(name for part in each for name in part))


def needs_tokens(measures: Sequence[str]) -> bool:
    """Whether one of the measures looks at what items are about."""
    return any(name.partition("@")[0] == "diversity" for name in measures)


def make_measures(
    names: Sequence[str], data: RatingData, relevant: float | None, tokens: LLMTokens | None
) -> dict[str, Any]:
    """Measures by name; those of rankings rank the whole catalogue."""
    least = least_liked(data, relevant)
    return {name: _measure(name, least, tokens) for name in names}


def least_liked(data: RatingData, relevant: float | None) -> float:
    """The least rating of what is liked: by default 4 of 5, 8 of 10 and so on."""
    low, high = data.rating_scale
    usual = low + 0.75 * (high - low) if low < 0 else 0.8 * high
    return usual if relevant is None else relevant


def first_error(measures: dict[str, Any]) -> dict[str, Any]:
    """What a learning curve shows: the first error asked for, or else the first measure."""
    name = next((name for name in measures if name in ACCURACY), next(iter(measures)))
    return {name: measures[name]}


def _measure(text: str, relevant: float, tokens: LLMTokens | None) -> Any:
    name, at, k = text.partition("@")
    length = {"k": int(k)} if at else {}
    if text in ACCURACY:
        return text
    if text in LIKED:
        return partial(classification, relevant=relevant, which=LIKED[text])
    if name in LISTS:
        known = {"tokens": tokens} if name == "diversity" else {}
        return full_ranking(LISTS[name], **known, **length)
    return full_ranking(RANKING[name], relevant=relevant, **length)


def sides(names: Sequence[str]) -> list[Side]:
    """What learning curves are asked for, each once."""
    asked = known("curve", names, get_args(Side))
    return [side for side in get_args(Side) if side in asked]


def numbers(data: RatingData, side: Side, folds: int) -> list[int]:
    """The training ratings that a learning curve goes through: 0 to 50, as far as the data go.

    Ten ids a fold have more than the largest number, or all have, so that no fold is without.
    """
    counts = data.ratings[side].value_counts()
    most = int(counts.iloc[min(10 * folds, len(counts)) - 1]) if len(counts) >= folds else 0
    found = [n for n in N_GIVEN if n < most]
    if len(found) < 2:
        raise DataError(
            f"found --curve {side} and too few {side}s with more than one rating; expected ten for "
            "each fold: leave it out, or ask for fewer --folds"
        )
    return found


def _seeded(cls: type[AlgoBase], seed: int, **parameters: Any) -> AlgoBase:
    if cls is KNNBaseline:  # item-item, as its figures are usually quoted
        options = {"name": "pearson_baseline", "user_based": False}
        return KNNBaseline(sim_options=options, verbose=False)
    takes = set(signature(cls).parameters) | set(signature(cls.__init__).parameters)
    wanted = parameters | {"random_state": seed, "verbose": False}
    return cls(**{name: value for name, value in wanted.items() if name in takes})
