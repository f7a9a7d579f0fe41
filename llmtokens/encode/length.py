"""Texts that a model does not read to their end, or hardly at all: said, or read in windows."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import LLMTokensWarning, sample
from .models import DEFAULT_MODEL, Reach

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CHARS_PER_TOKEN = 32  # what lies beyond this times the limit need not be counted
_NO_LIMIT = 1 << 20  # tokenizers without one say some 1e30
_MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
_SHOWN = 40


class Window(NamedTuple):
    """A part of a text that a model reads whole, and its tokens."""

    text: str
    tokens: int


def reach_of(model: SentenceTransformer) -> Reach | None:
    """The same as of a folder, of a model that is loaded; None where there is no limit."""
    limit, tokenizer = model.max_seq_length, model.tokenizer
    if limit is None or limit > _NO_LIMIT or not callable(tokenizer):
        return None

    def count(texts: list[str]) -> list[int]:
        return [len(x) for x in tokenizer(texts, truncation=False, verbose=False)["input_ids"]]

    return Reach(limit, count)


def warn_of_long(texts: Sequence[str], reach: Reach, prompt: str, name: str) -> None:
    """Say how many texts have more tokens than are read."""
    most = reach.limit
    long = [prompt + x for x in dict.fromkeys(texts) if len(prompt) + len(x) > most - 2]
    if not long:
        return
    counts = np.array(reach.count([text[: _CHARS_PER_TOKEN * most] for text in long]))
    n = int((counts > most).sum())
    if n:
        warnings.warn(
            f"{n} of {len(set(texts))} texts are longer than the {most} tokens that {name} reads, "
            f"such as {long[int(counts.argmax())][:_SHOWN]!r}...; the rest of each is left out: "
            'SentenceEncoder(chunks="mean") reads all of it',
            LLMTokensWarning,
            stacklevel=4,
        )


def warn_of_scripts(texts: Sequence[str]) -> None:
    """Say how many texts are in letters that the default model, which is English, hardly knows."""
    foreign = [text for text in dict.fromkeys(texts) if not text.isascii() and _is_foreign(text)]
    if foreign:
        warnings.warn(
            f"{len(foreign)} of {len(set(texts))} texts are mostly in letters that {DEFAULT_MODEL} "
            f"hardly knows, such as {sample([foreign[0][:_SHOWN]])}: it was trained on English; "
            f'SentenceEncoder("{_MULTILINGUAL}") reads fifty languages',
            LLMTokensWarning,
            stacklevel=4,
        )


def _is_foreign(text: str) -> bool:
    """Whether most letters are not Latin."""
    letters = [x for x in text[:1000] if x.isalpha()]
    latin = sum(x.isascii() or unicodedata.name(x, "").startswith("LATIN") for x in letters)
    return 2 * latin < len(letters)


def windows(model: SentenceTransformer, text: str, prompt: str) -> list[Window]:
    """A text in parts that the model reads whole, cut between words where there are any."""
    reach = reach_of(model)
    if reach is None or len(text) <= reach.limit - reach.count([prompt])[0]:
        return [Window(text, 1)]
    read = model.tokenizer(
        text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
    )
    room = max(reach.limit - reach.count([prompt])[0], 1)
    spans, words = read["offset_mapping"], read.word_ids()
    found, start = list[Window](), 0
    while start < len(spans):
        stop = min(start + room, len(spans))
        whole = stop
        while whole > start and whole < len(spans) and words[whole] == words[whole - 1]:
            whole -= 1
        stop = whole if whole > start else stop  # a word longer than the model reads is cut
        found.append(Window(text[spans[start][0] : spans[stop - 1][1]], stop - start))
        start = stop
    return found or [Window(text, 1)]


def mean_of(rows: npt.NDArray[np.float32], parts: Sequence[Window]) -> npt.NDArray[np.float32]:
    """Rows of windows averaged by their lengths, as long as they are on average, shape (dim,)."""
    if len(parts) == 1:
        return rows[0]
    weights = np.array([part.tokens for part in parts], np.float64)
    mean = weights @ rows / weights.sum()
    length = weights @ np.linalg.norm(rows.astype(np.float64), axis=1) / weights.sum()
    size = np.linalg.norm(mean)
    return (mean * (length / size if size > 0 else 0.0)).astype(np.float32)
