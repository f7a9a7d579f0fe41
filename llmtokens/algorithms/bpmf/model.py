"""LLMTokensBPMF: Bayesian matrix factorisation that knows text, and how sure it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numba
import numpy as np

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...data.timestamps import Timestamps
from ...errors import DataError
from ...runtime.arguments import generator
from ...runtime.exact import exact_sum
from ...runtime.memory import require_memory
from ...runtime.threads import most_threads
from ...tokens import LLMTokens
from ..base import TokenAlgoBase, fitted
from ..drift import Moments
from .chain import Chain, Plan
from .conditional import open_width
from .drift import DriftPrior
from .features import Known
from .fitted import FittedBPMF
from .sampler import Size
from .shards import Shards

_WORTH_SHARING = 20_000  # ratings; with fewer, threads mostly wait for each other


class LLMTokensBPMF(TokenAlgoBase):
    r"""Bayesian matrix factorisation by Gibbs sampling, with tokens in the priors: nothing to tune.

    Ratings are standardised, so that everything below is free of their scale, and

    .. math:: r_{ui} \sim N(b_u + b_i + q_i^T p_u + a_u^T x_i, \; 1 / (\alpha_u \alpha_i))

    with :math:`x_i` the leading ``n_content`` token dims and :math:`a_u` a user's weights on them.

    *Priors.* With tokens of items or users, both sides have a mean that knows their features
    (Macau: Simm et al. 2017; RLFM: Agarwal & Chen 2009):

    .. math:: [q_i, b_i] &\sim N(m_Q + B^T t_i + C^T h_i, \Lambda_Q^{-1}) \\
              [a_u, p_u, b_u] &\sim N(m_P + G^T s_u, \Lambda_P^{-1})

    - :math:`t_i`: the token, and products of its leading 16 dims; :math:`h_i`: who rated the item,
      centred and damped; :math:`s_u`: the user's token and what text the user's items have.
    - :math:`m \sim N(0, \Lambda^{-1})`; :math:`\Lambda`: half-t on standard deviations, 2 degrees
      of freedom, scale 1 (Huang & Wand 2013).
    - B, C, G: Gaussian, precision :math:`\lambda \Lambda`; :math:`\lambda` of B and of either
      part of G log-uniform on .1 to 1e7, with B and that part of G integrated out when it is
      drawn; that of C Gamma(1, 1). Moves that
      scale B, users' weights on content, and users' factors, as wholes (Liu & Sabatti 2000; Yu &
      Meng 2011) let useless tokens and factors fade.
    - :math:`\alpha_u \sim Gamma(a, b)`, :math:`\alpha_i \sim Gamma(a', a')`, shapes log-uniform
      on .5 to 200, b Gamma(.01, .01) (Lakshminarayanan, Bouchard & Archambeau 2011).

    Without any tokens it is plain BPMF (Salakhutdinov & Mnih 2008) with the biases as further
    dims: no features, one :math:`\alpha \sim Gamma(1, 1)`, and their Normal-Wishart hyperprior.

    *Prediction.* The mean over samples of the product, not the product of means; items enter with
    their conditional mean given the users. ``details["std"]`` is the standard deviation of the
    predictive distribution of a rating, noise included.

    *Cold rows* get, in each sample, a ridge regression of drawn rows on tokens, its strength by the
    evidence. *Selection correction*: people rate what they expect to like, so that text fitted to
    ratings is too low for items nobody has rated. A cold item gets :math:`D_u^T [x_i - \bar x, 1]`
    added, by how much a user's picks are better than their text says
    (:class:`~llmtokens.algorithms.selection.Correction`); one with few ratings half of the share
    that its estimate still owes to the prior.

    *What a user is like just now.* With ``timestamps``, ratings have a further term,

    .. math:: s_u(t_{ui}), \quad s_u \sim GP(0, \sigma^2 e^{-|t - t'| / \tau})

    an Ornstein-Uhlenbeck process for every user, drawn exactly by forward filtering and backward
    sampling (Carter & Kohn 1994). :math:`\sigma^2` and :math:`\tau`, log-uniform on grids, are
    drawn with it integrated out. A prediction for a moment has its posterior mean there, and its
    variance in ``std``. Of a pair of the table that is the moment it has there: in a random split
    both sides of it are known. Ratings without a time have no such term, predictions without one
    its mean, zero. Lists are in the same order at any moment, for it is the same for all items.

    *Newcomers and influences.* ``fold_in`` draws a user once in each sample, from what they are
    given the items. An influence in ``explain`` is on the mean of that, in closed form, with
    :math:`D_u` as it is: what folding in without the rating does, but for the noise of drawing
    and what the rating says of the user's picks.

    *Memory.* Every third sweep after the burn-in is kept, in single precision:
    ``4 * (n_content + n_factors + 1)`` bytes a user and ``4 * (n_factors + 1)`` an item (108 and
    44 by default), and some 300 bytes a row besides; fewer, evenly, where that would take more than
    1 GiB, but at least ten.

    Parameters
    ----------
    item_tokens : LLMTokens, optional
    user_tokens : LLMTokens or "history", optional
        "history" makes those of users from what they rated, in each ``fit`` from its own trainset.
    n_factors : int, default=10
        Free dims.
    n_content : int, default=16
        Leading token dims for which every user has weights.
    n_samples : int, default=170
        Sweeps after the burn-in. An interrupt (Ctrl-C) among them keeps what there is.
    burn_in : int, default=30
        Sweeps before.
    random_state : int, RandomState or None
    n_threads : int, optional
        At most what numba was started with, and one in a worker of Dask; by default what it is set
        to, or one where there are fewer than 20,000 ratings. The result is the same.
    verbose : bool, default=False
        Print training RMSE and mean user precision, sweep by sweep; the logger ``llmtokens`` is
        told the former in any case.
    timestamps : DataFrame, Surprise Dataset, or mapping, optional
        When ratings were made: as of :class:`~llmtokens.LLMTokensSVD`.

    Attributes
    ----------
    pu, qi : ndarray of shape (n_users, n_factors), (n_items, n_factors)
    bu, bi : ndarray of shape (n_users,), (n_items,)
        Posterior means, computed when first asked for after ``fold_in``; ``pu``, ``bu`` and ``bi``
        on the scale of the ratings. Their product is not the prediction.

    References
    ----------
    R. Salakhutdinov, A. Mnih, "Bayesian Probabilistic Matrix Factorization using Markov Chain
    Monte Carlo", ICML 2008.
    J. Simm et al., "Macau: Scalable Bayesian factorization with high-dimensional side information
    using MCMC", MLSP 2017.
    D. Agarwal, B.-C. Chen, "Regression-based latent factor models", KDD 2009.
    A. Huang, M. P. Wand, "Simple marginally noninformative prior distributions for covariance
    matrices", Bayesian Analysis 2013.
    B. Lakshminarayanan, G. Bouchard, C. Archambeau, "Robust Bayesian matrix factorisation",
    AISTATS 2011.
    J. S. Liu, C. Sabatti, "Generalised Gibbs sampler and multigrid Monte Carlo for Bayesian
    computation", Biometrika 2000.
    C. K. Carter, R. Kohn, "On Gibbs sampling for state space models", Biometrika 1994.
    Y. Yu, X.-L. Meng, "To center or not to center: that is not the question", JCGS 2011.

    Examples
    --------
    >>> from llmtokens import HashingEncoder, LLMTokens
    >>> from llmtokens.algorithms.bpmf import LLMTokensBPMF
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
    >>> tokens = LLMTokens.from_frame(data.items, "{description}", encoder=HashingEncoder())
    >>> algo = LLMTokensBPMF(tokens, n_samples=30, burn_in=10, random_state=0)
    >>> prediction = algo.fit(data.dataset.build_full_trainset()).predict(1, 2)
    >>> 0 < prediction.details["std"] < 2
    True
    """

    fitted_type = FittedBPMF
    model_: FittedBPMF

    pu = fitted(lambda model: model.means.pu)
    qi = fitted(lambda model: model.means.qi)
    bu = fitted(lambda model: model.means.bu)
    bi = fitted(lambda model: model.means.bi)

    def __init__(
        self,
        item_tokens: LLMTokens | None = None,
        user_tokens: LLMTokens | str | None = None,
        n_factors: int = 10,
        n_content: int = 16,
        n_samples: int = 170,
        burn_in: int = 30,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
        verbose: bool = False,
        timestamps: Any = None,
    ) -> None:
        super().__init__(item_tokens, user_tokens)
        self.n_factors = n_factors
        self.n_content = n_content
        self.n_samples = n_samples
        self.burn_in = burn_in
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose
        self.timestamps = timestamps

    # -- fitting -------------------------------------------------------------------------------

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> FittedBPMF:
        self._check_parameters()
        std = standard_deviation(exact_sum(ratings.deviation**2), ratings.n)
        rows, width = users.n_rows + items.n_rows, open_width(self.n_factors)
        require_memory(
            8.0 * rows * width, f"what samples leave open of {rows:,} rows, {width:,} numbers each,"
        )
        known, moments = self._known(users, items), Moments.of(self.timestamps, ratings)
        with self._threads(ratings.n):
            about, lead = known.users[: ratings.n_users], known.lead[: ratings.n_items]
            seed = self._seed()
            team = Shards.of(ratings, std, about, lead, self.n_factors, seed, moments.times)
            size = Size(
                ratings.n_users, ratings.n_items, ratings.n, self.n_factors, known.lead.shape[1]
            )
            chain = Chain(
                team, size, known, self._plain, self._plan, std, seed, DriftPrior.of(moments)
            )
            return self._finished(
                chain.run(), ratings, users, items, known, std, moments.timestamps
            )

    def _seed(self) -> int:
        return int(generator(self.random_state).randint(2**31 - 1))

    @property
    def _plain(self) -> bool:
        return self.item_tokens is None and self.user_tokens is None

    def _known(self, users: EntityIndex, items: EntityIndex) -> Known:
        """The features; none where there are no tokens at all."""
        return Known.of(users, items, 0 if self._plain else self.n_content)

    @property
    def _plan(self) -> Plan:
        return Plan(self.n_samples, self.burn_in, self.verbose)

    def _finished(
        self,
        parts: dict[str, Any],
        ratings: Ratings,
        users: EntityIndex,
        items: EntityIndex,
        known: Known,
        std: float,
        timestamps: Timestamps | None,
    ) -> FittedBPMF:
        """The fitted model, from what a chain has left."""
        made = FittedBPMF.without_newcomers(users, items)
        if not self._plain:
            made = FittedBPMF.newcomer_parts(parts["newcomers"], ratings, users, items)
        return FittedBPMF(
            ratings,
            users,
            items,
            mean=ratings.global_mean,
            std=std,
            **parts | made | known.parts,
            timestamps=timestamps,
        )

    @contextlib.contextmanager
    def _threads(self, n_ratings: int) -> Iterator[None]:
        """Numba's threads as the parameters have them; what was set before comes back."""
        threads = numba.get_num_threads()
        wanted = self.n_threads
        if wanted is None:
            wanted = threads if n_ratings >= _WORTH_SHARING else 1
        try:
            numba.set_num_threads(min(wanted, most_threads()))
            yield
        finally:
            numba.set_num_threads(threads)

    def _check_parameters(self) -> None:
        least = {"n_factors": 1, "n_content": 0, "n_samples": 1, "burn_in": 0}
        if self.n_threads is not None:
            least["n_threads"] = 1
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not (
                isinstance(value, (int, np.integer)) and value >= low
            ):
                raise DataError(f"found {name}={value!r}; expected an int of at least {low}")


def standard_deviation(squares: Fraction, n: int) -> float:
    """Of ``n`` ratings, given the sum of squared deviations; 1 where they are all alike."""
    return float(np.sqrt(float(squares / n))) or 1.0
