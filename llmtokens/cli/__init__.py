"""The command line: parse, call, print."""

from __future__ import annotations

import atexit
import gc
import sys
import warnings

import typer

from .. import __version__
from ..errors import LLMTokensError, LLMTokensWarning
from .commands import ask, benchmark, embed, explain, fit, predict, recommend, serve, similar
from .output import plain
from .portraits import describe, portrait

app = typer.Typer(
    name="llmtokens",
    help="The text of items and users inside scikit-surprise's matrix factorisation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_state = {"debug": False}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"llmtokens {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_print_version
    ),
) -> None:
    _state["debug"] = debug


for command in (
    embed, describe, fit, predict, recommend, ask, similar, explain, portrait, serve, benchmark,
):  # fmt: skip
    app.command()(command)


# What the library says of its parameters, in the words of the command line
_OPTIONS = (
    ("Reader(rating_scale=(low, high))", "--scale low,high"),
    ("rating_scale=(lowest, highest)", "--scale lowest,highest"),
    ("rating_scale", "--scale"),
    ("missing_rating=", "--missing-rating "),
    ("duplicates='last', 'first' or 'mean'", "--duplicates last, first or mean"),
    ("header=[...]", "--header name,name,..."),
    ("header=False", "--header no"),
    ("header=", "--header "),
    ("pass encoding=,", "pass --encoding,"),
    ("encoding=", "--encoding "),
    ("sep=", "--sep "),
    ("separator=", "--separator "),
    (
        "with user, item, rating, timestamp or event",
        "with --user, --item, --rating, --timestamp or --event",
    ),
    (" (a table of items alone: load_items(path, item=...))", ""),
    ("LLMTokensEASE(implicit=True)", "--implicit"),
    ("exclude_seen=", "--exclude-seen "),
    ("expected True, False", "expected yes, no"),
    ("on data from load_events", "with --event"),
    ("Read it with pandas and pass the DataFrame", "Save it as CSV"),
)


def _in_options(message: str) -> str:
    for words, option in _OPTIONS:
        message = message.replace(words, option)
    return " ".join(message.split())


_format = warnings.formatwarning


def _in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    if issubclass(category, LLMTokensWarning):
        return f"llmtokens: {plain(_in_options(str(message)))}\n"
    return _format(message, category, filename, lineno, line)


def main() -> None:
    """Run the command line; errors and warnings are one line on stderr, an error is status 1."""
    warnings.formatwarning = _in_one_line
    gc.set_threshold(100_000)  # to look for cycles among what imports make is a tenth of a start
    atexit.register(gc.freeze)  # and so it is of an end, among what is no longer needed
    arguments = sorted(sys.argv[1:], key=lambda word: word != "--debug")  # wherever it stands
    try:
        app(arguments)
    except (LLMTokensError, OSError) as error:
        if _state["debug"]:
            raise
        print(f"llmtokens: {plain(_in_options(str(error)))}", file=sys.stderr)
        sys.exit(1)
