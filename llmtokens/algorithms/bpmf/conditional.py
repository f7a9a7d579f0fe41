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
) -> tuple[Floats, Floats]:
    r"""Gaussian rows given their ratings, one for each sample: draws (or means) and covariances.

    .. math:: z \sim N(m, S), \; y_j \sim N(d_j^T z, 1/\alpha_j): \quad
              z | y \sim N(m + (I + S G)^{-1} S D^T A (y - D m), \; (I + S G)^{-1} S), \;
              G = D^T A D

    Shapes: ``design`` (s, n, k), ``open_`` (s, n), ``precision`` (n,), ``prior`` (s, k),
    ``spread`` (s, k, k), ``normals`` (s, k).
    """
    weighted = (design * precision[:, None]).transpose(0, 2, 1)
    spread = spread.astype(np.float64)
    residual = open_ - np.einsum("snk,sk->sn", design, prior)
    system = np.eye(prior.shape[1]) + spread @ (weighted @ design)
    right = np.concatenate([spread @ (weighted @ residual[:, :, None]), spread], axis=2)
    solved = np.linalg.solve(system, right)
    out, left = prior + solved[:, :, 0], solved[:, :, 1:]
    if normals is not None:
        values, axes = np.linalg.eigh((left + left.transpose(0, 2, 1)) / 2)
        out = out + np.einsum("sij,sj->si", axes * np.sqrt(np.maximum(values, 0))[:, None], normals)
    return out, left


def antithetic(n: int, k: int) -> Floats:
    """Standard normals in pairs of opposite sign, so that their mean adds next to no noise."""
    half = np.random.default_rng(0).standard_normal((-(-n // 2), k))
    return np.concatenate([half, -half])[:n]
