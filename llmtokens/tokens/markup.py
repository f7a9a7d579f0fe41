"""HTML that was left in texts: told, with what takes it out; texts stay as they are."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from html.entities import html5
from typing import NamedTuple, Self

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
_PACKAGE = __name__.partition(".")[0]


class Markup(NamedTuple):
    """HTML in some texts.

    Attributes
    ----------
    found, texts : int
        How many texts hold tags or entities, and how many there are that are not empty.
    example : str
        How the first begins.

    Examples
    --------
    >>> Markup.of(["I <3 a < b", "AT&T", "a <b>mug</b>", "<Untitled>", ""])
    Markup(found=1, texts=4, example='</b>')
    """

    found: int
    texts: int
    example: str

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """What there is in them."""
        starts = [(at, text) for text in texts if (at := _first(text)) is not None]
        example = next((text[at : at + _SHOWN] for at, text in starts), "")
        return cls(len(starts), sum(map(bool, texts)), example)

    @classmethod
    def together(cls, parts: Iterable[Self]) -> Self:
        """That of several parts of one column."""
        some = list(parts)
        example = next((part.example for part in some if part.found), "")
        return cls(sum(part.found for part in some), sum(part.texts for part in some), example)

    def warn(self, column: str) -> None:
        """Say it of a column, to whoever called the package.

        Warns
        -----
        LLMTokensWarning
            Where there is any.
        """
        name = f"frame[{column!r}]"
        made = f"{name} = {name}.map(lambda x: {_PLAIN}, na_action='ignore')"
        self._warn(f"column {column!r}", f"{self.found} of {self.texts} texts", made)

    def warn_of_content(self) -> None:
        """Say it of a text that somebody was told in."""
        self._warn("content", "the text", f"content = {_PLAIN.replace('(x)', '(content)')}")

    def _warn(self, what: str, where: str, remedy: str) -> None:
        if self.found:
            warnings.warn(
                f"{what}: found HTML in {where}, such as {self.example!r}, and tags and entities "
                f"are read like words; expected plain text: {remedy} makes it, with Python's own "
                "html and re",
                LLMTokensWarning,
                stacklevel=_outside(),
            )


def _outside() -> int:
    """The level of the first call from outside the package, for a warning of who asks for it."""
    level, frame = 0, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    return level + 1


def _first(text: str) -> int | None:
    """Where the first tag or entity stands."""
    if "<" in text or "&" in text:
        for match in _MARKUP.finditer(text):
            name = match["entity"]
            if name is None or name[0] == "#" or f"{name};" in html5:
                return match.start()
    return None
