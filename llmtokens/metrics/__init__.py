"""Measures on lists of Surprise ``Prediction``.

**Which ranking?** Every measure "at k" looks at the first k items of each user's list, and there
are two kinds of list:

- Given a plain list of predictions, as ``algo.test(testset)`` returns it, a user's list holds the
  *rated test items only* (:func:`rank_rated`). That asks: of the things this user chose to rate,
  are the liked ones on top? It is easy, its values are high, and it says little about
  recommendation, where nobody has chosen for the user beforehand.
- Given ``rank_all(algo, testset)``, a user's list holds *the whole catalogue* but for what the
  user rated in training (:func:`rank_all`). This is what a recommender faces. An unrated item
  counts as not relevant, so the values are low, and lower bounds of what a user would say.

Never compare the one with the other. For a paper on recommendation, use ``rank_all``.

**Conventions.** An item is relevant if its rating in the test set is at least ``relevant``. Users
without a relevant item have no value (NaN with ``per_user=True``) and are left out of the mean. A
list shorter than k is used as it is, its missing places being misses; k above the size of the
catalogue is an error. Equal scores are put in a fixed shuffled order, by a hash of the item's id,
so that a model that scores everything alike does as well as chance, and never better because of
the order of the data. A pair that stands twice counts once, with its last rating.
"""

from __future__ import annotations

from .accuracy import classification, interval_coverage, mae, reliability, rmse
from .beyond import (
    average_popularity,
    catalogue_coverage,
    exposure_gini,
    group_gap,
    intra_list_diversity,
    novelty,
    popularity_lift,
)
from .lists import Rankings, rank_all, rank_rated
from .ranking import (
    auc,
    f1_at_k,
    hit_rate_at_k,
    map_at_k,
    mrr,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)

__all__ = [
    "Rankings",
    "auc",
    "average_popularity",
    "catalogue_coverage",
    "classification",
    "exposure_gini",
    "f1_at_k",
    "group_gap",
    "hit_rate_at_k",
    "interval_coverage",
    "intra_list_diversity",
    "mae",
    "map_at_k",
    "mrr",
    "ndcg_at_k",
    "novelty",
    "popularity_lift",
    "precision_at_k",
    "rank_all",
    "rank_rated",
    "recall_at_k",
    "reliability",
    "rmse",
]
