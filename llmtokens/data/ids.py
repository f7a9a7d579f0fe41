"""Raw ids: as Surprise has them, from files (text) or frames (any type), and how they meet."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, sample
from ..runtime.cached import cached_property


class IdIndex:
    """Rows of raw ids: exact match first, then by ``str(id)`` where only one id reads so.

    >>> index = IdIndex([10, "b"])
    >>> index.rows([10, "10", "c"]).tolist()
    [0, 0, -1]
    """

    def __init__(self, ids: Sequence[Hashable]) -> None:
        self._ids = ids
        self.exact = {raw: row for row, raw in enumerate(ids)}

    @cached_property
    def _by_text(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        for row, raw in enumerate(self._ids):
            text = str(raw)
            rows[text] = -1 if text in rows else row
        return rows

    def row(self, raw: Hashable) -> int:
        """The row of one id, -1 where it is not in the table."""
        row = self.exact.get(raw)
        return self._by_text.get(str(raw), -1) if row is None else row

    def rows(self, ids: Iterable[Hashable]) -> NDArray[np.int64]:
        """The rows of many ids, -1 where absent, shape (n,)."""
        return np.array([self.row(raw) for raw in ids], np.int64)


def plain_id(raw: Hashable) -> Hashable:
    """An id as a plain Python object: what NumPy's scalars hold."""
    return raw.item() if isinstance(raw, np.generic) else raw


def plain_ids(ids: Iterable[Hashable]) -> list[Hashable]:
    """Ids as plain Python objects, none missing, none twice.

    Raises
    ------
    DataError
        Naming the first ids that are missing (None or NaN) or stand twice; also for what cannot be
        an id, such as a list.
    """
    plain = list(map(plain_id, ids))
    missing = [k for k, raw in enumerate(plain) if raw is None or _is_nan(raw)]
    if missing:
        raise DataError(f"found rows without an id, at positions {sample(missing)}; drop them")
    seen: set[Hashable] = set()
    try:
        twice = [raw for raw in plain if raw in seen or seen.add(raw)]  # type: ignore[func-returns-value]
    except TypeError as error:
        raise DataError(
            f"found an id that is none ({error}); expected raw ids such as str or int"
        ) from error
    if twice:
        raise DataError(
            f"found {len(twice)} duplicate ids, the first being {sample(twice)}; expected one row "
            "per id: drop the duplicates or join what they say"
        )
    return plain


def as_column(values: Iterable[Hashable]) -> pd.Series:
    """Ids or names as a column of their own type; as objects where no one type holds them all.

    >>> as_column([1, 2]).dtype, as_column([1, "b"]).dtype
    (dtype('int64'), dtype('O'))
    """
    column = pd.Series(list(values), dtype=object)
    try:
        return column.infer_objects()
    except UnicodeEncodeError:  # half of a surrogate pair, which no string type of pandas holds
        return column


def _is_nan(raw: Hashable) -> bool:
    return (isinstance(raw, float) and math.isnan(raw)) or type(raw).__name__ in (
        "NAType",
        "NaTType",
    )
