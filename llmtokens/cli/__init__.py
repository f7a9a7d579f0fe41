"""The command line: parse, call, print."""

from __future__ import annotations

import sys
import warnings

import typer

from ..errors import LLMTokensError, LLMTokensWarning
from .commands import ask, benchmark, embed, explain, fit, predict, recommend
from .output import plain

app = typer.Typer(
    name="llmtokens",
    help="The text of items and users inside scikit-surprise's matrix factorisation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_state = {"debug": False}


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    _state["debug"] = debug


for command in (embed, fit, predict, recommend, ask, explain, benchmark):
    app.command()(command)


_format = warnings.formatwarning


def _in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    ours = issubclass(category, LLMTokensWarning)
    return (
        f"llmtokens: {plain(str(message))}\n"
        if ours
        else _format(message, category, filename, lineno, line)
    )


def main() -> None:
    """Run the command line; errors and warnings are one line on stderr, an error is status 1."""
    warnings.formatwarning = _in_one_line
    arguments = sorted(sys.argv[1:], key=lambda word: word != "--debug")  # wherever it stands
    try:
        app(arguments)
    except (LLMTokensError, OSError) as error:
        if _state["debug"]:
            raise
        print(f"llmtokens: {plain(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(1)
