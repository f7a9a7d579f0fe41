"""``embed``, ``fit``, ``predict``, ``recommend``, ``ask``, ``explain``: from a CSV to answers."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DataError
from .options import (
    EncoderName,
    Implicit,
    ItemColumn,
    Json,
    RatingColumn,
    TimeColumn,
    UserColumn,
)
from .output import show

Model = Annotated[Path, typer.Argument(help="A fitted model, as `llmtokens fit` writes it.")]
User = Annotated[str, typer.Argument(help="Raw id of a user.")]
Number = Annotated[int, typer.Option("-n", min=1, help="Length of the list.")]


def embed(
    items: Annotated[
        str, typer.Argument(help="Table of items (CSV, Parquet) or MovieLens folder.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the tokens.")],
    item: Annotated[str, typer.Option("--id", "--item", help="Column of raw ids.")] = "item",
    text: Annotated[
        list[str] | None,
        typer.Option(
            help='Template such as "{title}. {plot}"; may be repeated. Default: title with '
            "description or genres, as there are."
        ),
    ] = None,
    categorical: Annotated[
        list[str] | None,
        typer.Option(help='Column of labels, "|" between them. Default: genres, if there.'),
    ] = None,
    numeric: Annotated[
        list[str] | None, typer.Option(help="Column of numbers. Default: year, if there.")
    ] = None,
    encoder: EncoderName = None,
    components: Annotated[int, typer.Option(min=1, help="Longest token.")] = 128,
    json: Json = False,
) -> None:
    """Encode the text of items and write their tokens.

    Example: llmtokens embed movies.csv --id movieId --text "{title}" -o tokens.safetensors
    """
    from ..storage.files import require_place
    from . import sources

    require_place(out)
    frame = sources.open_items(items, item)
    tokens = sources.make_tokens(
        frame,
        text or (),
        sources.open_encoder(encoder, items),
        categorical=categorical,
        numeric=numeric,
        n_components=components,
    )
    tokens.save(out)
    explained = float(tokens.explained_variance_ratio.sum())
    summary = {"ids": len(tokens), "dims": tokens.n_dims, "explained_variance": explained}
    show(summary | {"encoder": tokens.encoder, "file": str(out)}, json)


def fit(
    ratings: Annotated[str, typer.Argument(help="Table of ratings, or MovieLens folder or name.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the model.")],
    tokens: Annotated[Path | None, typer.Option(help="Tokens of the items.")] = None,
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
    implicit: Implicit = False,
    param: Annotated[
        list[str] | None, typer.Option(help="Parameter of the algorithm, such as n_factors=50.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit an algorithm to ratings and write the model.

    Example: llmtokens fit ratings.csv --tokens tokens.safetensors -o model.safetensors
    """
    from ..storage.files import require_place
    from ..tokens import LLMTokens
    from . import sources

    require_place(out)
    parameters: dict[str, Any] = dict(map(_parameter, param or ()))
    algo = algo or ("LLMTokensEASE" if implicit else "LLMTokensSVD")
    fitted = sources.make_algorithm(algo, parameters, implicit)
    if tokens is None and algo == "LLMTokensContent":
        raise DataError("found no --tokens; LLMTokensContent needs what llmtokens embed writes")
    fitted.item_tokens = None if tokens is None else LLMTokens.load(tokens)
    columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    data = sources.open_data(ratings, None, columns, implicit)
    if "half_life" in parameters:
        fitted.timestamps = data.ratings
    fitted.fit(data.dataset.build_full_trainset())
    fitted.save(out)
    counts = {"ratings": len(data.ratings), "users": len(data.users), "items": len(data.items)}
    show({"algorithm": algo, **counts, "file": str(out)}, json)


def predict(
    model: Model,
    user: User,
    items: Annotated[list[str], typer.Argument(help="Raw ids of items.")],
    json: Json = False,
) -> None:
    """Predict a user's ratings of some items.

    Example: llmtokens predict model.safetensors 1 318 296
    """
    from . import sources

    algo = sources.open_model(model)
    uid = sources.raw_id(algo.users_, user)
    rows = []
    for item in items:
        found = algo.predict(uid, sources.raw_id(algo.items_, item))
        rows.append({"user": found.uid, "item": found.iid, "est": found.est, **found.details})
    show(rows, json)


def recommend(
    model: Model,
    user: User,
    n: Number = 10,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="0: none, 1: most.")] = 0.0,
    popularity_penalty: Annotated[float, typer.Option(help="Above 0: less of the known.")] = 0.0,
    json: Json = False,
) -> None:
    """The best items for a user, known or not.

    Example: llmtokens recommend model.safetensors 1 -n 5 --diversity 0.3
    """
    from . import sources

    algo = sources.open_model(model)
    uid = sources.raw_id(algo.users_, user)
    show(algo.recommend(uid, n, diversity=diversity, popularity_penalty=popularity_penalty), json)


def ask(
    model: Model,
    text: Annotated[str, typer.Argument(help="What you are looking for, in words.")],
    n: Number = 10,
    user: Annotated[str | None, typer.Option(help="Whose taste counts as well.")] = None,
    weight: Annotated[float, typer.Option(min=0, max=1, help="Share of the taste.")] = 0.5,
    json: Json = False,
) -> None:
    """Items that fit a description in words.

    Example: llmtokens ask model.safetensors "a quiet film about loneliness in space" --user 1
    """
    from . import sources

    algo = sources.open_model(model)
    uid = None if user is None else sources.raw_id(algo.users_, user)
    show(algo.ask(text, n, uid, weight), json)


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
    from . import sources

    algo = sources.open_model(model)
    uid, iid = sources.raw_id(algo.users_, user), sources.raw_id(algo.items_, item)
    found = algo.explain(uid, iid, n)
    if json:
        rated = found.rated.to_dict("records")
        nearest = found.nearest.to_dict("records")
        parts = {"est": found.est, "terms": found.terms, "basis": found.basis}
        show({**parts, "rated": rated, "nearest": nearest, "sentence": found.sentence}, True)
        return
    typer.echo(found.sentence)
    show(dict(found.terms), False)
    for frame in (found.rated.head(n), found.nearest):
        if len(frame):
            show(frame, False)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise DataError(f"found --param {text}; expected name=value, such as n_factors=50")
    try:
        return name, json_module.loads(value)
    except ValueError:
        return name, value
