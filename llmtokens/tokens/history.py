"""What users did, as weighted means of what they did it with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ..data.ids import plain_ids
from ..data.ratings import Ratings
from ..data.times import seconds
from ..errors import DataError
from ..runtime.arrays import Floats, Mask, Rows

_DAMPING = 10.0  # ratings at the mean of all that every user is given beside their own


@dataclass(frozen=True, eq=False)
class History:
    """Who did what, and how much it counts.

    Attributes
    ----------
    user_ids, item_ids : list
        Raw ids.
    user, item : ndarray, shape (n,)
        Positions in these lists.
    weight : ndarray of float64, shape (n,)
        Below zero for what a user did not like.
    """

    user_ids: list[Any]
    item_ids: list[Any]
    user: NDArray[Any]
    item: NDArray[Any]
    weight: Floats

    @classmethod
    def of_ratings(cls, ratings: Ratings) -> History:
        """That of a trainset, with the weights of its times where it has any."""
        weight = liking(ratings.user, ratings.value, ratings.n_users)
        if ratings.weight is not None:
            weight = weight * ratings.weight
        return cls(ratings.user_ids, ratings.item_ids, ratings.user, ratings.item, weight)

    @classmethod
    def of_frame(
        cls, frame: Any, half_life: float | None, weights: Iterable[float] | None
    ) -> History:
        """That of a table with the columns user and item, and rating and timestamp if it has them.

        Raises
        ------
        DataError
            For missing columns, or ratings, weights or times that are no finite numbers.
        """
        wanted = ["user", "item"] + ([] if half_life is None else ["timestamp"])
        if not isinstance(frame, pd.DataFrame) or not set(wanted) <= set(frame.columns):
            found = list(frame) if isinstance(frame, pd.DataFrame) else type(frame).__name__
            raise DataError(
                f"found {found!s:.80}; expected a DataFrame with the columns {wanted}, such as the "
                ".ratings of load_ratings"
            )
        users, items = (pd.factorize(frame[side]) for side in ("user", "item"))
        if len(frame) == 0 or min(users[0].min(), items[0].min()) < 0:
            raise DataError("found no ratings, or some without a user or an item; drop these rows")
        if weights is not None:
            weight = _numbers("weights", list(weights), len(frame))
        elif "rating" in frame:
            values = _numbers("ratings", frame["rating"], len(frame))
            weight = liking(users[0], values, len(users[1]))
        else:
            weight = np.ones(len(frame))
        if half_life is not None:
            if not half_life > 0:
                raise DataError(f"found half_life={half_life!r}; expected seconds above 0, or None")
            times = _numbers("timestamps", seconds(frame["timestamp"]), len(frame))
            weight = weight * 0.5 ** (_age(users[0], times) / half_life)
        return cls(plain_ids(users[1]), plain_ids(items[1]), users[0], items[0], weight)

    def counts(self, known: Mask) -> Rows:
        """How many ratings of items that are known count for each user, shape (n_users,)."""
        counted = self.user[known[self.item] & (self.weight != 0)]
        return np.bincount(counted, minlength=len(self.user_ids)).astype(np.int64)

    def means(self, vectors: NDArray[Any], rows: Rows) -> Floats:
        """Of each user the sum of weight times vector over the sum of sizes of weights.

        Parameters
        ----------
        vectors : ndarray, shape (m, d)
        rows : ndarray of int64, shape (n_items,)
            Where the items' vectors are, -1 for none.

        Returns
        -------
        ndarray of float64, shape (n_users, d)
            Zeros for users of whom nothing counts.
        """
        at = rows[self.item]
        known = at >= 0
        shape = (len(self.user_ids), len(vectors))
        table = sparse.csr_array((self.weight[known], (self.user[known], at[known])), shape=shape)
        total = np.asarray(abs(table).sum(axis=1)).ravel()
        sums = np.asarray(table @ vectors.astype(np.float64))
        means: Floats = sums / np.where(total > 0, total, 1)[:, None]
        return means


def liking(user: NDArray[Any], value: Floats, n_users: int) -> Floats:
    """Ratings less their user's mean, which is damped by ten ratings at the mean of all, (n,).

    Where all ratings are alike, as those of clicks are, each counts 1.
    """
    if value.max() - value.min() <= 1e-12 * np.abs(value).max():
        return np.ones(len(value))
    deviation = value - value.mean()
    bias = np.bincount(user, deviation, n_users) / (np.bincount(user, minlength=n_users) + _DAMPING)
    weight: Floats = deviation - bias[user]
    return weight


def _age(user: NDArray[Any], times: Floats) -> Floats:
    """Seconds from each rating to the last of its user, shape (n,)."""
    last = np.full(user.max() + 1, -np.inf)
    np.maximum.at(last, user, times)
    age: Floats = last[user] - times
    return age


def _numbers(what: str, values: Any, n: int) -> Floats:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"found {what} that are no numbers: {error}") from error
    if numbers.shape != (n,) or not np.isfinite(numbers).all():
        raise DataError(f"found {what} of shape {numbers.shape}, or not all of them finite; "
                        f"expected {n} finite numbers, one for each row")  # fmt: skip
    return numbers
