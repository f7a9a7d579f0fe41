"""A column as numbers; where it is none, what is in it and the line that makes it numbers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from ..errors import DataError, sample
from ..runtime.arrays import Floats

# One number in a cell, with signs between thousands perhaps, and what stands around it; no minus
# before, which _NUMBER would lose behind a currency.
_ONE = re.compile(
    r"(?P<before>[^0-9(−–-]*)"
    r"(?P<number>[0-9]{1,3}(?:[.,'\s][0-9]{3})+(?:[.,][0-9]+)?|[0-9]+(?:[.,][0-9]+)?)"
    r"(?P<after>[^0-9]*)"
)
_DECIMALS = re.compile(r"([.,])[0-9]{1,2}$")
_DATE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}")
_NO_UNIT = " .,:;?!~<>()+"
_NUMBER = r"(-?\d+\.?\d*)"


def numbers(column: pd.Series, name: str) -> Floats:
    """The number of each cell, NaN where there is none; dates are numbers, too.

    Raises
    ------
    DataError
        For cells that are no numbers, with what they are and a line of pandas for them.

    Examples
    --------
    >>> numbers(pd.Series(["12.50", None, 7]), "price").tolist()
    [12.5, nan, 7.0]
    """
    try:  # pandas has no numbers of 16 bits but NumPy's
        read = column if pd.api.types.is_float_dtype(column.dtype) else pd.to_numeric(column)
        found: Floats = read.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {name!r} is not numeric: {_found(column, name)}") from error
    return np.where(column.isna(), np.nan, found)  # the number of a missing date is a number


def _found(column: pd.Series, name: str) -> str:
    """What is in a column that is not numeric, what was expected, and what to do."""
    cells = column[column.notna()]
    numeric = pd.to_numeric(cells, errors="coerce").notna()
    others = [text for text in map(str, cells[~numeric]) if text.strip()]
    return (
        f"{len(others)} of {len(column)} cells are no numbers, such as {sample(others, 2)}; "
        "expected numbers, and nothing where they are missing; "
        + _remedy(f"frame[{name!r}]", others, list(map(str, cells)))
    )


def _remedy(at: str, others: list[str], cells: list[str]) -> str:
    """The line that makes numbers of a column.

    ``others``: of the cells, those that are no numbers.
    """
    counted = [text.strip() for text in others if re.search(r"[0-9]", text)]
    if not counted:
        return f"{at} = pd.to_numeric({at}, errors='coerce') makes these missing"
    if all(map(_DATE.fullmatch, counted)):
        return f"{at} = pd.to_datetime({at}).dt.year makes years of dates"
    parts = [part for text in counted if (part := _ONE.fullmatch(text))]
    written = [part["number"] for text in cells if (part := _ONE.fullmatch(text.strip()))]
    points = {sign[1] for number in written if (sign := _DECIMALS.search(number))}
    if len(parts) < len(counted) or len(points) > 1:
        return "write them in one way, with one number a cell"
    between, point = (r"[.'\s]", ",") if points == {","} else (r"[,'\s]", ".")
    shown = max(parts, key=lambda part: len(part["number"]))
    read = float(re.sub(between, "", shown["number"]).replace(point, "."))
    line = f"{at}.astype(str).str.replace(r\"{between}\", '', regex=True)"
    line += ".str.replace(',', '.')" if point == "," else ""
    units = {(part["before"] + part["after"]).strip(_NO_UNIT) for part in parts} - {""}
    return (
        f"{at} = {line}.str.extract(r'{_NUMBER}')[0].astype(float) reads {shown[0]!r:.40} as "
        f"{read:g}"
        + (", and what has no digits as missing" if len(counted) < len(others) else "")
        + (f"; first see that {sample(sorted(units))} are one unit" if len(units) > 1 else "")
    )
