"""Several labels in one cell: lists, lists as text, and text with something between the labels.

What stands between labels is found from the whole column. Split at ``", "``, *Action, Crime* and
*Crime, Drama* give labels that also lead a cell, or fill one, elsewhere; *Crosby, Stills & Nash*
and *Dumas, Alexandre* give ends that never do. That is the evidence asked for.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import DataError, LLMTokensWarning, sample

DEFAULT_SEPARATOR = "|"
_SEPARATORS = ("|", ";", ", ", ",", "/")
_EVIDENCE = 0.5  # the share of later labels that also stand first, from which it is a list
_MANY = 0.1  # the share of cells with a separator in them from which a doubt is told
_MISSING = {r"\N", "NULL", "null", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "None"}
_NAMES = ("name", "title", "label", "text", "value")
_APART = re.compile(r"""(['"])\s+(['"])""")
_LISTS = (list, tuple, set, frozenset, np.ndarray)


def labels(cell: Any, separator: str = DEFAULT_SEPARATOR, whole: Collection[str] = ()) -> list[str]:
    r"""The labels in one cell, each once.

    Parameters
    ----------
    cell : str, list, tuple, set, array, dict or scalar
        A list may hold texts or dictionaries, whose "name", "title" or "label" is the label; it may
        also be a text as JSON or Python write it. ``\N``, NULL, NA and the like are missing.
    separator : str
        What stands between labels in a text; "" where a text is one label.
    whole : collection of str
        Texts that are one label although the separator is in them.

    Examples
    --------
    >>> labels("Action|Crime"), labels("Action, Crime", ", "), labels(r"\N")
    (['Action', 'Crime'], ['Action', 'Crime'], [])
    >>> labels("[{'id': 16, 'name': 'Animation'}]"), labels(["Drama", None, "War"])
    (['Animation'], ['Drama', 'War'])
    """
    if isinstance(cell, str):
        listed = as_list(cell)
        if listed is not None:
            return labels(listed)
        text = cell.strip()
        split = separator and separator in text and text not in whole
        parts: Iterable[Any] = text.split(separator) if split else [text]
    elif isinstance(cell, dict):
        parts = [_name(cell)]
    elif isinstance(cell, np.ndarray) and cell.ndim == 0:
        return labels(cell.item(), separator, whole)
    elif isinstance(cell, _LISTS):
        parts = sorted(cell, key=str) if isinstance(cell, (set, frozenset)) else list(cell)
        parts = [_name(part) if isinstance(part, dict) else part for part in parts]
    else:
        parts = [cell]
    found = (as_text(part) for part in parts)
    return list(dict.fromkeys(text for text in found if text and text not in _MISSING))


def as_text(value: Any) -> str:
    """A cell as a person would write it: lists joined by commas, missing values empty."""
    if isinstance(value, str):
        listed = as_list(value)
        if listed is None or not all(isinstance(part, (str, dict)) for part in listed):
            return "" if value.strip() == r"\N" else value.strip()
        return ", ".join(labels(listed))
    if isinstance(value, (*_LISTS, dict)):
        return ", ".join(labels(value))
    if pd.isna(value):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def as_list(text: str) -> list[Any] | dict[Any, Any] | None:
    """A list or dictionary that stands in a text as JSON or Python write it, None for other text.

    >>> as_list('["Drama", "War"]'), as_list("['War']"), as_list("[REC]")
    (['Drama', 'War'], ['War'], None)
    """
    text = text.strip()
    if text[:1] + text[-1:] not in ("[]", "{}", "()"):
        return None
    text = _APART.sub(r"\1, \2", text)  # as NumPy writes them, without commas
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, (tuple, set)):
            return list(found)
        return found if isinstance(found, (list, dict)) else None
    return None


class Found(NamedTuple):
    """What stands between labels, and whether the column shows that it does."""

    separator: str
    clear: bool


def find_separator(column: str, cells: Iterable[Any]) -> Found:
    """What stands between the labels of a column, "" where nothing does.

    Warns
    -----
    LLMTokensWarning
        Where cells look like lists, and nothing shows that they are.

    Examples
    --------
    >>> find_separator("genre", ["Action, Crime", "Crime, Drama", "Drama"])
    Found(separator=', ', clear=True)
    >>> find_separator("artist", ["ABBA", "Blur", *"abcdefgh", "Earth, Wind & Fire"])
    Found(separator='', clear=False)
    """
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and as_list(cell) is None]
    texts = [text for text in texts if text and text not in _MISSING]
    distinct = list(dict.fromkeys(texts))
    evidence = {s: _evidence(distinct, s) for s in _SEPARATORS if any(s in x for x in distinct)}
    clear = [s for s, (share, _) in evidence.items() if share >= _EVIDENCE]
    if clear:
        best = max(clear, key=lambda s: evidence[s].support)
        _warn_of_a_second(column, texts, best, [s for s in clear if s.strip() != best.strip()])
        return Found(best, True)
    held = {s: sum(s in text for text in texts) for s in evidence}
    taken = DEFAULT_SEPARATOR if DEFAULT_SEPARATOR in evidence else ""
    likely = taken or max(held, key=lambda s: held[s], default="")
    if likely and (taken or held[likely] >= max(2, _MANY * len(texts))):
        examples = sample([text for text in distinct if likely in text], 2)
        warnings.warn(
            f"column {column!r}: found {len(distinct)} labels for {len(texts)} rows; "
            f"{held[likely]} hold {likely!r}, such as {examples}, and few of what stands after it "
            f"comes in other rows; they are {'split there' if taken else 'one label each'}: say "
            f'separator={likely!r} if these are lists, or separator="" if each is one label',
            LLMTokensWarning,
            stacklevel=5,
        )
    return Found(taken, False)


def _warn_of_a_second(column: str, texts: list[str], best: str, others: list[str]) -> None:
    """Say it where some cells are lists too, with something else between their labels."""
    for other in others:
        held = [text for text in texts if other in text and best not in text]
        if held:
            warnings.warn(
                f"column {column!r}: labels are split at {best!r}; {len(held)} of {len(texts)} "
                f"cells hold {other!r} instead, such as {sample(held, 1)}, and stay one label "
                "each: write all lists in one way",
                LLMTokensWarning,
                stacklevel=6,
            )


def kept_whole(cells: Iterable[Any], separator: str) -> set[str]:
    """Texts with the separator in them, no part of which is found in any other text.

    To split these would tell nothing, and could tear a name.

    >>> cells = ["Rock, Pop", "Pop", "Crosby, Stills & Nash", "Rock"]
    >>> kept_whole(cells, ", ")
    {'Crosby, Stills & Nash'}
    """
    texts = {cell.strip() for cell in cells if isinstance(cell, str) and as_list(cell) is None}
    parts = {text: set(labels(text, separator)) for text in texts}
    counts = Counter(part for found in parts.values() for part in found)
    return {
        text
        for text, found in parts.items()
        if separator in text and all(counts[part] == 1 for part in found)
    }


def require_separator(separator: Any) -> None:
    """Raise DataError for what cannot stand between labels."""
    if not (separator is None or isinstance(separator, str)):
        raise DataError(
            f'found separator={separator!r:.40}; expected a text such as ", ", or "" where a cell '
            "is one label, or None to have it found"
        )


class _Evidence(NamedTuple):
    share: float
    support: int


def _evidence(distinct: list[str], separator: str) -> _Evidence:
    """Of the labels after the first of their cell, those that stand first in another."""
    first: set[str] = set()
    later: list[str] = []
    for text in distinct:
        parts = [part.strip() for part in text.split(separator)]
        first.add(parts[0])
        later += [part for part in parts[1:] if part and part != parts[0]]
    support = sum(part in first for part in later)
    return _Evidence(support / max(len(later), 1), support)


def _name(entry: dict[Any, Any]) -> Any:
    """What a dictionary calls the thing it stands for."""
    named = next((entry[key] for key in _NAMES if entry.get(key)), None)
    if named is None:
        named = next((value for value in entry.values() if isinstance(value, str)), None)
    return next(iter(entry.values()), None) if named is None else named
