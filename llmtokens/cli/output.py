"""Results for people (tables) and for programs (JSON)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd


# What a terminal would take for an order, or for another direction of reading.
_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Text in which nothing moves the cursor, changes colours or titles, or turns the line round.

    >>> plain("The \\x1b[31mRed\\x1b[0m Shoes")
    'The \ufffd[31mRed\ufffd[0m Shoes'
    """
    return _ORDERS.sub("\ufffd", text)


def echo(text: str, err: bool = False) -> None:
    """Print text that may hold titles and messages from elsewhere."""
    typer.echo(plain(text), err=err)


def show(
    found: pd.DataFrame | list[dict[str, Any]] | dict[str, Any], as_json: bool, heading: str = ""
) -> None:
    """Print a frame or rows, under a heading, or one record."""
    rows: Any = found if isinstance(found, (dict, list)) else found.to_dict("records")
    if as_json:
        typer.echo(json.dumps(rows, default=_plain, ensure_ascii=False))
    elif isinstance(rows, dict):
        width = max(map(len, rows)) + 2
        for key, value in rows.items():
            echo(f"{key:<{width}}{_cell(value)}")
    else:
        if heading:
            echo(f"\n{heading}\n")
        Console(highlight=False, markup=False).print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items() if rows else ():
        number = isinstance(value, float)
        table.add_column(
            plain(str(name)),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.3f}" if isinstance(value, float) else plain(str(value))


def _plain(value: Any) -> Any:
    """Numpy's scalars as Python's; any other id as it reads."""
    return value.item() if hasattr(value, "item") else str(value)
