"""What samples say of rows that are folded in, and what they leave open of any.

``user_open[u] @ item_open[i]`` is the variance that the estimates' variance over the samples leaves
out: noise; what was integrated out of items with ratings; and what a ridge regression does not know
of rows without. All are products of a user's and an item's numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import gibbs
from ...runtime.arrays import Floats, Rows, Singles
from ...runtime.threads import over_rows


def pair_moments(
    users: Rows, user_samples: Singles, items: Rows, item_samples: Singles, lead: Singles
) -> tuple[Floats, Floats]:
    """Mean and variance over the samples, by pair; see the kernel of this name."""
    mean, variance = np.empty(len(users)), np.empty(len(users))
    over_rows(
        len(users), gibbs.pair_moments, users, items, user_samples, item_samples, lead, mean,
        variance,
    )  # fmt: skip
    return mean, variance


def conditional(
    design: Floats,
    open_: Floats,
    precision: Floats,
    prior: Floats,
    covariance: NDArray[np.floating],
    normals: Floats | None,
    blur: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:
    r"""Gaussian rows given their ratings, one for each sample: draws (or means) and covariances.

    .. math:: z \sim N(m, S), \; y_j \sim N(d_j^T z, 1/\alpha_j): \quad
              z | y \sim N(m + (I + S G)^{-1} S D^T A (y - D m), \; (I + S G)^{-1} S), \;
              G = D^T A D

    Where the designs themselves are known up to a covariance alone, ``blur`` holds what that adds
    to G, (k, k), and takes from the right side, (k,): the best Gaussian given the others', as in
    variational Bayes (Lim & Teh 2007).

    Shapes: ``design`` (s, n, k), ``open_`` (s, n), ``precision`` (n,), ``prior`` (s, k),
    ``covariance`` (s, k, k), ``normals`` (s, k).
    """
    weighted = (design * precision[:, None]).transpose(0, 2, 1)
    covariance = covariance.astype(np.float64)
    residual = open_ - np.einsum("snk,sk->sn", design, prior)
    gram, side = weighted @ design, weighted @ residual[:, :, None]
    if blur is not None:
        gram, side = gram + blur[0], side - (prior @ blur[0] + blur[1])[:, :, None]
    system = np.eye(prior.shape[1]) + covariance @ gram
    right = np.concatenate([covariance @ side, covariance], axis=2)
    solved = np.linalg.solve(system, right)
    out, left = prior + solved[:, :, 0], solved[:, :, 1:]
    if normals is not None:
        out = out + (_root(left) @ normals[:, :, None])[:, :, 0]
    return out, left


def _root(covariance: Floats) -> NDArray[np.floating]:
    """``R`` with ``R R'`` the covariance, for each sample."""
    covariance = (covariance + covariance.transpose(0, 2, 1)) / 2
    root: NDArray[np.floating]
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # fewer rows than dims were there to learn the prior's covariance
        values, axes = np.linalg.eigh(covariance)
        root = axes * np.sqrt(np.maximum(values, 0))[:, None]
    return root


def influence(
    design: Floats,
    open_: Floats,
    precision: Floats,
    prior: Floats,
    covariance: NDArray[np.floating],
    query: Floats,
    blur: tuple[Floats, Floats],
) -> Floats:
    r"""By how much ``query @ E[z | y]`` is higher for having each rating, shape (s, n).

    Leaving rating j out takes :math:`\alpha_j d_j d_j^T` off the posterior precision, so that

    .. math:: E[q^T z | y] - E[q^T z | y_{-j}] = q^T C d_j \, \alpha_j e_j / (1 - h_j), \quad
              h_j = \alpha_j d_j^T C d_j

    with C the posterior covariance and e what the posterior mean leaves open (Cook & Weisberg
    1982); ``blur`` is held. Shapes as in :func:`conditional`; ``query`` (s, k).
    """
    mean, left = conditional(design, open_, precision, prior, covariance, None, blur)
    ahead = design @ left
    leverage = precision * np.einsum("snk,snk->sn", ahead, design)
    residual = open_ - np.einsum("snk,sk->sn", design, mean)
    out: Floats = precision * np.einsum("snk,sk->sn", ahead, query) * residual
    return out / np.maximum(1 - leverage, 1e-12)


def antithetic(n: int, k: int) -> Floats:
    """Standard normals in pairs of opposite sign, so that their mean adds next to no noise."""
    half = np.random.default_rng(0).standard_normal((-(-n // 2), k))
    return np.concatenate([half, -half])[:n]


def user_left_open(taste: Floats, variance: Any, item_spread: Floats) -> Floats:
    """What a sample leaves open of users, to be multiplied with the same of items.

    ``taste`` (n, k + 1) holds ``[p_u, b_u]``, ``variance`` is that of the users' ratings.
    """
    taste = np.column_stack([taste[:, :-1], np.ones(len(taste))])
    made = np.zeros((len(taste), open_width(taste.shape[1] - 1)))
    made[:, 0] = variance
    made[:, 1:-2] = products(taste, True)
    made[:, -2] = np.sum((taste @ item_spread) * taste, axis=1)
    return made


def item_left_open(
    seen: Floats, integrated_out: Floats, variance: Floats, user_spread: Floats
) -> Floats:
    """What a sample leaves open of items, to be multiplied with the same of users.

    ``seen`` (n, c + k + 1) holds ``[x_i, q_i, 1]``; ``integrated_out`` (n_warm, k + 1) is by how
    much the items with ratings, who are the first, were off their conditional means.
    """
    warm, k = integrated_out.shape
    made = np.zeros((len(seen), open_width(k - 1)))
    made[:, 0] = variance
    made[:warm, 1:-2] = products(integrated_out, False)
    made[warm:, -2] = 1
    made[:, -1] = np.sum((seen @ user_spread) * seen, axis=1)
    return made


def open_width(k: int) -> int:
    """How many numbers say what is left open of a row, with ``k`` factors."""
    return 3 + (k + 1) * (k + 2) // 2


def products(rows: Floats, twice: bool) -> Floats:
    """Products of all pairs of columns; ``twice``: those of different ones count twice, so that
    ``products(a, True) @ products(b, False)`` is the squared dot product."""
    a, b = np.triu_indices(rows.shape[-1])
    made: Floats = rows[..., a] * rows[..., b]
    return made * np.where(a == b, 1.0, 2.0) if twice else made
