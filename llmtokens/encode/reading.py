"""How a model reads texts: in windows or their beginnings, in batches of one length, here or
elsewhere; what it does not read, or hardly knows, is said."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import LLMTokensWarning, ModelNotFoundError, sample
from ..runtime.arrays import Singles
from ..runtime.locks import Lock
from ..runtime.threads import one_torch_thread
from . import models
from .models import DEFAULT_MODEL, ModelSpec, Reach

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CHARS_PER_TOKEN = 32  # what lies beyond this times a limit of tokens need not be read
_NO_LIMIT = 1 << 20  # tokenizers without one say some 1e30
_MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
_SHOWN = 40
Batch = tuple[list[int], list[str]]  # positions of texts, and the texts to embed for them
Batched = tuple[list[int], Singles]

_MIN_TOKENS = 128  # smaller batches take other code paths in the matrix product
_CALL = 240  # characters that are read in the time that a call takes for itself
_MOST_QUERIES = 64
_PROBE = 1024  # texts tokenised at once to learn their lengths
_one_at_a_time = Lock()


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


def mean_of(rows: Singles, parts: Sequence[Window]) -> Singles:
    """Rows of windows averaged by their lengths, as long as they are on average, shape (dim,)."""
    if len(parts) == 1:
        return rows[0]
    weights = np.array([part.tokens for part in parts], np.float64)
    mean = weights @ rows / weights.sum()
    length = weights @ np.linalg.norm(rows.astype(np.float64), axis=1) / weights.sum()
    size = np.linalg.norm(mean)
    return (mean * (length / size if size > 0 else 0.0)).astype(np.float32)


def of_one_length(order: list[int], lengths: list[int], most: int) -> Iterator[list[int]]:
    """Runs of up to ``most`` positions of texts with equal numbers of tokens."""
    for _, run in groupby(order, key=lengths.__getitem__):
        while rows := list(islice(run, most)):
            yield rows


def filled(batch: list[str], length: int) -> list[str]:
    """The last text again and again until the batch is large enough."""
    return batch + batch[-1:] * (-(-_MIN_TOKENS // length) - len(batch)) if length else batch


def embed(model: SentenceTransformer, batch: list[str], prompt: str | None = None) -> Singles:
    """One row a text, all of them at once; on one thread, since sums that are divided among
    several differ by rounding."""
    with one_torch_thread:
        vectors = model.encode(batch, batch_size=len(batch), prompt=prompt, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)


def embed_queries(
    model: SentenceTransformer, texts: list[str], prompt: str | None = None
) -> Singles:
    """Rows of a few texts, read at once but where padding would cost more than another call."""
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    runs: list[list[int]] = [[]]
    for k in order:
        run = runs[-1]
        padding = len(run) * (len(texts[k]) - len(texts[run[-1]])) if run else 0
        if padding > _CALL or len(run) == _MOST_QUERIES:
            runs.append(run := [])
        run.append(k)
    made: dict[int, Singles] = {}
    for run in runs:
        made |= zip(run, embed(model, [texts[k] for k in run], prompt), strict=True)
    return np.array([made[k] for k in range(len(texts))])


def embed_side_by_side(
    model: SentenceTransformer, work: Iterable[Batch], prompt: str | None
) -> Iterator[Batched]:
    """Batches on as many threads as torch has, each on one of its own; in any order."""
    from joblib import Parallel, delayed

    def one(rows: list[int], batch: list[str]) -> Batched:
        return rows, embed(model, batch, prompt)

    pool = Parallel(
        models.side_by_side(model), backend="threading", return_as="generator_unordered"
    )
    yield from pool(delayed(one)(*batch) for batch in work)


def embed_elsewhere(
    spec: ModelSpec, revision: str, rows: list[int], batch: list[str], prompt: str | None
) -> Batched:
    """The same in a process that does not have the model yet; it has to be the caller's."""
    with _one_at_a_time.held:  # a tokenizer belongs to one thread
        return rows, embed(_model_of(spec, revision), batch, prompt)


@lru_cache(maxsize=1)
def _model_of(spec: ModelSpec, revision: str) -> SentenceTransformer:
    """The model, loaded once in a process."""
    source = models.find(spec.model)
    if source.revision != revision:
        raise ModelNotFoundError(
            f"a worker has revision {source.revision!r} of {spec.model or DEFAULT_MODEL!r}, its "
            f"caller has {revision!r}; put the same weights on all machines"
        )
    return models.load(source, spec)


def cut(model: SentenceTransformer, text: str) -> str:
    """The beginning of a very long text, where it has more tokens than the model reads."""
    limit = model.max_seq_length
    if limit is None or len(text) <= _CHARS_PER_TOKEN * limit:
        return text
    head = text[: _CHARS_PER_TOKEN * limit]
    # Twice the limit: the cut may change the tokens of the last word, which lies beyond it.
    tokens = model.tokenizer(head, truncation=False, verbose=False)["input_ids"]
    return head if len(tokens) >= 2 * limit else text


def token_lengths(
    model: SentenceTransformer, texts: list[str], prompt: str | None = None
) -> list[int]:
    """Tokens of each text as the model will read it; zeros where it has no notion of padding."""
    lengths: list[int] = []
    for start in range(0, len(texts), _PROBE):
        mask = model.preprocess(texts[start : start + _PROBE], prompt=prompt).get("attention_mask")
        if mask is None:
            return [0] * len(texts)
        lengths += mask.sum(dim=1).tolist()
    return lengths
