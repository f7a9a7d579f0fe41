"""What a model and its tokens say, in words: ``llmtokens portrait`` and ``llmtokens describe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, FileFormatError
from .commands import Json, Model, User
from .output import echo, show

if TYPE_CHECKING:
    from ..tokens import LLMTokens

Ends = Annotated[int, typer.Option("-n", min=1, help="Lines of each kind, and of each end.")]


def portrait(model: Model, user: User, n: Ends = 5, json: Json = False) -> None:
    """What a user likes more, and less, than others do: labels, words and items.

    Liking is on the scale of ratings, chance how far from 0 it would be were taste nothing but
    chance.

    Example: llmtokens portrait model.safetensors 1
    """
    from .fitted import open_model

    algo = open_model(model)
    found = algo.portrait(algo.users_.as_known(user), n)
    if json:
        show(found, True)
        return
    echo(f"What user {user} likes more, and less, than others do, by {type(algo).__name__}")
    if found.empty:
        echo("Nothing: to this model content says nothing about this user.")
        return
    found = found.dropna(axis="columns", how="all")  # algorithms without a posterior have no std
    for kind, lines in found.groupby("kind", sort=False):
        for sign, heading in ((1, "more"), (-1, "less")):
            some = lines[sign * lines["liking"] > 0].drop(columns="kind")
            if len(some):
                show(some, False, f"{kind}: liked {heading} than by others")


def describe(
    tokens: Annotated[
        Path, typer.Argument(help="Tokens, as `llmtokens embed` writes them, or a fitted model.")
    ],
    dims: Annotated[int, typer.Option(min=1, help="How many leading entries.")] = 5,
    n: Annotated[int, typer.Option("-n", min=1, help="Words and items of each end.")] = 5,
    json: Json = False,
) -> None:
    """What the leading entries of tokens stand for: shares of text and columns, words, items.

    Example: llmtokens describe items.safetensors --dims 3
    """
    found = _tokens(tokens).describe(dims, n)
    if json:
        show(found, True)
        return
    for dim, ends in found.groupby("dim"):
        first: Any = ends.iloc[0]
        shares = [
            f"{name.removesuffix(' share')} {first[name]:.0%}"
            for name in found.columns
            if name.endswith(" share") and first[name] >= 0.005
        ]
        heading = f"Entry {dim}, {first['variance']:.1%} of all variance: {', '.join(shares)}"
        rows = [
            {"end": end["end"], "words": ", ".join(end["words"]), "items": "; ".join(end["items"])}
            for end in ends.to_dict("records")
        ]
        show(rows, False, heading)


def _tokens(path: Path) -> LLMTokens:
    """Tokens from their own file, or those of the items of a fitted model."""
    from ..tokens import LLMTokens

    try:
        return LLMTokens.load(path)
    except FileFormatError as error:
        from .fitted import open_model

        try:
            algo = open_model(path)
        except FileFormatError:
            raise error from None
    if algo.model_.item_tokens is None:
        raise DataError(f"found a {type(algo).__name__} without item tokens; expected one that has")
    return algo.model_.item_tokens
