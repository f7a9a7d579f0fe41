"""Sentence-transformers as an encoder: cached, resumable, and the same rows in any order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..runtime.jobs import require_jobs
from . import models
from .base import cached, check_texts
from .batches import (
    Batch,
    Batched,
    cut,
    embed,
    embed_elsewhere,
    embed_side_by_side,
    filled,
    of_one_length,
    token_lengths,
)  # fmt: skip
from .cache import EmbeddingCache

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class SentenceEncoder:
    """Embeddings from a sentence-transformers model (version 6 or newer).

    Each distinct text is encoded once, longest first, in batches of equal token length: without
    padding a row does not depend on its neighbours, so that a run that was interrupted and
    resumed, or was given the texts in another order, ends with the same rows. On a CPU they are the
    same to the last bit for any number of threads and processes: a batch has one thread, and as
    many are encoded at once as torch has threads, at most eight. Another kind of processor, or a
    batch-dependent GPU kernel, may change a value by about 1e-6. Every batch goes to the cache
    (see `llmtokens.encode.cache`) as soon as it is done. A text is read up to the model's own
    limit of tokens. No code of a model is run, and weights must be safetensors.

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
    show_progress : bool
        Draw a progress bar.
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
        show_progress: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.batch_size = batch_size
        self.backend = backend
        self.cache = cache
        self.show_progress = show_progress
        self.n_jobs = n_jobs
        self._source: models.Source | None = None
        self._loaded: SentenceTransformer | None = None

    def __repr__(self) -> str:
        return f"SentenceEncoder({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Settings only: another process finds and loads the weights for itself."""
        return {**self.__dict__, "_source": None, "_loaded": None}

    @property
    def name(self) -> str:
        """The hub name as given, or the last part of a folder's path."""
        if self.model is None or models.is_default(self.model):
            return models.DEFAULT_MODEL
        folder = models.as_folder(self.model)
        return str(self.model) if folder is None else folder.name

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
        return found if self.backend == "torch" else f"{found}-{self.backend}"

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Rows in the order of ``texts``, shape ``(len(texts), dim)``.

        Raises
        ------
        DataError
            For texts that are not strings, a batch size below 1, or a number of processes that is
            none.
        ModelNotFoundError, FileFormatError, MissingExtraError
            No model, a damaged one or one with code of its own, no sentence-transformers.
        """
        texts = check_texts(texts)
        if self.batch_size < 1:
            raise DataError(f"expected batch_size >= 1, found {self.batch_size}")
        require_jobs(self.n_jobs)
        if self.cache is False:
            return cached(self, texts)
        cache = EmbeddingCache(None if self.cache is True else self.cache)
        try:
            return cached(self, texts, cache)
        finally:
            cache.close()

    def encode_query(self, text: str) -> npt.NDArray[np.float32]:
        """The row of one text as fast as can be, shape ``(1, dim)``.

        It is neither read from the cache nor kept there, and not padded to the batch size at which
        rows do not depend on their batch: it may differ from that of ``encode`` by rounding.

        Raises
        ------
        DataError, ModelNotFoundError, FileFormatError, MissingExtraError
            As :meth:`encode`.
        """
        texts = check_texts([text])
        model = self._load()
        return embed(model, [cut(model, one) for one in texts])

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
        """Encode in batches of one token length; yields ``(positions in texts, rows)``.

        Raises
        ------
        ModelNotFoundError, FileFormatError, MissingExtraError
            As :meth:`encode`.
        """
        model = self._load()
        texts = [cut(model, text) for text in texts]
        lengths = token_lengths(model, texts)
        order = sorted(range(len(texts)), key=lambda k: (lengths[k], len(texts[k])), reverse=True)
        groups = list(of_one_length(order, lengths, self.batch_size))
        work = ((rows, filled([texts[k] for k in rows], lengths[rows[0]])) for rows in groups)
        from tqdm.auto import tqdm  # comes with sentence-transformers

        with tqdm(total=len(texts), desc="Encoding", disable=not self.show_progress) as progress:
            for rows, vectors in self._spread(work):
                yield rows, vectors[: len(rows)]
                progress.update(len(rows))

    def _spread(self, work: Iterable[Batch]) -> Iterator[Batched]:
        """Rows of every batch: here, or wherever joblib is told to work."""
        from joblib import Parallel, delayed, effective_n_jobs

        if effective_n_jobs(self.n_jobs) == 1:
            yield from embed_side_by_side(self._load(), work)
            return
        pool = Parallel(self.n_jobs, return_as="generator_unordered", prefer="processes")
        settings = (self.model, self.device, self.backend, self._find().revision)
        yield from pool(delayed(embed_elsewhere)(settings, *batch) for batch in work)

    def _find(self) -> models.Source:
        if self._source is None:
            self._source = models.find(self.model)
        return self._source

    def _load(self) -> SentenceTransformer:
        if self._loaded is None:
            self._loaded = models.load(self._find(), self.device, self.backend)
        return self._loaded
