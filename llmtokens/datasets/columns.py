"""The columns of a text table, read from where its cells are: whole numbers, decimals, texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..runtime.arrays import Floats, Rows
from .cells import ALWAYS_MISSING
from .dialect import Dialect
from .scan import Places, Quoting, kernel, workers

Kind = Literal["id", "number", "time", "text"]

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def read(found: Dialect, kinds: Mapping[str, Kind | None]) -> dict[str, pd.Series]:
    """The columns that are named.

    Ids and times are int64 where each cell is a whole number, written as such; numbers float64
    where each is a plain decimal or empty. All else is text: ids as categories, without spaces
    around them, others as objects. What is missing is NaN.
    """
    with workers(found.data) as pool:
        each = map if pool is None else pool.map
        return dict(
            zip(kinds, each(lambda name: _column(found, name, kinds[name]), kinds), strict=True)
        )


def _column(found: Dialect, name: str, kind: Kind | None) -> pd.Series:
    starts, ends = found.cells(name)
    if kind in ("id", "time"):
        whole: Rows = np.empty(len(starts), np.int64)
        read_whole, data = kernel("whole_numbers", found.data)
        if read_whole(data, starts, ends, whole):
            return pd.Series(whole, copy=False)
    if kind == "number":
        decimals: Floats = np.empty(len(starts), np.float64)
        read_decimals, data = kernel("decimals", found.data)
        if read_decimals(data, starts, ends, decimals):
            return pd.Series(decimals, copy=False)
    texts = _texts(found, starts, ends, strip=kind == "id")
    return texts.categories() if kind == "id" else texts.objects()


@dataclass(frozen=True)
class _Texts:
    """What stands in each row of a column; None is missing.

    ``distinct`` is whether the texts are, and none of them missing.
    """

    codes: NDArray[np.int32]
    texts: list[str | None]
    distinct: bool

    def objects(self) -> pd.Series:
        values = np.array([np.nan if x is None else x for x in self.texts], dtype=object)
        return pd.Series(values[self.codes], dtype=object)

    def categories(self) -> pd.Series:
        codes, texts = self.codes, self.texts
        if not self.distinct:
            places = {x: k for k, x in enumerate(dict.fromkeys(x for x in texts if x is not None))}
            texts = [*places]
            codes = np.array([-1 if x is None else places[x] for x in self.texts], np.int32)[codes]
        return pd.Series(pd.Categorical.from_codes(codes, pd.Index(texts, dtype=object)))


def _texts(found: Dialect, starts: Places, ends: Places, strip: bool) -> _Texts:
    number, data = kernel("distinct", found.data)
    join, data = kernel("joined", found.data)
    codes = np.empty(len(starts), np.int32)
    firsts = number(data, starts, ends, codes)
    joined = np.empty(int((ends[firsts] - starts[firsts]).sum()) + len(firsts), np.uint8)
    join(data, starts, ends, firsts, joined)
    text = joined.tobytes().decode()
    distinct = text.split("\0")[:-1]
    lacking = any(f"\0{x}\0" in f"\0{text}" for x in ALWAYS_MISSING)
    marked = found.quoting is not Quoting.NONE and any(x in text for x in ('"', "\\", found.sep))
    spaced = strip and text.split() != [text]
    if not (lacking or marked or spaced):
        return _Texts(codes, [*distinct], distinct=True)
    texts = [None if x in ALWAYS_MISSING else x for x in distinct]
    if marked:
        texts = [x and _as_meant(x, found) for x in texts]
    if spaced:
        texts = [x and (x.strip() or None) for x in texts]
    return _Texts(codes, texts, distinct=False)


def _as_meant(text: str, found: Dialect) -> str | None:
    """A cell without what quotes, and a separator of several characters, have put into it."""
    if text.startswith('"'):
        text = text[1:-1].replace('""', '"')
    if found.quoting is Quoting.ESCAPED:
        text = _ESCAPED.sub(r"\1", text)
    text = text.replace(found.sep, found.written_sep)
    return None if text in ALWAYS_MISSING else text
