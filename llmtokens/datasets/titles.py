"""The texts of MovieLens, tidied: titles and years, genres, tags."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

# "(1995)", "(2006-2007)", "(2006-)", and ml-100k's "(1995) (V)" for a video; \u2013 is a dash
_YEAR = re.compile(r"\((\d{4})(?:\s*[-\u2013]\s*(?:\d{4})?)?\)\s*(?:\((?:V|TV|VG|TV Series)\))?$")
_LAST = 60  # characters in which a year may stand

_ARTICLES = (
    "The|An|A|"  # English
    "Les|Le|La|L'|Une|Un|"  # French
    "Il|Lo|Gli|I|Una|Uno|"  # Italian
    "El|Los|Las|"  # Spanish
    "Das|Der|Die|Ein|Eine|"  # German
    "Os|As|O|"  # Portuguese
    "Det|Den|De|En|Et|Da|Het"  # Scandinavian, Dutch, slang
)
# A title, or a bracketed alternative title, that ends in ", Article"
_ARTICLE = re.compile(
    rf"(?P<lead>(?:^|\()\s*(?:a\.k\.a\.\s+)?)(?P<words>[^()\s](?:[^()]*[^()\s])?),\s(?P<article>{_ARTICLES})"
    r"(?=\s*(?:\(|\)|$))"
)

_NO_GENRE = "(no genres listed)"


def split_titles(raw: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Titles as one would say them, and their years (float64, NaN where there is none).

    >>> split_titles(["Matrix, The (1999)", "Amants, Les (Lovers, The) (1958)"])
    (['The Matrix', 'Les Amants (The Lovers)'], array([1999., 1958.]))
    """
    titles, years = [], []
    for text in map(str.strip, raw):
        year = _YEAR.search(text, max(len(text) - _LAST, 0))
        years.append(float(year[1]) if year else np.nan)
        title = text[: year.start()].rstrip() if year else text
        titles.append(_ARTICLE.sub(_article_first, title or text))
    return titles, np.array(years, dtype=np.float64)


def _article_first(match: re.Match[str]) -> str:
    gap = "" if match["article"].endswith("'") else " "
    return f"{match['lead']}{match['article']}{gap}{match['words']}"


def genre_tuples(column: pd.Series) -> list[tuple[str, ...]]:
    """``"Comedy|Drama"`` as ``("Comedy", "Drama")``; none for MovieLens's word for none."""
    split = {
        text: tuple(genre for genre in text.split("|") if genre and genre != _NO_GENRE)
        for text in column.unique()
    }
    return [split[text] for text in column]


def tag_tuples(items: pd.Series, tagged: pd.Series, tags: pd.Series) -> list[tuple[str, ...]]:
    """Each item's distinct tags in lower case, the most frequent first, ties by alphabet."""
    words = tags.str.strip().str.lower()
    pairs = pd.DataFrame({"item": tagged.to_numpy(), "tag": words.to_numpy()})
    counts = pairs[words.to_numpy() != ""].value_counts(sort=False).reset_index(name="n")
    counts = counts.sort_values(["item", "n", "tag"], ascending=[True, False, True])
    of_item: dict[int, list[str]] = {}
    for item, tag in zip(counts["item"].tolist(), counts["tag"].tolist(), strict=True):
        of_item.setdefault(item, []).append(tag)
    return [tuple(of_item.get(item, ())) for item in items.tolist()]
