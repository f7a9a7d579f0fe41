"""The users' side of the sampler: their ratings, rows and links, in shards, and who holds these.

Nothing of one user depends on another but through sums, which the phases of a sweep return, and
through the items and hyperparameters, which they are given. So users may be divided into shards,
and shards among processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ...data.ratings import Ratings
from ...kernels import drift as drift_kernels
from ...kernels import gibbs
from ...runtime.arrays import Floats, Rows, Singles
from ...runtime.threads import over_rows
from ..rating_scale import SHRINK
from ..selection import Correction, UserSums, chosen
from .conditional import open_width, pair_moments, user_left_open
from .drift import Drift, DriftScale
from .features import histories, one_over
from .links import Carry, LinkCoefficients, Links, LinkShares
from .messages import (
    AboutUsers,
    ErrorSums,
    FactorsOfScale,
    GammaPrior,
    ItemRows,
    ItemSums,
    RowSums,
    SaidOfItems,
    Survey,
    UserPrior,
    UserRows,
)
from .priors import FeatureSums, Moments, draw_precisions
from .reproducible import BLOCK, OrderedSum, Purpose, by_block

P = ParamSpec("P")
S = TypeVar("S")

_FEW = 32  # rows a thread is worth waking for
_RATINGS = 400_000  # of a shard, about: its users' rows then stay in the cache


class ShardRatings(NamedTuple):
    """Standardised ratings of a run of users.

    Those of user ``u``, counted from the first, are ``[ptr[u]:ptr[u + 1]]`` of ``item`` and ``y``;
    those of item ``i`` are ``[item_ptr[i]:item_ptr[i + 1]]`` of ``user`` and ``item_y``.
    """

    ptr: Rows
    item: NDArray[np.int32]
    y: Singles
    item_ptr: Rows
    user: NDArray[np.int32]
    item_y: Singles

    @classmethod
    def of(
        cls,
        ptr: Rows,
        item: NDArray[np.int32],
        y: Singles,
        n_items: int,
    ) -> ShardRatings:
        """From the ratings in user order."""
        small = ptr.astype(np.int32)
        turned = csr_array((y, item, small), shape=(len(ptr) - 1, n_items)).tocsc()
        return cls(ptr, item, y, turned.indptr.astype(np.int64), turned.indices, turned.data)

    @property
    def n_users(self) -> int:
        return len(self.ptr) - 1

    def item_order(self) -> Rows:
        """Where the ratings in item order are among those in user order."""
        shape = (self.n_users, len(self.item_ptr) - 1)
        by_user = csr_array((np.arange(len(self.item)), self.item, self.ptr), shape=shape)
        order: Rows = by_user.tocsc().data
        return order

    def pairs(self) -> tuple[Rows, NDArray[np.int32]]:
        """Pointers and items as above, no pair twice."""
        again = np.flatnonzero(self.user[1:] == self.user[:-1]) + 1
        again = again[~np.isin(again, self.item_ptr)]  # the first ratings of items are no repeats
        if not len(again):
            return self.ptr, self.item
        user = np.repeat(np.arange(self.n_users), np.diff(self.ptr))
        size = len(self.item_ptr) - 1
        user, item = np.divmod(np.unique(user * size + self.item), size)
        counts = np.bincount(user, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]), item.astype(np.int32)


def users_a_shard(n_users: int, n_ratings: int, n_items: int) -> int:
    """How many users make a shard: whole blocks, twice as many until there are ratings enough that
    tables of items are worth their while.

    >>> users_a_shard(610, 100_000, 9_700), users_a_shard(200_000, 20_000_000, 10_000)
    (1024, 4096)
    """
    size, wanted = BLOCK, max(_RATINGS, 8 * n_items)
    while size < n_users and size * n_ratings < wanted * n_users:
        size *= 2
    return size


class Shard:
    """The state of a run of users.

    Parameters
    ----------
    index : int
        Of the shard, from 0.
    first : int
        Of its users, among all: a multiple of 1024.
    rated : ShardRatings
    about : ndarray of float32, shape (n, d)
        What is known of the users apart from their ratings.
    lead : ndarray of float64, shape (n_items, c)
        The content dims that users have weights of their own for.
    n_factors, seed : int
    deviation : ndarray of float64, shape (n_ratings,)
        Of the ratings from the mean of all, in user order.
    times : ndarray of float64, shape (n_ratings,), optional
        Of the ratings, in user order; NaN where there is none.

    Attributes
    ----------
    V : (n, width), alpha : (n,), rows and precisions of the users
    features : (n, d)
    links : LinkCoefficients
    drift : Drift, or None
        Of what users are like just now, where ratings have times; then the ratings that the rest
        of the model sees, ``rated``, are ``given`` less that.
    kept : (samples, n, width)
        Where samples are kept; whoever makes the shard provides it.
    fitted : UserRows
        Where the model will be; whoever makes the shard provides it.
    open : (n, ...)
        Sums over the samples of what they leave open.
    """

    def __init__(
        self,
        index: int,
        first: int,
        rated: ShardRatings,
        about: Singles,
        lead: Floats,
        n_factors: int,
        seed: int,
        deviation: Floats,
        times: Floats | None = None,
    ) -> None:
        self.deviation = deviation
        self.index, self.first, self.rated, self.lead, self.seed = index, first, rated, lead, seed
        n, width = rated.n_users, lead.shape[1] + n_factors + 1
        self.counts = np.diff(rated.ptr)
        self.V, self.alpha = np.zeros((n, width)), np.ones(n)
        self.features = about
        self.links = LinkCoefficients(*rated.pairs(), first, seed, n_factors + 1)
        self.drift, self.given = None, rated
        if times is not None:
            self.drift = Drift(rated.ptr, times, first, seed)
            self.rated = rated._replace(y=np.array(rated.y), item_y=np.array(rated.item_y))
            self._item_order = rated.item_order()
        self.kept: Any = None
        self.fitted: Any = None
        self.open = np.zeros((n, open_width(n_factors)))
        self._history: Floats = np.zeros((n, 0))
        self._weights = np.sqrt(self.counts.astype(np.float64))

    # -- before the first sweep ----------------------------------------------------------------

    def count(self) -> Rows:
        """Ratings per item."""
        return np.diff(self.rated.item_ptr)

    def read_histories(self, leading: Floats) -> float:
        """The sum of squares of what text the users' items have."""
        self._history = histories(self.rated.ptr, self.rated.item, leading)
        return float(np.sum(self._history**2))

    def join_histories(self, mean_square: float) -> AboutUsers:
        """Make them features; sums of all features, plain and with the users' weights."""
        scaled = (self._history * one_over(float(np.sqrt(mean_square)))).astype(np.float32)
        self.features = np.hstack([self.features, scaled])
        self._history = np.zeros((len(scaled), 0))
        weighted = FeatureSums.of(self.features, self._weights)
        return AboutUsers(FeatureSums.of(self.features), weighted)

    def raters(self) -> Floats:
        """How many users rated each item."""
        return self.links.raters(len(self.lead))

    def link_shares(self, n_pairs: float) -> LinkShares:
        return self.links.shares(n_pairs, len(self.lead))

    def start_links(self, links: Links) -> None:
        self.links.start(links)

    def start_precisions(self, alpha: float) -> None:
        self.alpha[:] = alpha

    # -- a sweep -------------------------------------------------------------------------------

    def read_drift(self, rows: ItemRows) -> None:
        """Take note of what the rest of the model leaves of the ratings."""
        assert self.drift is not None
        r, items = self.given, rows.seen(self.lead)
        left = np.empty(len(r.item))
        over_rows(
            len(self.V), drift_kernels.errors, r.ptr, r.item, r.y, self.V, items.design,
            items.offset, left, few=_FEW,
        )  # fmt: skip
        self.drift.read(left, np.repeat(self.alpha, self.counts) * items.precision[r.item])

    def drift_evidence(self, candidates: list[DriftScale]) -> Floats:
        """The log likelihood of what was read, by scale of what users are like just now."""
        assert self.drift is not None
        return self.drift.evidence(candidates)

    def draw_drift(self, sweep: int, scale: DriftScale) -> None:
        """Draw what users are like just now, given what was read; take it off the ratings."""
        assert self.drift is not None
        self.drift.draw(sweep, scale)
        self.take_off_drift()

    def take_off_drift(self) -> None:
        """Let the rest of the model see the ratings less what users were like just then."""
        if self.drift is None:
            return
        self.rated.y[:] = self.given.y - self.drift.states
        self.rated.item_y[:] = self.rated.y[self._item_order]

    def draw_users(self, sweep: int, rows: ItemRows, prior: UserPrior) -> RowSums:
        """Draw the rows; returns their moments, and what items' rows are drawn from."""
        if prior.alpha is not None:
            self.alpha[:] = prior.alpha
        items, r = rows.seen(self.lead), self.rated
        normals, mean = np.empty_like(self.V), np.empty_like(self.V)
        for at, rng in self._blocks(sweep, Purpose.USERS):
            rng.standard_normal(out=normals[at])
            mean[at] = prior.m
            if len(prior.B):
                mean[at] += self.features[at].astype(np.float64) @ prior.B
        over_rows(
            len(self.V), gibbs.sample_users, r.ptr, r.item, r.y, items.design, items.offset,
            self.alpha, items.precision, mean, prior.precision, normals, self.V, few=_FEW,
        )  # fmt: skip
        return RowSums(Moments.of(self.V, self.features), self.products())

    def products(self) -> Floats:
        """What items are drawn from: see :func:`llmtokens.kernels.gibbs.item_products`."""
        r, size = self.rated, self.V.shape[1] - self.lead.shape[1] + 2
        table = np.empty((len(self.lead), size * (size + 1) // 2))
        over_rows(
            len(table), gibbs.item_products, r.item_ptr, r.user, r.item_y, self.V, self.alpha,
            self.lead, table, few=_FEW,
        )  # fmt: skip
        return table

    def draw_precisions(
        self, sweep: int, rows: ItemRows, factors: FactorsOfScale, prior: GammaPrior | None
    ) -> ErrorSums:
        """Scale weights on content and factors, and draw precisions, where users have their own."""
        c, items = self.lead.shape[1], rows.seen(self.lead)
        self.V[:, :c] *= factors.content
        self.V[:, c:-1] *= factors.factors
        r, of_users = self.rated, np.empty(len(self.V))
        squares = np.empty(len(r.item))
        over_rows(
            len(self.V), gibbs.squared_errors, r.ptr, r.item, r.y, self.V, items.design,
            items.offset, items.precision, squares, of_users, few=_FEW,
        )  # fmt: skip
        if prior is None:
            return ErrorSums(float(squares.sum()), float(self.alpha.sum()), 0.0, 0.0)
        for at, rng in self._blocks(sweep, Purpose.NOISE):
            self.alpha[at] = draw_precisions(rng, *prior, of_users[at], self.counts[at])
        of_items: Any = np.empty((-(-len(self.V) // BLOCK), len(items.offset)))
        over_rows(
            len(of_items), gibbs.item_sums, r.ptr, r.item, squares, self.alpha, BLOCK, of_items,
            few=1,
        )  # fmt: skip
        logs = float(np.log(self.alpha).sum())
        return ErrorSums(float(squares.sum()), float(self.alpha.sum()), logs, of_items.sum(axis=0))

    def close_links(self, inverse_root: Floats) -> Floats:
        return self.links.close(inverse_root)

    def _blocks(self, sweep: int, purpose: Purpose) -> Iterator[tuple[slice, np.random.Generator]]:
        return by_block(self.seed, sweep, purpose, self.first, len(self.V))

    # -- a sample ------------------------------------------------------------------------------

    def survey(self) -> Survey:
        moments = Moments.of(self.V, self.features, self._weights)
        return Survey(moments, float(self._weights @ (1 / self.alpha)))

    def keep(self, slot: int, spread: Floats) -> None:
        """Put the rows where samples are kept, and add up what the estimates leave open."""
        self.kept[slot] = self.V
        self.open += user_left_open(self.V[:, -len(spread) :], 1 / self.alpha, spread)

    # -- the model ------------------------------------------------------------------------------

    def put_open(self, n: int) -> None:
        """Put what ``n`` samples leave open on average where the model will be."""
        self.fitted.open[:] = self.open / n

    def item_sums(self) -> ItemSums:
        """Sums of the ratings."""
        r, n_items = self.given, len(self.lead)
        user = np.repeat(np.arange(len(self.V)), self.counts)
        own = np.bincount(user, self.deviation, len(self.V)) / (self.counts + SHRINK)
        better: Any = np.bincount(r.item, self.deviation - own[user], n_items)
        deviation: Any = np.bincount(r.item, self.deviation, n_items)
        return ItemSums(deviation, better)

    def newcomer_squares(self, by: Floats, less: Floats) -> float:
        """See :func:`llmtokens.algorithms.newcomers.learn_from_sums`."""
        r, user = self.given, np.repeat(np.arange(len(self.V)), self.counts)
        left = by[r.item] * self.deviation - less[r.item]
        return float(np.sum(np.bincount(user, left, len(self.V)) ** 2))

    def judge(self, judges: Rows, said: SaidOfItems, lead: Singles, centre: Floats) -> UserSums:
        """What the selection correction learns from: zeros for judges that are elsewhere."""
        n, d = len(judges), lead.shape[1] + 1
        made = UserSums(np.zeros((n, d, d)), np.zeros((n, 2, d)), np.zeros((n, 2)))
        own = np.flatnonzero((judges >= self.first) & (judges < self.first + len(self.V)))
        if len(own):
            for table, part in zip(made, self._sums(judges[own] - self.first, said, lead, centre),
                                   strict=True):  # fmt: skip
                table[own] = part
        return made

    def select(self, said: SaidOfItems, lead: Singles, correction: Correction) -> None:
        """Put the users' corrections where the model will be."""
        for first in range(0, len(self.V), BLOCK):
            users = np.arange(first, min(first + BLOCK, len(self.V)))
            sums = self._sums(users, said, lead, correction.centre)
            self.fitted.selection[users[0] : users[-1] + 1] = correction.rows(sums)

    def _sums(self, users: Rows, said: SaidOfItems, lead: Singles, centre: Floats) -> UserSums:
        ptr, at = chosen(self.given.ptr, users)
        user, item = np.repeat(np.arange(len(users)), np.diff(ptr)), self.given.item[at]
        samples = self.kept[: said.learned.shape[1], users].transpose(1, 0, 2)
        known, item = (user, np.ascontiguousarray(samples)), item.astype(np.int64)
        learned, text = (pair_moments(*known, item, table, said.lead)[0]
                         for table in (said.learned, said.from_text))  # fmt: skip
        rest = self.deviation[at] / said.std
        if self.drift is not None and said.drift is not None:
            precision = 1 / (self.fitted.open[users, 0][user] * said.variance[item])
            rest -= self.drift.expected(at, rest - learned, precision, said.drift)
        return UserSums.of(ptr, lead, centre, (item, learned - text, rest - text))


class Team(ABC):
    """All shards, wherever they are."""

    @abstractmethod
    def total(
        self, phase: Callable[Concatenate[Shard, P], S], *args: P.args, **kwargs: P.kwargs
    ) -> S:
        """The sum of what a method of :class:`Shard` returns, over all shards."""

    @abstractmethod
    def draw_links(self, sweep: int, carry: Carry, strength: float, root: Floats) -> Carry:
        """Draw the coefficients of who rated an item, shard after shard."""

    @abstractmethod
    def reserve(self, n_rows: int, slots: int, c: int, k: int) -> UserRows:
        """Make room for what a model of ``slots`` samples keeps of ``n_rows`` users; returns the
        rows of those without ratings, to be filled by whoever asks."""

    @abstractmethod
    def rows(self, n: int) -> UserRows:
        """The rows of all users, with the first ``n`` samples."""


class Shards(Team):
    """Shards in this process: a run of them, by index."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards

    @classmethod
    def of(
        cls,
        ratings: Ratings,
        std: float,
        about: Singles,
        lead: Singles,
        n_factors: int,
        seed: int,
        times: Floats | None = None,
    ) -> Shards:
        """Divide ratings, in units of ``std``; ``about`` has rows of users, ``lead`` of items, and
        ``times`` is of the ratings."""
        size = users_a_shard(ratings.n_users, ratings.n, ratings.n_items)
        content = np.ascontiguousarray(lead.astype(np.float64))
        shards = []
        for index, first in enumerate(range(0, ratings.n_users, size)):
            ptr = ratings.user_ptr[first : first + size + 1]
            at = slice(ptr[0], ptr[-1])
            y = (ratings.deviation[at] / std).astype(np.float32)
            rated = ShardRatings.of(ptr - ptr[0], ratings.item[at], y, ratings.n_items)
            shards.append(
                Shard(
                    index,
                    first,
                    rated,
                    about[first : first + size],
                    content,
                    n_factors,
                    seed,
                    ratings.deviation[at],
                    None if times is None else times[at],
                )
            )
        return cls(shards)

    def partial(
        self, phase: Callable[Concatenate[Shard, P], S], *args: P.args, **kwargs: P.kwargs
    ) -> OrderedSum[S]:
        """The sum of what a phase returns, as far as these shards go."""
        out: OrderedSum[S] = OrderedSum()
        for shard in self.shards:
            out.add(shard.index, phase(shard, *args, **kwargs))
        return out

    def total(
        self, phase: Callable[Concatenate[Shard, P], S], *args: P.args, **kwargs: P.kwargs
    ) -> S:
        return self.partial(phase, *args, **kwargs).result()

    def draw_links(
        self, sweep: int, carry: Carry, strength: float, root: Floats, first: int = 0
    ) -> Carry:
        """Draw the columns of the coefficients that ``carry`` has, which begin with ``first``."""
        for shard in self.shards:
            shard.links.draw(sweep, carry, first, strength, root)
        return carry

    def reserve(self, n_rows: int, slots: int, c: int, k: int) -> UserRows:
        self._rows, end = UserRows.zeros(n_rows, slots, c, k), 0
        for shard in self.shards:
            end = shard.first + len(shard.V)
            shard.fitted = self._rows.of(slice(shard.first, end))
            shard.kept = shard.fitted.samples.transpose(1, 0, 2)  # they are there at once
        return self._rows.of(slice(end, n_rows))

    def rows(self, n: int) -> UserRows:
        # A copy where an interrupt left room: the order of sums over an array depends on its
        # strides, and a fit for as many samples has none to spare.
        return self._rows._replace(samples=np.ascontiguousarray(self._rows.samples[:, :n]))


def find_links(team: Team) -> Links | None:
    """The scale of who rated what, told to the shards; None where it says nothing."""
    raters = team.total(Shard.raters)
    links = Links.of(raters, team.total(Shard.link_shares, float(raters.sum())))
    if links is not None:
        team.total(Shard.start_links, links)
    return links
