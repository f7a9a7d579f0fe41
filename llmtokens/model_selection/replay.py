"""replay: the data once more in order of time, predicted before it is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from surprise import Dataset

from ..algorithms.base import TokenAlgoBase
from ..errors import DataError
from ..metrics import Rankings, ndcg_at_k, rank_all, recall_at_k
from .split import require_at_least
from .temporal import timestamps


def replay(
    algo: TokenAlgoBase,
    data: Dataset,
    every: int = 1000,
    start: float = 0.5,
    measures: Mapping[str, Callable[[Rankings], Any]] | None = None,
) -> pd.DataFrame:
    """Prequential (online) evaluation: predict the next ratings, then learn them, and so on.

    ``algo`` is fitted on the first ratings in order of time. Then, block by block, it ranks the
    whole catalogue for the users who come, is measured by what they chose, and learns it by
    ``partial_fit`` (Gama, Sebastiao, Rodrigues 2013). A block's ratings all come after those it is
    ranked from.

    Parameters
    ----------
    algo : an algorithm of this library
        It is fitted here, and has learned all of the data in the end.
    data : surprise.Dataset
        With timestamps, as those of :mod:`llmtokens.datasets`.
    every : int, default=1000
        Ratings in a block; those of one moment are never divided.
    start : float, default=0.5
        Share of the ratings to fit on first.
    measures : mapping of str to callable, optional
        From :class:`~llmtokens.metrics.Rankings` to a number; by default NDCG@10 and recall@10,
        where all that was chosen is relevant, whatever its rating.

    Returns
    -------
    DataFrame
        One row a block: ``time`` (of its first rating), ``n_users`` and ``n_ratings`` that were
        ranked, and the measures. What a user had rated before is not ranked again; a block in which
        nothing is left has no row.

    Raises
    ------
    DataError
        For ratings without timestamps, or arguments out of range.
    NotFittedError
        If an algorithm of your own has a ``fit`` that learns nothing.

    Examples
    --------
    >>> from llmtokens import LLMTokensEASE
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000).dataset
    >>> replay(LLMTokensEASE(l2=50.0), data, every=250)[["n_users", "n_ratings"]].values.tolist()
    [[14, 250], [14, 250]]
    """
    raw = getattr(data, "raw_ratings", None)
    if raw is None:
        raise DataError(
            f"found a {type(data).__name__} without raw_ratings; expected a Dataset with its folds "
            "still to make, such as those of llmtokens.datasets"
        )
    require_at_least("every", every, 1)
    if not (isinstance(start, (int, float)) and 0 < start < 1):
        raise DataError(f"found start={start!r}; expected a number between 0 and 1")
    if measures is None:
        measures = {
            "ndcg@10": partial(ndcg_at_k, k=10, relevant=-np.inf),
            "recall@10": partial(recall_at_k, k=10, relevant=-np.inf),
        }
    time = timestamps(raw)
    order = np.argsort(time, kind="stable")
    rows, time = itemgetter(*order.tolist())(raw), time[order]
    first = int(np.searchsorted(time, time[max(1, int(start * len(time)))], side="left"))
    if first == 0:
        raise DataError("all first ratings are of one moment; nothing comes before it: raise start")
    algo.fit(data.construct_trainset(list(rows[:first])))
    found = []
    while first < len(rows):
        end = int(np.searchsorted(time, time[min(first + every, len(time)) - 1], side="right"))
        block = rows[first:end]
        new = _unknown(algo, block)
        if new:
            lists = rank_all(algo, new, n=100)
            row: dict[str, Any] = {"time": time[first], "n_users": len(lists.users)}
            row["n_ratings"] = int(np.sum(~np.isnan(lists.rating)))
            found.append(row | {name: measure(lists) for name, measure in measures.items()})
        _learn(algo, block)
        first = end
    return pd.DataFrame(found)


def _unknown(algo: TokenAlgoBase, block: Any) -> list[tuple[Any, Any, float]]:
    """What of a block its users had not rated before."""
    ratings, row = algo.ratings_, algo.users_
    rated = {
        user: {ratings.item_ids[k] for k in ratings.of_user(row.row(user))[0].tolist()}
        for user in {line[0] for line in block}
    }
    return [tuple(line[:3]) for line in block if line[1] not in rated[line[0]]]


def _learn(algo: TokenAlgoBase, block: Any) -> None:
    columns = ["user", "item", "rating", "timestamp"]
    algo.partial_fit(pd.DataFrame([line[:4] for line in block], columns=columns))
