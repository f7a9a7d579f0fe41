"""Cross-validation iterators for cold start and for time, in Surprise's own idiom.

Each has ``split(data)``, ``get_n_folds()`` and ``n_splits``, and goes wherever Surprise takes
``cv=``: ``cross_validate``, ``GridSearchCV``, ``RandomizedSearchCV``.

==================== ========================================= ============================
iterator             held out                                  what is known of it
==================== ========================================= ============================
ColdItemKFold        items, with all their ratings             nothing but their text
FewShotItemKFold     items, with all but ``n_given`` ratings   ``n_given`` ratings, and text
ColdUserKFold        users, with all their ratings             nothing but their text
FewShotUserKFold     users, with all but ``n_given`` ratings   ``n_given`` ratings, and text
TimeSplit            the ratings that come next                all that came before
ColdItemTimeSplit    those of them whose item is new           all that came before
NextItemSplit        the last rating of each user              all others
GlobalTimeSplit      the next one of each known user           all before one moment
==================== ========================================= ============================

:func:`replay` is no iterator: it predicts what comes next, learns it with ``partial_fit``, and so
on to the end of the data.
"""

from __future__ import annotations

from .cold import ColdItemKFold, ColdUserKFold, FewShotItemKFold, FewShotUserKFold
from .temporal import ColdItemTimeSplit, GlobalTimeSplit, NextItemSplit, TimeSplit, replay

__all__ = [
    "ColdItemKFold",
    "ColdItemTimeSplit",
    "ColdUserKFold",
    "FewShotItemKFold",
    "FewShotUserKFold",
    "GlobalTimeSplit",
    "NextItemSplit",
    "TimeSplit",
    "replay",
]
