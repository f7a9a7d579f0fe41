"""Fairness: does a measure differ between groups of users?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd

from ..data.ids import IdIndex
from ..errors import DataError, sample


def group_gap(
    predictions: Any,
    groups: Mapping[Hashable, Any] | pd.Series,
    measure: Callable[..., Any],
    *,
    per_group: bool = False,
    **arguments: Any,
) -> float | pd.DataFrame:
    """The difference between the best and the worst served group of users.

    Parameters
    ----------
    predictions : iterable of Prediction, or Rankings
        Whatever ``measure`` takes.
    groups : mapping or Series, user -> group
        Say, gender, or ``pd.qcut(users.groupby("user").size(), 4)``: user activity. Ids match
        exactly, or else through ``str(id)``.
    measure : callable
        Any measure of :mod:`llmtokens.metrics` that takes ``per_user=True``.
    per_group : bool, default=False
        Return the table instead of its range.
    **arguments
        For ``measure``: k, relevant, trainset, and the like.

    Returns
    -------
    float or DataFrame indexed by group
        Largest minus smallest of the groups' means over users; or the table with ``users`` (those
        with a value), ``mean``, and ``difference`` from the mean of all users.

    Raises
    ------
    DataError
        If ``measure`` has no value for each user, ``groups`` are no mapping, a user has no group or
        a missing one, there are fewer than two groups, or nobody in a group has a value.

    Examples
    --------
    >>> from llmtokens.metrics import mae
    >>> from surprise import Prediction
    >>> rows = [Prediction("ann", "a", 5, 4, {}), Prediction("bob", "a", 1, 4, {})]
    >>> group_gap(rows, {"ann": "f", "bob": "m"}, mae)
    2.0
    >>> group_gap(rows, {"ann": "f", "bob": "m"}, mae, per_group=True)["difference"].to_dict()
    {'f': -1.0, 'm': 1.0}
    """
    try:
        values = measure(predictions, per_user=True, **arguments)
        if not isinstance(values, pd.Series):
            raise TypeError(f"it gave a {type(values).__name__}")
    except TypeError as error:
        raise DataError(
            f"the measure cannot be taken user by user ({error}); expected one that takes "
            "per_user=True, such as rmse or ndcg_at_k, and the arguments it needs"
        ) from error
    labels = _labels(groups, list(values.index))
    by_group = values.reset_index(drop=True).groupby(labels, observed=True)
    table = pd.DataFrame({"users": by_group.count(), "mean": by_group.mean()})
    table.index.name = "group"
    if len(table) < 2:
        raise DataError(f"found one group, {table.index[0]!r}; expected at least two to compare")
    unserved = table.index[table["users"] == 0]
    if len(unserved):
        raise DataError(
            f"found no user with a value in the groups {sample(unserved)}; join them with others "
            "or take another measure"
        )
    table["difference"] = table["mean"] - values.mean()
    return table if per_group else float(table["mean"].max() - table["mean"].min())


def _labels(groups: Mapping[Hashable, Any] | pd.Series, users: list[Hashable]) -> pd.Series:
    if not isinstance(groups, (pd.Series, Mapping)):
        raise DataError(
            f"found groups of type {type(groups).__name__}; expected a mapping or a Series from "
            "user to group: of a frame take a column, as frame.set_index('user')['gender']"
        )
    series = groups if isinstance(groups, pd.Series) else pd.Series(groups, dtype=object)
    if not series.index.is_unique:
        twice = sample(series.index[series.index.duplicated()].unique())
        raise DataError(f"found users with more than one group: {twice}; expected one each")
    rows = IdIndex(series.index.tolist()).rows(users)
    labels = series.reset_index(drop=True).reindex(rows).reset_index(drop=True)
    missing = labels.isna().to_numpy()
    if missing.any():
        who = sample(user for user, gone in zip(users, missing.tolist(), strict=True) if gone)
        raise DataError(
            f"found {int(missing.sum())} of {len(users)} users without a group: {who}; give them "
            "one, as with groups.fillna('unknown'), or take their predictions out"
        )
    return labels
