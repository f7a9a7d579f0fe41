"""The table of tokens: what it holds, how it meets other ids and new content, and its file."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.ids import IdIndex
from ..errors import FileFormatError
from ..storage import container as store
from ..storage.layout import Array, check
from .blocks import TextBlock
from .projection import Projection

if TYPE_CHECKING:
    from typing import Self

    from ..encode import Encoder

_LAYOUT = {
    "vectors": Array(("ids", "dims")),
    "mean": Array(("features",)),
    "components": Array(("dims", "features")),
    "explained_variance_ratio": Array(("dims",)),
}


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Raw ids and their tokens; see :class:`~llmtokens.LLMTokens`, which also builds them."""

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
