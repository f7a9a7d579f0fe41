"""Static encoders: a row for each token, and the mean of them for a text."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileFormatError
from ..runtime.arrays import Singles, unit_rows
from ..runtime.threads import one_torch_thread
from . import models
from .base import check_texts

if TYPE_CHECKING:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

_AT_ONCE = 1024  # texts


class StaticEncoder(models.ModelEncoder["tuple[StaticEmbedding, bool]"]):
    """Embeddings from a table of tokens in model2vec's format, a hundred times as fast.

    A text is the mean of the rows of its tokens, at norm 1 where the model says so; there is no
    attention, so that the order of words says nothing. Such tables are distilled from a
    sentence-transformer (``model2vec.distill``) or trained, as the models named ``potion`` are.
    sentence-transformers reads them (version 6 or newer). All of a text is read, however long it
    is. A row depends on its text alone, and costs less than to look it up: there is no cache.

    Parameters
    ----------
    model : str or path
        A folder with ``model.safetensors``, ``tokenizer.json`` and ``config.json``, or a hub name.
        What is on this machine is used as it is, without a network request.

    Examples
    --------
    >>> encoder = StaticEncoder("minishlab/potion-base-8M")  # weights are loaded when needed
    >>> encoder
    StaticEncoder('minishlab/potion-base-8M')
    >>> encoder.encode(["Alien", "Aliens"]).shape  # doctest: +SKIP
    (2, 256)
    """

    def __init__(self, model: str | os.PathLike[str]) -> None:
        super().__init__(model)

    @property
    def revision(self) -> str:
        """The hub's commit, or 16 hex digits over a folder's files.

        Raises
        ------
        ModelNotFoundError
            The weights are nowhere on this machine and cannot be had from the hub.
        """
        return f"{self._find().revision}-static"

    def encode(self, texts: Sequence[str]) -> Singles:
        """Rows in the order of ``texts``, shape ``(len(texts), dim)``; zeros for an empty text.

        Raises
        ------
        DataError
            For texts that are not strings.
        ModelNotFoundError, FileFormatError, MissingExtraError
            No model, one of another kind or damaged, no sentence-transformers.
        """
        import torch

        texts = check_texts(texts)
        table, normed = self._load()
        parts = [np.zeros((0, table.embedding_dim), np.float32)]
        with one_torch_thread, torch.inference_mode():
            for start in range(0, len(texts), _AT_ONCE):
                read = table.preprocess(texts[start : start + _AT_ONCE])
                parts.append(table(read)["sentence_embedding"].numpy())
        rows = np.concatenate(parts)
        return unit_rows(rows) if normed else rows

    def _read(self) -> tuple[StaticEmbedding, bool]:
        return _table(self._find())


def _table(source: models.Source) -> tuple[StaticEmbedding, bool]:
    """The table, and whether rows are brought to norm 1."""
    models.require_library()
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    place: dict[str, Any] = {"revision": source.commit, "local_files_only": source.commit is None}
    where = source.location
    if source.snapshot is not None:
        where, place = source.snapshot, {"local_files_only": True}
    try:
        config = StaticEmbedding.load_file_path(where, "config.json", **place)
        weights = StaticEmbedding.load_file_path(where, "model.safetensors", **place)
        if config is None or weights is None:
            raise FileNotFoundError("it has no config.json or no model.safetensors")
        settings = json.loads(Path(config).read_text(encoding="utf-8"))
        table = StaticEmbedding.load(where, **place).float()
        normed = bool(settings.get("normalize", False))
    except Exception as error:
        raise FileFormatError(
            f"{source.location} cannot be loaded as a static model: {type(error).__name__}: "
            f"{error!s:.200}; expected the folder of one, as model2vec writes it. Other models are "
            "for SentenceEncoder"
        ) from error
    table.tokenizer.no_truncation()
    return table, normed
