"""``llmtokens benchmark``: algorithms beside each other on the same folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    curve: Annotated[
        list[str] | None,
        typer.Option(help="item or user: also errors by its number of training ratings, 0 to 50."),
    ] = None,
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
    import pandas as pd

    from ..compare import compare
    from ..curves import learning_curve
    from ..tokens import LLMTokens
    from . import sources

    splits, sides = sources.make_splits(split or (), folds, seed), sources.sides(curve or ())
    ratings = sources.open_data(data, items)
    if tokens is not None:
        table = LLMTokens.load(tokens)
    else:
        table = sources.make_tokens(ratings.items, text or (), sources.open_encoder(encoder, data))
    if not json:
        typer.echo(f"{ratings}\n{table}\n")
    algorithms = sources.make_algorithms(algo or (), table, seed)
    how: dict[str, Any] = {"n_jobs": jobs, "folder": folder, "progress": not json}
    found = compare(algorithms, ratings, splits, keep_predictions=out is not None, **how)
    curves = [
        learning_curve(algorithms, ratings, by, n_splits=folds, random_state=seed, **how)
        for by in sides
    ]
    everything = [found, *(part.comparison for part in curves)]
    if json:
        whole = pd.concat([part.table for part in everything])
        typer.echo(whole.to_json(orient="records"))
    else:
        typer.echo("\n\n".join(map(str, [found, *curves])))
    if out is not None:
        from ..report import report

        title = f"Benchmark on {ratings.name}"
        written = report(found, out, table, title=title, curves=curves)
        typer.echo(f"\n{written}", err=True)
    if any(part.failures() for part in everything):
        raise typer.Exit(2)
