"""A run of users: their ratings, their rows, and everything of a sweep that is theirs.

Nothing of one user depends on another but through sums, which the phases of a sweep return, and
through the items and hyperparameters, which they are given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import gibbs, sums
from .features import histories, one_over
from .linked import Linked
from .moments import FeatureSums, Moments
from .noise import draw_precisions
from .ordered_sum import Parts
from .posterior import open_width, user_left_open
from .rated import Rated
from .streams import BLOCK, Purpose, by_block

Floats = NDArray[np.float64]


class Items(NamedTuple):
    """What users are told of the items: ``y_ui ~ N(users_u . design_i + offset_i, ...)``."""

    lead: Floats
    design: Floats
    offset: Floats
    precision: Floats


class UserPrior(NamedTuple):
    """What users' rows are drawn from: mean ``m + B' t``; and one precision of all ratings, where
    users have none of their own."""

    m: Floats
    B: Floats
    precision: Floats
    alpha: float | None


class Shard:
    """The state of a run of users.

    Parameters
    ----------
    index : int
        Of the shard, from 0.
    first : int
        Of its users, among all: a multiple of 1024.
    rated : Rated
    about : ndarray of float32, shape (n, d)
        What is known of the users apart from their ratings.
    n_factors, n_content, seed : int

    Attributes
    ----------
    V : (n, width), alpha : (n,), rows and precisions of the users
    features : (n, d)
    links : Linked
    kept : (samples, n, width)
        Where samples are kept; whoever makes the shard provides it.
    open : (n, ...)
        Sums over the samples of what they leave open.
    """

    def __init__(
        self,
        index: int,
        first: int,
        rated: Rated,
        about: NDArray[np.float32],
        n_factors: int,
        n_content: int,
        seed: int,
    ) -> None:
        self.index, self.first, self.rated, self.seed = index, first, rated, seed
        n, width = rated.n_users, n_content + n_factors + 1
        self.counts = np.diff(rated.ptr)
        self.V, self.alpha = np.zeros((n, width)), np.ones(n)
        self.features = about
        self.links = Linked(*rated.pairs(), first, seed, n_factors + 1)
        self.kept: Any = None
        self.open = np.zeros((n, open_width(n_factors)))
        self._history: Floats = np.zeros((n, 0))
        self._weights = np.sqrt(self.counts.astype(np.float64))

    # -- before the first sweep ----------------------------------------------------------------

    def count(self) -> Parts:
        """Ratings per item."""
        return (np.diff(self.rated.item_ptr),)

    def read_histories(self, leading: Floats) -> Parts:
        """The sum of squares of what text the users' items have."""
        self._history = histories(self.rated.ptr, self.rated.item, leading)
        return (float(np.sum(self._history**2)),)

    def join_histories(self, mean_square: float) -> Parts:
        """Make them features; sums of all features, plain and with the users' weights."""
        scaled = (self._history * one_over(float(np.sqrt(mean_square)))).astype(np.float32)
        self.features = np.hstack([self.features, scaled])
        self._history = np.zeros((len(scaled), 0))
        weighted = FeatureSums.of(self.features, self._weights)
        return (*FeatureSums.of(self.features), *weighted)

    def start_precisions(self, alpha: float) -> Parts:
        self.alpha[:] = alpha
        return ()

    # -- a sweep -------------------------------------------------------------------------------

    def draw_users(self, sweep: int, items: Items, prior: UserPrior) -> Parts:
        """Draw the rows; returns their moments, and what items' rows are drawn from."""
        if prior.alpha is not None:
            self.alpha[:] = prior.alpha
        normals, mean = np.empty_like(self.V), np.empty_like(self.V)
        for at, rng in self._blocks(sweep, Purpose.USERS):
            rng.standard_normal(out=normals[at])
            mean[at] = prior.m
            if len(prior.B):
                mean[at] += self.features[at].astype(np.float64) @ prior.B
        r = self.rated
        gibbs.sample_users(
            r.ptr, r.item, r.y, items.design, items.offset, self.alpha, items.precision, mean,
            prior.precision, normals, self.V,
        )  # fmt: skip
        return (*Moments.of(self.V, self.features), *self.products(items))

    def products(self, items: Items) -> Parts:
        """What items are drawn from: see :func:`llmtokens.kernels.gibbs.item_products`."""
        r, size = self.rated, self.V.shape[1] - items.lead.shape[1] + 2
        table = np.empty((len(items.offset), size * (size + 1) // 2))
        gibbs.item_products(r.item_ptr, r.user, r.item_y, self.V, self.alpha, items.lead, table)
        return (table,)

    def draw_precisions(
        self,
        sweep: int,
        items: Items,
        factors: tuple[float, float],
        hyper: tuple[float, float] | None,
    ) -> Parts:
        """Scale weights on content and factors, and draw precisions; returns the sums of squared
        errors, of precisions and of their logarithms, and by item, that of weighted squares."""
        c = items.lead.shape[1]
        self.V[:, :c] *= factors[0]
        self.V[:, c:-1] *= factors[1]
        r, of_users = self.rated, np.empty(len(self.V))
        squares = np.empty(len(r.item))
        sums.squared_errors(
            r.ptr, r.item, r.y, self.V, items.design, items.offset, items.precision, squares,
            of_users,
        )  # fmt: skip
        if hyper is None:
            return float(squares.sum()), float(self.alpha.sum()), 0.0, 0.0
        for at, rng in self._blocks(sweep, Purpose.NOISE):
            self.alpha[at] = draw_precisions(rng, *hyper, of_users[at], self.counts[at])
        of_items: Any = np.empty((-(-len(self.V) // BLOCK), len(items.offset)))
        sums.item_sums(r.ptr, r.item, squares, self.alpha, BLOCK, of_items)
        logs = float(np.log(self.alpha).sum())
        return float(squares.sum()), float(self.alpha.sum()), logs, of_items.sum(axis=0)

    def _blocks(self, sweep: int, purpose: Purpose) -> Any:
        return by_block(self.seed, sweep, purpose, self.first, len(self.V))

    # -- a sample ------------------------------------------------------------------------------

    def survey(self) -> Parts:
        """Moments of the rows with the users' weights, and weighted variances."""
        moments = Moments.of(self.V, self.features, self._weights)
        return (*moments, float(self._weights @ (1 / self.alpha)))

    def keep(self, slot: int, spread: Floats) -> Parts:
        """Put the rows where samples are kept, and add up what the estimates leave open."""
        self.kept[slot] = self.V
        self.open += user_left_open(self.V[:, -len(spread) :], 1 / self.alpha, spread)
        return ()
