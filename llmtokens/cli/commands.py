"""The commands: from a CSV to answers, and to a benchmark."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DataError
from .output import echo, show

# Options and arguments that several commands have.
UserColumn = Annotated[str, typer.Option(help="Column of users.")]
ItemColumn = Annotated[str, typer.Option(help="Column of items.")]
RatingColumn = Annotated[str, typer.Option(help="Column of ratings.")]
TimeColumn = Annotated[str, typer.Option(help="Column of times, which may be missing.")]
Categorical = Annotated[
    list[str] | None,
    typer.Option(
        help="Column of labels; may be repeated. Default: genres, if there; none for none."
    ),
]
Numeric = Annotated[
    list[str] | None,
    typer.Option(
        help="Column of numbers; may be repeated. Default: year, if there; none for none."
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        help='What stands between the labels of a cell, such as ", "; "" where it is one label. '
        "Default: found, column by column."
    ),
]
Implicit = Annotated[
    bool, typer.Option("--implicit", help="Do not read ratings: each pair is a 1.")
]
Sep = Annotated[
    str | None,
    typer.Option(help="What stands between cells, such as ; or tab. Default: found from the file."),
]
Encoding = Annotated[
    str | None, typer.Option(help="Of the text, such as cp1251. Default: found from the file.")
]
Header = Annotated[
    str | None,
    typer.Option(
        help="yes, no, or the names of the columns with commas between. Default: found from the "
        "file."
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(help="Lowest and highest rating, such as 1,5. Default: the range there is."),
]
MissingRating = Annotated[
    list[str] | None,
    typer.Option(help='What stands for "not rated", such as -1; may be repeated.'),
]
Duplicates = Annotated[
    str, typer.Option(help="Of pairs rated again: keep, first, last, mean or error.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EncoderName = Annotated[
    str | None,
    typer.Option(help="hashing, a folder or a hub name. Default: all-MiniLM-L6-v2."),
]
Model = Annotated[Path, typer.Argument(help="A fitted model, as `llmtokens fit` writes it.")]
User = Annotated[str, typer.Argument(help="Raw id of a user.")]
Where = Annotated[
    str | None,
    typer.Option(help="Only such items, as \"year < 1990 and 'Comedy' in genres\"."),
]
Diversity = Annotated[float, typer.Option(min=0, max=1, help="0: none, 1: most.")]
Number = Annotated[int, typer.Option("-n", min=1, help="Length of the list.")]


def embed(
    items: Annotated[
        str, typer.Argument(help="Table of items or users (CSV, Parquet) or MovieLens folder.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the tokens.")],
    item: Annotated[str, typer.Option("--id", "--item", help="Column of raw ids.")] = "item",
    text: Annotated[
        list[str] | None,
        typer.Option(
            help='Template such as "{title}. {plot}"; may be repeated. Default: title with '
            "description or genres, or profile, as there are."
        ),
    ] = None,
    categorical: Categorical = None,
    numeric: Numeric = None,
    separator: Separator = None,
    encoder: EncoderName = None,
    precision: Annotated[
        str | None,
        typer.Option(help="int8: whole numbers, at half the cost of a text, and of a question."),
    ] = None,
    components: Annotated[int, typer.Option(min=1, help="Longest token.")] = 128,
    like: Annotated[
        Path | None,
        typer.Option(help="Tokens of the items, for users: theirs in the space of these."),
    ] = None,
    sep: Sep = None,
    encoding: Encoding = None,
    header: Header = None,
    json: Json = False,
) -> None:
    """Encode the text of items, or of users, and write their tokens.

    Example: llmtokens embed movies.csv --id movieId --text "{title}" -o tokens.safetensors
    """
    from ..storage.files import require_place
    from ..tokens import LLMTokens
    from . import sources

    require_place(out)
    frame = sources.open_items(items, item, sources.form(sep, encoding, header))
    tokens = sources.make_tokens(
        frame,
        text or (),
        sources.open_encoder(encoder, items, precision) if like is None else None,
        categorical=sources.columns(categorical, frame),
        numeric=sources.columns(numeric, frame),
        separator=separator,
        n_components=components,
        like=None if like is None else LLMTokens.load(like),
    )
    tokens.save(out)
    explained = float(tokens.explained_variance_ratio.sum())
    summary = {"ids": len(tokens), "dims": tokens.n_dims, "explained_variance": explained}
    show(summary | {"encoder": tokens.encoder, "file": str(out)}, json)


def fit(
    ratings: Annotated[str, typer.Argument(help="Table of ratings, or MovieLens folder or name.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the model.")],
    tokens: Annotated[Path | None, typer.Option(help="Tokens of the items.")] = None,
    user_tokens: Annotated[
        str | None,
        typer.Option(help="Tokens of the users, or history: made from what each has rated."),
    ] = None,
    algo: Annotated[
        str | None,
        typer.Option(
            help="LLMTokensSVD (default), LLMTokensBPMF, LLMTokensEASE (default with --implicit) "
            "or LLMTokensContent."
        ),
    ] = None,
    user: UserColumn = "user",
    item: ItemColumn = "item",
    rating: RatingColumn = "rating",
    timestamp: TimeColumn = "timestamp",
    event: Annotated[
        str | None,
        typer.Option(help="Column of kinds of events: views, carts, purchases and no ratings."),
    ] = None,
    event_weight: Annotated[
        list[str] | None,
        typer.Option(
            help="What a kind counts for, such as buy=5; may be repeated. Default: learned."
        ),
    ] = None,
    times: Annotated[
        bool, typer.Option("--times", help="Let the algorithm make something of the times.")
    ] = False,
    implicit: Implicit = False,
    scale: Scale = None,
    missing_rating: MissingRating = None,
    duplicates: Duplicates = "keep",
    sep: Sep = None,
    encoding: Encoding = None,
    header: Header = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Parameter of the algorithm, such as n_factors=50.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit an algorithm to ratings and write the model.

    LLMTokensSVD and LLMTokensBPMF are made to predict ratings; for lists (recommend, ask) take
    --algo LLMTokensEASE, which also puts what many choose before what few rated high.

    Example: llmtokens fit ratings.csv --tokens tokens.safetensors -o model.safetensors

    Events: llmtokens fit events.csv --event event --event-weight view=1 --event-weight buy=5
    --times -o model.safetensors
    """
    from ..runtime.progress import progress
    from ..storage.files import require_place
    from ..tokens import LLMTokens
    from . import sources

    require_place(out)
    parameters: dict[str, Any] = dict(map(_parameter, param or ()))
    algo = algo or ("LLMTokensEASE" if implicit or event else "LLMTokensSVD")
    fitted = sources.make_algorithm(algo, parameters, implicit)
    if tokens is None and algo == "LLMTokensContent":
        raise DataError("found no --tokens; LLMTokensContent needs what llmtokens embed writes")
    fitted.item_tokens = None if tokens is None else LLMTokens.load(tokens)
    if user_tokens is not None:
        made = user_tokens == "history"
        fitted.user_tokens = user_tokens if made else LLMTokens.load(user_tokens)
    reading: dict[str, Any] = {
        "user": user,
        "item": item,
        "timestamp": timestamp,
        **sources.form(sep, encoding, header),
    }
    if event is not None:
        weights = dict(map(sources.event_weight, event_weight or ()))
        data = sources.open_events(ratings, event, weights, reading)
    elif event_weight:
        raise DataError("found --event-weight without --event; name the column of kinds with it")
    else:
        reading |= {
            "rating": rating,
            "rating_scale": sources.scale(scale),
            "missing_rating": missing_rating or None,
            "duplicates": duplicates,
        }
        data = sources.open_data(ratings, None, implicit, reading)
    if times or "half_life" in parameters:
        fitted.timestamps = data.ratings
    with progress(f"fit {algo}", shown=not json):
        fitted.fit(data.dataset.build_full_trainset())
    fitted.save(out)
    counts = {"ratings": len(data.ratings), "users": len(data.users), "items": len(data.items)}
    low, high = data.rating_scale
    show({"algorithm": algo, **counts, "scale": f"{low:g} to {high:g}", "file": str(out)}, json)


def predict(
    model: Model,
    user: User,
    items: Annotated[list[str], typer.Argument(help="Raw ids of items.")],
    json: Json = False,
) -> None:
    """Predict a user's ratings of some items.

    Example: llmtokens predict model.safetensors 1 318 296
    """
    from ..recommend.ranking import labels
    from .fitted import open_model, raw_id

    algo = open_model(model)
    uid = raw_id(algo.users_, user)
    iids = [raw_id(algo.items_, item) for item in items]
    names = labels(algo.model_, iids)
    rows = []
    for k, iid in enumerate(iids):
        found = algo.predict(uid, iid)
        named = {} if names is None else {"label": names[k]}
        rows.append(
            {"user": found.uid, "item": found.iid, **named, "est": found.est, **found.details}
        )
    show(rows, json, f"Ratings that user {uid} would give")


def recommend(
    model: Model,
    user: Annotated[
        list[str] | None, typer.Argument(help="Raw ids of users; none with --about.")
    ] = None,
    n: Number = 10,
    about: Annotated[
        str | None, typer.Option(help="What the user says of themselves, in words.")
    ] = None,
    where: Where = None,
    diversity: Diversity = 0.0,
    popularity_penalty: Annotated[float, typer.Option(help="Above 0: less of the known.")] = 0.0,
    exclude_seen: Annotated[
        str,
        typer.Option(
            help="Of what the user has had to do with, leave out: yes (all), no (nothing: people "
            "choose again), or kinds of events with commas between, such as buy."
        ),
    ] = "yes",
    json: Json = False,
) -> None:
    """The best items for users, known or not; best asked of a model of LLMTokensEASE.

    With --about, of a model with --user-tokens, also for somebody who has not rated anything.

    Example: llmtokens recommend model.safetensors 1 -n 5 --where "year < 1990"
    """
    from .fitted import open_model, raw_id, seen

    algo = open_model(model)
    uids = [raw_id(algo.users_, each) for each in user or ()]
    found = algo.recommend(
        uids if len(uids) > 1 else next(iter(uids), None),
        n,
        exclude_seen=seen(exclude_seen),
        diversity=diversity,
        popularity_penalty=popularity_penalty,
        where=where,
        content=about,
    )
    whom = f"user {', '.join(map(str, uids))}" if uids else f"somebody who says: {about}"
    show(found, json, f"For {whom}, by {type(algo).__name__}")
    if not json and type(algo).__name__ in ("LLMTokensSVD", "LLMTokensBPMF"):
        echo(
            f"\n{type(algo).__name__} is made to predict ratings; for lists, fit --algo "
            "LLMTokensEASE.",
            err=True,
        )


def ask(
    model: Model,
    text: Annotated[list[str], typer.Argument(help="What you are looking for, in words.")],
    n: Number = 10,
    user: Annotated[str | None, typer.Option(help="Whose taste counts as well.")] = None,
    weight: Annotated[float, typer.Option(min=0, max=1, help="How far taste reaches.")] = 0.75,
    where: Where = None,
    diversity: Diversity = 0.0,
    json: Json = False,
) -> None:
    """Items that fit a description in words; several descriptions, each in quotes, are answered
    one after the other.

    Example: llmtokens ask model.safetensors "a quiet film about loneliness in space" --user 1
    """
    from .fitted import open_model, raw_id

    algo = open_model(model)
    uid = None if user is None else raw_id(algo.users_, user)
    asked: str | list[str] = text if len(text) > 1 else text[0]
    found = algo.ask(asked, n, uid, weight, where=where, diversity=diversity)
    show(found, json, f"Nearest to: {'; '.join(text)}")


def similar(
    model: Model,
    id: Annotated[str, typer.Argument(help="Raw id of an item, or with --users of a user.")],
    n: Number = 10,
    by: Annotated[
        str | None,
        typer.Option(help="text or ratings. Default: of items text, of users ratings."),
    ] = None,
    users: Annotated[bool, typer.Option("--users", help="Users, not items.")] = False,
    json: Json = False,
) -> None:
    """The items most like an item, or the users most like a user.

    Example: llmtokens similar model.safetensors 318 --by ratings
    """
    from .fitted import open_model

    algo = open_model(model)
    if users:
        found = algo.similar_users(algo.users_.as_known(id), n, by or "ratings")
    else:
        found = algo.similar_items(algo.items_.as_known(id), n, by or "text")
    show(found, json, f"Most like {'user' if users else 'item'} {id}")


def explain(
    model: Model,
    user: User,
    item: Annotated[str, typer.Argument(help="Raw id of an item.")],
    n: Number = 5,
    json: Json = False,
) -> None:
    """Why a prediction is what it is.

    Example: llmtokens explain model.safetensors 1 318
    """
    from .fitted import open_model, raw_id

    algo = open_model(model)
    uid, iid = raw_id(algo.users_, user), raw_id(algo.items_, item)
    found = algo.explain(uid, iid, n)
    if json:
        rated = found.rated.to_dict("records")
        nearest = found.nearest.to_dict("records")
        parts = {"est": found.est, "terms": found.terms, "basis": found.basis}
        show({**parts, "rated": rated, "nearest": nearest, "sentence": found.sentence}, True)
        return
    echo(found.sentence + "\n")
    show(dict(found.terms), False)
    for heading, frame in (("Rated by the user", found.rated.head(n)), ("Alike", found.nearest)):
        if len(frame):
            show(frame, False, heading)


def serve(
    model: Model,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but the loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LLMTOKENS_TOKEN",
            show_envvar=True,
            help="What every request must carry as a bearer token; in the environment it is not "
            "seen by others.",
        ),
    ] = None,
) -> None:
    """Serve a fitted model over HTTP, with a page to try it on.

    Feedback is kept in <model>.feedback.jsonl, and learned again from there at the next start.

    Example: llmtokens serve model.safetensors
    """
    from ..serve.run import serve

    serve(model, host, port, token=token)


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
    scale: Scale = None,
    missing_rating: MissingRating = None,
    duplicates: Duplicates = "keep",
    sep: Sep = None,
    encoding: Encoding = None,
    header: Header = None,
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
            "SVDpp, KNNBaseline; the controls UserMean, Popularity and StructureRidge."
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help="rmse, mae, mse, fcp; of liked or not: liked-accuracy, liked-precision, "
            "liked-recall, liked-f1, liked-auc, or all five: liked; of the ranked catalogue, with "
            "a length such as @10: ndcg, recall, precision, f1, hit-rate, map, mrr, auc, coverage, "
            "gini, novelty, diversity."
        ),
    ] = None,
    relevant: Annotated[
        float | None,
        typer.Option(help="The least rating of a relevant item. Default: 4 of 5, 8 of 10."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="What the others are compared with. Default: the first algorithm."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help='Template such as "{title}. Genres: {genres}".')
    ] = None,
    categorical: Categorical = None,
    numeric: Numeric = None,
    separator: Separator = None,
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
    StructureRidge knows genres and year, or the columns of --categorical and --numeric, and no
    text. Options that name several things are
    repeated. Exit status: 3 if a trial failed (the others are in the tables), 2 for an option that
    does not exist, 1 for any other error.

    Example: llmtokens benchmark --data ml-latest-small/ --split warm --split cold-user
    """
    import pandas as pd

    from ..compare import compare
    from ..curves import learning_curve
    from ..report.write import report, require_page
    from ..tokens import LLMTokens
    from . import choices, sources

    splits, sides = choices.make_splits(split or (), folds, seed), choices.sides(curve or ())
    names = choices.known("algo", algo or (), choices.ALGORITHMS)
    if out is not None:
        require_page(out)
    reading: dict[str, Any] = {
        "user": user,
        "item": item,
        "rating": rating,
        "timestamp": timestamp,
        "rating_scale": sources.scale(scale),
        "missing_rating": missing_rating or None,
        "duplicates": duplicates,
        **sources.form(sep, encoding, header),
    }
    ratings = sources.open_data(data, items, implicit, reading)
    structure = sources.structure(
        ratings.items,
        sources.columns(categorical, ratings.items),
        sources.columns(numeric, ratings.items),
    )
    names = choices.algorithm_names(names, structure, implicit)
    asked = choices.measure_names(measure or (), ratings)
    numbers = {by: choices.numbers(ratings, by, folds) for by in sides}
    table = None
    if tokens is not None:
        table = LLMTokens.load(tokens)
    elif text or choices.needs_tokens(asked) or not choices.OURS.keys().isdisjoint(names):
        table = sources.make_tokens(
            ratings.items,
            text or (),
            sources.open_encoder(encoder, data),
            categorical=structure[0],
            numeric=structure[1],
            separator=separator,
        )
    wordless = None
    if choices.STRUCTURE in names:
        wordless = LLMTokens.from_frame(
            ratings.items,
            categorical=structure[0],
            numeric=structure[1],
            separator=separator,
            id="item",
        )
    if not json:
        echo("\n".join(str(shown) for shown in (ratings, table) if shown is not None) + "\n")
        if not set(asked) <= set(choices.ACCURACY):
            echo(f"Relevant: rated {choices.least_liked(ratings, relevant):g} or more\n")
    algorithms = choices.make_algorithms(names, table, wordless, seed, implicit)
    if reference is not None:
        choices.known("reference", [reference], algorithms)
    measures = choices.make_measures(asked, ratings, relevant, table)
    first = choices.first_error(measures)
    how: dict[str, Any] = {"n_jobs": jobs, "folder": folder, "progress": not json}
    how["reference"] = reference
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
        echo("\n\n".join(map(str, [found, *curves])))
    if out is not None:
        title = f"Benchmark on {ratings.name}"
        least = choices.least_liked(ratings, relevant)
        written = report(found, out, table, title=title, curves=curves, relevant=least)
        echo(f"\n{written}", err=True)
    if any(part.failures() for part in everything):
        raise typer.Exit(3)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise DataError(f"found --param {text}; expected name=value, such as n_factors=50")
    try:
        return name, json_module.loads(value)
    except ValueError:
        return name, value
