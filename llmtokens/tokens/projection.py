"""From content to token: the blocks, their common scale, and the principal axes.

Everything here is linear in the features: ``token = (features - mean) @ components.T``, with the
scale of each block, PCA and whitening folded into ``components``. So new content lands where the
old one is, and joining two tables is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ..errors import DataError, FileFormatError, sample
from ..runtime.arrays import Floats, Rows, Singles, unit_rows
from .blocks import (
    BLOCKS,
    Block,
    CategoryBlock,
    EmbeddingBlock,
    Features,
    ImageBlock,
    NumberBlock,
    TextBlock,
    fields,
    restore_block,
)
from .centred import Centred, column_sums, dense, energy

if TYPE_CHECKING:
    from ..encode import Encoder
    from .reducer import (
        TokenReducer,  # brings scikit-learn, which a model from a file does not need
    )

Encoders = Mapping[tuple[str, str], "Encoder"]
_DENSE = 1 << 25  # numbers that may be dense at once: 256 MB


@dataclass(frozen=True, eq=False)
class Projection:
    """How content becomes a token; see :class:`~llmtokens.LLMTokens` for the attributes."""

    blocks: tuple[Block, ...]
    widths: tuple[int, ...]
    groups: tuple[int, ...]
    mean: Floats
    components: Floats
    explained_variance_ratio: Floats
    encoders: Encoders = field(default_factory=dict, repr=False)
    whiten: float = 0.0  # the power that is folded into the components

    @classmethod
    def fit(
        cls,
        blocks: Sequence[Block],
        data: Any,
        encoders: Encoders,
        n_components: int,
        whiten: float,
    ) -> tuple[Projection, list[Features | None]]:
        """The projection, and the features of ``data`` that it was learned from."""
        from .reducer import TokenReducer

        features = [_features(block, data, encoders) for block in blocks]
        n = len(features[0][1])
        if n * sum(values.shape[1] for values, _ in features) <= _DENSE:
            means, scales, reducer = _dense_axes(features, TokenReducer(n_components, whiten))
        else:
            means, scales, reducer = _sparse_axes(features, TokenReducer(n_components, whiten))
        widths = tuple(len(mean) for mean in means)
        projection = cls(
            blocks=tuple(blocks),
            widths=widths,
            groups=(len(widths),),
            mean=np.concatenate(means),
            components=reducer.components_ * np.repeat(scales, widths),
            explained_variance_ratio=reducer.explained_variance_ratio_,
            encoders=dict(encoders),
            whiten=whiten,
        )
        return projection, list(features)

    @classmethod
    def join(
        cls,
        parts: Sequence[Projection],
        vectors: Sequence[NDArray[Any]],
        n_components: int,
        whiten: float,
    ) -> tuple[Projection, Singles]:
        """One projection for several tables, given their tokens row by row (zeros: absent)."""
        from .reducer import TokenReducer

        scales = [unit_scale(block) for block in vectors]
        stacked = np.hstack([block * scale for block, scale in zip(vectors, scales, strict=True)])
        reducer = TokenReducer(n_components, whiten).fit(stacked)
        cuts = np.cumsum([len(part.components) for part in parts])[:-1]
        axes = np.split(reducer.components_, cuts, axis=1)
        projection = cls(
            blocks=tuple(block for part in parts for block in part.blocks),
            widths=tuple(width for part in parts for width in part.widths),
            groups=tuple(group for part in parts for group in part.groups),
            mean=np.concatenate([part.mean for part in parts]),
            components=np.hstack(
                [a @ (p.components * s) for a, p, s in zip(axes, parts, scales, strict=True)]
            ),
            explained_variance_ratio=reducer.explained_variance_ratio_,
            encoders={key: e for part in parts for key, e in part.encoders.items()},
            whiten=whiten,
        )
        return projection, (stacked @ reducer.components_.T).astype(np.float32)

    def reduced(self, n_components: int, whiten: float) -> tuple[Projection, Floats]:
        """That to the leading axes, whitened anew, and the factor of each entry of a token.

        Principal axes are nested, so that nothing has to be encoded or decomposed again.
        """
        from .reducer import whitening

        shares = self.explained_variance_ratio[:n_components]
        factors = whitening(shares, whiten) / np.maximum(whitening(shares, self.whiten), 1e-300)
        made = replace(
            self,
            components=self.components[:n_components] * factors[:, None],
            explained_variance_ratio=shares,
            whiten=whiten,
        )
        return made, factors

    @property
    def columns(self) -> list[str]:
        """Columns of a frame that the blocks read."""
        names: list[str] = []
        for block in self.blocks:
            if isinstance(block, TextBlock):
                names += fields(block.template)
            elif isinstance(block, (ImageBlock, CategoryBlock, NumberBlock)):
                names.append(block.column)
        return list(dict.fromkeys(names))

    @property
    def text_blocks(self) -> list[TextBlock]:
        """The blocks that are text."""
        return [block for block in self.blocks if isinstance(block, TextBlock)]

    @property
    def text_encoder(self) -> tuple[str, str] | None:
        """Name and revision of the encoder, where all text blocks have the same one."""
        used = {(block.encoder, block.revision) for block in self.text_blocks}
        return used.pop() if len(used) == 1 else None

    @property
    def text_width(self) -> int | None:
        """Length of that encoder's rows."""
        widths = zip(self.blocks, self.widths, strict=True)
        found = {width for block, width in widths if isinstance(block, TextBlock)}
        return found.pop() if len(found) == 1 and self.text_encoder else None

    def of_text(self, template: str) -> Projection:
        """That of a text which takes the place of every text block; the others say nothing.

        Raises
        ------
        DataError
            Unless the text blocks have one encoder.
        """
        if self.text_encoder is None:
            names = sorted({block.encoder for block in self.text_blocks})
            raise DataError(
                f"found tokens with the text encoders {sample(names) or 'none'}; expected exactly "
                "one, for texts to be in its space"
            )
        columns, n = self._text_columns, len(self.text_blocks)
        return replace(
            self,
            blocks=(TextBlock(template, *self.text_encoder),) * n,
            widths=tuple(
                width
                for width, block in zip(self.widths, self.blocks, strict=True)
                if isinstance(block, TextBlock)
            ),
            groups=(n,),
            mean=self.mean[columns],
            components=self.components[:, columns],
        )

    @property
    def _text_columns(self) -> Rows:
        """Of the features, those of texts."""
        texts = [isinstance(block, TextBlock) for block in self.blocks]
        return np.flatnonzero(np.repeat(texts, self.widths))

    def has_text_axes_of(self, other: Projection) -> bool:
        """Whether texts become tokens of one space."""
        if self.text_encoder is None or self.text_encoder != other.text_encoder:
            return False
        own, others = (x.components[:, x._text_columns] for x in (self, other))
        return np.array_equal(own, others)

    def with_encoder(self, encoder: Encoder) -> Projection:
        """That with its text encoder at hand.

        Raises
        ------
        DataError
            If it is another encoder.
        """
        key = (encoder.name, encoder.revision)
        if key != self.text_encoder:
            raise DataError(f"found the encoder {key}; expected {self.text_encoder}, as when the "
                            "tokens were made")  # fmt: skip
        return replace(self, encoders={key: encoder})

    def features(self, data: Any) -> list[Features | None]:
        """What the blocks say of new content; see :meth:`~llmtokens.LLMTokens.transform`."""
        parts = [data] if len(self.groups) == 1 else list(data)
        if len(parts) != len(self.groups):
            raise DataError(
                f"found {len(parts)} inputs; expected {len(self.groups)}, one for each of the "
                "tables that were concatenated, None where one has nothing to say"
            )
        frames = [
            frame
            for part, n in zip(parts, self.groups, strict=True)
            for frame in [_as_frame(part)] * n
        ]
        made: dict[tuple[int, Block], Features] = {}  # blocks of one template are encoded once
        for block, frame, width in zip(self.blocks, frames, self.widths, strict=True):
            if frame is not None and (id(frame), block) not in made:
                made[id(frame), block] = _features(block, frame, self.encoders, width)
        return [
            made.get((id(frame), block)) for block, frame in zip(self.blocks, frames, strict=True)
        ]

    def said(self, texts: Sequence[str]) -> list[Features | None]:
        """What the text blocks say where each of some texts takes the place of all templates."""
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"found {text!r:.60}; expected a text with something in it")
        if not self.text_blocks:
            raise DataError(
                "these tokens were made without text, so no text can be compared; expected tokens "
                "of from_frame or from_texts"
            )
        said = {
            block: _queries(_encoder(block, self.encoders, width), [x.strip() for x in texts])
            for block, width in set(zip(self.blocks, self.widths, strict=True))
            if isinstance(block, TextBlock)
        }
        known = np.ones(len(texts), bool)
        return [(said[b], known) if b in said else None for b in self.blocks]

    def embeddings(
        self, features: Sequence[Features | None], dtype: Any = np.float16
    ) -> NDArray[Any] | None:
        """The text alone, in the encoder's space: unit rows, zeros without text (n, width).

        Several texts of one id are averaged, each at norm 1. None without text, or where text
        blocks have several encoders.
        """
        if self.text_encoder is None:
            return None
        said = [
            known[0]  # what is absent is a row of zeros
            for block, known in zip(self.blocks, features, strict=True)
            if isinstance(block, TextBlock) and known is not None
        ]
        if not said:
            return None
        out = np.empty(said[0].shape, dtype)
        for at in _some_rows(*out.shape):
            total = sum(unit_rows(dense(values[at]).astype(np.float32)) for values in said)
            out[at] = unit_rows(np.asarray(total))
        return out

    def tokens(self, features: Sequence[Features | None]) -> Singles:
        """The tokens of features, shape (n, d)."""
        lengths = {len(known[1]) for known in features if known is not None}
        if len(lengths) != 1:
            raise DataError(
                f"found inputs of {sorted(lengths)} rows; expected the same number in each"
            )
        out = np.zeros((lengths.pop(), len(self.components)))
        stops = np.cumsum(self.widths)
        for known, start, stop in zip(features, stops - self.widths, stops, strict=True):
            if known is not None:
                values, present = known
                if values.shape[1] != stop - start:
                    raise DataError(
                        f"found {values.shape[1]} features; expected {stop - start} as when the "
                        "tokens were made: was the encoder changed?"
                    )
                mean, axes = self.mean[start:stop], self.components[:, start:stop].T
                if sparse.issparse(values) and np.prod(values.shape) > _DENSE:
                    out += np.asarray(values @ axes) - present[:, None] * (mean @ axes)
                else:
                    for at in _some_rows(*values.shape):
                        out[at] += ((dense(values[at]) - mean) * present[at, None]) @ axes
        return out.astype(np.float32)

    # -- as plain data, for files ----------------------------------------------------------------

    def to_parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """JSON-able description, and arrays by name."""
        kinds = {cls: kind for kind, cls in BLOCKS.items()}
        specs = [{"kind": kinds[type(block)], **asdict(block)} for block in self.blocks]
        payload: dict[str, Any] = {"blocks": specs}
        payload |= {"widths": list(self.widths), "groups": list(self.groups)}
        payload |= {"whiten": self.whiten} if self.whiten else {}
        names = ("mean", "components", "explained_variance_ratio")
        return payload, {name: getattr(self, name) for name in names}

    @classmethod
    def from_parts(
        cls, payload: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], encoders: Encoders
    ) -> Projection:
        """The inverse of :meth:`to_parts`.

        Raises
        ------
        FileFormatError
            If the parts are not what ``to_parts`` gives.
        """
        specs: Any = payload.get("blocks")
        widths: Any = payload.get("widths")
        groups: Any = payload.get("groups")
        whiten: Any = payload.get("whiten", 0.0)
        if not (isinstance(whiten, (int, float)) and 0 <= whiten <= 1):
            raise FileFormatError(f"found whiten={whiten!r:.60}; expected a number from 0 to 1")
        if not isinstance(specs, list):
            raise FileFormatError(f"found blocks {specs!r:.60}; expected a list")
        for numbers, total in ((widths, len(arrays["mean"])), (groups, len(specs))):
            if not (
                isinstance(numbers, list)
                and all(type(x) is int and x > 0 for x in numbers)
                and sum(numbers) == total
            ):
                raise FileFormatError(f"found widths or groups {numbers!r:.60} that do not add up")
        if len(specs) != len(widths):
            raise FileFormatError(f"found blocks {specs!r:.60}; expected one for each width")
        return cls(
            blocks=tuple(restore_block(spec, n) for spec, n in zip(specs, widths, strict=True)),
            widths=tuple(widths),
            groups=tuple(groups),
            mean=arrays["mean"],
            components=arrays["components"],
            explained_variance_ratio=arrays["explained_variance_ratio"],
            encoders=encoders,
            whiten=float(whiten),
        )


def unit_scale(block: NDArray[Any]) -> float:
    """The factor that brings a centred block to mean square norm 1 (0 for a constant one)."""
    energy = float(np.mean(np.sum(np.square(block, dtype=np.float64), axis=1)))
    return 1 / np.sqrt(energy) if energy > 0 else 0.0


def _dense_axes(
    features: Sequence[Features], reducer: TokenReducer
) -> tuple[list[Floats], list[float], TokenReducer]:
    """Mean and scale of every block, and the axes of all of them."""
    means, scales, scaled = [], [], []
    for values, present in features:
        values = dense(values)
        mean = values[present].mean(axis=0) if present.any() else np.zeros(values.shape[1])
        centred = (values - mean) * present[:, None]
        means.append(mean)
        scales.append(unit_scale(centred))
        scaled.append(centred * scales[-1])
    return means, scales, reducer.fit(np.hstack(scaled))


def _sparse_axes(
    features: Sequence[Features], reducer: TokenReducer
) -> tuple[list[Floats], list[float], TokenReducer]:
    """The same, but for rounding, of blocks that would not go into memory side by side."""
    means, scales = [], []
    for values, present in features:
        means.append(column_sums(values) / max(present.sum(), 1))
        square = energy(values, means[-1], present) / len(present)
        scales.append(1 / np.sqrt(square) if square > 0 else 0.0)
    values_of, present_of = zip(*features, strict=True)
    centred = Centred(values_of, means, present_of, scales)
    return means, scales, reducer.fit_centred(centred, np.zeros(centred.shape[1]))


def _some_rows(n: int, width: int) -> Iterator[slice]:
    """All rows, so many at a time that they may be dense."""
    step = max(_DENSE // max(width, 1), 1)
    return (slice(start, start + step) for start in range(0, n, step))


def _as_frame(data: Any) -> Any:
    """Texts as a one-column frame; frames, arrays and None as they are."""
    if isinstance(data, str):
        raise DataError("found one str; expected a list of texts: wrap it in [ ]")
    if isinstance(data, (list, tuple, pd.Series)) and all(isinstance(x, str) for x in data):
        return pd.DataFrame({"text": pd.Series(list(data), dtype=object)})
    return data


def _features(block: Block, data: Any, encoders: Encoders, width: int | None = None) -> Features:
    wants_frame = not isinstance(block, EmbeddingBlock)
    if wants_frame != isinstance(data, pd.DataFrame):
        expected = "a DataFrame (or texts)" if wants_frame else "an array of embeddings"
        raise DataError(f"found {type(data).__name__}; these tokens were made from {expected}")
    if isinstance(block, (TextBlock, ImageBlock)):
        return block.features(data, _encoder(block, encoders, width))
    return block.features(data)


def _encoder(block: TextBlock | ImageBlock, encoders: Encoders, width: int | None) -> Encoder:
    key = (block.encoder, block.revision)
    if key in encoders:
        return encoders[key]
    encoder = _restored(*key)
    found = getattr(encoder, "n_features", width)
    if found != width:  # a file that lies: noticed before there are rows of millions
        raise DataError(
            f"the tokens name {block.encoder!r} with {found} features, and have {width}; build "
            "them again, or hand the encoder over, as in LLMTokens.load(path, encoder=...)"
        )
    return encoder


def _queries(encoder: Encoder, texts: list[str]) -> Floats:
    """A few texts, by the encoder's short way for them where it has one."""
    return np.asarray(getattr(encoder, "encode_query", encoder.encode)(texts), np.float64)


@lru_cache(maxsize=4)
def _restored(name: str, revision: str) -> Encoder:
    """One object for all calls: a model is loaded once."""
    from ..encode import restore_encoder

    return restore_encoder(name, revision)
