"""Data sets of ratings and texts, each with a Surprise ``Dataset`` in it.

:func:`load_movielens` reads the MovieLens folders and archives, :func:`load_ratings` anybody's
files or frames, and :func:`synthetic` generates a set that needs no file at all. All three give
a :class:`RatingData`.
"""

from __future__ import annotations

from .generate import synthetic
from .movielens import load_movielens
from .ratings import RatingData
from .tables import load_items, load_ratings

__all__ = ["RatingData", "load_items", "load_movielens", "load_ratings", "synthetic"]
