"""LLMTokensSVD: Surprise's SVD, seeded by tokens and at home with cold items and users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...errors import DataError
from ...kernels import sgd
from ...runtime.arguments import generator
from ...runtime.arrays import Floats, Mask, Singles
from ...runtime.memory import require_memory
from ...runtime.threads import threads
from ...tokens import LLMTokens
from ..base import TokenAlgoBase, fitted
from ..drift import Moments, Sequence, learn_scale
from ..ridge import TokenRidge
from ..selection import CorrectedModel
from ..user_text import UserText
from .cold_start import ColdStart, Factors
from .descent import Blocks, laid_out
from .fitted import FittedSVD
from .initial import baselines, seed_factors, step_scale

_BLOCKS = 2  # of users and of items: more make visits so short that they cost more than they give
_FEW = 10_000  # ratings that are visited before a second thread has woken up


class LLMTokensSVD(TokenAlgoBase):
    r"""Matrix factorisation by SGD, with tokens as seeds, priors and cold start.

    The drop-in for :class:`surprise.SVD`, with its parameters and attributes:

    .. math:: \hat r_{ui} = \mu + b_u + b_i + q_i^T p_u + w_i D_u^T [x_i - \bar x, 1]

    *Seeds.* Two thirds of the factors start from the item's token, one third from who rated it; a
    user starts from the damped sum of the seeds rated, the biases from baselines that know the
    text. Seeds that do not foretell ratings are dropped. *Training* is Surprise's update, on
    residuals at standard deviation 1, which makes the step size fit any rating scale; users are
    visited in random order and factors shrunk to ``anchor`` times their seed:

    .. math:: q_i \leftarrow q_i + \gamma (e_{ui} p_u - \lambda (q_i - a\, q_i^0))

    *Cold start.* A ridge regression on the whole token, its strength chosen by leave-one-out, gives
    factors and bias of items without ratings; an item with few takes the share
    :math:`w_i = 2 / (2 + n_i)` from it. *Selection correction.* People rate what they expect to
    like, so text that was fitted to ratings is too low for items nobody has rated; :math:`D_u`, on
    the leading 16 token dims, is by how much the things a user picks are better than their text
    says (:class:`~llmtokens.algorithms.selection.Correction`).

    *What a user is like just now.* With ``timestamps``, ratings have a further term,

    .. math:: s_u(t_{ui}), \quad s_u \sim GP(0, \sigma^2 e^{-|t - t'| / \tau})

    an Ornstein-Uhlenbeck process for every user. Its variance and time scale are those that
    foretell each residual of the baselines best from the user's others; its posterior mean is taken
    from the ratings before training, and found anew from what the trained model leaves of them.
    Ratings without a time have no such term, predictions without one its mean, zero.

    Without tokens this is plain SVD; with ``shuffle=False, dtype="float64"`` besides, it equals
    ``surprise.SVD`` to the last bit.

    Parameters
    ----------
    item_tokens : LLMTokens, optional
    user_tokens : LLMTokens or "history", optional
        "history" makes those of users from what they rated, in each ``fit`` from its own trainset.
    n_factors : int, default=100
    n_epochs : int, default=20
    biased : bool, default=True
    init_mean : float, default=0
    init_std_dev : float, default=0.1
        Of normal starting values; seeds have the norm ``sqrt(n_factors) * init_std_dev``.
    lr_all : float, default=0.005
        Step size.
    reg_all : float, default=0.02
        Shrinkage.
    lr_bu, lr_bi, lr_pu, lr_qi, reg_bu, reg_bi, reg_pu, reg_qi : float, optional
        The same for one kind of parameter.
    anchor : float, default=1.0
        Where factors are shrunk to: 0 is zero, 1 the seed.
    shuffle : bool, default=True
        Visit users in random order, half of the items after the other half; else as Surprise does.
    dtype : {"float32", "float64"}, default="float32"
    random_state : int, RandomState or None
    verbose : bool, default=False
        Print epochs, as Surprise does.
    timestamps : DataFrame, Surprise Dataset, or mapping, optional
        When ratings were made: a frame with the columns user, item and timestamp, the data set
        itself where it has timestamps, or ``{(user, item): timestamp}``, in any unit (dates count
        in seconds). There may be more pairs than those of the trainset, whose moments predictions
        then take from here, and fewer: ratings without a time, which are counted in a warning, have
        no such term.

    Attributes
    ----------
    pu, qi : ndarray of shape (n_users, n_factors), (n_items, n_factors)
    bu, bi : ndarray of shape (n_users,), (n_items,)
        All on the scale of the ratings.

    Examples
    --------
    >>> from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
    >>> tokens = LLMTokens.from_frame(data.items, "{description}", encoder=HashingEncoder())
    >>> algo = LLMTokensSVD(item_tokens=tokens, random_state=0)
    >>> prediction = algo.fit(data.dataset.build_full_trainset()).predict(1, 2)
    >>> prediction.details
    {'was_impossible': False, 'cold_user': False, 'cold_item': False}
    """

    fitted_type = FittedSVD
    model_: FittedSVD

    pu = fitted(lambda model: model.pu[: model.users.n_warm])
    qi = fitted(lambda model: model.qi[: model.items.n_warm])
    bu = fitted(lambda model: model.bu[: model.users.n_warm])
    bi = fitted(lambda model: model.bi[: model.items.n_warm])

    def __init__(
        self,
        item_tokens: LLMTokens | None = None,
        user_tokens: LLMTokens | str | None = None,
        n_factors: int = 100,
        n_epochs: int = 20,
        biased: bool = True,
        init_mean: float = 0.0,
        init_std_dev: float = 0.1,
        lr_all: float = 0.005,
        reg_all: float = 0.02,
        lr_bu: float | None = None,
        lr_bi: float | None = None,
        lr_pu: float | None = None,
        lr_qi: float | None = None,
        reg_bu: float | None = None,
        reg_bi: float | None = None,
        reg_pu: float | None = None,
        reg_qi: float | None = None,
        anchor: float = 1.0,
        shuffle: bool = True,
        dtype: str = "float32",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        timestamps: Any = None,
    ) -> None:
        super().__init__(item_tokens, user_tokens)
        self.n_factors = n_factors
        self.n_epochs = n_epochs
        self.biased = biased
        self.init_mean = init_mean
        self.init_std_dev = init_std_dev
        self.lr_all, self.lr_bu, self.lr_bi, self.lr_pu, self.lr_qi = (
            lr_all,
            lr_bu,
            lr_bi,
            lr_pu,
            lr_qi,
        )
        self.reg_all, self.reg_bu, self.reg_bi = reg_all, reg_bu, reg_bi
        self.reg_pu, self.reg_qi = reg_pu, reg_qi
        self.anchor = anchor
        self.shuffle = shuffle
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
        self.timestamps = timestamps

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> FittedSVD:
        self._check_parameters()
        moments = Moments.of(self.timestamps, ratings)
        if moments.times is None:
            model = self._learn_ageless(ratings, users, items)
            return replace(model, timestamps=moments.timestamps)
        ridges = (
            TokenRidge(side.tokens, counts)
            for side, counts in ((items, ratings.item_counts), (users, ratings.user_counts))
        )
        errors = baselines(ratings, *ridges).residual
        sequence = Sequence.of(ratings.user, moments.times, ratings.n_users)
        errors = errors[sequence.at]
        scale, drift = learn_scale(sequence, errors, moments.unit), np.zeros(ratings.n)
        if scale is not None:
            drift[sequence.at] = sequence.smoothed(errors, np.ones(len(errors)), scale)[0]
        less = replace(ratings, value=ratings.value - drift)
        model = self._learn_ageless(less, users, items)
        return replace(
            model,
            ratings=ratings,
            timestamps=moments.timestamps,
            drift_variance=0.0 if scale is None else scale.variance,
            drift_tau=1.0 if scale is None else scale.tau,
        )

    def _learn_ageless(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> FittedSVD:
        """The model but for what users are like just now."""
        rows = users.n_rows + items.n_rows
        require_memory(8.0 * rows * self.n_factors, f"{rows:,} rows of {self.n_factors:,} factors")
        if self.item_tokens is None and self.user_tokens is None:
            return self._learn_plain(ratings, users, items)
        ridge = TokenRidge(items.tokens, ratings.item_counts)
        of_users = TokenRidge(users.tokens, ratings.user_counts)
        trained, std, about = self._learn_seeded(ratings, users, items, ridge, of_users)
        y = (ratings.deviation if self.biased else ratings.value) / std
        cold_start = ColdStart.of(ratings, y, users, items, trained, ridge, of_users, about)
        model = self._assembled(ratings, users, items, cold_start, std)
        return model.with_newcomers() if self.biased else model

    def _learn_plain(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> FittedSVD:
        """Surprise's SVD; unknown ids have no bias and no factors."""
        rng = generator(self.random_state)
        normal = [
            rng.normal(self.init_mean, self.init_std_dev, (n, self.n_factors)).astype(self.dtype)
            for n in (ratings.n_users, ratings.n_items)
        ]
        mean = ratings.global_mean if self.biased else 0.0
        bu, bi = np.zeros(ratings.n_users, self.dtype), np.zeros(ratings.n_items, self.dtype)
        start = Factors(normal[0], normal[1], bu, bi)
        trained = self._descend(ratings, ratings.value, mean, start, rng)
        cold_start = ColdStart.without_tokens(trained)
        return self._assembled(ratings, users, items, cold_start, 1.0)

    def _learn_seeded(
        self,
        ratings: Ratings,
        users: EntityIndex,
        items: EntityIndex,
        ridge: TokenRidge,
        of_users: TokenRidge,
    ) -> tuple[Factors, float, UserText | None]:
        """Factors on residuals of standard deviation 1, that standard deviation, and what the
        text of users says."""
        rng = generator(self.random_state)
        # tokens of history know these very ratings; the seeds of users are made of the same already
        told = not users.from_history
        nothing = TokenRidge(users.tokens[:, :0], ratings.user_counts)
        start = baselines(ratings, ridge, of_users if told else nothing)
        if self.biased:
            value, residual, std = ratings.deviation, start.residual, start.std
        else:
            value = residual = ratings.value
            std = step_scale(residual, value)
        residual = residual / std
        norm = float(np.sqrt(self.n_factors) * self.init_std_dev)
        n_lead = self.n_factors - round(self.n_factors / 3)
        about = UserText.learn(ratings, users, items, residual, n_lead, norm) if told else None
        if about is not None:
            residual = residual - about.explained
        qi, pu, anchored = seed_factors(
            ratings, items.tokens[: ratings.n_items], residual, self.n_factors, norm, rng
        )
        if about is not None:
            lead = np.s_[:, : about.content.shape[1]]
            qi[lead], pu[lead] = about.content, about.taste
            anchored[lead[1]] = True
        zero = 1.0 if self.biased else 0.0
        seeds = Factors(
            pu.astype(self.dtype),
            qi.astype(self.dtype),
            (zero * start.bu / std).astype(self.dtype),
            (zero * start.bi / std).astype(self.dtype),
        )
        fixed = None if about is None else about.content
        return self._descend(ratings, value / std, 0.0, seeds, rng, anchored, fixed), std, about

    def _descend(
        self,
        ratings: Ratings,
        value: Floats,
        mean: float,
        start: Factors,
        rng: np.random.RandomState,
        anchored: Mask | None = None,
        fixed: Singles | None = None,
    ) -> Factors:
        """Stochastic gradient descent from ``start``, towards it where ``anchored``.

        Leading factors of items that are ``fixed`` are what they were after every epoch.
        """
        kind = np.dtype(self.dtype).type
        blocks = Blocks(ratings, value.astype(kind), _BLOCKS if self.shuffle else 1)
        fast = kind is np.float32 and not blocks.repeats
        epoch = sgd.sgd_epoch if fast else sgd.sgd_epoch_exact
        pu, width = laid_out(start.pu)
        qi, _ = laid_out(start.qi[blocks.items])
        bu, bi = start.bu.copy(), start.bi[blocks.items]
        kept = None if fixed is None else fixed[blocks.items]
        lr, reg = self._rates("lr"), self._rates("reg")
        pulls: list[tuple[NDArray[Any], NDArray[Any]]] = []
        if anchored is not None and self.anchor:
            n_items = ratings.item_counts[blocks.items]
            for factors, counts, k in ((pu, ratings.user_counts, 2), (qi, n_items, 3)):
                pull = factors * (self.anchor * lr[k] * reg[k] * counts).astype(kind)[:, None]
                pull[:, : len(anchored)][:, ~anchored] = 0
                pulls.append((factors, pull))
        model = kind(mean), (bu, bi), (pu, qi), width, lr.astype(kind), reg.astype(kind)
        with threads(min(_BLOCKS, ratings.n // _FEW)) as pool:
            at_once = map if pool is None else pool.map
            for current_epoch in range(self.n_epochs):
                if self.verbose:
                    print(f"Processing epoch {current_epoch}")
                for visits in blocks.rounds(rng if self.shuffle else None):
                    list(at_once(lambda visit: epoch(*visit, *model), visits))
                for factors, pull in pulls:
                    factors += pull
                if kept is not None:
                    qi[:, : kept.shape[1]] = kept
        k, at = self.n_factors, blocks.place
        return Factors(np.ascontiguousarray(pu[:, :k]), qi[at, :k], bu, bi[at])

    def _rates(self, kind: str) -> Floats:
        """Step sizes or shrinkages of bu, bi, pu, qi."""
        own = [getattr(self, f"{kind}_{name}") for name in ("bu", "bi", "pu", "qi")]
        common = getattr(self, f"{kind}_all")
        rates = np.array([common if rate is None else rate for rate in own], np.float64)
        if kind == "lr" and not self.biased:
            rates[:2] = 0.0
        return rates

    def _check_parameters(self) -> None:
        if self.dtype not in ("float32", "float64"):
            raise DataError(f"found dtype={self.dtype!r}; expected 'float32' or 'float64'")
        for name, least in (("n_factors", 1), ("n_epochs", 0)):
            value = getattr(self, name)
            if not (isinstance(value, (int, np.integer)) and value >= least):
                raise DataError(f"found {name}={value!r}; expected an int of at least {least}")

    def _assembled(
        self,
        ratings: Ratings,
        users: EntityIndex,
        items: EntityIndex,
        cold_start: ColdStart,
        std: float,
    ) -> FittedSVD:
        """The fitted model on the scale of the ratings."""
        correction = cold_start.correction.times(std)
        return FittedSVD(
            ratings,
            users,
            items,
            mean=ratings.global_mean if self.biased else 0.0,
            plain=self.item_tokens is None and self.user_tokens is None and not self.biased,
            pu=cold_start.pu * cold_start.pu.dtype.type(std),
            bu=cold_start.bu * std,
            qi=cold_start.qi,
            bi=cold_start.bi * std,
            text_share=cold_start.text_share,
            selection=correction.selection(cold_start.selection * std, users.n_rows),
            correction=correction,
            **CorrectedModel.without_newcomers(users, items),
            lead=cold_start.lead,
            lead_centre=cold_start.lead_centre,
            lead_scale=cold_start.lead_scale,
            user_map=cold_start.user_map * std,
            item_map=cold_start.item_map * np.append(np.ones(self.n_factors), std),
        )
