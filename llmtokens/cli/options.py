"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

UserColumn = Annotated[str, typer.Option(help="Column of users.")]
ItemColumn = Annotated[str, typer.Option(help="Column of items.")]
RatingColumn = Annotated[str, typer.Option(help="Column of ratings.")]
TimeColumn = Annotated[str, typer.Option(help="Column of times, which may be missing.")]
Implicit = Annotated[
    bool, typer.Option("--implicit", help="Do not read ratings: each pair is a 1.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EncoderName = Annotated[
    str | None,
    typer.Option(help="hashing, a folder or a hub name. Default: all-MiniLM-L6-v2."),
]
