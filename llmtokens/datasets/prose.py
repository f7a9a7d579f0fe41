"""The written side of the synthetic set: titles, descriptions and profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from .topics import MOODS, PACES, Topic

_Pick = Callable[[Sequence[str]], str]

_EASY = "I enjoy nearly everything and praise it freely."
_STRICT = "I am hard to please and rarely give full marks."


def write_items(
    rng: np.random.Generator,
    topics: Sequence[Topic],
    main: np.ndarray,
    second: np.ndarray,
    tone: np.ndarray,
    years: np.ndarray,
) -> pd.DataFrame:
    """Titles and descriptions of items by their topics, tone (n, 2) of -1 and 1, and year.

    The description tells hero and deed of the main topic, place and theme of the second, and
    mood and pace; the genres are the main topic and, for half of the items, the second.
    """

    def pick(words: Sequence[str]) -> str:
        return words[int(rng.integers(len(words)))]

    rows = []
    for k, k2, (mood, pace) in zip(main.tolist(), second.tolist(), tone.tolist(), strict=True):
        topic, other = topics[k], topics[k2]
        feeling = pick(MOODS[mood > 0])
        theme = pick(other.themes)
        start = f"{pick(topic.heroes)} {pick(topic.deeds)} {pick(other.places)}."
        description = (
            f"{start[0].upper()}{start[1:]} A {feeling} story of {theme}, "
            f"told {pick(PACES[pace > 0])}."
        )
        genres = {topic.genre, other.genre} if rng.random() < 0.5 else {topic.genre}
        rows.append(
            (_title(rng, topic, other, pick), tuple(sorted(genres)), (feeling, theme), description)
        )
    items = pd.DataFrame(rows, columns=["title", "genres", "tags", "description"])
    items["title"] = _numbered(items["title"].tolist(), years)
    items.insert(0, "item", np.arange(len(items), dtype=np.int64) + 1)
    items.insert(3, "year", years)
    return items


def _title(rng: np.random.Generator, topic: Topic, other: Topic, pick: _Pick) -> str:
    noun = pick(topic.nouns)
    kind = int(rng.integers(5))
    if kind == 0:
        return f"The {noun} and the {pick(other.nouns)}"
    if kind == 1:
        return f"{pick(other.adjectives)} {noun}"
    if kind == 2:
        return f"{noun} of the {pick(topic.adjectives)} {pick(other.nouns)}"
    return f"The {pick(topic.adjectives)} {noun}"


def _numbered(titles: list[str], years: np.ndarray) -> list[str]:
    """A title that comes again is a sequel: "The Last Harbour 2", in order of year."""
    seen: Counter[str] = Counter()
    unique = list(titles)
    for row in np.argsort(years, kind="stable").tolist():
        seen[titles[row]] += 1
        if seen[titles[row]] > 1:
            unique[row] = f"{titles[row]} {seen[titles[row]]}"
    return unique


def write_profiles(topics: Sequence[Topic], taste: np.ndarray) -> list[str]:
    """A sentence on each user's two favourite topics; ``taste`` is (n_users, n_topics)."""
    order = np.argsort(-taste, axis=1, kind="stable").tolist()
    profiles = []
    for first, *rest in order:
        likes = topics[first].fans
        profiles.append(
            f"Likes {likes}, and sometimes {topics[rest[0]].fans}." if rest else f"Likes {likes}."
        )
    return profiles


def write_full_profiles(
    rng: np.random.Generator,
    topics: Sequence[Topic],
    taste: np.ndarray,
    tone_taste: np.ndarray,
    generosity: np.ndarray,
) -> list[str]:
    """A few sentences on each user, in the words that stories of these topics are told with.

    ``taste`` is (n_users, n_topics), ``tone_taste`` (n_users, 2), ``generosity`` (n_users,).
    """

    def pick(words: Sequence[str]) -> str:
        return words[int(rng.integers(len(words)))]

    order = np.argsort(-taste, axis=1, kind="stable").tolist()
    profiles = []
    for ranked, (mood, pace), ease in zip(
        order, tone_taste.tolist(), generosity.tolist(), strict=True
    ):
        liked = [f"{topics[k].genre}: {pick(topics[k].themes)}" for k in ranked[:3]]
        sentences = [
            f"My favourites are {topics[ranked[0]].fans}.",
            f"I look for {'; '.join(liked)}.",
            f"I want a {pick(MOODS[mood > 0])} story, told {pick(PACES[pace > 0])}.",
        ]
        if len(ranked) > 3:
            sentences.insert(2, f"I avoid {topics[ranked[-1]].fans}.")
        sentences.append(_EASY if ease > 0 else _STRICT)
        profiles.append(" ".join(sentences))
    return profiles
