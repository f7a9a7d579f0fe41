"""Results for people (tables) and for programs (JSON)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd


def show(found: pd.DataFrame | list[dict[str, Any]] | dict[str, Any], as_json: bool) -> None:
    """Print a frame, rows, or one record."""
    rows: Any = found if isinstance(found, (dict, list)) else found.to_dict("records")
    if as_json:
        typer.echo(json.dumps(rows, default=_plain, ensure_ascii=False))
    elif isinstance(rows, dict):
        width = max(map(len, rows)) + 2
        for key, value in rows.items():
            typer.echo(f"{key:<{width}}{_cell(value)}")
    else:
        Console(highlight=False, markup=False).print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items() if rows else ():
        table.add_column(name, justify="right" if isinstance(value, float) else "left")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Numpy's scalars as Python's; any other id as it reads."""
    return value.item() if hasattr(value, "item") else str(value)
