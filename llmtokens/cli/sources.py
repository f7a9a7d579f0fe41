"""From options to data, tokens and algorithms."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd

from ..algorithms.base import TokenAlgoBase
from ..algorithms.bpmf import LLMTokensBPMF
from ..algorithms.content import LLMTokensContent
from ..algorithms.ease import LLMTokensEASE
from ..algorithms.svd import LLMTokensSVD
from ..datasets import (
    RatingData,
    load_events,
    load_items,
    load_movielens,
    load_ratings,
    synthetic,
)
from ..encode import Encoder, HashingEncoder, SentenceEncoder
from ..errors import DataError, LLMTokensWarning, sample
from ..tokens import LLMTokens
from ..tokens.blocks import fields
from ..tokens.numbers import numbers

_TABLES = {"item_tokens", "user_tokens", "timestamps"}  # parameters that no text can give
OURS: dict[str, type[TokenAlgoBase]] = {
    cls.__name__: cls for cls in (LLMTokensSVD, LLMTokensBPMF, LLMTokensEASE, LLMTokensContent)
}


def open_data(
    data: str | None, items: Path | None, implicit: bool, reading: dict[str, Any]
) -> RatingData:
    """A MovieLens name or folder, a table of ratings, or (None) the generated data set.

    ``reading``: how a table is read, as :func:`load_ratings` takes it.
    """
    if data is not None and (items is not None or _is_table(data)):
        return load_ratings(data, items, **(reading | ({"rating": None} if implicit else {})))
    known = synthetic() if data is None else load_movielens(data)
    return load_ratings(known.ratings, known.items, rating=None) if implicit else known


def open_events(
    path: str, event: str, weights: dict[Hashable, float], reading: dict[str, Any]
) -> RatingData:
    """A table of events as ratings; says what was left out.

    ``reading``: how a table is read, as :func:`load_events` takes it.
    """
    data = load_events(path, event=event, weights=weights or None, **reading)
    if len(data.dropped):
        told = [f"{n} ({reason})" for reason, n in data.dropped.values.tolist()]
        warnings.warn(f"events left out: {', '.join(told)}", LLMTokensWarning, stacklevel=2)
    return data


def event_weight(text: str) -> tuple[Hashable, float]:
    """A kind of event and what it counts for."""
    kind, _, value = text.rpartition("=")
    try:
        return kind, float(value)
    except ValueError as error:
        raise DataError(
            f"found --event-weight {text}; expected a kind and a number, such as buy=5"
        ) from error


def _is_table(data: str) -> bool:
    return Path(data).is_file() and not data.endswith(".zip")


def form(sep: str | None, encoding: str | None, header: str | None) -> dict[str, Any]:
    """How a text is written, as the options say it."""
    said: Any = {None: None, "yes": True, "no": False}
    names = None if header is None else [x.strip() for x in header.split(",")]
    return {
        "sep": "\t" if sep in ("tab", "\\t") else sep,
        "encoding": encoding,
        "header": said.get(header, names),
    }


def scale(text: str | None) -> tuple[float, float] | None:
    """Two numbers with a comma between them."""
    if text is None:
        return None
    try:
        low, high = (float(x) for x in text.replace(":", ",").split(","))
    except ValueError as error:
        raise DataError(
            f"found --scale {text}; expected the lowest and the highest rating, such as 1,5"
        ) from error
    return low, high


def open_encoder(name: str | None, data: str | None, precision: str | None = None) -> Encoder:
    """By default all-MiniLM-L6-v2; for the generated data set the encoder without weights."""
    if name == "hashing" or (name is None and data is None):
        if precision is not None:
            raise DataError(
                f"found --precision {precision} and an encoder without weights; leave one out"
            )
        return HashingEncoder()
    return SentenceEncoder(name, precision=precision, show_progress=True)


def open_items(path: str, id: str, form: dict[str, Any]) -> pd.DataFrame:
    """A table of items, its ids in the column "item"; for a MovieLens folder its movies."""
    if Path(path).is_dir():
        return load_movielens(path).items
    return load_items(path, item=id, **form)


def columns(names: Sequence[str] | None, items: pd.DataFrame) -> Sequence[str] | None:
    """The columns that an option names: "none" is none of them, unless one is called so."""
    return [] if names == ["none"] and "none" not in items else names


def make_tokens(
    items: pd.DataFrame,
    texts: Sequence[str],
    encoder: Encoder | None,
    categorical: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    separator: str | None = None,
    n_components: int = 128,
    like: LLMTokens | None = None,
) -> LLMTokens:
    """Tokens of items, by default from the columns that a table of items usually has.

    In the space of other tokens with ``like``, which have an encoder.
    """
    have = set(items.columns)
    if not texts:
        usual = (
            "{title}. {description}", "{title}. Genres: {genres}", "{title}", "{text}", "{profile}"
        )  # fmt: skip
        texts = [text for text in usual if have >= set(fields(text))][:1]
        if not texts:
            raise DataError(
                f"found items with the columns {sample(items.columns, 20)}; expected a title or a "
                'text among them: name yours with --text "{column}", or give a table with --items'
            )
    if like is not None:
        return LLMTokens.from_frame(
            items,
            list(texts),
            categorical=categorical or (),
            numeric=numeric or (),
            id="item",
            like=like,
        )
    categories, numbers = structure(items, categorical, numeric)
    return LLMTokens.from_frame(
        items,
        list(texts),
        categorical=categories,
        numeric=numbers,
        separator=separator,
        id="item",
        encoder=encoder,
        n_components=n_components,
    )


def structure(
    items: pd.DataFrame, categorical: Sequence[str] | None, numeric: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[str]]:
    """The categorical and the numeric columns: those named, else those that such tables have."""
    if categorical is None:
        categorical = [c for c in ("genres",) if c in items]
    if numeric is None:
        numeric = [c for c in ("year",) if c in items and _is_numeric(items, c)]
    return categorical, numeric


def _is_numeric(items: pd.DataFrame, column: str) -> bool:
    """Whether a column that nobody named can be used; why not is told."""
    try:
        numbers(items[column], column)
    except DataError as error:
        warnings.warn(f"{error}; until then it is left out", LLMTokensWarning, stacklevel=2)
        return False
    return True


def make_algorithm(name: str, parameters: dict[str, Any], implicit: bool) -> TokenAlgoBase:
    """One of ours, by name."""
    if name not in OURS:
        raise DataError(f"found --algo {name}; expected one of {', '.join(OURS)}")
    known = set(signature(OURS[name]).parameters) - _TABLES
    if implicit and "implicit" in known:
        parameters = {"implicit": True} | parameters
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise DataError(f"found --param {unknown[0]}; {name} has {', '.join(sorted(known))}")
    return OURS[name](**parameters)
