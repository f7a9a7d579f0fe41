"""LLM tokens: an immutable table from raw id to a short vector made from text."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..data.ids import plain_ids
from ..errors import DataError, LLMTokensWarning, sample
from .blocks import (
    Block,
    CategoryBlock,
    EmbeddingBlock,
    NumberBlock,
    TextBlock,
    as_matrix,
    as_text,
    require_columns,
)
from .projection import Projection
from .table import TokenTable

if TYPE_CHECKING:
    from ..encode import Encoder

_ID_COLUMNS = ("item", "user", "id")
_LABEL_COLUMNS = ("title", "name")


@dataclass(frozen=True, eq=False, repr=False)
class LLMTokens(TokenTable):
    """Raw ids of items or users, each with its token.

    Build one with :meth:`from_frame`, :meth:`from_texts`, :meth:`from_embeddings` or
    :meth:`concat`; the constructor takes the finished parts.

    Attributes
    ----------
    ids : list of raw ids, length n
    vectors : ndarray of float32, shape (n, d), read-only
        PCA scores in decreasing variance: the first k columns are the best k-dimensional token.
    projection : Projection
        How content becomes a token; it projects new content for :meth:`transform`.
    labels : list of str or None
        What a person calls the ids: titles or names.

    Examples
    --------
    >>> from llmtokens import HashingEncoder, LLMTokens
    >>> texts = ["a heist in Paris", "a love story in Paris", "robots in space", "ghosts"]
    >>> tokens = LLMTokens.from_texts([10, 20, 30, 40], texts, encoder=HashingEncoder())
    >>> tokens
    LLMTokens(4 ids, 4 dims, hashing)
    >>> tokens.transform(["a heist in space"]).shape
    (1, 4)
    """

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        text: str | Sequence[str] = (),
        *,
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        id: str | None = None,
        label: str | None = None,
        encoder: Encoder | None = None,
        n_components: int = 128,
        whiten: float = 0.0,
    ) -> LLMTokens:
        """Tokens from the columns of a frame, one row per id.

        Parameters
        ----------
        frame : DataFrame
        text : str or sequence of str
            Template(s) with column names in braces. Each template is encoded on its own: several
            short fields say more as several blocks than as one long text.
        categorical : sequence of str
            Columns of labels (a sequence per cell, or text with "|" between labels): multi-hot.
        numeric : sequence of str
            Columns of numbers: a cubic spline basis, so that effects need not be straight lines.
        id : str, optional
            Column of raw ids; by default "item", "user" or "id", the first there is.
        label : str, optional
            Column of names to show to people; by default "title" or "name" where there is one.
        encoder : Encoder, optional
            By default :class:`~llmtokens.SentenceEncoder`, all-MiniLM-L6-v2.
        n_components : int, default=128
            Upper bound on the length of a token.
        whiten : float, default=0.0
            Whitening power, see :class:`~llmtokens.TokenReducer`.

        Notes
        -----
        Each block is scaled to mean square norm 1 before PCA. A row in which the fields of a block
        are missing takes that block's mean: it says nothing, and nothing wrong.

        Raises
        ------
        DataError
            For missing columns, duplicate or missing ids, or fewer than two rows with content.

        Warns
        -----
        LLMTokensWarning
            If rows have no content in any block: they get no token.
        """
        templates = [text] if isinstance(text, str) else list(text)
        if not (templates or len(categorical) or len(numeric)):
            raise DataError("found no text, categorical or numeric columns; name at least one")
        id = id or next((name for name in _ID_COLUMNS if name in frame.columns), _ID_COLUMNS[0])
        label = label or next((name for name in _LABEL_COLUMNS if name in frame.columns), None)
        require_columns(frame, [id] + ([label] if label else []))
        encoder = (encoder or _default_encoder()) if templates else None
        blocks: list[Block] = [
            *(TextBlock(t, encoder.name, encoder.revision) for t in templates if encoder),
            *(CategoryBlock.learn(frame, column) for column in categorical),
            *(NumberBlock.learn(frame, column) for column in numeric),
        ]
        shown = [as_text(value) for value in frame[label]] if label else None
        return cls._fit(
            plain_ids(frame[id]), blocks, frame, encoder, n_components, whiten, shown, True
        )

    @classmethod
    def from_texts(
        cls,
        ids: Iterable[Hashable],
        texts: Iterable[str],
        *,
        encoder: Encoder | None = None,
        n_components: int = 128,
        whiten: float = 0.0,
    ) -> LLMTokens:
        """Tokens from one text per id.

        Raises
        ------
        DataError
            For duplicate or missing ids, fewer than two, or texts that are missing or empty.
        """
        raw, written = plain_ids(ids), list(texts)
        if len(raw) != len(written):
            raise DataError(f"found {len(raw)} ids and {len(written)} texts; expected one per id")
        frame = pd.DataFrame({"text": pd.Series(written, dtype=object)})
        encoder = encoder or _default_encoder()
        block = TextBlock("{text}", encoder.name, encoder.revision)
        return cls._fit(raw, [block], frame, encoder, n_components, whiten)

    @classmethod
    def from_embeddings(
        cls,
        ids: Iterable[Hashable],
        array: Any,
        *,
        n_components: int = 128,
        whiten: float = 0.0,
    ) -> LLMTokens:
        """Tokens from vectors (n, dim) the user brings: any model, any modality.

        Raises
        ------
        DataError
            For a shape other than (n_ids, dim), NaN or infinity, duplicate or missing ids.
        """
        raw, matrix = plain_ids(ids), as_matrix(array)
        if len(raw) != len(matrix):
            raise DataError(
                f"found {len(raw)} ids and {len(matrix)} rows of embeddings; expected one row "
                "per id"
            )
        block = EmbeddingBlock(matrix.shape[1])
        return cls._fit(raw, [block], matrix, None, n_components, whiten)

    @classmethod
    def concat(
        cls, parts: Sequence[LLMTokens], *, n_components: int = 128, whiten: float = 0.0
    ) -> LLMTokens:
        """Fuse tables over the union of their ids: text + images + structure.

        Every table is brought to mean square norm 1 before the joint PCA; an id that a table lacks
        takes that table's mean.

        Raises
        ------
        DataError
            If there is nothing to fuse.
        """
        if len(parts) == 0:
            raise DataError("found no tokens to concatenate; expected at least one table")
        ids = list(dict.fromkeys(raw for part in parts for raw in part.ids))
        stacked = []
        for part in parts:
            rows = part.align(ids)
            block = np.zeros((len(ids), part.n_dims))
            block[rows >= 0] = part.vectors[rows[rows >= 0]]
            stacked.append(block)
        projection, vectors = Projection.join(
            [part.projection for part in parts], stacked, n_components, whiten
        )
        names = {raw: text for part in reversed(parts) if part.labels
                 for raw, text in zip(part.ids, part.labels, strict=True)}  # fmt: skip
        labels = [names.get(raw, str(raw)) for raw in ids] if names else None
        return cls(ids, vectors, projection, labels)

    @classmethod
    def _fit(
        cls,
        ids: list[Hashable],
        blocks: list[Block],
        data: Any,
        encoder: Encoder | None,
        n_components: int,
        whiten: float,
        labels: list[str] | None = None,
        drop_empty: bool = False,
    ) -> LLMTokens:
        if len(ids) < 2:
            raise DataError(f"found {len(ids)} ids; expected at least two to tell apart")
        encoders = {} if encoder is None else {(encoder.name, encoder.revision): encoder}
        projection, vectors, some = Projection.fit(blocks, data, encoders, n_components, whiten)
        if some.all():
            return cls(ids, vectors, projection, labels)
        found = (
            f"{int((~some).sum())} of {len(ids)} ids have no content, the first being "
            f"{sample(ids[k] for k in np.flatnonzero(~some))}"
        )
        if not drop_empty or some.sum() < 2:
            raise DataError(
                f"{found}; drop these ids: without a token an id is predicted from its ratings"
            )
        warnings.warn(f"{found}; they get no token", LLMTokensWarning, stacklevel=3)
        rows = np.flatnonzero(some)
        kept = None if labels is None else [labels[k] for k in rows]
        return cls([ids[k] for k in rows], vectors[rows], projection, kept)


def _default_encoder() -> Encoder:
    from ..encode import SentenceEncoder

    return SentenceEncoder()
