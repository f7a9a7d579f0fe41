"""LLM tokens: an immutable table from raw id to a short vector made from text."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import IdIndex, plain_ids
from ..errors import DataError, FileFormatError, LLMTokensWarning, sample
from ..storage import container as store
from ..storage.layout import Array, check
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

if TYPE_CHECKING:
    from typing import Self

    from ..encode import Encoder

_ID_COLUMNS = ("item", "user", "id")
_LABEL_COLUMNS = ("title", "name")
_LAYOUT = {
    "vectors": Array(("ids", "dims")),
    "mean": Array(("features",)),
    "components": Array(("dims", "features")),
    "explained_variance_ratio": Array(("dims",)),
}


@dataclass(frozen=True, eq=False)
class LLMTokens:
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

    ids: list[Hashable]
    vectors: NDArray[np.float32]
    projection: Projection
    labels: list[str] | None = None

    def __post_init__(self) -> None:
        self.vectors.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        names = dict.fromkeys(b.encoder.rsplit("/", 1)[-1] for b in self._text_blocks)
        made = "+".join(names) or "embeddings"
        return f"{type(self).__name__}({len(self)} ids, {self.n_dims} dims, {made})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_index"}

    # -- build -----------------------------------------------------------------------------------

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

    # -- use -----------------------------------------------------------------------------------

    @property
    def n_dims(self) -> int:
        """Length d of a token."""
        return self.vectors.shape[1]

    @property
    def explained_variance_ratio(self) -> NDArray[np.float64]:
        """Share of the content's variance in each entry of a token, shape (d,)."""
        return self.projection.explained_variance_ratio

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the features of all blocks, one after the other, shape (n_features,)."""
        return self.projection.mean

    @property
    def components(self) -> NDArray[np.float64]:
        """Projects features: ``(features - mean) @ components.T``, shape (d, n_features)."""
        return self.projection.components

    @property
    def _text_blocks(self) -> list[TextBlock]:
        return [block for block in self.projection.blocks if isinstance(block, TextBlock)]

    @property
    def encoder(self) -> str | None:
        """Name of the text encoder, None where no text was encoded; several are joined by "+"."""
        return "+".join(dict.fromkeys(block.encoder for block in self._text_blocks)) or None

    @property
    def revision(self) -> str | None:
        """Revision of the encoder's weights or settings."""
        return "+".join(dict.fromkeys(block.revision for block in self._text_blocks)) or None

    @property
    def template(self) -> tuple[str, ...]:
        """The text templates, one per text block."""
        return tuple(block.template for block in self._text_blocks)

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(self.ids)

    def align(self, raw_ids: Iterable[Hashable]) -> NDArray[np.int64]:
        """Row of each raw id in ``vectors``, -1 where it has no token, shape (n,).

        Ids match exactly, or else through ``str(id)`` where only one token's id reads so:
        Surprise reads ids from files as text, while frames keep their type.
        """
        return self._index.rows(raw_ids)

    def transform(self, data: Any) -> NDArray[np.float32]:
        """Tokens of new content, projected as the table's own, shape (n_new, d).

        Parameters
        ----------
        data : DataFrame, sequence of str, or array (n_new, dim)
            What the builder took: a frame for :meth:`from_frame`, texts for :meth:`from_texts`,
            vectors for :meth:`from_embeddings`; for :meth:`concat` a list with one of these per
            table, None where a table has nothing to say.

        Raises
        ------
        DataError
            If the data is of another form than the tokens were made from.
        ModelNotFoundError
            If the text encoder is not at hand.
        """
        return self.projection.apply(data)

    def query(self, text: str) -> NDArray[np.float32]:
        """The token of a text in a person's own words, shape (d,).

        It is encoded as the text of every id was, in place of the whole template; categories,
        numbers and embeddings say nothing.

        Raises
        ------
        DataError
            If the tokens were made without text, or the text is empty.
        ModelNotFoundError
            If the text encoder is not at hand.
        """
        return self.projection.query(text)

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the table as one safetensors file (format: ``llmtokens.storage.container``).

        Raises
        ------
        StorageError
            If the folder is missing, full or read-only; an older file stays as it was.
        DataError
            If an id is neither str, int nor float.
        """
        payload, arrays = self.to_parts()
        store.write(path, "tokens", payload, arrays)

    @classmethod
    def load(cls, path: str | Path, *, encoder: Encoder | None = None) -> Self:
        """Read a table; its vectors stay on disk and are shared between processes.

        Parameters
        ----------
        path : str or Path
        encoder : Encoder, optional
            For ``transform`` of new text. The offline default and ``HashingEncoder`` are found by
            their names; any other model is loaded only if you hand it over here, never because a
            file says so.

        Raises
        ------
        StorageError
            If there is no such file, or it cannot be opened.
        FileFormatError
            If it is damaged, cut short or not a token file.
        """
        _, payload, arrays = store.read(path, "tokens")
        return cls.from_parts(payload, arrays, encoder)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """JSON-able description, and arrays by name.

        Raises
        ------
        DataError
            If an id is neither str, int nor float.
        """
        payload, arrays = self.projection.to_parts()
        ids = store.jsonable_ids(self.ids)
        return payload | {"ids": ids, "labels": self.labels}, arrays | {"vectors": self.vectors}

    @classmethod
    def from_parts(
        cls, payload: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], encoder: Encoder | None
    ) -> Self:
        """The inverse of :meth:`to_parts`.

        Raises
        ------
        FileFormatError
            If the parts are not what it gives.
        """
        if not isinstance(payload, Mapping):
            raise FileFormatError(f"found {payload!r:.60}; expected a table of tokens")
        ids, labels = payload.get("ids"), payload.get("labels")
        if not isinstance(ids, list) or not all(isinstance(x, store.ID_TYPES) for x in ids):
            raise FileFormatError("the ids of the tokens are not a list of str, int and float")
        if len(set(ids)) != len(ids):
            raise FileFormatError("an id has two tokens")
        if labels is not None and not (
            isinstance(labels, list)
            and len(labels) == len(ids)
            and all(isinstance(x, str) for x in labels)
        ):
            raise FileFormatError("the labels of the tokens are not a list of one str per id")
        check(_LAYOUT, arrays, {"ids": len(ids)})
        encoders = {} if encoder is None else {(encoder.name, encoder.revision): encoder}
        projection = Projection.from_parts(payload, arrays, encoders)
        return cls(ids, arrays["vectors"], projection, labels)


def _default_encoder() -> Encoder:
    from ..encode import SentenceEncoder

    return SentenceEncoder()
