"""The parts a token is made of: text, images, categories, numbers, and ready-made embeddings.

A block turns the rows of a frame into a numeric array and can do so again for new rows; what it
learned (vocabulary, knots) is in its ``spec``, plain data that a file can hold.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from ..errors import DataError, FileFormatError, LLMTokensWarning, sample
from ..runtime.arrays import Floats, Mask
from .labels import DEFAULT_SEPARATOR, as_text, find_separator, kept_whole, labels
from .markup import Markup
from .numbers import numbers

if TYPE_CHECKING:
    from ..encode import Encoder

Features = tuple[Any, Mask]  # rows, dense or a csr_array, and which say anything
# of text: fill, width and length; a width from a file must not fill the memory
_SPEC = re.compile(r"(.?[<>^])?\d{0,3}(\.\d{1,9})?s?", re.DOTALL)
_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}")  # a brace that is text, or a field
_LARGEST = 1e60  # of an embedding: a file holds a little more


@dataclass(frozen=True)
class TextBlock:
    """A template such as ``"{title}. Genres: {genres}"``, rendered per row and encoded."""

    template: str
    encoder: str
    revision: str

    def texts(self, frame: pd.DataFrame) -> list[str]:
        """One text per row; a row whose every field is empty gives the empty text."""
        around, asked = parse(self.template)
        for field in asked:
            column, _, spec = field.name.rpartition(":")
            if field.name not in frame.columns and column in frame.columns:
                raise DataError(
                    f"the template {self.template!r:.200} asks for {{{column}}} in the format "
                    f"{spec!r:.40}; every column is text there: expected {{{column}}}, or "
                    f"{{{column}:.200}} for its first 200 characters"
                )
        require_columns(frame, [field.name for field in asked])
        said = {name: [as_text(value) for value in frame[name]] for name in fields(self.template)}
        for name, cells in said.items():
            Markup.of(cells).warn(name)
        columns = [said[field.name] for field in asked]
        texts = []
        for row in zip(*columns, strict=True):
            cells = [format(x, field.spec) for x, field in zip(row, asked, strict=True)]
            inner = zip(cells, around[1:], strict=True)
            texts.append((around[0] + "".join(map("".join, inner))).strip() if any(row) else "")
        return texts

    def features(self, frame: pd.DataFrame, encoder: Encoder) -> Features:
        texts = self.texts(frame)
        present = np.array([bool(text) for text in texts], bool)
        encode = getattr(encoder, "encode_sparse", encoder.encode)
        vectors: Any = encode([text for text in texts if text])
        if sparse.issparse(vectors):
            place = np.cumsum(np.append(0, present))  # rows of no text are empty
            ptr = vectors.indptr[place]
            shape = (len(texts), vectors.shape[1])
            return sparse.csr_array((vectors.data, vectors.indices, ptr), shape=shape), present
        out = np.zeros((len(texts), vectors.shape[1]), np.float32)
        out[present] = vectors
        return out, present


@dataclass(frozen=True)
class ImageBlock:
    """A column of paths of images; an empty cell is no image."""

    column: str
    encoder: str
    revision: str

    def features(self, frame: pd.DataFrame, encoder: Encoder) -> Features:
        require_columns(frame, [self.column])
        paths = [as_text(value) for value in frame[self.column]]
        present = np.array([bool(path) for path in paths], bool)
        try:
            return encoder.encode(paths), present  # zeros where there is no path
        except DataError as error:
            raise DataError(f"in column {self.column!r}, {error}") from error


@dataclass(frozen=True)
class CategoryBlock:
    """Multi-hot of a column of labels, a row divided by the square root of its number of labels."""

    column: str
    vocabulary: tuple[str, ...]
    separator: str = DEFAULT_SEPARATOR

    @classmethod
    def learn(cls, frame: pd.DataFrame, column: str, separator: str | None = None) -> CategoryBlock:
        require_columns(frame, [column])
        cells, whole = frame[column], set[str]()
        Markup.of([cell for cell in cells if isinstance(cell, str)]).warn(column)
        if separator is None:
            separator, clear = find_separator(column, cells)
            whole = kept_whole(cells, separator) if clear else whole
        found = {x for cell in cells for x in labels(cell, separator, whole)}
        return cls(column, tuple(sorted(found)), separator)

    def features(self, frame: pd.DataFrame) -> Features:
        require_columns(frame, [self.column])
        position = {label: k for k, label in enumerate(self.vocabulary)}
        ptr, at, values, strange = [0], list[int](), list[float](), list[Any]()
        for cell in frame[self.column]:
            said = labels(cell, self.separator, position)
            known = sorted(position[label] for label in said if label in position)
            if said and not known:
                strange.append(cell)
            at += known
            values += [1 / np.sqrt(max(len(known), 1))] * len(known)
            ptr.append(len(at))
        if strange:
            between = f", with {self.separator!r} between several" if self.separator else ""
            warnings.warn(
                f"{len(strange)} of {len(frame)} cells of {self.column!r} hold no label that was "
                f"there when the tokens were made, such as {str(strange[0])!r:.60}; these were "
                f"{sample(self.vocabulary)}{between}",
                LLMTokensWarning,
                stacklevel=2,
            )
        shape = (len(frame), len(position))
        return sparse.csr_array((values, at, ptr), shape=shape), np.diff(ptr) > 0

    def values(self, frame: pd.DataFrame) -> list[list[str]]:
        """The labels of every row, those too that were not there when this was learned."""
        one = {label: label for label in self.vocabulary}  # one object for all rows
        return [
            [one.get(label, label) for label in labels(cell, self.separator, one)]
            for cell in frame[self.column]
        ]


@dataclass(frozen=True)
class NumberBlock:
    """A numeric column on a cubic B-spline basis with knots at its quantiles."""

    column: str
    knots: tuple[float, ...]

    @classmethod
    def learn(cls, frame: pd.DataFrame, column: str, n_knots: int = 8) -> NumberBlock:
        values = cls._values(frame, column)
        finite = values[np.isfinite(values)]
        if len(finite) == 0:
            return cls(column, ())
        return cls(
            column, tuple(np.unique(np.quantile(finite, np.linspace(0, 1, n_knots))).tolist())
        )

    def values(self, frame: pd.DataFrame) -> list[float]:
        """The number of every row, NaN where there is none."""
        found: list[float] = self._values(frame, self.column).tolist()
        return found

    @staticmethod
    def _values(frame: pd.DataFrame, column: str) -> Floats:
        require_columns(frame, [column])
        return numbers(frame[column], column)

    def features(self, frame: pd.DataFrame) -> Features:
        from sklearn.preprocessing import SplineTransformer

        values = self._values(frame, self.column)
        present = np.isfinite(values)
        if len(self.knots) < 2:  # a constant says nothing
            return np.zeros((len(values), 1)), present
        knots = np.array(self.knots)[:, None]
        spline = SplineTransformer(knots=knots, extrapolation="constant").fit(knots)
        if len(values) == 0:
            return np.zeros((0, spline.n_features_out_)), present
        basis = np.asarray(spline.transform(np.where(present, values, knots[0, 0])[:, None]))
        return basis * present[:, None], present


@dataclass(frozen=True)
class EmbeddingBlock:
    """Vectors the user brings along: images, audio, another model."""

    dim: int

    def features(self, array: Any) -> Features:
        array = as_matrix(array)
        if array.shape[1] != self.dim:
            raise DataError(f"found embeddings of {array.shape[1]} dims; expected {self.dim}")
        return array, np.ones(len(array), bool)


Block = TextBlock | ImageBlock | CategoryBlock | NumberBlock | EmbeddingBlock
BLOCKS: dict[str, type[Block]] = {
    "text": TextBlock,
    "image": ImageBlock,
    "category": CategoryBlock,
    "number": NumberBlock,
    "embedding": EmbeddingBlock,
}


def restore_block(spec: Any, width: int) -> Block:
    """A block from what stands in a file, if it is one and makes ``width`` features.

    Raises
    ------
    FileFormatError
        If anything about it is not as this library writes it.
    """
    kind = spec.get("kind") if isinstance(spec, dict) else None
    if (
        not isinstance(kind, str)
        or kind not in BLOCKS
        or not spec.keys() - {"kind"} <= {f.name for f in dataclass_fields(BLOCKS[kind])}
        or not {f.name for f in dataclass_fields(BLOCKS[kind]) if f.default is MISSING}
        <= spec.keys()
    ):
        raise FileFormatError(f"found an unknown block {spec!r:.80}")
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in spec.items()
        if key != "kind"
    }
    block, right = BLOCKS[kind](**given), False
    match block:
        case TextBlock(str(), str(), str()):
            with contextlib.suppress(DataError):
                right = bool(fields(block.template))
        case ImageBlock(str(), str(), str()):
            right = True
        case CategoryBlock(str(), tuple(), str()):
            right = all(isinstance(x, str) for x in block.vocabulary)
            right &= len(block.vocabulary) == width
        case NumberBlock(str(), tuple()):
            knots = block.knots
            right = all(isinstance(x, float) and abs(x) < 1e300 for x in knots)
            right = right and all(a < b for a, b in pairwise(knots))
            right = right and width == (len(knots) + 2 if len(knots) > 1 else 1)
        case EmbeddingBlock(int()):
            right = block.dim == width
    if not right:
        raise FileFormatError(f"found a damaged block {spec!r:.80}")
    return block


class Field(NamedTuple):
    """A column that a template asks for, and how its text is to be cut or filled."""

    name: str
    spec: str


def parse(template: str) -> tuple[list[str], list[Field]]:
    """The texts around the fields of a template, one more than fields, and the fields.

    Any name of a column may stand in braces; braces that are text are doubled.

    Raises
    ------
    DataError
        For braces that do not close, are empty or are nowhere.
    """
    texts, found, end = [""], list[Field](), 0
    for match in _BRACES.finditer(template):
        texts[-1] += template[end : match.start()]
        end, inside = match.end(), match[0][1:-1]
        if match[0] in ("{{", "}}"):
            texts[-1] += match[0][0]
            continue
        name, _, spec = inside.rpartition(":")
        found.append(Field(name, spec) if name and _SPEC.fullmatch(spec) else Field(inside, ""))
        texts.append("")
    texts[-1] += template[end:]
    rest = _BRACES.sub("", template)
    if "{" in rest or "}" in rest or not found or not all(field.name for field in found):
        raise DataError(
            f"found the template {template!r:.200}; expected plain column names in braces, "
            'such as "{title}. Genres: {genres}"'
        )
    return texts, found


def fields(template: str) -> list[str]:
    """Column names a template asks for.

    >>> fields("{title:.20}. Genres: {Book-Genres}, {year:token}")
    ['title', 'Book-Genres', 'year:token']
    """
    return list(dict.fromkeys(field.name for field in parse(template)[1]))


def as_matrix(array: Any) -> Floats:
    """A finite 2-D float array, or an error that says where it is not.

    Raises
    ------
    DataError
        If it is not numeric, not 2-D, or a row holds NaN, infinity or a number beyond 1e60.
    """
    try:
        matrix = np.asarray(array, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"embeddings must be numeric: {error}") from error
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise DataError(f"found embeddings of shape {matrix.shape}; expected (n_ids, n_dims)")
    bad = np.flatnonzero(~(np.abs(matrix) <= _LARGEST).all(axis=1))
    if len(bad):
        raise DataError(
            f"found embeddings that are NaN, infinite or beyond {_LARGEST:g} in {len(bad)} rows, "
            f"the first being {sample(bad.tolist())}; drop these rows or embed them again"
        )
    return matrix


def require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Raise DataError unless the frame has all these columns."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(
            f"found the columns {list(map(str, frame.columns))}; expected also {missing}: "
            "rename the columns of the frame, or change the template"
        )
