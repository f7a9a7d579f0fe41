"""The selection correction: by how much the things a user picks are better than their text says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..data.entities import EntityIndex
from ..data.ratings import Ratings
from ..kernels import selection as kernels
from ..recommend.interface import FittedModel, Growth
from ..runtime.arrays import Floats, Rows, Singles
from ..runtime.locks import cached_property
from ..runtime.threads import over_rows
from ..storage.models import Array, Layout, Scalar, nested
from . import newcomers

Said = tuple[Any, Any, Any]  # of ratings: items, gaps and rests

_JUDGES = 800  # users from whom the priors are learned, and users at a time
_FEW_USERS, _FEW_BLOCKS = 64, 32  # are done before a second thread has woken up
_ROUNDS = 20
_WORST = -1e6  # standard deviations below the mean, whose logarithm is a number still
_LEAST = 1e-3  # variance of a coefficient that one user without ratings would have


def leading(items: EntityIndex, n: int) -> tuple[Singles, Singles, float]:
    """The leading ``n`` token dims, centred and of mean square norm 1; zeros without a token.

    Returns
    -------
    lead : ndarray of shape (n_item_rows, n), or fewer
    centre : ndarray of shape (n,)
    scale : float
        A token's row is ``(token[:n] - centre) * scale``.
    """
    own = items.tokens[items.has_token][:, :n]
    total: Singles = own.sum(axis=0, dtype=np.float64).astype(np.float32)
    centre: Singles = total / np.float32(max(len(own), 1))
    norm = np.sum(np.square(own - centre, dtype=np.float64)) / max(len(own), 1)
    scale = float(1 / np.sqrt(norm)) if norm > 1e-24 else 0.0
    lead = np.zeros((items.n_rows, own.shape[1]), np.float32)
    lead[items.has_token] = (own - centre) * np.float32(scale)
    return lead, centre, scale


class UserSums(NamedTuple):
    """Sums over the ratings of each user.

    Attributes
    ----------
    square : (n, d, d)
        ``X'X``, where a row of X is ``[lead - centre, 1]`` of an item rated.
    along : (n, 2, d), size : (n, 2)
        ``X'y`` and ``y'y`` for two targets: *gap*, by how much what was learned of the item is
        better than what its text says, and *rest*, what the text leaves open of the rating.
    """

    square: Floats
    along: Floats
    size: Floats

    @classmethod
    def of(cls, ptr: Rows, lead: Singles, centre: Floats, said: Said) -> UserSums:
        """Of users whose ratings, as ``ptr`` divides them, say so; ``lead`` is of all items."""
        (item, *targets), x, n = said, _design(lead, centre), len(ptr) - 1
        d = x.shape[1]
        made = cls(np.empty((n, d, d)), np.empty((n, 2, d)), np.empty((n, 2)))
        both = np.stack(targets).astype(np.float64)
        over_rows(n, kernels.user_products, ptr, item, x, both, *made, few=_FEW_USERS)
        return made

    def without(self, rows: Floats) -> tuple[Floats, Floats]:
        """``along`` and ``size`` of *rest* less ``X rows``."""
        along = self.along[:, 1] - np.einsum("nij,nj->ni", self.square, rows)
        return along, self.size[:, 1] - np.sum(rows * (self.along[:, 1] + along), axis=1)


class Correction(NamedTuple):
    r"""What is known of users' corrections before their ratings.

    Text that was fitted to ratings says of an item nobody has rated what it would say of one that
    somebody chose to rate, and people choose what they expect to like: not all of them equally, and
    not among all things alike. A user's correction is linear in the leading token dims, as far as
    they differ from those of a usual rating: :math:`D_u^T [x_i - \bar x, 1]`. Two regressions with
    a row for every user tell it, the second from what the first leaves open,

    .. math:: gap_{uj} \sim N(x_j^T D^1_u, \sigma_1^2), \quad
              rest_{uj} - x_j^T D^1_u \sim N(x_j^T D^2_u, \sigma_2^2), \quad
              D^s_u \sim N(m_s, S_s), \quad D_u = D^1_u + D^2_u

    with priors by maximum likelihood over the users (EM: Dempster, Laird & Rubin 1977). Of what is
    common to all users, :math:`m_s`, only the last entry counts: the others would fit to the
    particular items what the regression of items on their text has not believed.

    Attributes
    ----------
    mean : (2, d), spread : (2, d, d), noise : (2,), centre : (d - 1,)
    usual : float
        The mean correction over all ratings, which users without ratings get.
    """

    mean: Floats
    spread: Floats
    noise: Floats
    centre: Floats
    usual: float

    @classmethod
    def none(cls, d: int) -> Correction:
        """The one that corrects nothing."""
        return cls(np.zeros((2, d)), np.zeros((2, d, d)), np.ones(2), np.zeros(d - 1), 0.0)

    @classmethod
    def learn(
        cls, ratings: Ratings, lead: Singles, said: Callable[[Rows], Said]
    ) -> tuple[Correction, Floats]:
        """The most likely priors, and the rows of all users with ratings.

        Of very many users, some eight hundred, evenly chosen, judge the priors. ``said`` is asked
        for some ratings, by where they are.
        """
        centre = ratings.item_counts @ lead.astype(np.float64) / ratings.n
        n, d = ratings.n_users, lead.shape[1] + 1

        def sums(users: Rows) -> UserSums:
            ptr, at = chosen(ratings.user_ptr, users)
            return UserSums.of(ptr, lead, centre, said(at))

        judges = judging(n)
        judged = sums(judges)
        made, rows = cls.judged(judged, centre), np.empty((n, d))
        rows[judges] = made.rows(judged)
        others = np.setdiff1d(np.arange(n), judges)
        for k in range(0, len(others), _JUDGES):
            rows[others[k : k + _JUDGES]] = made.rows(sums(others[k : k + _JUDGES]))
        return made, rows

    @classmethod
    def judged(cls, sums: UserSums, centre: Floats) -> Correction:
        """The most likely priors of some users."""
        square, along, size = sums
        first = _learned(square, along[:, 0], size[:, 0])
        second = _learned(square, *sums.without(_expected(square, along[:, 0], *first)))
        mean, spread, noise = (np.array(pair) for pair in zip(first, second, strict=True))
        made, total = cls(mean, spread, noise, centre, 0.0), square[:, -1]  # of the rows of X
        return made._replace(usual=float(np.sum(made.rows(sums) * total) / total[:, -1].sum()))

    def row(self, lead: Singles, gap: Floats, rest: Floats, weights: Floats) -> Floats:
        """``D_u`` of one user, whose ratings have weights, shape (d,)."""
        x, targets = _design(lead, self.centre), np.stack([gap, rest])
        weighted = x * weights[:, None]
        sums = x.T @ weighted, targets @ weighted, targets**2 @ weights
        out: Floats = self.rows(UserSums(*(part[None] for part in sums)))[0]
        return out

    def rows(self, sums: UserSums) -> Floats:
        """``D_u`` of the users the sums are of, shape (n, d)."""
        first, second = zip(self.mean, self.spread, self.noise, strict=True)
        rows = _expected(sums.square, sums.along[:, 0], *first)
        rows = rows + _expected(sums.square, sums.without(rows)[0], *second)
        rows[:, :-1] -= self.mean.sum(axis=0)[:-1]
        return rows

    def times(self, factor: float) -> Correction:
        """That of ratings ``factor`` times as large."""
        scaled = self.mean * factor, self.spread * factor**2, self.noise * factor**2
        return Correction(*scaled, self.centre, self.usual * factor)

    def selection(self, rows: Floats, n_user_rows: int) -> Singles:
        """Corrections of all users; those without ratings have the usual one for all items."""
        out = np.zeros((n_user_rows, rows.shape[1]))
        out[:, -1] = self.usual
        out[: len(rows)] = rows
        return out.astype(np.float32)


CORRECTED: Layout = {
    "lead": Array(("item_rows", "lead")),
    "text_share": Array(("item_rows",)),
    "selection": Array(("user_rows", "lead + 1")),
    "correction.mean": Array((2, "lead + 1")),
    "correction.spread": Array((2, "lead + 1", "lead + 1")),
    "correction.noise": Array((2,)),
    "correction.centre": Array(("lead",)),
    "correction.usual": Scalar(float),
    "newcomers": Array((2,)),
    "newness": Array(("user_rows",)),
    "newcomer_gap": Array(("item_rows",)),
}


@dataclass(frozen=True, eq=False)
class CorrectedModel(FittedModel):
    r"""A fitted model whose estimates hold :math:`w_i D_u^T [x_i - \bar x, 1]`.

    Attributes
    ----------
    lead : ndarray of float32, shape (n_item_rows, d - 1)
        ``x``: the leading token dims.
    text_share : ndarray, shape (n_item_rows,)
        ``w``: how much of an item's estimate its text has a say in.
    selection : ndarray of float32, shape (n_user_rows, d)
        ``D``.
    correction : Correction
        What ``D`` is shrunk to.
    newcomers : ndarray of shape (2,)
        What users without ratings say of rare and of popular items, see
        :mod:`~llmtokens.algorithms.newcomers`; zeros where nothing is known of it.
    newness : ndarray of shape (n_user_rows,)
        How new a user is.
    newcomer_gap : ndarray of shape (n_item_rows,)
        What is to be added for a user who is entirely new.
    """

    lead: Singles
    text_share: NDArray[Any]
    selection: Singles
    correction: Correction
    newcomers: Floats
    newness: Floats
    newcomer_gap: Floats

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> Self:
        parts = nested(arrays)
        parts["correction"] = Correction(**parts["correction"])
        return cls(ratings, users, items, **parts)

    @staticmethod
    def without_newcomers(users: EntityIndex, items: EntityIndex) -> dict[str, Any]:
        """The entries that say nothing of new users."""
        return {
            "newcomers": np.zeros(2),
            "newness": np.zeros(users.n_rows),
            "newcomer_gap": np.zeros(items.n_rows),
        }

    @staticmethod
    def newcomer_parts(
        learned: Floats, ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> dict[str, Any]:
        """The entries that say of new users what was learned."""
        counts = [
            np.pad(of, (0, side.n_rows - len(of)))
            for of, side in ((ratings.user_counts, users), (ratings.item_counts, items))
        ]
        return {
            "newcomers": learned,
            "newness": newcomers.newness(counts[0]),
            "newcomer_gap": newcomers.gaps(learned, counts[1]),
        }

    def with_newcomers(self, unit: float = 1.0) -> Self:
        """The model that knows what users without ratings say of rare and of popular items.

        ``unit`` is how large on the scale of the ratings is what corrections have as 1.
        """
        ratings, every = self.ratings, np.arange(self.ratings.n_items)
        usual, _ = self.score(np.full(len(every), self.users.unknown), every)
        known = newcomers.learn(ratings, usual - ratings.global_mean) / unit
        return replace(self, **self.newcomer_parts(known, ratings, self.users, self.items))

    def corrections(self, users: Rows, items: Rows) -> Floats:
        """``w_i D_u . [lead_i - centre, 1]`` of pairs of rows."""
        x = _design(self.lead[items], self.correction.centre)
        out: Floats = self.text_share[items] * np.einsum("nd,nd->n", self.selection[users], x)
        return out

    def newcomer_terms(self, users: Rows, items: Rows) -> Floats:
        """What is added of pairs of rows because the users are new."""
        out: Floats = self.newness[users] * self.newcomer_gap[items]
        return out

    def grown(self, growth: Growth) -> Self:
        model = super().grown(growth)
        if not self.newcomers.any():
            return model
        newness, gap = model.newness.copy(), model.newcomer_gap.copy()
        for row in growth.learn_users:
            newness[row] = newcomers.newness(model.ratings.of_user(row)[2].sum())
        for row in (*growth.new_items, *growth.learn_items):
            gap[row] = newcomers.gaps(self.newcomers, model.ratings.of_item(row)[2].sum())
        return replace(model, newness=newness, newcomer_gap=gap)

    def list_scores(self, users: Rows) -> Floats:
        r"""The log of how likely an item is to be chosen, times how likely it is to be liked then:

        .. math:: \log (n_i + 1/2) + \log \Phi\left((\hat r_{ui} - \mu) / s\right)

        of its number of ratings, the estimate, and mean and standard deviation of all ratings. An
        estimate alone puts what few have rated, and all of them high, above what everybody likes.
        Nothing in it is chosen on data; where weights were tried on inner folds, it was as good as
        the best of them.
        """
        above = (self.rank_scores(users) - self.ratings.global_mean) / self._deviation
        out: Floats = self._log_counts + special.log_ndtr(np.maximum(above, _WORST))
        return out

    @cached_property
    def _log_counts(self) -> Floats:
        counts = np.zeros(self.items.n_rows)
        counts[: self.ratings.n_items] = self.ratings.item_counts
        return np.log(counts + 0.5)

    @cached_property
    def _deviation(self) -> float:
        """Standard deviation of the ratings; 1 where they are all alike."""
        return float(np.sqrt(np.mean(self.ratings.deviation**2))) or 1.0

    def all_corrections(self, users: Rows) -> Floats:
        """Both for all items, shape (n, n_item_rows)."""
        of_users, of_items = self.correction_factors
        out: Floats = of_users[users] @ of_items.T
        return out

    def taste_selected(self, user: int) -> Floats:
        """By how much more than for somebody unknown the correction would raise each item, had
        nobody rated it: shape (n_item_rows,)."""
        apart = self.selection[user] - self.selection[self.users.unknown]
        made: Floats = _design(self.lead, self.correction.centre) @ apart
        return made * float(self.text_share[self.items.unknown])

    @cached_property
    def correction_factors(self) -> tuple[Floats, Floats]:
        """Rows of users and of items whose products are both corrections."""
        of_items = self.text_share[:, None] * _design(self.lead, self.correction.centre)
        return (
            np.column_stack([self.selection, self.newness]),
            np.column_stack([of_items, self.newcomer_gap]),
        )


def _design(lead: Singles, centre: Floats) -> Floats:
    """``[lead - centre, 1]``."""
    return np.column_stack([lead - centre, np.ones(len(lead))])


def judging(n_users: int) -> Rows:
    """The users from whom the priors are learned: of very many some eight hundred."""
    return np.arange(0, n_users, -(-n_users // _JUDGES))


def chosen(user_ptr: Rows, users: Rows) -> tuple[Any, Any]:
    """Pointers of the ratings of some users, and where these are."""
    counts = user_ptr[users + 1] - user_ptr[users]
    ptr = np.concatenate([[0], np.cumsum(counts)])
    return ptr, np.arange(ptr[-1]) + np.repeat(user_ptr[users] - ptr[:-1], counts)


def _expected(square: Floats, along: Floats, mean: Any, spread: Any, noise: Any) -> Floats:
    """What is expected of users' rows, (n, d)."""
    if not spread.any():  # nothing was learned
        return np.tile(mean, (len(along), 1))
    none = np.empty((0, *spread.shape))
    precision: Any = np.linalg.inv(np.asarray(spread, np.float64))  # files may hold other widths
    return _posterior(square, along, np.asarray(mean, np.float64), precision, noise, none)


def _learned(square: Floats, along: Floats, size: Floats) -> tuple[Floats, Floats, float]:
    """Mean, spread and noise of the most likely prior."""
    along, (n, d) = np.ascontiguousarray(along), along.shape
    n_ratings = float(square[:, -1, -1].sum())
    noise = max(float(size.sum()) / n_ratings, 1e-12)
    mean, spread = np.zeros(d), np.eye(d) * (noise / 20)
    mean[-1] = along[:, -1].sum() / n_ratings
    for _ in range(_ROUNDS):
        rows, open_, errors = _expectation(square, along, size, mean, spread, noise)
        noise, mean = max(errors / n_ratings, 1e-12), rows.mean(axis=0)
        spread = ((rows - mean).T @ (rows - mean) + open_ + np.eye(d) * _LEAST) / (n + 1)
    return mean, spread, noise


def _expectation(
    square: Floats, along: Floats, size: Floats, mean: Floats, spread: Floats, noise: float
) -> tuple[Floats, Floats, float]:
    """Users' rows, the sum of what is open of them, and the expected squared errors of ratings."""
    precision: Any = np.linalg.inv(spread)
    sums = np.empty((_n_blocks(along), *spread.shape))
    rows = _posterior(square, along, mean, precision, noise, sums)
    open_ = sums.sum(axis=0)
    pulled = np.sum(rows @ precision * (mean - rows)) + rows.size - np.sum(precision * open_)
    return rows, open_, float(size.sum() - np.sum(rows * along) + noise * pulled)


def _posterior(
    square: Floats, along: Floats, mean: Any, precision: Floats, noise: Any, spread: Floats
) -> Floats:
    """Users' rows; what is open of them is added up in ``spread``, see the kernel."""
    along = np.ascontiguousarray(along)
    rows = np.empty_like(along)
    given = square, along, mean, precision, noise, rows, spread
    over_rows(_n_blocks(along), kernels.expected_rows, *given, few=_FEW_BLOCKS)
    return rows


def _n_blocks(rows: Floats) -> int:
    return -(-len(rows) // kernels.LANES)
