"""``llmtokens benchmark``: algorithms beside each other on the same folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import (
    EncoderName,
    Implicit,
    ItemColumn,
    Json,
    RatingColumn,
    TimeColumn,
    UserColumn,
)


def benchmark(
    data: Annotated[
        str | None,
        typer.Option(help="MovieLens folder or name, or a table of ratings. Default: generated."),
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="Table of items, where --data is a table of ratings.")
    ] = None,
    user: UserColumn = "user",
    item: ItemColumn = "item",
    rating: RatingColumn = "rating",
    timestamp: TimeColumn = "timestamp",
    implicit: Implicit = False,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="warm, cold-item (these by default), cold-user, few-shot-item, few-shot-user, "
            "time or cold-item-time."
        ),
    ] = None,
    algo: Annotated[
        list[str] | None,
        typer.Option(
            help="LLMTokensSVD, LLMTokensBPMF, LLMTokensEASE, LLMTokensContent; BaselineOnly, SVD, "
            "SVDpp, KNNBaseline; the controls UserMean and StructureRidge."
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help="rmse, mae, mse, fcp; or of the ranked catalogue, with a length such as @10: "
            "ndcg, recall, precision, f1, hit-rate, map, mrr; auc."
        ),
    ] = None,
    relevant: Annotated[
        float | None, typer.Option(help="The least rating of a relevant item. Default: 4.")
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help='Template such as "{title}. Genres: {genres}".')
    ] = None,
    encoder: EncoderName = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Saved tokens, instead of encoding the items.")
    ] = None,
    folds: Annotated[int, typer.Option(min=1, help="Of every split; those by time may be 1.")] = 5,
    curve: Annotated[
        list[str] | None,
        typer.Option(help="item or user: the first error by its training ratings too, 0 to 50."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    seed: Annotated[int, typer.Option(help="Of folds and algorithms.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Keep results here, and resume from them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a report: report.html, with .md and .csv beside.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare algorithms on the same folds, for known and for cold items.

    Every algorithm of this library comes with its control, the same with shuffled tokens.
    StructureRidge knows genres and year, and no text. Options that name several things are
    repeated. Exit status: 3 if a trial failed (the others are in the tables), 2 for an option that
    does not exist, 1 for any other error.

    Example: llmtokens benchmark --data ml-latest-small/ --split warm --split cold-user
    """
    import pandas as pd

    from ..compare import compare
    from ..curves import learning_curve
    from ..report.place import require_page
    from ..report.write import report
    from ..tokens import LLMTokens
    from . import choices, sources

    splits, sides = choices.make_splits(split or (), folds, seed), choices.sides(curve or ())
    names = choices.known("algo", algo or (), choices.ALGORITHMS)
    if out is not None:
        require_page(out)
    columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    ratings = sources.open_data(data, items, columns, implicit)
    names = choices.algorithm_names(names, ratings, implicit)
    measures = choices.make_measures(measure or (), ratings, relevant)
    first = choices.first_error(measures)
    numbers = {by: choices.numbers(ratings, by, folds) for by in sides}
    table = None
    if tokens is not None:
        table = LLMTokens.load(tokens)
    elif text or not choices.OURS.keys().isdisjoint(names):
        table = sources.make_tokens(ratings.items, text or (), sources.open_encoder(encoder, data))
    if not json:
        typer.echo("\n".join(str(shown) for shown in (ratings, table) if shown is not None) + "\n")
    algorithms = choices.make_algorithms(names, ratings, table, seed, implicit)
    how: dict[str, Any] = {"n_jobs": jobs, "folder": folder, "progress": not json}
    found = compare(algorithms, ratings, splits, measures, keep_predictions=out is not None, **how)
    curves = [
        learning_curve(
            algorithms, ratings, by, numbers[by], first, n_splits=folds, random_state=seed, **how
        )
        for by in sides
    ]
    everything = [found, *(part.comparison for part in curves)]
    if json:
        whole = pd.concat([part.table for part in everything])
        typer.echo(whole.to_json(orient="records", double_precision=15))
    else:
        typer.echo("\n\n".join(map(str, [found, *curves])))
    if out is not None:
        title = f"Benchmark on {ratings.name}"
        written = report(found, out, table, title=title, curves=curves)
        typer.echo(f"\n{written}", err=True)
    if any(part.failures() for part in everything):
        raise typer.Exit(3)
