"""Which items may be listed, by what their columns say: expressions that are read, never run."""

from __future__ import annotations

import ast
import keyword
import operator
import re
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd

from ..data.ids import as_column
from ..errors import DataError, sample
from ..runtime.arrays import Mask, Rows
from .interface import FittedModel

Where = str | Callable[[pd.DataFrame], Any]

_LOOKED_AT = 1000  # tokens, for an example
_LONGEST = 10_000  # characters of an expression
_QUOTED = re.compile(r"`([^`]+)`")
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def columns_of_items(model: FittedModel) -> pd.DataFrame:
    """What is known of every item row but the unknown one: item, label and the tokens' columns.

    Where an item has no token, numbers are NaN and there are no labels.
    """
    ids = model.items.ids
    columns: dict[str, Any] = {"item": as_column(ids)}
    tokens = model.item_tokens
    if tokens is not None:
        rows = model.text_rows[: len(ids)].tolist()
        if tokens.labels is not None:
            names = tokens.labels
            columns["label"] = as_column([names[k] if k >= 0 else "" for k in rows])
        for name, values in (tokens.columns or {}).items():
            if any(isinstance(value, list) for value in values):
                listed = pd.Series([values[k] if k >= 0 else [] for k in rows], dtype=object)
                columns[name] = listed
            else:
                numbers = np.append(np.array(values, np.float64), np.nan)
                columns[name] = pd.Series(numbers[rows])
    return pd.DataFrame(columns)


def example(model: FittedModel) -> str:
    """A condition in the model's own columns, "" where it has none but ids and names: from a number
    in the middle, and the commonest label, of its first tokens."""
    tokens, parts = model.item_tokens, dict[type, str]()
    for name, cells in ((tokens.columns if tokens else None) or {}).items():
        column = name if name.isidentifier() and not keyword.iskeyword(name) else f"`{name}`"
        some = cells[:_LOOKED_AT]
        labels = Counter(label for cell in some if isinstance(cell, list) for label in cell)
        known = [cell for cell in some if isinstance(cell, float) and cell == cell]
        if labels:
            parts.setdefault(list, f"{labels.most_common(1)[0][0]!r} in {column}")
        elif known:
            parts.setdefault(float, f"{column} < {sorted(known)[len(known) // 2]:g}")
    return " and ".join(parts[kind] for kind in (float, list) if kind in parts)


def fitting(model: FittedModel, where: Where) -> Rows:
    """Ascending rows of the items for which a condition holds; see :meth:`Serving.recommend`.

    Raises
    ------
    DataError
        If the condition cannot be read, names a column that there is not, compares what cannot be
        compared, or gives something else than one truth per item.
    """
    frame = columns_of_items(model)
    if isinstance(where, str):
        return np.flatnonzero(_holds(where, frame))
    if not callable(where):
        raise DataError(
            f"found where={where!r:.60}; expected a condition such as \"year < 1990 and 'Comedy' "
            'in genres", or a function of the frame of items'
        )
    found = np.asarray(where(frame))
    if found.shape != (len(frame),) or found.dtype != bool:
        raise DataError(
            f"found a where that gives {type(found).__name__} of shape {found.shape} and type "
            f"{found.dtype}; expected one bool for each of the {len(frame)} items"
        )
    return np.flatnonzero(found)


def _holds(where: str, frame: pd.DataFrame) -> Mask:
    """For each row of a frame whether a condition in words holds."""
    names: dict[str, str] = {str(name): str(name) for name in frame.columns}

    def plain(quoted: re.Match[str]) -> str:
        stand_in = f"_column_{len(names)}"
        names[stand_in] = quoted[1]
        return stand_in

    try:
        if len(where) > _LONGEST:
            raise ValueError("it is too long")
        tree = ast.parse(_QUOTED.sub(plain, where.strip()), mode="eval")
        truth = _Reader(where, frame, names).truth(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"found where={where!r:.200}, which cannot be read ({error}); expected comparisons of "
            "columns joined by and, or and not, such as \"year < 1990 and 'Comedy' in genres\""
        ) from error
    return truth


class _Reader:
    """Goes through a parsed condition; whatever is not named here is refused."""

    def __init__(self, where: str, frame: pd.DataFrame, names: dict[str, str]) -> None:
        self.where, self.frame, self.names = where, frame, names

    def truth(self, node: ast.expr) -> Mask:
        match node:
            case ast.BoolOp(op, parts):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                out: Mask = join.reduce([self.truth(part) for part in parts])
                return out
            case ast.UnaryOp(ast.Not(), part):
                return ~self.truth(part)
            case ast.Compare(left, ops, rights):
                sides = [left, *rights]
                every = [self._compared(sides[k], op, sides[k + 1]) for k, op in enumerate(ops)]
                whole: Mask = np.logical_and.reduce(every)
                return whole
        raise self._refused(node)

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Mask:
        a, b = self._value(left), self._value(right)
        if isinstance(op, (ast.In, ast.NotIn)):
            found = self._among(a, b)
            return found if isinstance(op, ast.In) else ~found
        if isinstance(op, (ast.Eq, ast.NotEq)):
            for cells, label in ((a, b), (b, a)):
                if self._has_labels(cells) and isinstance(label, str):
                    found = self._among(label, cells)
                    return found if isinstance(op, ast.Eq) else ~found
        compare = _COMPARED.get(type(op))
        if compare is None or self._listed(a) or self._listed(b):
            raise self._refused(left, right)
        n = len(self.frame)
        a, b = (np.full(n, x, object) if np.ndim(x) == 0 else x for x in (a, b))
        if self._wordy(a) != self._wordy(b):
            if isinstance(op, (ast.Eq, ast.NotEq)):  # an id may be a text or a number
                return np.full(n, isinstance(op, ast.NotEq))
            raise self._refused(left, right)
        if self._wordy(a):
            pairs = zip(a, b, strict=True)
            return np.fromiter((bool(compare(str(x), str(y))) for x, y in pairs), bool, n)
        a, b = a.astype(np.float64), b.astype(np.float64)
        known: Mask = compare(a, b) & ~np.isnan(a) & ~np.isnan(b)
        return known

    def _among(self, what: Any, where: Any) -> Mask:
        """``what in where``: a label in a cell, a text in a text; cells or labels in a list."""
        n = len(self.frame)
        if isinstance(where, list):
            if np.ndim(what) == 0 or isinstance(what, list):
                raise self._refused()
            known = {_folded(x) for x in where}
            if self._has_labels(what):
                return np.fromiter((any(_folded(x) in known for x in c) for c in what), bool, n)
            return np.fromiter((_folded(x) in known for x in what), bool, n)
        if np.ndim(where) == 0 or not isinstance(what, str):
            raise self._refused()
        asked = what.casefold()
        if self._listed(where):
            cells = ({x.casefold() for x in cell} for cell in where)
            return np.fromiter((asked in cell for cell in cells), bool, n)
        if not self._wordy(where):
            raise self._refused()
        return np.fromiter((asked in str(cell).casefold() for cell in where), bool, n)

    def _value(self, node: ast.expr) -> Any:
        """A column as an array, a number, a text, or a list of these."""
        match node:
            case ast.Name(id):
                name = self.names.get(id, id)
                if name not in self.frame:
                    raise DataError(
                        f"found the column {name!r:.60} in where={self.where!r:.200}; expected "
                        f"one of {sample(self.frame.columns, 20)}: those that item tokens were "
                        "made from"
                    )
                return self.frame[name].to_numpy()
            case ast.Constant(value) if isinstance(value, (str, int, float)):
                return value
            case ast.UnaryOp(ast.USub(), ast.Constant(value)) if isinstance(value, (int, float)):
                return -value
            case ast.List(parts) | ast.Tuple(parts) | ast.Set(parts):
                values = [self._value(part) for part in parts]
                if all(np.ndim(x) == 0 for x in values):
                    return values
        raise self._refused(node)

    def _listed(self, value: Any) -> bool:
        """Whether it is a list, or a column whose cells are."""
        return isinstance(value, list) or self._has_labels(value)

    @staticmethod
    def _has_labels(value: Any) -> bool:
        """Whether it is a column whose cells are lists of labels."""
        is_column = isinstance(value, np.ndarray) and value.ndim == 1
        return is_column and len(value) > 0 and isinstance(value[0], list)

    @staticmethod
    def _wordy(column: Any) -> bool:
        """Whether a column, or a number of times the same, holds words."""
        if column.dtype != object:
            return not np.issubdtype(column.dtype, np.number)
        return not all(isinstance(x, (int, float, np.number)) for x in column)

    def _refused(self, *nodes: ast.expr) -> DataError:
        said = " and ".join(repr(ast.unparse(node)) for node in nodes) or "a membership"
        return DataError(
            f"found {said:.120} in where={self.where!r:.200}; expected comparisons of columns with "
            'numbers or texts, "\'label\' in column" or "column in [...]", joined by and, or, not'
        )


def _folded(value: Hashable) -> Hashable:
    return value.casefold() if isinstance(value, str) else value
