"""The parts a token is made of: text, categories, numbers, and ready-made embeddings.

A block turns the rows of a frame into a numeric array and can do so again for new rows; what it
learned (vocabulary, knots) is in its ``spec``, plain data that a file can hold.
"""

from __future__ import annotations

import contextlib
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, FileFormatError, sample

Encode = Callable[[list[str]], NDArray[np.float32]]
Features = tuple[NDArray[np.float64], NDArray[np.bool_]]
# of text: fill, width and length; a width from a file must not fill the memory
_SPEC = re.compile(r"(.?[<>^])?\d{0,3}(\.\d{1,9})?s?", re.DOTALL)
_LARGEST = 1e60  # of an embedding: a file holds a little more


@dataclass(frozen=True)
class TextBlock:
    """A template such as ``"{title}. Genres: {genres}"``, rendered per row and encoded."""

    template: str
    encoder: str
    revision: str

    def texts(self, frame: pd.DataFrame) -> list[str]:
        """One text per row; a row whose every field is empty gives the empty text."""
        names = fields(self.template)
        require_columns(frame, names)
        columns = [[as_text(value) for value in frame[name]] for name in names]
        return [
            self.template.format(**dict(zip(names, row, strict=True))).strip() if any(row) else ""
            for row in zip(*columns, strict=True)
        ]

    def features(self, frame: pd.DataFrame, encode: Encode) -> Features:
        texts = self.texts(frame)
        present = np.array([bool(text) for text in texts], bool)
        vectors = encode([text for text in texts if text])
        out = np.zeros((len(texts), vectors.shape[1]))
        out[present] = vectors
        return out, present


@dataclass(frozen=True)
class CategoryBlock:
    """Multi-hot of a column of labels, a row divided by the square root of its number of labels."""

    column: str
    vocabulary: tuple[str, ...]

    @classmethod
    def learn(cls, frame: pd.DataFrame, column: str) -> CategoryBlock:
        require_columns(frame, [column])
        return cls(column, tuple(sorted({x for cell in frame[column] for x in labels(cell)})))

    def features(self, frame: pd.DataFrame) -> Features:
        require_columns(frame, [self.column])
        position = {label: k for k, label in enumerate(self.vocabulary)}
        out = np.zeros((len(frame), len(position)))
        for row, cell in enumerate(frame[self.column]):
            known = [position[label] for label in labels(cell) if label in position]
            if known:
                out[row, known] = 1 / np.sqrt(len(known))
        return out, np.asarray(out.any(axis=1), bool)


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

    @staticmethod
    def _values(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
        require_columns(frame, [column])
        try:
            return pd.to_numeric(frame[column]).to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"column {column!r} is not numeric: {error}; expected numbers, NaN where missing"
            ) from error

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


Block = TextBlock | CategoryBlock | NumberBlock | EmbeddingBlock
BLOCKS: dict[str, type[Block]] = {
    "text": TextBlock, "category": CategoryBlock, "number": NumberBlock, "embedding": EmbeddingBlock
}  # fmt: skip


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
        or spec.keys() - {"kind"} != {f.name for f in dataclass_fields(BLOCKS[kind])}
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
        case CategoryBlock(str(), tuple()):
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


def fields(template: str) -> list[str]:
    """Column names a template asks for.

    >>> fields("{title}. Genres: {genres}")
    ['title', 'genres']
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise DataError(f"the template {template!r} is not valid: {error}") from error
    names = [name for _, name, _, _ in parts if name is not None]
    if not names or not all(name.isidentifier() for name in names):
        raise DataError(
            f"found the template {template!r}; expected plain column names in braces, "
            'such as "{title}. Genres: {genres}"'
        )
    for _, name, spec, conversion in parts:
        if conversion not in (None, "r", "s", "a") or not _SPEC.fullmatch(spec or ""):
            raise DataError(
                f"the template {template!r:.200} asks for {{{name}}} in the format "
                f"{spec or conversion!r:.40}; every column is text there: expected {{{name}}}, or "
                f"{{{name}:.200}} for its first 200 characters"
            )
    return list(dict.fromkeys(names))


def labels(cell: Any) -> list[str]:
    """The labels in one cell: a sequence, a text with "|" between labels, or one value."""
    if isinstance(cell, str):
        parts: Iterable[Any] = cell.split("|")
    elif isinstance(cell, (list, tuple, set, frozenset, np.ndarray)):
        parts = sorted(cell) if isinstance(cell, (set, frozenset)) else cell
    else:
        parts = [] if pd.isna(cell) else [cell]
    return list(dict.fromkeys(text for part in parts if (text := as_text(part))))


def as_text(value: Any) -> str:
    """A cell as a person would write it: lists joined by commas, missing values empty."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return ", ".join(labels(value))
    if pd.isna(value):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def as_matrix(array: Any) -> NDArray[np.float64]:
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
