"""The block Gibbs sampler: one state, and a sweep that draws all of it anew."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import gibbs
from .features import LEAD, Links, centred_lead
from .linked import Carry, find_links
from .moments import FeatureSums, Moments
from .noise import OnePrecision, RowPrecisions, draw_precisions
from .priors import ItemPrior, NormalWishart, TokenPrior, draw_from
from .shard import UserPrior
from .streams import Purpose, stream
from .team import ItemRows, Team

Floats = NDArray[np.float64]

_LOG_FACTORS = np.linspace(-6.0, 6.0, 401)  # so wide that the ends have no weight
_START = 0.1  # standard deviation of the first factors


class Size(NamedTuple):
    """How much there is of everything."""

    n_users: int
    n_items: int
    n_ratings: int
    n_factors: int
    n_content: int


class Sampler:
    r"""The chain, but for what is the users' own: their rows are with the team.

    .. math:: y_{ui} \sim N(a_u^T x_i + p_u^T q_i + b_u + b_i, \; 1 / (\alpha_u \alpha_i))

    A sweep asks the team three times for sums over users: when their rows are drawn, when their
    precisions are, and for the links, whose coefficients are drawn user by user.

    Attributes
    ----------
    Q, Q_mean : ndarray of shape (n_items, n_factors + 1)
        ``[q_i, b_i]``, and its conditional mean when it was drawn.
    item_alpha : ndarray of shape (n_items,)
        Precision factors.
    user_alpha : float
        That of all users, where they have none of their own.
    item_known : ndarray of shape (n_items,)
        What the ratings added to the precision of ``b_i`` when it was drawn.
    user_prior : NormalWishart or TokenPrior
    item_prior : NormalWishart or ItemPrior
    weighted : FeatureSums
        Of the users' features, with the roots of their numbers of ratings for weights.
    user_noise : OnePrecision or RowPrecisions
    item_noise : RowPrecisions, or None beside OnePrecision
    sweeps : int
        How many there were.
    rmse, mean_alpha : float
        Root mean square error, and mean precision of the users, after the last.
    """

    def __init__(
        self,
        team: Team,
        size: Size,
        priors: tuple[Any, Any],
        noises: tuple[OnePrecision | RowPrecisions, RowPrecisions | None],
        seed: int,
    ) -> None:
        self.team, self.size, self.seed = team, size, seed
        self.user_prior, self.item_prior = priors
        self.user_noise, self.item_noise = noises
        self.Q = np.zeros((size.n_items, size.n_factors + 1))
        start = stream(seed, 0, Purpose.START).standard_normal((size.n_items, size.n_factors))
        self.Q[:, :-1] = start * _START
        self.Q_mean = self.Q.copy()
        self.user_alpha = self.user_noise.start
        self.item_alpha, self.item_known = np.ones(size.n_items), np.zeros(size.n_items)
        if self.item_noise is not None:
            self.item_alpha[:] = self.item_noise.start
        team.total("start_precisions", self.user_alpha)
        self.item_counts: NDArray[np.int64] = team.total("count")[0]
        self.links: Links | None = None
        self.weighted = FeatureSums(0.0, np.zeros(0), np.zeros((0, 0)))
        self.sweeps, self.rmse, self.mean_alpha = 0, np.nan, np.nan

    @classmethod
    def plain(cls, team: Team, size: Size, seed: int) -> Sampler:
        """Bayesian probabilistic matrix factorisation (Salakhutdinov & Mnih 2008)."""
        k = size.n_factors + 1
        priors = NormalWishart(size.n_users, k), NormalWishart(size.n_items, k)
        return cls(team, size, priors, (OnePrecision(), None), seed)

    @classmethod
    def with_features(cls, team: Team, size: Size, text: NDArray[np.float32], seed: int) -> Sampler:
        """The full model; rows of the text features are those of the items with ratings."""
        squares = team.total("read_histories", centred_lead(text, team.total("count")[0]))[0]
        n_histories = size.n_users * min(text.shape[1], LEAD)
        sums = team.total("join_histories", squares / max(n_histories, 1))
        links = find_links(team, size.n_items)
        k = size.n_factors + 1
        priors = (
            TokenPrior(size.n_content + k, FeatureSums(*sums[:3])),
            ItemPrior(size.n_items, k, text, size.n_users if links else 0),
        )
        made = cls(team, size, priors, (RowPrecisions(False), RowPrecisions(True)), seed)
        made.links, made.weighted = links, FeatureSums(*sums[3:])
        return made

    def sweep(self) -> None:
        """Draw users, their prior, items, their prior, precisions: each given all the rest."""
        rng = stream(self.seed, self.sweeps, Purpose.ITEMS)
        products = self._draw_users(rng)
        self._draw_items(rng, products)
        factors = self._scale(rng, products)
        self._draw_precisions(rng, factors)
        if isinstance(self.item_prior, ItemPrior):
            self.item_prior.learn_rows(rng, self.Q, self._draw_links)
        else:
            none = np.zeros((len(self.Q), 0), np.float32)
            self.item_prior.learn(rng, Moments.of(self.Q, none))
        self.sweeps += 1

    def own_share(self) -> Floats:
        """The share of each item's bias that stems from its prior."""
        prior = self.item_prior.precision[-1, -1]
        out: Floats = prior / (prior + self.item_known)
        return out

    def _draw_users(self, rng: np.random.Generator) -> Floats:
        """Users' rows and their prior; returns the products that items are drawn from."""
        prior, noise = self.user_prior, self.user_noise
        *moments, products = self.team.total(
            "draw_users", self.sweeps, ItemRows(self.Q, self.item_alpha),
            UserPrior(
                prior.m, prior.B, prior.precision,
                self.user_alpha if isinstance(noise, OnePrecision) else None,
            ),
        )  # fmt: skip
        prior.learn(rng, Moments(*moments))
        return np.asarray(products)

    def _draw_items(self, rng: np.random.Generator, products: Floats) -> None:
        prior, k = self.item_prior, self.Q.shape[1]
        normals: Any = rng.standard_normal(self.Q.shape)
        gibbs.sample_items(
            products, self.item_alpha, prior.mean(), prior.precision, normals, self.Q, self.Q_mean
        )
        self.item_known = self.item_alpha * products[:, k * (k + 1) // 2 - 1]

    def _scale(self, rng: np.random.Generator, products: Floats) -> tuple[float, float]:
        """The moves of scale; returns the factors of the users' content weights and factors."""
        if not isinstance(self.item_prior, ItemPrior):
            return 1.0, 1.0
        of_factors = self._rescale_factors(rng, products)
        aa, ae, ll, le, la = self._shared(products, self.item_prior.fit)
        if self.item_prior.has_features:
            le += (1 - self._interweave(rng, aa, ae + aa)) * la
        if not self.size.n_content:
            return 1.0, of_factors
        return self._rescale_users(rng, slice(self.size.n_content), ll, le + ll), of_factors

    def _shared(self, products: Floats, fit: Floats) -> list[float]:
        """What the parts of the expectations that the moves scale share with each other and with
        the errors: see :func:`llmtokens.kernels.gibbs.scale_moments`."""
        out = np.empty(5)
        gibbs.scale_moments(products, self.item_alpha, self.Q, fit, out)
        shared: list[float] = out.tolist()
        return shared

    def _rescale_factors(self, rng: np.random.Generator, products: Floats) -> float:
        """Scale the users' factors; returns by how much, and lets ``products`` follow."""
        n, free = self.size.n_content, self.Q.copy()
        free[:, -1] = 0.0
        curvature, slope = self._shared(products, free)[:2]
        columns = slice(n, n + self.size.n_factors)
        factor = self._rescale_users(rng, columns, curvature, slope + curvature)
        scale = np.append(np.full(self.size.n_factors, factor), np.ones(3))
        products *= np.outer(scale, scale)[np.tril_indices(len(scale))]
        return factor

    def _interweave(self, rng: np.random.Generator, curvature: float, slope: float) -> float:
        r"""Scale what the text says by a factor c, holding the residuals of the items' rows.

        ``B -> cB, strength -> strength / c^2``: a move along the orbit of a scale group (Liu &
        Sabatti 2000) that changes the expectations themselves, as the ancillary half of an
        interweaving sampler does (Yu & Meng 2011). The prior of B and the log-uniform strength are
        invariant under it, so that c has the likelihood alone to obey; the factors are those that
        lead from one strength of the grid to another. Without it useless features fade slowly.
        """
        prior = self.item_prior
        factors = np.sqrt(prior.strength / prior.strengths)
        index = draw_from(rng, slope * factors - curvature * factors**2 / 2)
        self.Q += prior.rescale(index, factors[index])
        return float(factors[index])

    def _rescale_users(
        self, rng: np.random.Generator, columns: slice, curvature: float, slope: float
    ) -> float:
        """Scale columns of the users' rows by a factor c, and all that is said of them with it.

        Another such move: rows, mean, coefficients, precision and its scale ``a`` follow along, so
        that only the likelihood and the prior of ``a``, inverse gamma, have a say in c. Without it
        few ratings leave factors as large as the prior allows.
        """
        scale, (shape, rate) = self.user_prior.scale[columns], self.user_prior.SCALE_PRIOR
        curvature += 2 * rate * float(np.sum(1 / scale))
        factors = np.exp(_LOG_FACTORS)
        log_weights = 2 * shape * len(scale) * _LOG_FACTORS
        log_weights += slope * factors - curvature * factors**2 / 2
        factor = float(factors[draw_from(rng, log_weights)])
        self.user_prior.rescale_columns(columns, factor)
        return factor

    def _draw_precisions(self, rng: np.random.Generator, factors: tuple[float, float]) -> None:
        users, items, size = self.user_noise, self.item_noise, self.size
        hyper = (users.shape, users.rate) if isinstance(users, RowPrecisions) else None
        squares, total, logs, of_items = self.team.total(
            "draw_precisions", self.sweeps, ItemRows(self.Q, self.item_alpha), factors, hyper
        )
        self.rmse, self.mean_alpha = np.sqrt(squares / size.n_ratings), total / size.n_users
        if isinstance(users, OnePrecision):
            self.user_alpha = users.learn(rng, squares, size.n_ratings)
            return
        assert items is not None
        users.learn(rng, size.n_users, total, logs)
        self.item_alpha = draw_precisions(rng, items.shape, items.rate, of_items, self.item_counts)
        items.learn(
            rng, size.n_items, float(self.item_alpha.sum()), float(np.log(self.item_alpha).sum())
        )

    def _draw_links(
        self, white: Floats, strength: float, root: Floats, inverse_root: Floats
    ) -> tuple[Floats, Floats]:
        assert self.links is not None
        dense = self.links.dense
        carry = self.team.draw_links(
            self.sweeps, Carry(white, np.zeros(white.shape[1]), dense @ white), strength, root
        )
        left = carry.resid + np.outer(dense, carry.shift)
        return left, self.team.total("links.close", inverse_root)[0]
