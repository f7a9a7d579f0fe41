"""A generated news feed: new articles every day, and readers whose interests move."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError
from .prose import write_items
from .ratings import RatingData
from .topics import TOPICS

_DAY = 86_400  # seconds
_FIRST_DAY = 1_704_067_200  # 2024-01-01
_YESTERDAY = -2.5  # log odds: old news
_TASTE = 2.0  # log odds for an article of a reader's favourite topic
_KEPT = 0.9  # of an interest, from one day to the next
_READ = 3.0  # articles a reader a day, on average


def news_feed(
    n_users: int = 200, n_days: int = 30, per_day: int = 20, random_state: int = 0
) -> RatingData:
    """Clicks on a feed with ``per_day`` new articles every day.

    Each reader clicks three articles a day on average, of today's and, rarely, yesterday's, by
    topics that interest them and a popularity of the article's own. Interests are an autoregressive
    walk that keeps nine tenths from one day to the next: what was read two weeks ago says little.
    An article that is out for two days is never read again, so all that can be recommended in the
    morning is new, and known by its text alone.

    Parameters
    ----------
    n_users, n_days, per_day : int
    random_state : int
        Equal numbers give equal frames, on every platform.

    Returns
    -------
    RatingData
        All ratings are 1, on a scale from 0 to 1: use ``implicit=True``. ``items`` has ``item title
        genres year tags description published``, the last in seconds, the first moment of its day.

    Raises
    ------
    DataError
        If a number is not at least 1.

    Examples
    --------
    >>> from llmtokens.datasets import news_feed
    >>> data = news_feed(n_users=10, n_days=3)
    >>> data.items["published"].value_counts().tolist()
    [20, 20, 20]
    """
    for name, value in (("n_users", n_users), ("n_days", n_days), ("per_day", per_day)):
        if value < 1:
            raise DataError(f"found {name}={value!r}; expected at least 1")
    rng = np.random.Generator(np.random.PCG64(random_state))
    n, n_topics = n_days * per_day, len(TOPICS)
    day = np.repeat(np.arange(n_days), per_day)
    main = rng.integers(0, n_topics, n)
    second = (main + rng.integers(1, n_topics, n)) % n_topics
    tone = rng.integers(0, 2, (n, 2)) * 2 - 1
    appeal = 0.5 * rng.standard_normal(n)
    items = write_items(rng, TOPICS, main, second, tone, np.full(n, 2024.0))
    items["published"] = _FIRST_DAY + _DAY * day.astype(np.int64)
    mix = np.zeros((n, n_topics))
    mix[np.arange(n), second] = 0.4
    mix[np.arange(n), main] = 1.0
    interest = rng.standard_normal((n_users, n_topics))
    clicks = []
    for today in range(n_days):
        out = np.flatnonzero((day == today) | (day == today - 1))
        odds = _TASTE * interest @ mix[out].T + appeal[out] + _YESTERDAY * (day[out] < today)
        read = np.minimum(rng.poisson(_READ, n_users), len(out))
        noise = -np.log(-np.log1p(-rng.random(odds.shape)))  # Gumbel: draws without replacement
        order = np.argsort(-(odds + noise), axis=1, kind="stable")
        for user, count in enumerate(read.tolist()):
            when = np.sort(rng.random(count)) * _DAY
            clicks += [
                (user + 1, int(out[place]) + 1, _FIRST_DAY + _DAY * today + int(second_of_day))
                for place, second_of_day in zip(order[user, :count], when, strict=True)
            ]
        step = np.sqrt(1 - _KEPT**2) * rng.standard_normal(interest.shape)
        interest = _KEPT * interest + step
    frame = pd.DataFrame(clicks, columns=["user", "item", "timestamp"])
    frame = frame.drop_duplicates(["user", "item"], ignore_index=True)
    frame.insert(2, "rating", 1.0)
    users = pd.DataFrame({"user": np.arange(n_users, dtype=np.int64) + 1})
    return RatingData(frame, items, users, (0.0, 1.0), "news feed")
