"""The block Gibbs sampler: one state, and a sweep that draws all of it anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import gibbs
from ...trainset import Ratings
from .features import Links
from .noise import OnePrecision, RowPrecisions
from .priors import NormalWishart, TokenPrior, draw_from

Floats = NDArray[np.float64]

_LOG_FACTORS = np.linspace(-6.0, 6.0, 401)  # so wide that the ends have no weight
_START = 0.1  # standard deviation of the first factors


@dataclass(frozen=True)
class Data:
    """Standardised ratings in both orders, and the known part of the items.

    ``user_*`` are in user order, ``item_*`` in item order: row pointers, the other side's rows,
    values. ``lead`` (n_items, c): the content dims that users have weights of their own for.
    """

    user_ptr: NDArray[np.int64]
    user_idx: NDArray[np.int32]
    user_y: Floats
    item_ptr: NDArray[np.int64]
    item_idx: NDArray[np.int32]
    item_y: Floats
    item_row: NDArray[np.int32]
    lead: Floats

    @classmethod
    def of(cls, ratings: Ratings, y: Floats, lead: Floats) -> Data:
        order = ratings.by_item
        return cls(
            ratings.user_ptr, ratings.item, y, ratings.item_ptr,
            ratings.user[order], y[order], ratings.item[order], np.ascontiguousarray(lead),
        )  # fmt: skip


class Sampler:
    r"""The state of the chain, and its transition.

    .. math:: y_{ui} \sim N(a_u^T x_i + p_u^T q_i + b_u + b_i, \; 1 / (\alpha_u \alpha_i))

    Attributes
    ----------
    V : ndarray of shape (n_users, c + n_factors + 1)
        ``[a_u, p_u, b_u]``.
    Q, Q_mean : ndarray of shape (n_items, n_factors + 1)
        ``[q_i, b_i]``, and its conditional mean when it was drawn.
    user_prior, item_prior : NormalWishart or TokenPrior
    user_noise, item_noise : OnePrecision or RowPrecisions; ``item_noise`` is None for the first
    error : ndarray of shape (n,)
        ``y`` less its expectation, in item order.
    """

    def __init__(
        self,
        data: Data,
        n_factors: int,
        priors: tuple[Any, Any],
        noises: tuple[OnePrecision | RowPrecisions, RowPrecisions | None],
        rng: np.random.Generator,
    ) -> None:
        self.data, self.k, self.rng = data, n_factors, rng
        self.c = data.lead.shape[1]
        self.user_prior, self.item_prior = priors
        self.user_noise, self.item_noise = noises
        n_users, n_items = len(data.user_ptr) - 1, len(data.item_ptr) - 1
        self.V = np.zeros((n_users, self.c + n_factors + 1))
        self.V[:, self.c : -1] = rng.standard_normal((n_users, n_factors)) * _START
        self.Q = np.zeros((n_items, n_factors + 1))
        self.Q[:, :-1] = rng.standard_normal((n_items, n_factors)) * _START
        self.Q_mean = self.Q.copy()
        self.error = np.zeros(len(data.item_y))
        self._counts: tuple[Any, Any] = np.diff(data.user_ptr), np.diff(data.item_ptr)
        self._one = np.ones((n_users, 1)), np.ones((n_items, 1))
        self._no_fit = np.zeros((n_items, n_factors + 1))

    @classmethod
    def plain(cls, ratings: Ratings, y: Floats, k: int, rng: np.random.Generator) -> Sampler:
        """Bayesian probabilistic matrix factorisation (Salakhutdinov & Mnih 2008)."""
        data = Data.of(ratings, y, np.zeros((ratings.n_items, 0)))
        priors = NormalWishart(ratings.n_users, k + 1), NormalWishart(ratings.n_items, k + 1)
        return cls(data, k, priors, (OnePrecision(ratings.n_users), None), rng)

    @classmethod
    def with_features(
        cls,
        ratings: Ratings,
        y: Floats,
        k: int,
        rng: np.random.Generator,
        lead: NDArray[np.float32],
        text: NDArray[np.float32],
        about_users: NDArray[np.float32],
    ) -> Sampler:
        """The full model; rows of the features are those of the training ratings.

        Features that are zero throughout are left out.
        """
        data = Data.of(ratings, y, lead.astype(np.float64))
        priors = (
            TokenPrior(
                ratings.n_users, lead.shape[1] + k + 1, about_users if about_users.any() else None
            ),
            TokenPrior(ratings.n_items, k + 1, text if text.any() else None, Links.of(ratings)),
        )
        noises = RowPrecisions(ratings.n_users, False), RowPrecisions(ratings.n_items, True)
        return cls(data, k, priors, noises, rng)

    @property
    def alphas(self) -> tuple[Floats, Floats]:
        """Precision factors of users and items."""
        if self.item_noise is None:
            return self.user_noise.rows, np.ones(len(self.Q))
        return self.user_noise.rows, self.item_noise.rows

    def sweep(self) -> None:
        """Draw users, their prior, items, their prior, precisions: each given all the rest."""
        self._draw_users()
        self.user_prior.draw(self.rng, self.V)
        self._draw_items()
        lead, along = self._find_errors()
        if self.item_prior.fit is not None:
            self._interweave(along)
        if self.c:
            self._rescale_content(lead)
        self.item_prior.draw(self.rng, self.Q)
        self._draw_noise()

    def _draw_users(self) -> None:
        d, (au, ai) = self.data, self.alphas
        design = np.hstack([self.Q[:, -1:], d.lead, self.Q[:, :-1], self._one[1]])
        normals: Any = self.rng.standard_normal(self.V.shape)
        gibbs.sample_rows(
            d.user_ptr, d.user_idx, d.user_y, design, self._one[0], au, ai, self.user_prior.mean(),
            self.user_prior.precision, normals, self.V,
            np.empty_like(self.V),
        )  # fmt: skip

    def _draw_items(self) -> None:
        d, (au, ai) = self.data, self.alphas
        design = np.hstack([self.V[:, -1:], self.V[:, :-1], self._one[0]])
        lead = np.hstack([self._one[1], d.lead])
        normals: Any = self.rng.standard_normal(self.Q.shape)
        gibbs.sample_rows(
            d.item_ptr, d.item_idx, d.item_y, design, lead, ai, au, self.item_prior.mean(),
            self.item_prior.precision, normals, self.Q, self.Q_mean,
        )  # fmt: skip

    def _find_errors(self) -> tuple[Floats, Floats]:
        """Sets ``error``; returns the parts of each expectation that stem from the users' weights
        on content, and from what the text says of the items."""
        d, lead, along = self.data, np.empty_like(self.error), np.empty_like(self.error)
        items: Any = np.hstack([d.lead, self.Q, self._one[1]])
        users = np.hstack([self.V[:, :-1], self._one[0], self.V[:, -1:]])
        fit = self._no_fit if self.item_prior.fit is None else self.item_prior.fit
        gibbs.residuals(
            d.item_ptr, d.item_idx, d.item_y, items, users, fit, self.error, lead, along
        )
        return lead, along

    def _interweave(self, along: Floats) -> None:
        r"""Scale what the text says by a factor c, holding the residuals of the items' rows.

        ``B -> cB, strength -> strength / c^2``: a move along the orbit of a scale group (Liu &
        Sabatti 2000) that changes the expectations themselves, as the ancillary half of an
        interweaving sampler does (Yu & Meng 2011). The prior of B and the log-uniform strength are
        invariant under it, so that c has the likelihood alone to obey; the factors are those that
        lead from one strength of the grid to another. Without it useless features fade slowly.
        """
        prior, (au, ai) = self.item_prior, self.alphas
        weights = au[self.data.item_idx] * ai[self.data.item_row]
        factors = np.sqrt(prior.strength / prior.strengths)
        curvature = np.sum(weights * along * along)
        slope = np.sum(weights * along * (self.error + along))
        index = draw_from(self.rng, slope * factors - curvature * factors**2 / 2)
        self.Q += prior.rescale(index, factors[index])
        self.error += (1 - factors[index]) * along

    def _rescale_content(self, lead: Floats) -> None:
        """Scale the users' weights on content by a factor c, and all that is said of them with it.

        Another such move: rows, mean, coefficients, precision and its scale ``a`` follow along, so
        that only the likelihood and the prior of ``a``, inverse gamma, have a say in c.
        """
        prior, (au, ai) = self.user_prior, self.alphas
        weights = au[self.data.item_idx] * ai[self.data.item_row]
        shape, rate = prior.SCALE_PRIOR
        curvature = np.sum(weights * lead * lead) + 2 * rate * np.sum(1 / prior.scale[: self.c])
        slope = np.sum(weights * lead * (self.error + lead))
        log_prior = 2 * shape * self.c * _LOG_FACTORS
        factors = np.exp(_LOG_FACTORS)
        factor = factors[
            draw_from(self.rng, log_prior + slope * factors - curvature * factors**2 / 2)
        ]
        self.V[:, : self.c] *= factor
        prior.rescale_columns(self.c, factor)
        self.error += (1 - factor) * lead

    def _draw_noise(self) -> None:
        d, squares = self.data, self.error**2
        ai = self.alphas[1]
        of_users: Any = np.bincount(d.item_idx, squares * ai[d.item_row], len(self.V))
        self.user_noise.draw(self.rng, of_users, self._counts[0])
        if self.item_noise is not None:
            au = self.user_noise.rows
            of_items: Any = np.bincount(d.item_row, squares * au[d.item_idx], len(self.Q))
            self.item_noise.draw(self.rng, of_items, self._counts[1])
