"""Leave-one-out for EASE: scores of what was left out, how well they rank, what to choose."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...runtime.arrays import Floats, Rows, Singles
from .solver import Items, solve

_FITTED = 1500  # users the weights are learned from while parameters are chosen
_JUDGES = 500  # users they are judged on
_DEPTH = 100  # a rank beyond it gains nothing
_START, _STEP, _MOST = 100.0, 10**0.5, 8
_SHARES = (0.1, 0.3, 1.0)  # token weights tried, relative to l2
_SURE = 2.0  # standard errors by which text must help


def left_out_scores(items: Items, rows: Any) -> Singles:
    r"""Scores by weights that never saw the user; those of rated items without their rating.

    With ``e = x - x B`` and ``h_i = x P x' - e_i^2 P_ii`` the leverage of the user on column i,
    leaving the user out turns ``e_i`` into ``e_i / (1 - h_i)``: exact, and no refit.

    Parameters
    ----------
    rows : sparse array, shape (n, n_items)
        Some rows of the X that ``items`` was solved from.
    """
    x = rows.toarray()
    error = x - items.scores(rows)
    leverage = _leverage(x, error, error * items.precision)
    out: Singles = x - error / _rest(leverage)
    return out


def without_users(
    items: Items, scores: Singles, x: Singles, learned_scores: Singles, learned: Singles
) -> Singles:
    r"""Scores ``x B`` as by weights that never saw the users' ``learned`` rows.

    With ``e = y - y B`` of a learned row y, and ``h_i(x) = x P y' - (x - x B)_i e_i P_ii``, leaving
    it out takes ``h_i(x) e_i / (1 - h_i(y))`` from score i: exact, and no refit. A row of zeros, as
    of users who were never learned, takes nothing.

    Parameters
    ----------
    scores, x, learned_scores, learned : ndarray of float32, shape (n, n_items)
        ``x B``, ``x``, ``y B`` and ``y``.
    """
    error = learned - learned_scores
    weighted = error * items.precision
    own = _leverage(learned, error, weighted)
    shared = own if x is learned else _leverage(x, x - scores, weighted)
    share: Singles = error / _rest(own)
    out: Singles = scores - shared * share
    return out


def added_without_user(
    items: Items, added: Singles, item: int, learned_scores: Singles, learned: Singles
) -> Singles:
    """What choices add to the score of an item by such weights, shape (n_items,).

    Parameters
    ----------
    added : ndarray of float32, shape (n_items,)
        The item's column of B.
    learned_scores, learned : ndarray of float32, shape (n_items,)
        The user's, as in :func:`without_users`.
    """
    error = learned - learned_scores
    weighted = error * items.precision
    own = _leverage(learned[None], error[None], weighted[None])[0, item]
    share = error[item] / _rest(own)
    out: Singles = added - share * (weighted + added * weighted[item])
    out[item] = 0
    return out


def _leverage(x: Singles, error: Singles, weighted: Singles) -> Singles:
    out: Singles = np.sum(x * weighted, axis=1, keepdims=True) - error * weighted
    return out


def _rest(leverage: Singles) -> Singles:
    """1 less a leverage, and never 0."""
    out: Singles = np.maximum(1 - leverage, 1e-3)
    return out


def ranking_gains(scores: Singles, rows: Any) -> Floats:
    """Sum of ``x_ui / log2(1 + rank)`` over a user's items, each ranked among the unrated ones.

    0 beyond rank 100. For ``scores`` and ``rows`` of shape (n, n_items), shape (n,).
    """
    gains = np.zeros(len(scores))
    for k, mine in enumerate(scores):
        seen = slice(rows.indptr[k], rows.indptr[k + 1])
        others = np.delete(mine, rows.indices[seen])
        if len(others) > _DEPTH:
            others = np.partition(others, -_DEPTH)[-_DEPTH:]
        others.sort()
        above = len(others) - np.searchsorted(others, mine[rows.indices[seen]], side="left")
        gain = np.where(above < _DEPTH, 1 / np.log2(2 + above), 0)
        gains[k] = gain @ rows.data[seen]
    return gains


def reciprocal_gains(scores: Singles, rows: Any, targets: Rows) -> Floats:
    """``1 / log2(1 + rank)`` of one item of each user among all that ``rows`` does not hold.

    0 beyond rank 100; equal scores share their mean rank. Shapes as in :func:`ranking_gains`.
    """
    at = scores[np.arange(len(scores)), targets]
    seen = rows.tocoo()
    others = seen.col != targets[seen.row]
    user, rated = seen.row[others], scores[seen.row[others], seen.col[others]]

    def among_unseen(compare: np.ufunc) -> Rows:
        whole = np.count_nonzero(compare(scores, at[:, None]), axis=1)
        out: Rows = whole - np.bincount(user, compare(rated, at[user]), len(scores)).astype(int)
        return out

    above = among_unseen(np.greater) + (among_unseen(np.equal) - 1) / 2
    return np.where(above < _DEPTH, 1 / np.log2(2 + above), 0.0)


def choose(
    rows: Any, features: Singles, l2: float | None, token_weight: float | None, max_dense: int
) -> tuple[float, float]:
    """``l2``, then the token weight, those that are None.

    Parameters
    ----------
    rows : sparse array, shape (n_users, n_items)
    features : ndarray of float32, shape (n_items, m)
        Without text, m is 0.
    """
    fitted = most_of(rows)
    judges = fitted[evenly(fitted.shape[0], _JUDGES)]

    @cache
    def gains(l2: float, weight: float) -> Floats:
        items = solve(fitted, features, weight, l2, max_dense)
        return ranking_gains(left_out_scores(items, judges), judges)

    if l2 is None:
        l2 = _climb(lambda value: float(gains(value, token_weight or 0.0).sum()))
    if features.shape[1] == 0:
        return l2, token_weight or 0.0
    if token_weight is None:
        shares = [0.0, *_SHARES]
        tried = np.array([gains(l2, share * l2) for share in shares])
        better = tried - tried[0]
        best = int(np.argmax(better.sum(axis=1)))
        noise = float(np.std(better[best])) * np.sqrt(len(tried[0]))
        token_weight = l2 * shares[best] if better[best].sum() > _SURE * noise else 0.0
    return l2, token_weight


def _climb(gain: Callable[[float], float]) -> float:
    """The best of 100 times powers of the root of ten, uphill from 100."""
    best, best_gain = 0, gain(_START)
    for direction in (1, -1):
        at = direction
        while abs(at) <= _MOST and (found := gain(_START * _STEP**at)) > best_gain:
            best, best_gain = at, found
            at += direction
        if best:
            break
    return float(f"{_START * _STEP**best:.3g}")


def most_of(rows: Any) -> Any:
    """The users that parameters are chosen on, evenly spread."""
    return rows[evenly(rows.shape[0], _FITTED)]


def evenly(n: int, most: int) -> Rows:
    """At most ``most`` of n rows, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
