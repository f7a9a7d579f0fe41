"""HTML that was left in texts: told, with what takes it out; texts stay as they are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from html.entities import html5

from ..errors import LLMTokensWarning

# Elements that form text; other words in angle brackets, as <Untitled>, are words.
_PAIRED = "a|b|i|s|u|em|strong|small|big|sub|sup|del|ins|font|center|span|pre|code|cite|blockquote"
_BLOCKS = "p|div|ul|ol|li|dl|dt|dd|table|tbody|thead|tr|td|th|h[1-6]|section|script|style"
_ALONE = "br|hr|img|wbr"
_MARKUP = re.compile(
    rf"</(?:{_PAIRED}|{_BLOCKS})\s*>|<(?:{_BLOCKS}|{_ALONE})(?:\s[^<>]*)?/?>"
    rf"|<(?:{_PAIRED})\s[^<>]*=[\"']|<!--|&(?P<entity>#\d+|#x[0-9a-f]+|[a-z][a-z0-9]*);",
    re.IGNORECASE,
)
_SHOWN = 40
_PLAIN = r"""re.sub(r"</?[A-Za-z!][^<>]*>", " ", html.unescape(x))"""


def warn_of_markup(column: str, texts: Sequence[str], stacklevel: int) -> None:
    """Say how many texts of a column hold tags or entities of HTML.

    Warns
    -----
    LLMTokensWarning
        Where there are any.

    Examples
    --------
    >>> warn_of_markup("title", ["I <3 a < b", "AT&T", "Tom & Jerry", "<Untitled>"], stacklevel=2)
    """
    found = [(at, text) for text in texts if (at := _first(text)) is not None]
    if found:
        at, text = found[0]
        name = f"frame[{column!r}]"
        warnings.warn(
            f"column {column!r}: found HTML in {len(found)} of {sum(map(bool, texts))} texts, such "
            f"as {text[at : at + _SHOWN]!r}, and tags and entities are read like words; expected "
            f"plain text: {name} = {name}.map(lambda x: {_PLAIN}, na_action='ignore') makes it, "
            "with Python's own html and re",
            LLMTokensWarning,
            stacklevel=stacklevel,
        )


def _first(text: str) -> int | None:
    """Where the first tag or entity stands."""
    if "<" in text or "&" in text:
        for match in _MARKUP.finditer(text):
            name = match["entity"]
            if name is None or name[0] == "#" or f"{name};" in html5:
                return match.start()
    return None
