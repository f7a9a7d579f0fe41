"""LLMTokensEASE: ranking in closed form, with the text of items."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...data.timestamps import Timestamps
from ...errors import DataError
from ...runtime.arrays import unit_rows
from ...tokens import LLMTokens
from ..base import TokenAlgoBase, fitted
from ..rating_scale import bounds, user_means
from .cold_start import choose_cold_start, choose_mixture
from .fitted import FittedEASE
from .interactions import interactions, popularity_of, rating_lines, used_features
from .levels import Levels
from .sequence import History, choose_sequence
from .solver import solve, unformed
from .text_kernel import TextKernel
from .tuning import choose
from .user_text import UserText


class LLMTokensEASE(TokenAlgoBase):
    r"""Embarrassingly shallow autoencoder (Steck 2019) whose items know their text.

    A user's row ``x_u`` holds ``.05 + .95 (r - low) / (high - low)`` for what they rated (``low``
    and ``high``: the lowest and highest training rating), 1 with ``implicit=True``, 0 elsewhere.
    Scores are ``s_u = x_u B``, with

    .. math:: \min_B |X - XB|^2 + a |T' - T'B|^2 + l |B|^2, \quad diag(B) = 0:
        \quad P = (X'X + a T T' + l I)^{-1}, \quad B = I - P / diag(P)

    ``T`` are kernel features of the tokens (near texts have large inner products, see
    :class:`~llmtokens.algorithms.ease.text_kernel.TextKernel`): each is one more user, who
    "likes" a neighbourhood of texts. Items without ratings are scored by a regression from text to
    the user's scores of the others: among themselves their order is the text's. Beside rated items
    they count for at most 0.3 of that in lists, less where lists of held-out ratings say so, as
    they do where most of a catalogue was never rated: new items wait for their first ratings, and
    ``candidates=`` lists them alone.

    ``l`` and ``a`` are chosen on the training ratings by exact leave-one-out (the user left out of
    ``B``, the rating out of ``x_u``): the discounted gain of what was rated among all that was not.
    Text that does not help gets ``a = 0``. There is no randomness. Where users have rated little,
    lists lean on what is popular, by as much as held-out ratings say beyond doubt.

    *What comes next.* With ``timestamps``, lists (``recommend``, rankings) are sorted by

    .. math:: (d \circ x_u) B + g \, h_u P C

    ``d`` and ``h_u`` weigh what the user did by recency, in places and in time, and ``C`` holds
    weighted counts of what came soon after what: ``P C`` is a closed-form next-item matrix with the
    Gram matrix of EASE, text included, never formed (:mod:`~llmtokens.algorithms.ease.sequence`).
    Items without ratings are scored from recent scores, or from the texts of what the user recently
    chose. The decays, ``g``, that form, and what new items weigh beside others, are chosen on the
    training data's own last items and newest items; where order or novelty says nothing beyond
    doubt, lists are those without timestamps, to the bit. Decays are relative to a user's newest
    rating, so the moment a list is asked for changes nothing. Ratings stay as they are: ``predict``
    and ``explain`` are about how an item is liked, not about when.

    ``predict`` and ``test`` give ratings: ``user mean + item level + slope score + offset``, from a
    regression on left-out ratings, bent near the ends of the scale. An item's level is how it is
    rated beside its raters' means, shrunk to what its text says by as much as held-out ratings ask
    for (:mod:`~llmtokens.algorithms.ease.levels`); a user's scores are those of ``B`` without the
    user, as the regression has them; of unknown users the logarithm of how popular an item is
    counts. So a list, which is about what is chosen, has another order than its ratings. With
    ``implicit=True`` the score itself is brought to the scale. Whoever is unknown gets the most
    popular first, and who has a token but no ratings what people with such texts choose.

    ``fold_in`` scores a new user by ``B`` as it is, in milliseconds. ``fold_in_item`` and
    ``partial_fit`` bring ``B`` up to date with everything learned since ``fit``, by Woodbury's
    identity: but for rounding, what a refit gives with the ``l``, ``a``, landmarks of the text,
    weights of lists and ends of the ratings that ``fit`` found (where ``B`` keeps leading
    directions only, these stay).
    That costs a pass over ``B`` for every item that is new and every user who changed, CPU seconds
    for one item: .03 with 1,700 items, .6 with 9,700, about 1 with 20,000. Where users, and
    features of the text, are fewer than half the items, ``B`` is kept as ratings, texts and a
    matrix with a row for each of those, and solved anew (1.8 CPU seconds for ml-latest-small);
    ``forget`` does so as well, since that matrix holds the user. A file then has no matrix of
    items: 37 MB for ml-latest-small.

    Parameters
    ----------
    item_tokens : LLMTokens, optional
    l2 : float, optional
        ``l``; None: chosen in ``fit``.
    token_weight : float, optional
        ``a``; None: chosen in ``fit``.
    implicit : bool, default=False
        Ratings carry no opinion: all count as 1.
    max_dense : int, default=10_000
        Catalogue size up to which ``B`` is exact whatever the number of users: 4 bytes x n_items^2.
        A larger one is exact while n_users (+ 1,000 with text) is at most 3,072 and less than half
        the items, and otherwise keeps 1,024 directions and a diagonal.
    timestamps : DataFrame, Surprise Dataset, or mapping, optional
        When ratings were made, in one of the forms of
        :class:`~llmtokens.algorithms.content.LLMTokensContent`. ``fold_in`` and ``partial_fit``
        take further ones; a rating without is as new as its user's newest.
    user_tokens : LLMTokens, optional
        What users without ratings are told from, beside what is popular
        (:mod:`~llmtokens.algorithms.ease.user_text`). With "history" they are made of what users
        rated, and tell nothing more of them.

    Attributes
    ----------
    interactions_ : scipy.sparse.csr_array of float32, shape (n_users, n_items)
        X.
    learned_ : the same, smaller or equal
        X when ``item_weights_`` were last made.
    item_weights_ : DenseItems or FactoredItems
        B.
    text_kernel_ : TextKernel or None
        The regression for cold items.
    popularity_ : ndarray of float32, shape (n_items,)
        Mean row of X.
    popularity_weight_ : float
        How much of it is added to scores in lists that times say nothing of; 0 where that does not
        help.
    l2_, token_weight_ : float
    user_mean_ : ndarray of float64, shape (n_user_rows,)
        Mean rating of each user, shrunk to that of all; that of all for those without ratings.
    user_text_ : UserText or None
        What tokens of users without ratings add; None where they say nothing.
    bounds_ : tuple of float
        The rating scale; (-inf, inf) if training ratings lie outside it.
    item_level_ : ndarray of float64, shape (n_item_rows,)
        By how much each item is rated above its raters' means, shrunk to what its text says.
    lines_ : ndarray of float64, shape (2, 2)
        Slope and offset that lead from scores to ratings, of known and of unknown users.
    sequence_ : Sequence or None
        Decays and ``g``; None where the order of things says nothing.
    cold_start_ : ColdStart
        How items without ratings are listed.

    References
    ----------
    H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
    M. Choi, J. Kim, J. Lee, H. Shim, J. Lee, "Session-aware Linear Item-Item Models for
    Session-based Recommendation", WWW 2021.

    Examples
    --------
    >>> import pandas as pd
    >>> from surprise import Dataset, Reader
    >>> from llmtokens.algorithms.ease import LLMTokensEASE
    >>> seen = [(u, i, 5) for u in "abc" for i in "xy"] + [(u, i, 5) for u in "def" for i in "vw"]
    >>> frame = pd.DataFrame([*seen, ("g", "x", 5), ("g", "v", 1)])
    >>> trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    >>> algo = LLMTokensEASE(l2=1.0).fit(trainset)
    >>> algo.predict("g", "y").est > algo.predict("g", "w").est
    True
    """

    fitted_type = FittedEASE
    model_: FittedEASE

    interactions_ = fitted(lambda model: model.interactions)
    learned_ = fitted(lambda model: model.learned)
    item_weights_ = fitted(lambda model: model.weights)
    text_kernel_ = fitted(lambda model: model.text_kernel)
    popularity_ = fitted(lambda model: model.popularity)
    popularity_weight_ = fitted(lambda model: model.popularity_weight)
    user_text_ = fitted(lambda model: model.user_text)
    l2_ = fitted(lambda model: model.l2)
    token_weight_ = fitted(lambda model: model.token_weight)
    user_mean_ = fitted(lambda model: model.user_mean)
    bounds_ = fitted(lambda model: model.bounds)
    item_level_ = fitted(lambda model: model.item_level)
    lines_ = fitted(lambda model: model.lines)
    sequence_ = fitted(lambda model: model.sequence)
    cold_start_ = fitted(lambda model: model.cold_start)

    def __init__(
        self,
        item_tokens: LLMTokens | None = None,
        l2: float | None = None,
        token_weight: float | None = None,
        implicit: bool = False,
        max_dense: int = 10_000,
        timestamps: Any = None,
        user_tokens: LLMTokens | str | None = None,
    ) -> None:
        super().__init__(item_tokens=item_tokens, user_tokens=user_tokens)
        self.l2 = l2
        self.token_weight = token_weight
        self.implicit = implicit
        self.max_dense = max_dense
        self.timestamps = timestamps

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> FittedEASE:
        self._check_parameters()
        ends = float(ratings.value.min()), float(ratings.value.max())
        rows = interactions(ratings, ends, self.implicit)
        text_kernel = None
        if items.tokens.shape[1]:
            text_kernel = TextKernel.learn(items, ratings.item_counts)
        features = used_features(text_kernel, ratings.n_items)
        l2, weight = choose(rows, features, self.l2, self.token_weight, self.max_dense)
        weights = solve(rows, features, weight, l2, self.max_dense)
        means = np.full(users.n_rows, ratings.global_mean)
        means[: ratings.n_users] = user_means(ratings)
        popularity, half = popularity_of(rows), 0.5 / ratings.n_users
        levels = Levels.learn(ratings, means, items)
        lowest, highest = ends
        when = None if self.timestamps is None else Timestamps.of(self.timestamps)
        sequence, solving = None, (weight, l2, self.max_dense)
        popular, cold_start = choose_mixture(rows, text_kernel, *solving)
        if when is not None:
            history = History.of(ratings, when.of_all_ratings(ratings))
            sequence = choose_sequence(history, rows, features, *solving)
            if text_kernel is not None:
                texts = unit_rows(items.tokens[: ratings.n_items])
                found = choose_cold_start(history, rows, texts, text_kernel, sequence, *solving)
                cold_start = found or cold_start
        return FittedEASE(
            ratings,
            users,
            items,
            implicit=bool(self.implicit),
            max_dense=int(self.max_dense),
            interactions=rows,
            learned=rows,
            weights=unformed(weights, text_kernel),
            text_kernel=text_kernel,
            user_text=UserText.learn(ratings, users, rows),
            popularity=popularity,
            popularity_weight=popular,
            half_choice=half,
            l2=l2,
            token_weight=weight,
            user_mean=means,
            lowest=lowest,
            highest=highest,
            bounded=bool(np.isfinite(bounds(ratings)[0])),
            item_level=levels.of_items,
            lines=rating_lines(ratings, means, rows, weights, popularity, half, levels),
            cold_start=cold_start,
            sequence=sequence,
            timestamps=when,
        )

    def _check_parameters(self) -> None:
        if self.l2 is not None and not 0 < self.l2 < np.inf:
            raise DataError(
                f"found l2={self.l2!r}; expected a number above 0, or None to choose it"
            )
        if self.token_weight is not None and not 0 <= self.token_weight < np.inf:
            raise DataError(
                f"found token_weight={self.token_weight!r}; expected a number from 0 up, or None "
                "to choose it"
            )
        if self.max_dense < 1:
            raise DataError(f"found max_dense={self.max_dense!r}; expected at least 1")
