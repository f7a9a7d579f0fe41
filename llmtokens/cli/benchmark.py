"""``llmtokens benchmark``: algorithms beside each other on the same folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def benchmark(
    data: Annotated[
        str | None,
        typer.Option(help="MovieLens folder or name, or a table of ratings. Default: generated."),
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="Table of items, where --data is a table of ratings.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="warm, cold-item, cold-user, few-shot-item, few-shot-user, time, ..."),
    ] = None,
    algo: Annotated[
        list[str] | None, typer.Option(help="Class name, such as SVD or LLMTokensSVD.")
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help='Template such as "{title}. Genres: {genres}".')
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="hashing, a folder or a hub name. Default: all-MiniLM-L6-v2."),
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Saved tokens, instead of encoding the items.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2)] = 5,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    seed: Annotated[int, typer.Option(help="Of folds and algorithms.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Keep results here, and resume from them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a report: report.html, with .md and .csv beside.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare algorithms on the same folds, for known and for cold items.

    Every algorithm of this library comes with its control, the same with shuffled tokens. Options
    that name several things are repeated.

    Example: llmtokens benchmark --data ml-latest-small/ --split warm --split cold-user
    """
    from ..compare import compare
    from ..tokens import LLMTokens
    from . import sources

    ratings = sources.open_data(data, items)
    if tokens is not None:
        table = LLMTokens.load(tokens)
    else:
        table = sources.make_tokens(ratings.items, text or (), sources.open_encoder(encoder, data))
    if not json:
        typer.echo(f"{ratings}\n{table}\n")
    found = compare(
        sources.make_algorithms(algo or (), table, seed),
        ratings,
        sources.make_splits(split or (), folds, seed),
        n_jobs=jobs,
        folder=folder,
        keep_predictions=out is not None,
        progress=not json,
    )
    if json:
        typer.echo(found.table.to_json(orient="records"))
    else:
        typer.echo(str(found))
    if out is not None:
        from ..report import report

        written = report(found, out, table, title=f"Benchmark on {ratings.name}")
        typer.echo(f"\n{written}", err=True)
    if found.failures():
        raise typer.Exit(2)
