"""Data sets of ratings and texts, each with a Surprise ``Dataset`` in it.

:func:`load_movielens` reads the MovieLens folders and archives, :func:`load_ratings` anybody's
files or frames, :func:`load_events` views, carts and purchases, and :func:`synthetic` generates a
set that needs no file at all, as do :func:`news_feed` and :func:`shop_events` for what changes by
the day. All but the last give a :class:`RatingData`.
"""

from __future__ import annotations

from .events import EventData, load_events
from .generate import synthetic
from .load import load_items, load_ratings
from .movielens import load_movielens
from .ratings import RatingData
from .streams import news_feed, shop_events

__all__ = [
    "EventData",
    "RatingData",
    "load_events",
    "load_items",
    "load_movielens",
    "load_ratings",
    "news_feed",
    "shop_events",
    "synthetic",
]
