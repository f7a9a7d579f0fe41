"""synthetic: a generated set of ratings in the manner of MovieLens, and the texts it is written in.

The words, what a story of each genre is about and how it is told, are in ``vocabulary.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import DataError
from .ratings import RatingData

_DAY, _YEAR = 86_400, 365 * 86_400  # seconds
_MOST = 100_000_000  # of each kind: some ten gigabytes
_FIRST_RATING = datetime(2015, 1, 1, tzinfo=UTC)
_YEARS = 5  # for so long people join
_FIRST_YEAR = 1960  # of the items
_NEW = 0.2  # the share of items that appear while people join
_LEAST = 10  # ratings a user
_N_HIDDEN = 4  # dimensions of taste that no text tells

# Standard deviations, in stars, of what a rating is made of
_GENEROSITY, _TOPIC_QUALITY, _OWN_QUALITY = 0.42, 0.22, 0.50
_TASTE, _TONE, _HIDDEN_TASTE, _NOISE = 0.48, 0.28, 0.30, 0.70

_MEAN = 2.9  # of an item picked blindly; people pick better
_PICKINESS = 1.1  # added log odds of being picked, per star of expected liking
_Pick = Callable[[Sequence[str]], str]

_EASY = "I enjoy nearly everything and praise it freely."
_STRICT = "I am hard to please and rarely give full marks."


class Topic(NamedTuple):
    """One genre's words. ``heroes`` and ``deeds`` make a sentence with ``places``."""

    genre: str
    fans: str
    adjectives: list[str]
    nouns: list[str]
    heroes: list[str]
    deeds: list[str]
    places: list[str]
    themes: list[str]


_WORDS: dict[str, Any] = json.loads(
    files(__package__).joinpath("vocabulary.json").read_text(encoding="utf-8")
)
TOPICS = [Topic(**words) for words in _WORDS["topics"]]
GOODS: dict[str, list[str]] = _WORDS["goods"]
"""A kind of a shop's goods, and the kinds that people need next."""
MAKERS: list[str] = _WORDS["makers"]
FEATURES: list[str] = _WORDS["features"]

# The two ways of telling, each from one end of a scale of taste to the other.
_MOODS, _PACES = _WORDS["moods"], _WORDS["paces"]


def synthetic(
    n_users: int = 600,
    n_items: int = 1200,
    n_ratings: int = 40_000,
    n_topics: int = 10,
    random_state: int = 0,
    full_profiles: bool = False,
) -> RatingData:
    """A generated data set whose texts tell a part of what people will like.

    Parameters
    ----------
    n_users, n_items, n_ratings : int
        Exact sizes. Users have 10 ratings or more where there are enough.
    n_topics : int
        The number of genres, at most 10.
    random_state : int
        Equal numbers give equal frames, on every platform.
    full_profiles : bool, default=False
        Whether users tell all that text can tell of them: three topics they like, one they do not,
        the mood and the pace they prefer, and how freely they praise. Ratings and items stay the
        same.

    Returns
    -------
    RatingData
        Half-star ratings from 0.5 to 5. ``items`` has ``item title genres year tags
        description``, ``users`` has ``user profile``, a sentence on the user's two favourite
        topics.

    Notes
    -----
    An item mixes a main topic with a second one, and has a mood and a pace; its description tells
    all four, its genres the main topic and sometimes the second. The rating of user u is

        r_ui = mean + b_u + b_i + taste_u . topics_i + tone_u . tone_i + h_u . h_i + noise

    where b_i is partly the topic's quality and mostly the item's own, and h are dimensions that no
    text tells: so a model with text can beat one without, and cannot be perfect. Items differ in
    popularity as they do in life, appear over time, and users pick what they expect to like:
    ratings are not missing at random.

    Raises
    ------
    DataError
        Sizes that cannot be met.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
    >>> data.items.loc[4, "title"]
    'Second Asylum'
    >>> print(data.items.loc[4, "description"].split(".")[0])
    A night watchman opens a sealed crypt on a frozen planet
    """
    _check_sizes(n_users, n_items, n_ratings, n_topics)
    rng = np.random.Generator(np.random.PCG64(random_state))
    items = _items(rng, n_items, n_topics)
    taste = rng.standard_normal((n_users, n_topics))
    joined = _YEARS * rng.random(n_users)
    users = _Users(
        taste,
        _GENEROSITY * rng.standard_normal(n_users),
        _TONE * rng.standard_normal((n_users, 2)) / np.sqrt(2),
        _HIDDEN_TASTE * rng.standard_normal((n_users, _N_HIDDEN)),
        joined,
    )
    ratings = _ratings(rng, items, users, n_ratings)
    topics = TOPICS[:n_topics]
    years = np.floor(_FIRST_RATING.year + items.released)
    texts = write_items(rng, topics, items.main, items.second, items.tone, years)
    if full_profiles:
        profiles = write_full_profiles(rng, topics, taste, users.tone_taste, users.generosity)
    else:
        profiles = write_profiles(topics, taste)
    about = pd.DataFrame({"user": np.arange(n_users, dtype=np.int64) + 1, "profile": profiles})
    return RatingData(ratings, texts, about, (0.5, 5), "synthetic")


class _Items(NamedTuple):
    """What decides who picks and likes an item; rows are items."""

    main: np.ndarray  # (n,) topic
    second: np.ndarray  # (n,) another topic, or the same where there is one alone
    mix: np.ndarray  # (n, n_topics), rows of norm 1
    tone: np.ndarray  # (n, 2): mood and pace, each -1 or 1
    hidden: np.ndarray  # (n, _N_HIDDEN)
    quality: np.ndarray  # (n,) stars
    appeal: np.ndarray  # (n,) log odds of being picked, whatever one's taste
    released: np.ndarray  # (n,) years after the first rating


class _Users(NamedTuple):
    """What decides how a user rates; rows are users."""

    taste: np.ndarray  # (n, n_topics), each of variance 1
    generosity: np.ndarray  # (n,) stars
    tone_taste: np.ndarray  # (n, 2) stars: for mood and pace
    hidden_taste: np.ndarray  # (n, _N_HIDDEN)
    joined: np.ndarray  # (n,) years after the first rating


def _items(rng: np.random.Generator, n: int, n_topics: int) -> _Items:
    main = rng.integers(0, n_topics, n)
    second = (main + rng.integers(1, n_topics, n)) % n_topics if n_topics > 1 else main
    share = 0.6 + 0.3 * rng.random(n)
    mix = np.zeros((n, n_topics))
    mix[np.arange(n), second] = 1 - share
    mix[np.arange(n), main] = share
    mix /= np.sqrt((mix * mix).sum(axis=1, keepdims=True))
    tone = rng.integers(0, 2, (n, 2)) * 2 - 1
    hidden = rng.standard_normal((n, _N_HIDDEN)) / np.sqrt(_N_HIDDEN)
    own_quality = rng.standard_normal(n)
    topic_quality = _TOPIC_QUALITY * rng.standard_normal(n_topics)
    quality = _OWN_QUALITY * own_quality + mix @ topic_quality
    appeal = 1.3 * rng.standard_normal(n) + 0.6 * own_quality
    released = -(_FIRST_RATING.year - _FIRST_YEAR) * rng.random(n) ** 2
    new = rng.random(n) < _NEW
    new[0] = False  # so that the earliest user finds something
    released[new] = _YEARS * rng.random(int(new.sum()))
    return _Items(main, second, mix, tone, hidden, quality, appeal, released)


def _ratings(
    rng: np.random.Generator, items: _Items, users: _Users, n_ratings: int
) -> pd.DataFrame:
    """Each user picks among the items that are out, and rates them over the next weeks."""
    joined, n_users, n_items = users.joined, len(users.joined), len(items.main)
    out = np.searchsorted(np.sort(items.released), joined, side="right")
    counts = _activity(rng, n_ratings, out)
    picks, values, times = [], [], []
    for user, count in enumerate(counts.tolist()):
        liking = items.quality + _TASTE * (items.mix @ users.taste[user])
        liking += items.tone @ users.tone_taste[user]
        liking += items.hidden @ users.hidden_taste[user]
        # The largest of log odds plus Gumbel noise are a draw without replacement.
        odds = items.appeal + _PICKINESS * liking - np.log(-np.log1p(-rng.random(n_items)))
        odds[items.released > joined[user]] = -np.inf
        picked = rng.permutation(np.argsort(-odds, kind="stable")[:count])
        felt = _MEAN + users.generosity[user] + liking[picked] + _NOISE * rng.standard_normal(count)
        picks.append(picked + 1)
        values.append(np.clip(np.round(felt * 2) / 2, 0.5, 5.0))
        times.append(joined[user] * _YEAR + np.sort(rng.random(count) ** 3) * 60 * _DAY)
    return pd.DataFrame(
        {
            "user": np.repeat(np.arange(n_users, dtype=np.int64) + 1, counts),
            "item": np.concatenate(picks).astype(np.int64),
            "rating": np.concatenate(values),
            "timestamp": np.concatenate(times).astype(np.int64) + int(_FIRST_RATING.timestamp()),
        }
    )


def _activity(rng: np.random.Generator, n_ratings: int, most: np.ndarray) -> np.ndarray:
    """How many ratings each user makes: skewed, ``n_ratings`` in all, at most ``most`` each."""
    if n_ratings > most.sum():
        raise DataError(
            f"n_ratings={n_ratings} is too many: {len(most)} users can rate the items that are "
            f"out when they join {int(most.sum())} times. Ask for fewer, or more users or items."
        )
    least = np.minimum(most, min(_LEAST, n_ratings // len(most)))
    weight = np.exp(rng.standard_normal(len(most)))

    def counts(scale: float) -> np.ndarray:
        return np.clip((scale * weight).astype(np.int64), least, most)

    low, high = 0.0, (n_ratings + 1) / float(weight.min())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if counts(middle).sum() <= n_ratings else (low, middle)
    made = counts(low)
    room = np.flatnonzero(made < most)[: n_ratings - int(made.sum())]
    made[room] += 1
    return made


def _check_sizes(n_users: int, n_items: int, n_ratings: int, n_topics: int) -> None:
    for name, value in (("n_users", n_users), ("n_items", n_items), ("n_ratings", n_ratings)):
        if not 1 <= value <= _MOST:
            raise DataError(f"{name} must be from 1 to {_MOST:,}; got {value!r}.")
    if not 1 <= n_topics <= len(TOPICS):
        raise DataError(f"n_topics must be 1 to {len(TOPICS)}; got {n_topics!r}.")
    if n_ratings < n_users:
        raise DataError(
            f"n_ratings={n_ratings} is less than one for each of {n_users} users. Ask for more."
        )


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
        feeling = pick(_MOODS[mood > 0])
        theme = pick(other.themes)
        start = f"{pick(topic.heroes)} {pick(topic.deeds)} {pick(other.places)}."
        description = (
            f"{start[0].upper()}{start[1:]} A {feeling} story of {theme}, "
            f"told {pick(_PACES[pace > 0])}."
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
            f"I want a {pick(_MOODS[mood > 0])} story, told {pick(_PACES[pace > 0])}.",
        ]
        if len(ranked) > 3:
            sentences.insert(2, f"I avoid {topics[ranked[-1]].fans}.")
        sentences.append(_EASY if ease > 0 else _STRICT)
        profiles.append(" ".join(sentences))
    return profiles
