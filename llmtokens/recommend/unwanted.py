"""What a question says it does not want: "a funny film with ghosts, no horror"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..runtime.arrays import Mask
from .interface import FittedModel
from .similar import least_similar, require_item_tokens, to_texts

_FIRST = re.compile(r"^\s*(?:no|nothing with)\s+(?P<unwanted>[^,;]+)[,;]\s*(?=\S)", re.IGNORECASE)
_LATER = re.compile(
    r"(?:[,;]\s*(?:(?:and|but)\s+)?|\s+but\s+)(?:no|not|without|nothing with|except(?:\s+for)?)"
    r"\s+(?P<unwanted>[^,;]+)",
    re.IGNORECASE,
)  # set off by a comma or a "but": "a man without a past" wants what it says
_OF_ITSELF = re.compile(
    r"^(?P<wanted>(?:(?!\b(?:about|of|with|in|on|where|when|whose|who|whom)\b)[^,;])*?)"
    r"\s+(?:that|which)(?:\s+(?:is|are)|['\u2019]s)(?:\s+not|n['\u2019]t)"
    r"\s+(?P<unwanted>[^,;]+)",
    re.IGNORECASE,
)  # of the thing itself, not of what it is about: "the story of a love that is not returned"
_JOINS = re.compile(r"\s+(?:or|and|nor)\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|any|the|too)\s+", re.IGNORECASE)


class Said(NamedTuple):
    """What a text wants, and what it does not."""

    wanted: str
    unwanted: list[str]


def said_in(text: str) -> Said:
    """Tell both apart; a text that wants nothing is one that wants all that it says.

    >>> said_in("No horror, a funny film with ghosts")
    Said(wanted='a funny film with ghosts', unwanted=['horror'])
    >>> said_in("wars, but without the blood or any heroes")
    Said(wanted='wars', unwanted=['blood', 'heroes'])
    >>> said_in("a musical that is not a cartoon")
    Said(wanted='a musical', unwanted=['cartoon'])
    >>> said_in("a man without a past").unwanted
    []
    """
    if not isinstance(text, str):
        return Said(text, [])
    found, wanted = list[str](), text
    for pattern, kept in ((_FIRST, ""), (_OF_ITSELF, r"\g<wanted>"), (_LATER, "")):
        found += [clause["unwanted"] for clause in pattern.finditer(wanted)]
        wanted = pattern.sub(kept, wanted)
    wanted = wanted.strip()
    if not found or not wanted:
        return Said(text, [])
    unwanted = [_ARTICLE.sub("", part.strip()) for each in found for part in _JOINS.split(each)]
    return Said(wanted, [part for part in unwanted if part])


def left_out(model: FittedModel, unwanted: Sequence[str]) -> Mask:
    """The item rows that one of these texts speaks of, shape (n_item_rows,).

    By the label, where a column of labels has it; else those whose text is similar to it.
    """
    out, others = np.zeros(model.items.n_rows, bool), []
    for text in unwanted:
        labelled = _labelled(model, text)
        if labelled is None:
            others.append(text)
        else:
            out |= labelled
    if others:
        near = to_texts(model, others)
        bounds = least_similar(near[:, ~np.isnan(near).any(axis=0)])
        out |= (near >= bounds[:, None]).any(axis=0)
    return out


def _labelled(model: FittedModel, text: str) -> Mask | None:
    """The item rows with this label; None where no item has it."""
    asked, rows = text.casefold(), model.text_rows
    for column in (require_item_tokens(model).columns or {}).values():
        having = np.array(
            [
                isinstance(labels, (list, tuple))
                and any(str(label).casefold() == asked for label in labels)
                for labels in column
            ]
        )
        if having.any():
            return (rows >= 0) & having[rows]
    return None
