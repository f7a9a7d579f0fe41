"""Sentence-transformers as an encoder: cached, resumable, and the same rows in any order."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, ModelNotFoundError
from ..runtime.arguments import require_jobs
from ..runtime.arrays import Singles
from ..runtime.progress import PATIENCE, progress
from . import models
from .base import Encoder, cached, check_texts
from .cache import EmbeddingCache, cache_folder
from .hashing import HashingEncoder
from .models import DEFAULT_MODEL
from .reading import (
    Batch,
    Batched,
    Window,
    cut,
    embed_elsewhere,
    embed_queries,
    embed_side_by_side,
    filled,
    mean_of,
    of_one_length,
    reach_of,
    token_lengths,
    warn_of_long,
    warn_of_scripts,
    windows,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_SHORT = 100  # characters that every model reads
_KEPT = 1000  # rows of queries


class SentenceEncoder(models.ModelEncoder["SentenceTransformer"]):
    """Embeddings from a sentence-transformers model (version 6 or newer).

    Each distinct text is encoded once, longest first, in batches of equal token length: without
    padding a row does not depend on its neighbours, so that a run that was interrupted and
    resumed, or was given the texts in another order, ends with the same rows. On a CPU they are the
    same to the last bit for any number of threads and processes: a batch has one thread, and as
    many are encoded at once as torch has threads, at most eight. Another kind of processor, or a
    batch-dependent GPU kernel, may change a value by about 1e-6. Every batch goes to the cache
    (see `llmtokens.encode.cache`) as soon as it is done. A text is read up to the model's own
    limit of tokens, with a warning that counts the longer ones, unless ``chunks`` says to read all
    of it. No code of a model is run, and weights must be safetensors.

    Parameters
    ----------
    model : str or path, optional
        None: all-MiniLM-L6-v2, from the package that ``llmtokens[offline]`` installs (checked
        against its SHA-256) or else from the hub. A local folder, or any hub name. What is on
        this machine is used as it is, without a network request.
    device : str, optional
        "cpu", "cuda", "mps", ...; None leaves it to sentence-transformers.
    batch_size : int
        Texts encoded at once.
    backend : str
        "torch", "onnx" or "openvino".
    cache : bool or path
        True: the user's cache folder, or ``$LLMTOKENS_CACHE_DIR``; False: none; a path: that
        folder.
    show_progress : bool, optional
        How far it has come, with texts a second: a bar on a terminal, plain lines elsewhere; None:
        where it takes longer than two seconds.
    chunks : {"mean"}, optional
        Read long texts in windows, each as long as the model reads, and average their rows by the
        windows' lengths. None: read the beginning.
    prompt, prompt_name : str, optional
        What is put before each text, or the name by which the model has it, as for
        ``SentenceTransformer.encode``.
    precision : {"int8"}, optional
        Whole numbers in place of float32, on a CPU: two to three times as many texts a second, and
        rows within a cosine of .99 of the others (extra ``openvino``). The weights are converted
        once and kept in the folder of ``cache``; rows are cached apart from those in float32. They
        depend on the kind of processor by more than rounding: one without VNNI instructions may
        keep the activations in float32.
    pooling : {"mean", "cls", "last"}, optional
        The row of a text is the mean of its tokens, its first or its last; None: as the model says.
    n_jobs : int, optional
        Processes, as joblib counts them: by default none but this one, or what
        ``joblib.parallel_config`` says; with ``backend="dask"`` the texts are encoded on a cluster,
        every worker of which needs the same weights. The cache is that of this machine in any case.

    Examples
    --------
    >>> encoder = SentenceEncoder()  # stores its arguments; weights are loaded when needed
    >>> encoder
    SentenceEncoder('sentence-transformers/all-MiniLM-L6-v2')
    >>> encoder.encode(["Alien", "Aliens"]).shape  # doctest: +SKIP
    (2, 384)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        device: str | None = None,
        batch_size: int = 64,
        backend: str = "torch",
        cache: bool | str | os.PathLike[str] = True,
        show_progress: bool | None = None,
        n_jobs: int | None = None,
        chunks: str | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        pooling: str | None = None,
        precision: str | None = None,
    ) -> None:
        super().__init__(model)
        self.device = device
        self.batch_size = batch_size
        self.backend = backend
        self.cache = cache
        self.show_progress = show_progress
        self.n_jobs = n_jobs
        self.chunks = chunks
        self.prompt = prompt
        self.prompt_name = prompt_name
        self.pooling = pooling
        self.precision = precision
        self._queries: dict[str, Singles] = {}
        self._asked = 0  # texts of the last call that were in no cache

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_queries": {}}

    @property
    def revision(self) -> str:
        """The hub's commit, or 16 hex digits over a folder's weights, configs and vocabularies.

        Raises
        ------
        ModelNotFoundError
            The weights are nowhere on this machine and cannot be had from the hub.
        FileFormatError
            The offline package carries other weights than it should.
        """
        found = self._find().revision
        if self.backend != "torch":
            found += f"-{self.backend}"
        if self.precision is not None:
            found += f"-{self.precision}"
        for name in ("pooling", "chunks"):
            if getattr(self, name) is not None:
                found += f"-{name}-{getattr(self, name)}"
        if self.prompt is not None or self.prompt_name is not None:
            said = f"{self.prompt_name!r}:{self.prompt!r}".encode("utf-8", "surrogatepass")
            found += f"-prompt-{hashlib.sha256(said).hexdigest()[:8]}"
        return found

    def encode(self, texts: Sequence[str]) -> Singles:
        """Rows in the order of ``texts``, shape ``(len(texts), dim)``.

        Raises
        ------
        DataError
            For texts that are not strings, a batch size below 1, a number of processes that is
            none, and unknown chunks, pooling, precision or prompt names; for int8 on a GPU or of
            what is no transformer of texts.
        ModelNotFoundError, FileFormatError, MissingExtraError
            No model, a damaged one or one with code of its own, no sentence-transformers.

        Warns
        -----
        LLMTokensWarning
            If texts are longer than the model reads, or mostly in a script that the default model
            hardly knows.
        """
        texts = check_texts(texts)
        if self.batch_size < 1:
            raise DataError(f"expected batch_size >= 1, found {self.batch_size}")
        self._require_known("chunks", ["mean"])
        self._require_known("pooling", ["mean", "cls", "last"])
        self._require_known("precision", ["int8"])
        if self.precision is not None and (self.device or "cpu", self.backend) != ("cpu", "torch"):
            raise DataError(
                f"found precision={self.precision!r} with device={self.device!r} and "
                f"backend={self.backend!r}; expected a CPU and no other backend: leave them out"
            )
        require_jobs(self.n_jobs)
        folder = self._folder()
        cache = None if folder is None else EmbeddingCache(folder)
        self._asked = 0
        try:
            rows = cached(self, texts, cache)
        finally:
            if cache is not None:
                cache.close()
        if self.show_progress and texts and not self._asked:
            print(f"encoding: nothing to do for {len(texts)} texts, all are in the cache",
                  file=sys.stderr)  # fmt: skip
        self._warn(texts)
        return rows

    def _require_known(self, name: str, known: list[str]) -> None:
        value = getattr(self, name)
        if value is not None and value not in known:
            raise DataError(f"found {name}={value!r:.40}; expected None or one of {known}")

    def _warn(self, texts: list[str]) -> None:
        """Of texts that are not read to their end, also where their rows were in the cache."""
        if models.is_default(self.model):
            warn_of_scripts(texts)
        if self.chunks is None and max(map(len, texts), default=0) > _SHORT:
            if self._loaded is None and self.prompt_name is None:
                reach = models.reach(self._find()) or reach_of(self._load())
            else:
                reach = reach_of(self._load())
            if reach is not None:
                prompt = self.prompt or (self._prompt(self._load()) if self.prompt_name else "")
                warn_of_long(texts, reach, prompt or "", self.name)

    def _prompt(self, model: SentenceTransformer) -> str | None:
        """What is put before each text."""
        if self.prompt is not None or self.prompt_name is None:
            return self.prompt
        if self.prompt_name not in model.prompts:
            raise DataError(f"found prompt_name={self.prompt_name!r:.40}; expected one of "
                            f"{sorted(model.prompts)}")  # fmt: skip
        return str(model.prompts[self.prompt_name])

    def encode_query(self, texts: str | Sequence[str]) -> Singles:
        """The rows of one text, or of a few, as fast as can be, shape ``(n, dim)``.

        The cache on disk is left alone; the last thousand rows are kept in memory. Texts of about
        one length are read at once, and batches are not filled to the size at which rows do not
        depend on their batch: a row may differ from that of ``encode`` by rounding.

        Raises
        ------
        DataError, ModelNotFoundError, FileFormatError, MissingExtraError
            As :meth:`encode`.
        """
        asked = check_texts([texts] if texts is None or isinstance(texts, str) else texts)
        if not asked:
            return self.encode_query("")[:0]
        known = self._queries
        fresh = [text for text in dict.fromkeys(asked) if text not in known]
        if not fresh:
            return np.stack([known[text] for text in asked])
        model = self._load()
        parts = self._parts(model, fresh)
        texts = [part.text for some in parts for part in some]
        read = iter(embed_queries(model, texts, self._prompt(model)))
        rows = (mean_of(np.array([next(read) for _ in some]), some) for some in parts)
        found = {text: known[text] for text in asked if text in known}
        found |= dict(zip(fresh, rows, strict=True))
        kept = {text: row for text, row in known.items() if text not in found} | found
        self._queries = dict(list(kept.items())[-_KEPT:])
        return np.stack([found[text] for text in asked])

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Singles]]:
        """Encode in batches of one token length; yields ``(positions in texts, rows)``.

        Raises
        ------
        DataError, ModelNotFoundError, FileFormatError, MissingExtraError
            As :meth:`encode`.
        """
        self._asked = len(texts)
        model = self._load()
        parts = self._parts(model, texts)
        owner = [k for k, some in enumerate(parts) for _ in some]
        missing = [len(some) for some in parts]
        first = np.cumsum([0, *missing])
        made: dict[int, Singles] = {}
        shown = self.show_progress is not False
        patience = 0.0 if self.show_progress else PATIENCE
        with progress("encoding", len(texts), shown, unit="texts", patience=patience) as advance:
            for rows, vectors in self._batches([part.text for some in parts for part in some]):
                made.update(zip(rows, vectors, strict=True))
                done = []
                for row in rows:
                    missing[owner[row]] -= 1
                    if missing[owner[row]] == 0:
                        done.append(owner[row])
                whole = [[made.pop(r) for r in range(first[k], first[k + 1])] for k in done]
                if done:
                    means = [
                        mean_of(np.array(x), parts[k]) for k, x in zip(done, whole, strict=True)
                    ]
                    yield done, np.array(means)
                    advance(len(done))

    def _parts(self, model: SentenceTransformer, texts: Sequence[str]) -> list[list[Window]]:
        """Of each text what is read of it."""
        if self.chunks is None:
            return [[Window(cut(model, text), 1)] for text in texts]
        prompt = self._prompt(model) or ""
        return [windows(model, text, prompt) for text in texts]

    def _batches(self, texts: list[str]) -> Iterator[Batched]:
        """The rows of texts that are not too long, in batches of one length."""
        model = self._load()
        lengths = token_lengths(model, texts, self._prompt(model))
        order = sorted(range(len(texts)), key=lambda k: (lengths[k], len(texts[k])), reverse=True)
        groups = list(of_one_length(order, lengths, self.batch_size))
        work = ((rows, filled([texts[k] for k in rows], lengths[rows[0]])) for rows in groups)
        for rows, vectors in self._embedded(work):
            yield rows, vectors[: len(rows)]

    def _embedded(self, work: Iterable[Batch]) -> Iterator[Batched]:
        """Rows of every batch: here, or wherever joblib is told to work."""
        from joblib import Parallel, delayed, effective_n_jobs

        prompt = self._prompt(self._load())
        if effective_n_jobs(self.n_jobs) == 1:
            yield from embed_side_by_side(self._load(), work, prompt)
            return
        pool = Parallel(self.n_jobs, return_as="generator_unordered", prefer="processes")
        spec, revision = self._spec(), self._find().revision
        yield from pool(delayed(embed_elsewhere)(spec, revision, *batch, prompt) for batch in work)

    def _read(self) -> SentenceTransformer:
        return models.load(self._find(), self._spec())

    def _spec(self) -> models.ModelSpec:
        return models.ModelSpec(
            model=self.model,
            device=self.device,
            backend=self.backend,
            pooling=self.pooling,
            precision=self.precision,
            folder=self._folder(),
        )

    def _folder(self) -> Path | None:
        """Where rows and converted weights are kept."""
        if self.cache is False:
            return None
        return cache_folder(None if self.cache is True else self.cache)


def restore_encoder(name: str, revision: str) -> Encoder:
    """The encoder that a file of tokens was made with, if it is one of the library's own.

    Any other model would have to be loaded because a file says so, and is refused.

    Raises
    ------
    ModelNotFoundError
        For another model, or for other weights or settings under the same name.

    Examples
    --------
    >>> made = HashingEncoder(n_features=64)
    >>> restore_encoder(made.name, made.revision)
    HashingEncoder(n_features=64, ngram_range=(1, 1))
    """
    hand_over = "hand it over, as in LLMTokens.load(path, encoder=...)"
    if name == DEFAULT_MODEL:
        settings = set(revision.split("-"))
        encoder: Encoder = SentenceEncoder(
            chunks="mean" if "chunks" in settings else None,
            precision="int8" if "int8" in settings else None,
        )
    elif (found := re.fullmatch(r"1-(\d{1,7})-words(\d)to(\d)-chars3to5", revision)) and (
        name == HashingEncoder().name
    ):
        n_features, low, high = map(int, found.groups())
        encoder = HashingEncoder(n_features, (low, high))
    else:
        raise ModelNotFoundError(
            f"the tokens were made with the encoder {name!r} (revision {revision!r}), which is "
            f"not loaded because a file says so: {hand_over}"
        )
    if encoder.revision != revision:
        raise ModelNotFoundError(
            f"the tokens were made with revision {revision!r} of {name!r}; found "
            f"{encoder.revision!r} here: build the tokens again, or {hand_over}"
        )
    return encoder
