r"""What a user is like just now: a term of the ratings that have a time, for any algorithm.

.. math:: s_u(t) \sim GP(0, \sigma^2 e^{-|t - t'| / \tau})

of every user, an Ornstein-Uhlenbeck process, in one time scale for all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.ratings import Ratings
from ..data.timestamps import Timestamps
from ..kernels import drift as kernels
from ..runtime.arrays import Floats, Rows
from ..runtime.threads import over_rows

_VARIANCES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)  # for each unit of noise
_TIMES = 10.0 ** np.arange(-1, 5.01, 0.5)  # of the usual gap between two ratings
_START = 0.2
_ASKED = 10_000  # users, of very many, whose gaps tell which is usual
_GAIN = 1e-3  # the share of squared errors that must be worth the term


class DriftScale(NamedTuple):
    """Variance, and the time after which little of a deviation is left."""

    variance: float
    tau: float


class Sequence(NamedTuple):
    """Ratings with a time, by user and in the order of time.

    Attributes
    ----------
    ptr : (n_users + 1,)
    at : (n,)
        Where they are among all ratings.
    gap : (n,)
        Time since the user's rating before; infinite for the first.
    """

    ptr: Rows
    at: Rows
    gap: Floats

    @classmethod
    def of(cls, user: Any, times: Floats, n_users: int) -> Sequence:
        """``user`` and ``times`` by rating, the users in order; NaN: no time."""
        at = np.flatnonzero(np.isfinite(times))
        at = at[np.lexsort((times[at], user[at]))]
        ptr = np.append(0, np.cumsum(np.bincount(user[at], minlength=n_users)))
        gap = np.diff(times[at], prepend=0.0)
        gap[ptr[:-1][ptr[:-1] < len(gap)]] = np.inf
        return cls(ptr.astype(np.int64), at, gap)

    def smoothed(self, e: Floats, precision: Floats, scale: DriftScale) -> tuple[Floats, Floats]:
        """Means and variances of ``s`` given errors ``e``, both in this order."""
        mean, variance, out = np.empty_like(e), np.empty_like(e), np.empty_like(e)
        over_rows(
            len(self.ptr) - 1, kernels.sample, self.ptr, self.gap, e, precision, *scale,
            np.zeros_like(e), out, mean, variance,
        )  # fmt: skip
        return mean, variance


class Moments(NamedTuple):
    """When ratings were made, and what that may tell.

    Attributes
    ----------
    timestamps : Timestamps, or None
    times : (n_ratings,), or None where nothing can be learned from them
    unit : float
        The usual gap between two ratings of a user.
    """

    timestamps: Timestamps | None = None
    times: Floats | None = None
    unit: float = 0.0

    @classmethod
    def of(cls, given: Any, ratings: Ratings) -> Moments:
        """``given`` as :class:`~.LLMTokensBPMF` takes it.

        Raises
        ------
        DataError
            For another form, or where no rating has a time.

        Warns
        -----
        LLMTokensWarning
            Where some have none.
        """
        if given is None:
            return cls()
        timestamps = Timestamps.of(given)
        times = timestamps.of_some_ratings(ratings)
        gaps = gaps_between(ratings.user, times, ratings.n_users)
        return cls(timestamps, times, float(np.median(gaps))) if len(gaps) else cls(timestamps)


def gaps_between(user: NDArray[np.int32], times: Floats, n_users: int) -> Floats:
    """Gaps between a user's ratings, where there are some: of every user, or of ``n_users`` that
    are very many some ten thousand. ``user`` and ``times`` are of some users' ratings."""
    asked = user % -(-n_users // _ASKED) == 0
    known = Sequence.of(user[asked], times[asked], int(user.max(initial=-1)) + 1)
    gaps: Floats = known.gap[np.isfinite(known.gap) & (known.gap > 0)]
    return gaps


def learn_scale(sequence: Sequence, errors: Floats, unit: float) -> DriftScale | None:
    """The variance, for a noise of 1, and the time scale that best foretell each error from the
    others; None where none is worth having. ``errors`` are in the order of the sequence.

    The time is chosen first, then the variance, then the time again.
    """
    sure = np.ones(len(errors))

    def loss(scale: DriftScale) -> float:
        mean, variance = sequence.smoothed(errors, sure, scale)
        return float(np.mean(((errors - mean) / (1 - variance)) ** 2))

    scale = DriftScale(_START, unit)
    for _ in range(2):
        scale = min((DriftScale(scale.variance, unit * t) for t in _TIMES), key=loss)
        scale = min((DriftScale(v, scale.tau) for v in _VARIANCES), key=loss)
    return scale if loss(scale) < (1 - _GAIN) * float(np.mean(errors**2)) else None


def smoothed_at(
    user: NDArray[Any],
    times: Floats,
    left: Floats,
    precision: Floats,
    scale: DriftScale,
    who: Rows,
    when: Floats,
) -> tuple[Floats, Floats]:
    """Means and variances of what users are like at further moments.

    Parameters
    ----------
    user, times, left, precision : ndarray of shape (n,)
        Of ratings, the users in order: when they were made, what else is known leaves of them, and
        how sure they are.
    who, when : ndarray of shape (m,)
        Users and moments that are asked for: each is a rating that says nothing.
    """
    every = np.concatenate([user, who])
    order = np.argsort(every, kind="stable")
    n_users = int(every.max()) + 1
    s = Sequence.of(every[order], np.concatenate([times, when])[order], n_users)
    none, at = np.zeros(len(who)), order[s.at]
    found = s.smoothed(
        np.concatenate([left, none])[at], np.concatenate([precision, none])[at], scale
    )
    mean, variance = np.zeros(len(every)), np.zeros(len(every))
    mean[at], variance[at] = found
    return mean[len(user) :], variance[len(user) :]
