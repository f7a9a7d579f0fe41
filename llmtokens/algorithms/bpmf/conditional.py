"""Rows of newcomers given their ratings, in every sample at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def conditional(
    design: Floats,
    open_: Floats,
    precision: Floats,
    prior: Floats,
    spread: NDArray[np.floating],
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
    ``spread`` (s, k, k), ``normals`` (s, k).
    """
    weighted = (design * precision[:, None]).transpose(0, 2, 1)
    spread = spread.astype(np.float64)
    residual = open_ - np.einsum("snk,sk->sn", design, prior)
    gram, side = weighted @ design, weighted @ residual[:, :, None]
    if blur is not None:
        gram, side = gram + blur[0], side - (prior @ blur[0] + blur[1])[:, :, None]
    system = np.eye(prior.shape[1]) + spread @ gram
    right = np.concatenate([spread @ side, spread], axis=2)
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
    except np.linalg.LinAlgError:  # fewer rows than dims were there to learn the prior's spread
        values, axes = np.linalg.eigh(covariance)
        root = axes * np.sqrt(np.maximum(values, 0))[:, None]
    return root


def influence(
    design: Floats,
    open_: Floats,
    precision: Floats,
    prior: Floats,
    spread: NDArray[np.floating],
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
    mean, covariance = conditional(design, open_, precision, prior, spread, None, blur)
    ahead = design @ covariance
    leverage = precision * np.einsum("snk,snk->sn", ahead, design)
    residual = open_ - np.einsum("snk,sk->sn", design, mean)
    out: Floats = precision * np.einsum("snk,sk->sn", ahead, query) * residual
    return out / np.maximum(1 - leverage, 1e-12)


def antithetic(n: int, k: int) -> Floats:
    """Standard normals in pairs of opposite sign, so that their mean adds next to no noise."""
    half = np.random.default_rng(0).standard_normal((-(-n // 2), k))
    return np.concatenate([half, -half])[:n]
