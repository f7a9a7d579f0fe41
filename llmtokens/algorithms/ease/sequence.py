"""What comes next: histories weighted by recency, and what followed what.

With ``h_u`` a user's history, recent entries weighing most, and ``C`` the weighted counts of how
often an item came soon after another, scores are

``s_u = x_u B + share h_u P C``, ``P = (X'X + a T T' + l I)^-1``

where ``x_u`` is weighted by recency too. ``P C`` is the next-item matrix of a ridge regression of
what followed on the histories, with the Gram matrix of EASE as that of the histories: so an item
that has few followers of its own, or only a text, is followed by what its neighbours are followed
by. It is never formed: ``x P`` comes from B, and C is sparse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from scipy import sparse

from ...data.ratings import Ratings
from ...runtime.arrays import Floats, Mask, Rows, Singles
from .solver import Items, solve
from .tuning import evenly, reciprocal_gains

_LEAST = 1e-3  # a weight below it says nothing
_REACH = 30  # places between an item and what still follows it
_POWERS = (0.0, 1.0)  # and one half
_SCALES = (np.inf, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # of a decay by age, in median steps
_SHARES = (0.3, 1.0, 3.0)  # of what follows, where both parts of a score spread alike
_JUDGES = 500  # users by whose last items all is chosen
_FEWEST = 20  # of them: below it nothing is
_SURE = 3.0  # standard errors by which the order of things must help: many forms are tried


@dataclass(frozen=True)
class Recency:
    """``(1 + k)^-power exp(-rate age)`` for what is ``k`` places and ``age`` back.

    >>> Recency(1.0, 0.0).weights(np.array([0, 1, 3]), np.array([0.0, 5.0, 9.0])).tolist()
    [1.0, 0.5, 0.25]
    """

    power: float
    rate: float

    def weights(self, places: Rows, ages: Floats) -> Floats:
        return np.asarray((1.0 + places) ** -self.power * np.exp(-self.rate * ages), np.float64)


@dataclass(frozen=True, eq=False)
class History:
    """Ratings in the order in which each user made them.

    Attributes
    ----------
    user, item : ndarray of int, shape (n,)
        Sorted by user, then by time; ratings of one moment in the order they came in.
    time : ndarray of float64, shape (n,)
        One without a time is as new as its user's newest.
    moment : ndarray of int64, shape (n,)
        Ratings of a user at one time have one number; those without a time have one each.
    n_users, n_items : int
    """

    user: Rows
    item: Rows
    time: Floats
    moment: Rows
    n_users: int
    n_items: int

    @classmethod
    def of(cls, ratings: Ratings, times: Floats) -> History:
        """From ratings and their times, NaN where unknown."""
        known = np.where(np.isnan(times), -np.inf, times)
        newest = np.maximum.reduceat(known, ratings.user_ptr[:-1])
        newest = np.where(np.isinf(newest), 0.0, newest)
        late = np.isnan(times)
        time = np.where(late, newest[ratings.user], times)
        order = np.lexsort((late, time, ratings.user))
        user, time, late = ratings.user[order].astype(np.int64), time[order], late[order]
        fresh = np.ones(len(user), bool)
        fresh[1:] = (np.diff(user) != 0) | (np.diff(time) != 0) | late[1:]
        item = ratings.item[order].astype(np.int64)
        return cls(user, item, time, np.cumsum(fresh), ratings.n_users, ratings.n_items)

    @cached_property
    def back(self) -> Rows:
        """How many a user made afterwards, shape (n,)."""
        ends = np.cumsum(np.bincount(self.user, minlength=self.n_users))
        return ends[self.user] - 1 - np.arange(len(self.user))

    @cached_property
    def is_last(self) -> Mask:
        """Whether it is the only one of its user's last moment, shape (n,).

        Files are sorted in ways that say nothing of what came last within a moment.
        """
        alone = np.bincount(self.moment)[self.moment] == 1
        out: Mask = (self.back == 0) & alone
        return out

    @cached_property
    def age(self) -> Floats:
        """Time from a rating to the user's newest, shape (n,)."""
        newest = np.zeros(self.n_users)
        newest[self.user] = self.time  # the last one written is the newest
        out: Floats = newest[self.user] - self.time
        return out

    @cached_property
    def step(self) -> float:
        """The median time between two ratings of a user that are not of one moment."""
        steps = np.diff(self.time)[self.user[1:] == self.user[:-1]]
        steps = steps[steps > 0]
        return float(np.median(steps)) if len(steps) else 1.0

    def only(self, chosen: Rows) -> History:
        """Some of the ratings."""
        return replace(
            self, user=self.user[chosen], item=self.item[chosen], time=self.time[chosen],
            moment=self.moment[chosen],
        )  # fmt: skip

    def recent(self, recency: Recency) -> sparse.csr_array:
        """Weights of what users have rated, shape (n_users, n_items); of repeats the newest's."""
        weight = recency.weights(self.back, self.age)
        kept = np.flatnonzero(weight >= _LEAST)
        pair = self.user[kept] * self.n_items + self.item[kept]
        _, last = np.unique(pair[::-1], return_index=True)
        kept = kept[len(kept) - 1 - last]
        entries = weight[kept].astype(np.float32), (self.user[kept], self.item[kept])
        return sparse.csr_array(entries, shape=(self.n_users, self.n_items))

    def followers(self, recency: Recency) -> sparse.csr_array:
        """``C``: weighted counts of what (columns) came after what, shape (n_items, n_items)."""
        shape, counts = (self.n_items, self.n_items), []
        for gap in range(1, _REACH + 1):
            first = np.flatnonzero(self.user[gap:] == self.user[:-gap])
            then = first + gap
            ages = self.time[then] - self.time[first]
            weight = recency.weights(np.full(len(first), gap - 1), ages)
            kept = weight >= _LEAST
            pairs = self.item[first[kept]], self.item[then[kept]]
            counts.append(sparse.csr_array((weight[kept].astype(np.float32), pairs), shape=shape))
            if not kept.any():
                break
        return sparse.csr_array(sum(counts[1:], counts[0]))


@dataclass(frozen=True)
class Sequence:
    """How the order of things counts: what was found on the last items of the training data.

    Attributes
    ----------
    taste_power, taste_rate : float
        Recency of ``x_u``.
    next_power, next_rate : float
        Recency of ``h_u``, and of what followed.
    share : float
        Weight of what follows, 0 where it does not help.
    """

    taste_power: float
    taste_rate: float
    next_power: float
    next_rate: float
    share: float

    @property
    def taste(self) -> Recency:
        return Recency(self.taste_power, self.taste_rate)

    @property
    def next(self) -> Recency:
        return Recency(self.next_power, self.next_rate)

    def following(
        self, items: Items, recent: sparse.csr_array, followers: sparse.csr_array
    ) -> Singles:
        """``share h P C`` for rows of histories, shape (n, n_items)."""
        out: Singles = np.float32(self.share) * following(items, recent, followers)
        return out


def following(items: Items, recent: sparse.csr_array, followers: sparse.csr_array) -> Singles:
    """``h P C`` for rows of histories: ``h P`` as ``B = I - P / diag(P)``, shape (n, n_items)."""
    residual = (recent.toarray() - items.scores(recent)) * items.precision
    out: Singles = (sparse.csr_array(followers.T) @ residual.T).T  # twice as fast this way round
    return out


def choose_sequence(
    history: History,
    rows: sparse.csr_array,
    features: Singles,
    token_weight: float,
    l2: float,
    max_dense: int,
) -> Sequence | None:
    """What ranks the last item of each user best, from what went before it.

    The last items are taken out of all that is learned here; whose last moment has several has no
    last item. None where nothing is better, beyond doubt, than EASE without times.

    Parameters
    ----------
    rows : sparse array, shape (n_users, n_items)
        X.
    """
    counts = np.bincount(history.user, minlength=history.n_users)
    last = history.is_last & (counts[history.user] > 2)
    held = np.flatnonzero(last)
    held = held[evenly(len(held), _JUDGES)] if len(held) else held
    if len(held) < _FEWEST:
        return None
    before = history.only(np.flatnonzero(~last))
    users, targets = history.user[held], history.item[held]
    mask = sparse.csr_array(
        (np.ones(last.sum(), np.float32), (history.user[last], history.item[last])), rows.shape
    )
    known = sparse.csr_array(rows - rows.multiply(mask))
    known.eliminate_zeros()
    items = solve(known, features, token_weight, l2, max_dense)
    own = known[users]

    def gains(scores: Singles) -> Floats:
        return reciprocal_gains(scores, own, targets)

    def taste_of(form: Recency) -> Singles:
        return items.scores(sparse.csr_array(own.multiply(before.recent(form)[users])))

    plain = gains(items.scores(own))
    taste = search(history.step, lambda form: gains(taste_of(form)))
    tastes = taste_of(taste)

    @cache
    def with_next(form: Recency) -> tuple[Floats, float]:
        """The gains with the best share, and that share."""
        comes = following(items, before.recent(form)[users], before.followers(form))
        even = float(tastes.std()) / max(float(comes.std()), 1e-12)
        found = [gains(tastes + np.float32(ratio * even) * comes) for ratio in _SHARES]
        best = int(np.argmax([gain.sum() for gain in found]))
        return found[best], _SHARES[best] * even

    form = search(history.step, lambda form: with_next(form)[0])
    best, best_gains = Sequence(taste.power, taste.rate, 0.0, 0.0, 0.0), gains(tastes)
    both, share = with_next(form)
    if both.sum() > best_gains.sum():
        best_gains = both
        best = Sequence(taste.power, taste.rate, form.power, form.rate, share)
    better = best_gains - plain
    noise = float(np.std(better)) * np.sqrt(len(better))
    return best if better.sum() > _SURE * noise else None


def search(step: float, gains: Callable[[Recency], Floats]) -> Recency:
    """The decay with the highest gains: first by age, then by place.

    ``step``: :attr:`History.step`.
    """

    @cache
    def gain(form: Recency) -> float:
        return float(gains(form).sum())

    by_age = max((Recency(0.5, 1 / (scale * step)) for scale in _SCALES), key=gain)
    return max([by_age, *(Recency(power, by_age.rate) for power in _POWERS)], key=gain)
