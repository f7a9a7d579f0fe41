"""Generated streams of events.

A news feed has new articles every day, and readers whose interests move. In a shop, visitors look,
fill a cart, and buy what goes with what they have.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError
from .generate import FEATURES, GOODS, MAKERS, TOPICS, write_items
from .ratings import RatingData

_DAY = 86_400  # seconds
_FIRST_DAY = 1_704_067_200  # 2024-01-01
_YESTERDAY = -2.5  # log odds: old news
_TASTE = 2.0  # log odds for an article of a reader's favourite topic
_KEPT = 0.9  # of an interest, from one day to the next
_READ = 3.0  # articles a reader a day, on average
_GOES_ON = 0.8  # how often the next need follows from the last purchase
_LOYAL = 0.5  # how often a visitor looks at the maker they bought from


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
    _require_some(n_users=n_users, n_days=n_days, per_day=per_day)
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


def shop_events(
    n_users: int = 400, per_kind: int = 8, n_journeys: int = 8, random_state: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events of a shop for the outdoors, and its goods.

    A visitor has a need, looks at two to six products of that kind (``view``), puts some into the
    cart (``cart``) and mostly buys one (``buy``). A few days later comes the next need, which
    mostly follows from what was bought: a sleeping bag after a tent, gas again after gas. Between
    journeys they look at what is popular.

    Parameters
    ----------
    n_users : int
    per_kind : int
        Products of each of 30 kinds.
    n_journeys : int
        Of each visitor.
    random_state : int
        Equal numbers give equal frames, on every platform.

    Returns
    -------
    events : DataFrame
        ``user item event timestamp``, in order of time: what :func:`load_events` reads.
    items : DataFrame
        ``item title kind description``.

    Raises
    ------
    DataError
        If a number is not at least 1.

    Examples
    --------
    >>> from llmtokens.datasets import load_events, shop_events
    >>> events, items = shop_events(n_users=20)
    >>> sorted(events["event"].unique())
    ['buy', 'cart', 'view']
    """
    _require_some(n_users=n_users, per_kind=per_kind, n_journeys=n_journeys)
    rng = np.random.Generator(np.random.PCG64(random_state))
    kinds = list(GOODS)
    kind = np.repeat(np.arange(len(kinds)), per_kind)
    maker = rng.integers(0, len(MAKERS), len(kind))
    appeal = np.exp(rng.standard_normal(len(kind)))
    rows = []
    for user in range(1, n_users + 1):
        now = _FIRST_DAY + 60.0 * _DAY * rng.random()
        need, liked = int(rng.integers(len(kinds))), int(rng.integers(len(MAKERS)))
        for _ in range(n_journeys):
            for item in rng.choice(len(kind), rng.integers(1, 4), p=appeal / appeal.sum()):
                now += 60 * rng.exponential()
                rows.append((user, int(item), "view", now))
            bought = _journey(rng, user, np.flatnonzero(kind == need), maker == liked, appeal, now)
            rows += bought
            last = bought[-1]
            now = last[3] + _DAY * (1 + 5 * rng.exponential())
            if last[2] == "buy":
                liked = int(maker[last[1]])
            need = int(rng.integers(len(kinds)))
            if rng.random() < _GOES_ON:
                goes_with = GOODS[kinds[kind[last[1]]]]
                need = kinds.index(goes_with[int(rng.integers(len(goes_with)))])
    events = pd.DataFrame(rows, columns=["user", "item", "event", "timestamp"])
    events["item"] += 1
    events["timestamp"] = events["timestamp"].astype(np.int64)
    feature = rng.integers(0, len(FEATURES), len(kind))
    items = pd.DataFrame(
        {
            "item": np.arange(1, len(kind) + 1),
            "title": [f"{MAKERS[m]} {kinds[k]}" for m, k in zip(maker, kind, strict=True)],
            "kind": [kinds[k] for k in kind],
            "description": [
                f"A {FEATURES[f]} {kinds[k]} by {MAKERS[m]}."
                for f, k, m in zip(feature, kind, maker, strict=True)
            ],
        }
    )
    return events.sort_values("timestamp", kind="stable", ignore_index=True), items


def _journey(
    rng: np.random.Generator,
    user: int,
    goods: np.ndarray,
    favoured: np.ndarray,
    appeal: np.ndarray,
    now: float,
) -> list[tuple[int, int, str, float]]:
    """Views, carts and perhaps a purchase of one kind of goods; favoured ones attract."""
    weight = appeal[goods] * np.where(favoured[goods] & (rng.random() < _LOYAL), 8.0, 1.0)
    n = min(len(goods), int(rng.integers(2, 7)))
    viewed = rng.choice(goods, n, replace=False, p=weight / weight.sum())
    rows = []
    for item in viewed.tolist():
        now += 60 * rng.exponential()
        rows.append((user, item, "view", now))
    carted = rng.permutation(viewed)[: int(rng.integers(1, 3))].tolist()
    for item in carted:
        now += 30 * rng.exponential()
        rows.append((user, item, "cart", now))
    if rng.random() < 0.8:
        rows.append((user, carted[0], "buy", now + 60))
    return rows


def _require_some(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise DataError(f"found {name}={value!r}; expected at least 1")
