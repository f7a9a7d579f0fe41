"""Batches of texts of one length, and their way through a model, here or in another process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelNotFoundError
from ..runtime.locks import Lock
from ..runtime.threads import one_torch_thread
from . import models

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Rows = npt.NDArray[np.float32]
Batch = tuple[list[int], list[str]]  # positions of texts, and the texts to embed for them
Batched = tuple[list[int], Rows]

_MIN_TOKENS = 128  # smaller batches take other code paths in the matrix product
_CHARS_PER_TOKEN = 32  # a text longer than this times the model's tokens may be cut
_PROBE = 1024  # texts tokenised at once to learn their lengths
_MOST_THREADS = 8  # batches at once: one of long texts takes some 200 MB
_one_at_a_time = Lock()


def of_one_length(order: list[int], lengths: list[int], most: int) -> Iterator[list[int]]:
    """Runs of up to ``most`` positions of texts with equal numbers of tokens."""
    for _, run in groupby(order, key=lengths.__getitem__):
        while rows := list(islice(run, most)):
            yield rows


def filled(batch: list[str], length: int) -> list[str]:
    """The last text again and again until the batch is large enough."""
    return batch + batch[-1:] * (-(-_MIN_TOKENS // length) - len(batch)) if length else batch


def embed(model: SentenceTransformer, batch: list[str], prompt: str | None = None) -> Rows:
    """One row a text, all of them at once; on one thread, since sums that are divided among
    several differ by rounding."""
    with one_torch_thread:
        vectors = model.encode(batch, batch_size=len(batch), prompt=prompt, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)


def embed_side_by_side(
    model: SentenceTransformer, work: Iterable[Batch], prompt: str | None
) -> Iterator[Batched]:
    """Batches on as many threads as torch has, each on one of its own; in any order."""
    import torch
    from joblib import Parallel, delayed

    def one(rows: list[int], batch: list[str]) -> Batched:
        return rows, embed(model, batch, prompt)

    ours = model.device.type == "cpu" and model.get_backend() == "torch"  # others have their own
    n_threads = min(torch.get_num_threads(), _MOST_THREADS) if ours else 1
    pool = Parallel(n_threads, backend="threading", return_as="generator_unordered")
    yield from pool(delayed(one)(*batch) for batch in work)


def embed_elsewhere(
    settings: tuple[Any, ...], rows: list[int], batch: list[str], prompt: str | None
) -> Batched:
    """The same in a process that does not have the model yet; ``settings`` say which."""
    with _one_at_a_time:  # a tokenizer belongs to one thread
        return rows, embed(_model_of(*settings), batch, prompt)


@lru_cache(maxsize=1)
def _model_of(
    model: str | os.PathLike[str] | None,
    device: str | None,
    backend: str,
    pooling: str | None,
    revision: str,
) -> SentenceTransformer:
    """The model, loaded once in a process; it has to be the caller's."""
    source = models.find(model)
    if source.revision != revision:
        raise ModelNotFoundError(
            f"a worker has revision {source.revision!r} of {model or models.DEFAULT_MODEL!r}, its "
            f"caller has {revision!r}; put the same weights on all machines"
        )
    return models.load(source, device, backend, pooling)


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
