"""Geweke's joint distribution test of the whole sampler, on a model that is tiny and tame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llmtokens.algorithms.bpmf.drift import DriftPrior
from llmtokens.algorithms.bpmf.priors import (
    FeatureSums,
    ItemPrior,
    RowPrecisions,
    TokenPrior,
    wishart,
)
from llmtokens.algorithms.bpmf.sampler import Sampler, Shared, Size
from llmtokens.algorithms.bpmf.shards import Shard, Shards, find_links
from llmtokens.data.ratings import Ratings

N_USERS, N_ITEMS, K = 5, 4, 1
GRID = np.exp(np.linspace(0, 3, 7))
SHAPES = np.array([2.0, 3.0, 4.5, 7.0])
RATE = (6.0, 0.6)
VARIANCES, TIMES = np.array([0.1, 0.2, 0.4, 0.8, 1.6]), np.array([0.5, 1.0, 2.0, 4.0, 8.0])


class TamePrior(TokenPrior):
    DOF = 8.0
    SCALE_PRIOR = (6.0, 5.0)


class TameItemPrior(ItemPrior):
    DOF = 8.0
    SCALE_PRIOR = (6.0, 5.0)
    LINK_PRIOR = (6.0, 5.0)


def small_sampler(rng: np.random.Generator, timed: bool = False) -> Sampler:
    """All parts of the full model: text, links, user features, content, both noises, times."""
    pairs = np.array(
        [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if (u + 2 * i) % 5 > 1]
    )
    counts = np.bincount(pairs[:, 0], minlength=N_USERS)
    ratings = Ratings(
        pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), np.zeros(len(pairs)),
        np.concatenate([[0], np.cumsum(counts)]), (0.0, 1.0), list(range(N_USERS)),
        list(range(N_ITEMS)),
    )  # fmt: skip
    text = rng.standard_normal((N_ITEMS, 2)).astype(np.float32)
    about_users = rng.standard_normal((N_USERS, 2)).astype(np.float32)
    lead = rng.standard_normal((N_ITEMS, 1)).astype(np.float32)
    team = Shards.of(ratings, 1.0, about_users, lead, K, seed=int(rng.integers(1 << 30)),
                     times=_times(len(pairs)) if timed else None)  # fmt: skip
    links = find_links(team)
    priors = (
        TamePrior(K + 2, FeatureSums.of(about_users), strengths=GRID, n_first=1),
        TameItemPrior(N_ITEMS, K + 1, text, N_USERS, strengths=GRID),
    )
    noises = RowPrecisions(False, SHAPES, RATE), RowPrecisions(True, SHAPES)
    size = Size(N_USERS, N_ITEMS, ratings.n, K, 1)
    return Sampler(team, size, *priors, *noises, team.shards[0].seed, links,
                   drift=DriftPrior(1.0, VARIANCES, TIMES) if timed else None)  # fmt: skip


def _times(n: int) -> np.ndarray:
    """Of all ratings but one, in no order."""
    times = (7.0 * np.arange(n)) % 5
    times[2] = np.nan
    return times


def the_users(chain: Sampler) -> Shard:
    """All users are in one shard."""
    (shard,) = chain.team.shards
    return shard


def user_means(chain: Sampler) -> np.ndarray:
    prior = chain.user_prior
    return prior.m + the_users(chain).features @ prior.B


def pairs_of(chain: Sampler) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of the ratings, in user order."""
    rated = the_users(chain).rated
    return np.repeat(np.arange(N_USERS), np.diff(rated.ptr)), rated.item


def dense_links(chain: Sampler) -> np.ndarray:
    links, met = chain.links, np.zeros((N_ITEMS, N_USERS))
    u, i = pairs_of(chain)
    met[i, u] = 1
    return links.scale[:, None] * (met - np.outer(links.n_raters, met.sum(0) / met.sum()))


def draw_hyper(prior: TamePrior, rng: np.random.Generator) -> np.ndarray:
    """What both priors have from their own priors, straight from the definition; returns a root of
    the covariance."""
    shape, rate = prior.SCALE_PRIOR
    prior.scale = rate / rng.gamma(shape, size=prior.k)
    prior.precision = wishart(rng, prior.DOF + prior.k - 1, np.diag(2 * prior.DOF / prior.scale))
    root = np.linalg.cholesky(np.linalg.inv(prior.precision))
    prior.m = root @ rng.standard_normal(prior.k)
    for group in prior.groups:
        prior.strength[group.at] = rng.choice(GRID)
    prior.B = rng.standard_normal(prior.B.shape) @ root.T / np.sqrt(prior.strength)[:, None]
    return root


def draw_drift(chain: Sampler, rng: np.random.Generator) -> None:
    """The processes from their definition, and the scale from its prior."""
    drift, times, (u, _) = the_users(chain).drift, _times(chain.size.n_ratings), pairs_of(chain)
    chain.drift.variance, chain.drift.tau = rng.choice(VARIANCES), rng.choice(TIMES)
    for user in range(N_USERS):
        at = np.flatnonzero((u == user) & np.isfinite(times))
        apart = np.abs(times[at][:, None] - times[at])
        covariance = chain.drift.variance * np.exp(-apart / chain.drift.tau)
        drift.states[at] = np.linalg.cholesky(covariance) @ rng.standard_normal(len(at))


def draw_all(chain: Sampler, rng: np.random.Generator) -> None:
    """Everything but the ratings from its prior."""
    prior, users = chain.item_prior, the_users(chain)
    root = draw_hyper(prior, rng)
    prior.fit = prior.text.astype(float) @ prior.B
    shape, rate = prior.LINK_PRIOR
    prior.link_strength = rng.gamma(shape) / rate
    white = rng.standard_normal(users.links.plain.shape) / np.sqrt(prior.link_strength)
    users.links.plain = white @ np.linalg.inv(np.linalg.cholesky(prior.precision))
    prior.link_fit = dense_links(chain) @ users.links.plain
    chain.Q = prior.mean() + rng.standard_normal(chain.Q.shape) @ root.T
    root = draw_hyper(chain.user_prior, rng)
    users.V[:] = user_means(chain) + rng.standard_normal(users.V.shape) @ root.T
    if chain.drift is not None:
        draw_drift(chain, rng)
    for noise in (chain.user_noise, chain.item_noise):
        noise.shape = float(rng.choice(SHAPES))
        noise.rate = noise.shape if noise.unit else rng.gamma(RATE[0]) / RATE[1]
    users.alpha[:] = rng.gamma(chain.user_noise.shape, size=N_USERS) / chain.user_noise.rate
    chain.item_alpha = rng.gamma(chain.item_noise.shape, size=N_ITEMS) / chain.item_noise.rate


def expectations(chain: Sampler) -> tuple[np.ndarray, np.ndarray]:
    """Of all ratings, in user order; and the part that stems from the content."""
    V, Q, c, (u, i) = the_users(chain).V, chain.Q, chain.size.n_content, pairs_of(chain)
    lead = np.sum(V[u, :c] * the_users(chain).lead[i], axis=1)
    return V[u, -1] + Q[i, -1] + lead + np.sum(V[u, c:-1] * Q[i, :-1], axis=1), lead


def draw_ratings(chain: Sampler, rng: np.random.Generator) -> None:
    u, i = pairs_of(chain)
    users = the_users(chain)
    precision = users.alpha[u] * chain.item_alpha[i]
    y = expectations(chain)[0] + rng.standard_normal(len(u)) / np.sqrt(precision)
    users.given.y[:] = y if users.drift is None else y + users.drift.states
    users.given.item_y[:] = users.given.y[np.lexsort((u, i))]
    users.take_off_drift()


def statistics(chain: Sampler) -> np.ndarray:
    """Bounded or logarithmic, so that heavy tails have moments."""
    out, users = [], the_users(chain)
    for prior, rows, means in (
        (chain.user_prior, users.V, user_means(chain)),
        (chain.item_prior, chain.Q, chain.item_prior.mean()),
    ):
        root = np.linalg.cholesky(prior.precision)
        out += [*np.log(np.diag(prior.precision)), np.tanh(prior.precision[0, -1])]
        out += [*np.tanh(prior.m), *np.log(prior.scale)]
        out += [np.log(prior.strength[group.at][0]) for group in prior.groups]
        out += [
            np.log(np.sum((prior.B @ root) ** 2)),
            *np.tanh(rows[0]),
            *np.tanh(rows[1] * rows[2]),
        ]
        out += [np.log(np.sum((rows - means) @ root) ** 2)]
    out += [np.log(chain.item_prior.link_strength)]
    out += [np.log(np.sum((users.links.plain @ root) ** 2))]
    for noise, alpha in (
        (chain.user_noise, users.alpha),
        (chain.item_noise, chain.item_alpha),
    ):
        out += [noise.shape, np.log(noise.rate), *np.log(alpha[:2])]
    if users.drift is not None:
        s = users.drift.states[[0, 1, 3, 4]]  # the third rating has no time
        out += [np.log(chain.drift.variance), np.log(chain.drift.tau), *np.tanh(s)]
        out += [np.tanh(s[0] * s[1]), np.log(np.sum(users.drift.states**2))]
    y = users.given.y.astype(float)
    out += [np.tanh(y.mean()), np.log(np.mean(y**2))]
    return np.array(out)


def sums(chain: Sampler) -> np.ndarray:
    """What items are drawn from."""
    return chain.team.total(Shard.products)


def shared(chain: Sampler) -> Shared:
    """What the moves of scale go by."""
    return chain._shared(sums(chain), chain.item_prior.fit)


def fresh(chain: Sampler, rng: np.random.Generator) -> np.ndarray:
    draw_all(chain, rng)
    draw_ratings(chain, rng)
    return statistics(chain)


def scores(n: int, seed: int, timed: bool = False) -> np.ndarray:
    """How many standard errors the two ways to the joint distribution differ, by statistic:
    everything from the prior (Geweke's marginal-conditional), or a sweep and new ratings by turns
    (his successive-conditional). Of the former a quarter as many: no two of them are related."""
    rng = np.random.default_rng(seed)
    chain = small_sampler(rng, timed)
    forward = np.array([fresh(chain, rng) for _ in range(n // 4)])
    chained = np.empty((n, forward.shape[1]))
    for row in chained:
        chain.sweep()
        row[:] = statistics(chain)
        draw_ratings(chain, rng)
    batches = chained.reshape(16, n // 16, -1).mean(axis=1)
    error = np.sqrt(forward.var(axis=0) / len(forward) + batches.var(axis=0) / 15)
    return (forward.mean(axis=0) - chained.mean(axis=0)) / error


def scores_of_one_move(
    move: Callable[[Sampler], None], n: int, seed: int, precision: float
) -> np.ndarray:
    """The same for one move, each time from a fresh draw of everything: no two are related."""
    rng = np.random.default_rng(seed)
    chain = small_sampler(rng)
    change = []
    for _ in range(n):
        draw_all(chain, rng)
        the_users(chain).alpha *= precision
        draw_ratings(chain, rng)
        before = statistics(chain)
        move(chain)
        change.append(statistics(chain) - before)
    changes = np.array(change)
    changes = changes[:, changes.std(axis=0) > 1e-9]
    return changes.mean(axis=0) / changes.std(axis=0) * np.sqrt(n)
