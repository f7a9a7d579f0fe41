"""What an item without ratings gets from its text, and how much that weighs beside items with some.

The text kernel carries the user's scores from the items that have ratings to those that have none;
or else the item's text is compared with those of the user's own history (a profile). Scores and
history are weighted by recency. How much they weigh is chosen by trial: on ratings held out evenly,
and, where times are known, on those of the newest items as they were when nobody had rated them.

What is popular is weighed on the same ratings: the scores of EASE have no intercept, and where
users have rated little they say less than how many have chosen an item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import sparse

from ...runtime.arrays import Floats, Mask, Singles
from .interactions import COLD_SHARE, popularity_of, used_features
from .sequence import History, Recency, Sequence, search
from .solver import solve
from .text_kernel import TextKernel
from .tuning import evenly, most_of, ranking_gains

_HELD_OUT = 5  # every fifth rating
_SHARES = (0.5, 0.25, 0.1, 0.05, 0.02)  # of the usual one
_POPULAR = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of popularity, where it and the scores spread alike
_PERIOD = 0.2  # the share of the ratings, the newest, whose new items are treated as cold
_RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of cold items' scores, where both spread alike
_JUDGES = 300
_FEWEST = 50  # ratings of new items: below it nothing is said
_SURE = 2.0  # standard errors by which a choice must be better than the usual one


@dataclass(frozen=True)
class ColdStart:
    """How items without ratings are scored.

    Attributes
    ----------
    from_history : bool
        By the cosines of their tokens to those of what the user chose, as content does it, and not
        by the text kernel from the user's scores.
    power, rate : float
        Recency of that history, or of the one that the scores are made from.
    share : float
        Weight beside items with ratings.
    """

    from_history: bool = False
    power: float = 0.0
    rate: float = 0.0
    share: float = COLD_SHARE

    @property
    def is_usual(self) -> bool:
        """Whether what follows from all ratings alike is carried over by texts."""
        return not (self.from_history or self.power or self.rate)

    @property
    def recency(self) -> Recency:
        return Recency(self.power, self.rate)

    def aged(self, recency: Recency) -> ColdStart:
        """The same with another recency."""
        return replace(self, power=recency.power, rate=recency.rate)


USUAL = ColdStart()


def nearness(history: sparse.csr_array, chosen: Singles, others: Singles) -> Singles:
    """Sum of the cosines of items to what users chose, weighted, shape (n, n_others).

    Parameters
    ----------
    history : sparse array, shape (n, n_chosen)
    chosen, others : ndarray of float32, shape (n_chosen, d) and (n_others, d)
        Tokens of length 1.
    """
    near: Singles = (history @ chosen) @ others.T
    return near


def choose_mixture(
    rows: sparse.csr_array,
    text_kernel: TextKernel | None,
    token_weight: float,
    l2: float,
    max_dense: int,
) -> tuple[float, ColdStart]:
    """How much popularity weighs in lists, and items without ratings, in the usual form.

    Every fifth rating is held out, so that some items lose all they have and join those that never
    had any; what was held out is ranked among all items that the user has not rated. Popularity
    weighs something where that is better beyond doubt, and then as little as is not worse than the
    best by more than the standard error of their difference. Of shares of new items up to the usual
    one, the largest is taken of which that is true: they are shown as much as costs nothing.

    Parameters
    ----------
    rows : sparse array, shape (n_users, n_items)
        X.
    text_kernel : TextKernel or None
        Without one there are no items without ratings.
    """
    fitted = most_of(rows)
    out = np.arange(fitted.nnz) % _HELD_OUT == _HELD_OUT // 2
    known, held_out = _only(fitted, ~out), _only(fitted, out)
    judges = evenly(fitted.shape[0], _JUDGES)
    n_items = rows.shape[1]
    n_all = n_items if text_kernel is None else len(text_kernel.features) - 1
    old = np.zeros(n_all, bool)
    old[known.indices] = True
    unheard = np.flatnonzero(~np.isin(np.arange(n_items), fitted.indices))  # others rated them
    items = solve(known, used_features(text_kernel, n_items), token_weight, l2, max_dense)
    warm = np.zeros((len(judges), n_all), np.float32)
    warm[:, :n_items] = items.scores(known[judges])
    cold = np.full_like(warm, -np.inf)
    if text_kernel is not None:
        learned = text_kernel.learned_on(np.flatnonzero(old))
        cold = learned.smooth(warm[:, old], slice(n_all))
    shape = len(judges), n_all
    seen, later = (sparse.csr_array(x[judges]) for x in (known, held_out))
    seen.resize(shape)
    later.resize(shape)
    popular = np.zeros(n_all, np.float32)
    popular[:n_items] = popularity_of(known)
    even = float(warm[:, old].std()) / max(float(popular[old].std()), 1e-12)
    warm[:, unheard] = -np.inf
    cold[:, unheard] = -np.inf
    weights = [0.0, *(ratio * even for ratio in _POPULAR)]
    nowhere = np.full((1, 1), -np.inf, np.float32)  # where items without ratings stand meanwhile
    gains = np.array(
        [_among_all(warm + np.float32(w) * popular, nowhere, 1, old, seen, later) for w in weights]
    )
    weight = 0.0
    if _best(list(gains)):
        weight = weights[int(np.argmax(_not_worse(gains)))]
    if text_kernel is None:
        return weight, USUAL
    warm += np.float32(weight) * popular
    shares = [USUAL.share, *(share * USUAL.share for share in _SHARES)]
    gains = np.array([_among_all(warm, cold, share, old, seen, later) for share in shares])
    return weight, ColdStart(share=shares[int(np.argmax(_not_worse(gains)))])


def _not_worse(gains: Floats) -> Mask:
    """Which are, by a standard error, not worse than the best, for gains (n, n_users)."""
    worse = gains[np.argmax(gains.sum(axis=1))] - gains
    out: Mask = worse.sum(axis=1) <= worse.std(axis=1) * np.sqrt(gains.shape[1])
    return out


def _only(rows: sparse.csr_array, some: Mask) -> sparse.csr_array:
    """Some of the entries."""
    made = rows.copy()
    made.data = np.where(some, rows.data, np.float32(0))
    made.eliminate_zeros()
    return made


def choose_cold_start(
    history: History,
    rows: sparse.csr_array,
    tokens: Singles,
    text_kernel: TextKernel,
    sequence: Sequence | None,
    token_weight: float,
    l2: float,
    max_dense: int,
) -> ColdStart | None:
    """The form that ranks the newest items best, as they were when nobody had rated them.

    The catalogue is that of the moment when four fifths of the ratings were made; what users who
    were known by then chose later is ranked, items first rated since by their texts. First the
    form is chosen, on the order of the new items among themselves, then their share among all. The
    usual one stays where nothing is better beyond doubt. None where too few items are new.

    Parameters
    ----------
    rows : sparse array, shape (n_users, n_items)
        X.
    tokens : ndarray of float32, shape (n_items, d)
        Of length 1 each.
    sequence : Sequence or None
        How items with ratings are scored.
    """
    n_users, n_items = rows.shape
    late = history.time >= np.quantile(history.time, 1 - _PERIOD)
    past = history.only(np.flatnonzero(~late))
    old = np.bincount(past.item, minlength=n_items) > 0
    judged = late & (np.bincount(past.user, minlength=n_users) > 0)[history.user]
    if np.sum(~old[history.item[judged]]) < _FEWEST:
        return None
    fresh = history.only(np.flatnonzero(judged & ~old[history.item]))
    users = np.unique(fresh.user)
    users = users[evenly(len(users), _JUDGES)]
    seen = _pairs(past)
    known = sparse.csr_array(rows.multiply(seen))
    items = solve(known, used_features(text_kernel, n_items), token_weight, l2, max_dense)
    learned = text_kernel.learned_on(np.flatnonzero(old))

    def recent(recency: Recency) -> sparse.csr_array:
        return sparse.csr_array(known[users].multiply(past.recent(recency)[users]))

    def by_text(form: ColdStart) -> Singles:
        own = recent(form.recency)
        if form.from_history:
            return nearness(own, tokens, tokens)
        return learned.smooth(items.scores(own)[:, old], slice(n_items))

    wanted = _pairs(fresh)[users]

    def order(form: ColdStart) -> Floats:
        return ranking_gains(np.where(old, -np.inf, by_text(form)), wanted)

    def gains_aged(kind: ColdStart, recency: Recency) -> Floats:
        return order(kind.aged(recency))

    tried = [USUAL]
    for kind in (USUAL, ColdStart(from_history=True)):
        tried.append(kind.aged(search(history.step, partial(gains_aged, kind))))
    form = tried[_best([order(form) for form in tried])]
    later = _pairs(history.only(np.flatnonzero(judged)))[users]
    later = sparse.csr_array(later - later.multiply(seen[users]))
    later.eliminate_zeros()
    warm = items.scores(recent(sequence.taste if sequence else USUAL.recency))
    cold = by_text(form)
    if sequence and sequence.share:
        following = past.recent(sequence.next)[users], past.followers(sequence.next)
        warm = warm + sequence.following(items, *following)
    even = float(warm[:, old].std()) / max(float(cold[:, ~old].std()), 1e-12)
    first = USUAL.share if form == USUAL else USUAL.share * even
    shares = [first, *(ratio * even for ratio in _RATIOS)]
    found = [_among_all(warm, cold, share, old, seen[users], later) for share in shares]
    return ColdStart(form.from_history, form.power, form.rate, shares[_best(found)])


def _best(gains: list[Floats]) -> int:
    """Which is the best, if beyond doubt; else the first."""
    best = int(np.argmax([gain.sum() for gain in gains]))
    better = gains[best] - gains[0]
    noise = float(np.std(better)) * np.sqrt(len(better))
    return best if better.sum() > _SURE * noise else 0


def _among_all(
    warm: Singles,
    cold: Singles,
    share: float,
    old: Mask,
    seen: sparse.csr_array,
    later: sparse.csr_array,
) -> Floats:
    scores = np.where(old, warm, np.float32(share) * cold)
    scores[seen.nonzero()] = -np.inf
    return ranking_gains(scores, later)


def _pairs(history: History) -> sparse.csr_array:
    """1 for each pair of user and item there is, shape (n_users, n_items)."""
    shape = history.n_users, history.n_items
    ones = np.ones(len(history.user), np.float32)
    made = sparse.csr_array((ones, (history.user, history.item)), shape=shape)
    made.sum_duplicates()
    made.data[:] = 1
    return made
