"""Geweke's joint distribution test of the whole sampler, on a model that is tiny and tame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llmtokens.algorithms.bpmf.features import Links
from llmtokens.algorithms.bpmf.noise import RowPrecisions
from llmtokens.algorithms.bpmf.priors import TokenPrior, wishart
from llmtokens.algorithms.bpmf.sampler import Data, Sampler
from llmtokens.trainset import Ratings

N_USERS, N_ITEMS, K = 5, 4, 1
GRID = np.exp(np.linspace(0, 3, 7))
SHAPES = np.array([2.0, 3.0, 4.5, 7.0])
RATE = (6.0, 0.6)


class TamePrior(TokenPrior):
    DOF = 8.0
    SCALE_PRIOR = (6.0, 5.0)
    LINK_PRIOR = (6.0, 5.0)


def small_sampler(rng: np.random.Generator) -> Sampler:
    """All parts of the full model: text, links, user features, content, both noises."""
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
    about_users = rng.standard_normal((N_USERS, 1)).astype(np.float32)
    data = Data.of(ratings, np.zeros(len(pairs)), rng.standard_normal((N_ITEMS, 1)))
    priors = (
        TamePrior(N_USERS, K + 2, about_users, strengths=GRID),
        TamePrior(N_ITEMS, K + 1, text, Links.of(ratings), strengths=GRID),
    )
    noises = (
        RowPrecisions(N_USERS, False, SHAPES, RATE),
        RowPrecisions(N_ITEMS, True, SHAPES),
    )
    return Sampler(data, K, priors, noises, rng)


def dense_links(links: Links) -> np.ndarray:
    met = np.zeros((N_ITEMS, N_USERS))
    met[links.idx, np.repeat(np.arange(N_USERS), np.diff(links.ptr))] = 1
    return links.scale[:, None] * (met - np.outer(links.n_raters, links.share))


def draw_prior(prior: TamePrior, rng: np.random.Generator) -> np.ndarray:
    """Everything of one side from its prior, straight from the definition; returns rows."""
    k = prior.k
    shape, rate = prior.SCALE_PRIOR
    prior.scale = rate / rng.gamma(shape, size=k)
    prior.precision = wishart(rng, prior.DOF + k - 1, np.diag(2 * prior.DOF / prior.scale))
    root = np.linalg.cholesky(np.linalg.inv(prior.precision))
    prior.m = root @ rng.standard_normal(k)
    prior.strength = float(rng.choice(GRID))
    prior.B = rng.standard_normal(prior.B.shape) @ root.T / np.sqrt(prior.strength)
    prior.fit = prior.text.astype(float) @ prior.B
    if prior.links is not None:
        shape, rate = prior.LINK_PRIOR
        prior.link_strength = rng.gamma(shape) / rate
        prior.C = rng.standard_normal(prior.C.shape) / np.sqrt(prior.link_strength)
        white = np.linalg.inv(np.linalg.cholesky(prior.precision))
        prior.link_fit = dense_links(prior.links) @ prior.C.T @ white
    return prior.mean() + rng.standard_normal((prior.n, k)) @ root.T


def draw_all(chain: Sampler, rng: np.random.Generator) -> None:
    chain.V, chain.Q = draw_prior(chain.user_prior, rng), draw_prior(chain.item_prior, rng)
    for noise in (chain.user_noise, chain.item_noise):
        noise.shape = float(rng.choice(SHAPES))
        noise.rate = noise.shape if noise.unit else rng.gamma(RATE[0]) / RATE[1]
        noise.rows = rng.gamma(noise.shape, size=len(noise.rows)) / noise.rate


def draw_ratings(chain: Sampler, rng: np.random.Generator) -> None:
    d, c = chain.data, chain.c
    u, i = d.item_idx, d.item_row
    mean = chain.V[u, -1] + chain.Q[i, -1] + np.sum(chain.V[u, :c] * d.lead[i], axis=1)
    mean += np.sum(chain.V[u, c:-1] * chain.Q[i, :-1], axis=1)
    au, ai = chain.alphas
    d.item_y[:] = mean + rng.standard_normal(len(u)) / np.sqrt(au[u] * ai[i])
    d.user_y[:] = d.item_y[np.lexsort((i, u))]


def statistics(chain: Sampler) -> np.ndarray:
    """Bounded or logarithmic, so that heavy tails have moments."""
    out = []
    for prior, rows in ((chain.user_prior, chain.V), (chain.item_prior, chain.Q)):
        root = np.linalg.cholesky(prior.precision)
        out += [*np.log(np.diag(prior.precision)), np.tanh(prior.precision[0, -1])]
        out += [*np.tanh(prior.m), *np.log(prior.scale), np.log(prior.strength)]
        out += [
            np.log(np.sum((prior.B @ root) ** 2)),
            *np.tanh(rows[0]),
            *np.tanh(rows[1] * rows[2]),
        ]
        out += [np.log(np.sum((rows - prior.mean()) @ root) ** 2)]
    out += [np.log(chain.item_prior.link_strength), np.log(np.sum(chain.item_prior.C**2))]
    for noise in (chain.user_noise, chain.item_noise):
        out += [noise.shape, np.log(noise.rate), *np.log(noise.rows[:2])]
    y = chain.data.item_y
    out += [np.tanh(y.mean()), np.log(np.mean(y**2))]
    return np.array(out)


def fresh(chain: Sampler, rng: np.random.Generator) -> np.ndarray:
    draw_all(chain, rng)
    draw_ratings(chain, rng)
    return statistics(chain)


def scores(n: int, seed: int) -> np.ndarray:
    """How many standard errors the two ways to the joint distribution differ, by statistic:
    everything from the prior (Geweke's marginal-conditional), or a sweep and new ratings by turns
    (his successive-conditional)."""
    rng = np.random.default_rng(seed)
    chain = small_sampler(rng)
    forward = np.array([fresh(chain, rng) for _ in range(n)])
    chained = np.empty_like(forward)
    for row in chained:
        chain.sweep()
        row[:] = statistics(chain)
        draw_ratings(chain, rng)
    batches = chained.reshape(16, n // 16, -1).mean(axis=1)
    error = np.sqrt(forward.var(axis=0) / n + batches.var(axis=0) / 15)
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
        chain.user_noise.rows *= precision
        draw_ratings(chain, rng)
        before = statistics(chain)
        move(chain)
        change.append(statistics(chain) - before)
    changes = np.array(change)
    changes = changes[:, changes.std(axis=0) > 1e-9]
    return changes.mean(axis=0) / changes.std(axis=0) * np.sqrt(n)
