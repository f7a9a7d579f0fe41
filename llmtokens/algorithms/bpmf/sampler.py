"""The block Gibbs sampler: one state, and a sweep that draws all of it anew."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...kernels import gibbs
from ...runtime.arrays import Floats, Singles
from ...runtime.threads import over_rows
from .drift import DriftPrior
from .features import LEAD, centred_lead
from .links import Carry, Links
from .messages import FactorsOfScale, GammaPrior, ItemRows, UserPrior
from .priors import (
    FeatureSums,
    ItemPrior,
    Moments,
    NormalWishart,
    OnePrecision,
    RowPrecisions,
    TokenPrior,
    draw_from,
    draw_precisions,
)
from .reproducible import Purpose, stream
from .shards import Shard, Team, find_links

_LOG_FACTORS = np.linspace(-6.0, 6.0, 401)  # so wide that the ends have no weight
_START = 0.1  # standard deviation of the first factors


class Size(NamedTuple):
    """How much there is of everything."""

    n_users: int
    n_items: int
    n_ratings: int
    n_factors: int
    n_content: int


class Shared(NamedTuple):
    """Weighted sums over all ratings: see :func:`llmtokens.kernels.gibbs.scale_moments`."""

    aa: float
    ae: float
    ll: float
    le: float
    la: float


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
    drift : DriftPrior, or None
        Of what users are like just now, where ratings have times.
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
        user_prior: NormalWishart | TokenPrior,
        item_prior: NormalWishart | ItemPrior,
        user_noise: OnePrecision | RowPrecisions,
        item_noise: RowPrecisions | None,
        seed: int,
        links: Links | None = None,
        weighted: FeatureSums | None = None,
        drift: DriftPrior | None = None,
    ) -> None:
        self.team, self.size, self.seed = team, size, seed
        self.user_prior, self.item_prior = user_prior, item_prior
        self.user_noise, self.item_noise = user_noise, item_noise
        self.links, self.drift = links, drift
        self.weighted = weighted or FeatureSums(0.0, np.zeros(0), np.zeros((0, 0)))
        self.Q = np.zeros((size.n_items, size.n_factors + 1))
        start = stream(seed, 0, Purpose.START).standard_normal((size.n_items, size.n_factors))
        self.Q[:, :-1] = start * _START
        self.Q_mean = self.Q.copy()
        self.user_alpha = user_noise.start
        self.item_alpha, self.item_known = np.ones(size.n_items), np.zeros(size.n_items)
        if item_noise is not None:
            self.item_alpha[:] = item_noise.start
        team.total(Shard.start_precisions, self.user_alpha)
        self.item_counts = team.total(Shard.count)
        self.sweeps, self.rmse, self.mean_alpha = 0, np.nan, np.nan

    @classmethod
    def plain(cls, team: Team, size: Size, seed: int, drift: DriftPrior | None) -> Sampler:
        """Bayesian probabilistic matrix factorisation (Salakhutdinov & Mnih 2008)."""
        k = size.n_factors + 1
        users, items = NormalWishart(size.n_users, k), NormalWishart(size.n_items, k)
        return cls(team, size, users, items, OnePrecision(), None, seed, drift=drift)

    @classmethod
    def with_features(
        cls,
        team: Team,
        size: Size,
        text: Singles,
        seed: int,
        drift: DriftPrior | None,
        one_space: bool,
    ) -> Sampler:
        """The full model; rows of the text features are those of the items with ratings, and users'
        tokens may be of the items' space."""
        squares = team.total(Shard.read_histories, centred_lead(text, team.total(Shard.count)))
        width = min(text.shape[1], LEAD)
        about = team.total(Shard.join_histories, squares / max(size.n_users * width, 1))
        links, k = find_links(team), size.n_factors + 1
        n_tokens = len(about.plain.total) - width
        shared = size.n_content if one_space else 0
        users = TokenPrior(size.n_content + k, about.plain, n_first=n_tokens, n_shared=shared)
        items = ItemPrior(size.n_items, k, text, size.n_users if links else 0)
        noises = RowPrecisions(False), RowPrecisions(True)
        return cls(team, size, users, items, *noises, seed, links, about.weighted, drift)

    def sweep(self) -> None:
        """Draw what users are like just now, users, their prior, items, their prior, precisions:
        each given all the rest."""
        self._draw_drift()
        rng = stream(self.seed, self.sweeps, Purpose.ITEMS)
        products = self._draw_users(rng)
        self._draw_items(rng, products)
        factors = self._scale(rng, products)
        self._draw_precisions(rng, factors)
        self._learn_item_prior(rng)
        self.sweeps += 1

    @property
    def has_features(self) -> bool:
        """Whether this is the full model."""
        return isinstance(self.item_prior, ItemPrior)

    def own_share(self) -> Floats:
        """The share of each item's bias that stems from its prior."""
        prior = self.item_prior.precision[-1, -1]
        out: Floats = prior / (prior + self.item_known)
        return out

    def _draw_drift(self) -> None:
        """Its scale, with the processes integrated out, and then these."""
        if self.drift is None:
            return
        rng = stream(self.seed, self.sweeps, Purpose.DRIFT)
        self.team.total(Shard.read_drift, ItemRows(self.Q, self.item_alpha))
        candidates = self.drift.candidates(rng, self.sweeps)
        if candidates:
            found = self.team.total(Shard.drift_evidence, candidates)
            self.drift.learn(rng, candidates, found)
        self.team.total(Shard.draw_drift, self.sweeps, self.drift.scale)

    def _draw_users(self, rng: np.random.Generator) -> Floats:
        """Users' rows and their prior; returns the products that items are drawn from."""
        prior, noise = self.user_prior, self.user_noise
        made = self.team.total(
            Shard.draw_users, self.sweeps, ItemRows(self.Q, self.item_alpha),
            UserPrior(
                prior.m, prior.B, prior.precision,
                self.user_alpha if isinstance(noise, OnePrecision) else None,
            ),
        )  # fmt: skip
        prior.learn(rng, made.moments)
        return made.products

    def _draw_items(self, rng: np.random.Generator, products: Floats) -> None:
        prior, k = self.item_prior, self.Q.shape[1]
        normals: Any = rng.standard_normal(self.Q.shape)
        over_rows(
            len(self.Q), gibbs.sample_items, products, self.item_alpha, prior.mean(),
            prior.precision, normals, self.Q, self.Q_mean, few=64,
        )  # fmt: skip
        self.item_known = self.item_alpha * products[:, k * (k + 1) // 2 - 1]

    def _scale(self, rng: np.random.Generator, products: Floats) -> FactorsOfScale:
        """The moves of scale; returns the factors of the users' content weights and factors."""
        if not isinstance(self.item_prior, ItemPrior):
            return FactorsOfScale()
        of_factors = self._rescale_factors(rng, products)
        shared = self._shared(products, self.item_prior.fit)
        le = shared.le
        if self.item_prior.groups:
            le += (1 - self._interweave(rng, shared.aa, shared.ae + shared.aa)) * shared.la
        if not self.size.n_content:
            return FactorsOfScale(1.0, of_factors)
        columns = slice(0, self.size.n_content)
        of_content = self._rescale_users(rng, columns, shared.ll, le + shared.ll)
        return FactorsOfScale(of_content, of_factors)

    def _shared(self, products: Floats, fit: Floats) -> Shared:
        """What the parts of the expectations that the moves scale share with each other and with
        the errors: see :func:`llmtokens.kernels.gibbs.scale_moments`."""
        out = np.empty(5)
        gibbs.scale_moments(products, self.item_alpha, self.Q, fit, out)
        return Shared(*out.tolist())

    def _rescale_factors(self, rng: np.random.Generator, products: Floats) -> float:
        """Scale the users' factors; returns by how much, and lets ``products`` follow."""
        n, free = self.size.n_content, self.Q.copy()
        free[:, -1] = 0.0
        shared = self._shared(products, free)
        columns = slice(n, n + self.size.n_factors)
        factor = self._rescale_users(rng, columns, shared.aa, shared.ae + shared.aa)
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
        assert isinstance(prior, ItemPrior)
        factors = np.sqrt(prior.strength[0] / prior.strengths)
        index = draw_from(rng, slope * factors - curvature * factors**2 / 2)
        self.Q += prior.rescale(index, factors[index])
        return float(factors[index])

    def _rescale_users(
        self, rng: np.random.Generator, columns: slice, curvature: float, slope: float
    ) -> float:
        """Scale columns of the users' rows by a factor c, and all that is said of them with it.

        Another such move: rows, mean, coefficients, precision and its scale ``a`` follow along, so
        that only the likelihood and the prior of ``a``, inverse gamma, have a say in c, and that of
        the weight of pairs, which is flat. Without it few ratings leave factors as large as the
        prior allows.
        """
        prior = self.user_prior
        assert isinstance(prior, TokenPrior)
        scale, (shape, rate) = prior.scale[columns], prior.SCALE_PRIOR
        curvature += 2 * rate * float(np.sum(1 / scale))
        factors = np.exp(_LOG_FACTORS)
        flat = prior.n_shared > 0 and columns.start == 0  # the prior of the weight of pairs
        log_weights = (2 * shape * len(scale) + flat) * _LOG_FACTORS
        log_weights += slope * factors - curvature * factors**2 / 2
        factor = float(factors[draw_from(rng, log_weights)])
        prior.rescale_columns(columns, factor)
        return factor

    def _draw_precisions(self, rng: np.random.Generator, factors: FactorsOfScale) -> None:
        users, items, size = self.user_noise, self.item_noise, self.size
        prior = GammaPrior(users.shape, users.rate) if isinstance(users, RowPrecisions) else None
        made = self.team.total(
            Shard.draw_precisions, self.sweeps, ItemRows(self.Q, self.item_alpha), factors, prior
        )
        self.rmse = np.sqrt(made.squares / size.n_ratings)
        self.mean_alpha = made.alpha / size.n_users
        if isinstance(users, OnePrecision):
            self.user_alpha = users.learn(rng, made.squares, size.n_ratings)
            return
        assert items is not None
        users.learn(rng, size.n_users, made.alpha, made.log_alpha)
        self.item_alpha = draw_precisions(
            rng, items.shape, items.rate, made.of_items, self.item_counts
        )
        items.learn(
            rng, size.n_items, float(self.item_alpha.sum()), float(np.log(self.item_alpha).sum())
        )

    def _learn_item_prior(self, rng: np.random.Generator) -> None:
        prior = self.item_prior
        if not isinstance(prior, ItemPrior):
            none = np.zeros((len(self.Q), 0), np.float32)
            prior.learn(rng, Moments.of(self.Q, none))
            return
        prior.learn_text(rng, self.Q)
        if self.links is None:
            prior.learn_precision(rng, self.Q)
            return
        # C, user by user, from the whitened rest of the rows
        white, dense, roots = prior.rest(self.Q), self.links.dense, prior.roots()
        white = white @ roots.root
        carry = Carry(white, np.zeros(white.shape[1]), dense @ white)
        carry = self.team.draw_links(self.sweeps, carry, prior.link_strength, roots.root)
        left = carry.resid + np.outer(dense, carry.shift)
        square = self.team.total(Shard.close_links, roots.inverse)
        prior.learn_links(rng, self.Q, left @ roots.inverse, square)
