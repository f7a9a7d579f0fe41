"""The present state of a chain as arrays, and back: everything but what is with the users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain import Chain

State = dict[str, NDArray[Any]]

_SAMPLER = ("Q", "Q_mean", "item_alpha", "item_known", "user_alpha", "sweeps")
_PRIOR = ("m", "precision", "B", "scale", "strength", "fit", "link_fit", "link_strength")
_NOISE = ("shape", "rate")


def state_of(chain: Chain) -> State:
    """A copy, float64 but for the samples kept so far."""
    out: State = {}
    for prefix, part, names in _parts(chain):
        for name in names:
            if getattr(part, name, None) is not None:
                out[f"{prefix}.{name}"] = np.array(getattr(part, name), np.float64)
    posterior = chain.posterior
    out |= {f"posterior.{name}": array for name, array in posterior.state().items()}
    if chain.newcomers is not None and chain.newcomers.weights is not None:
        out["newcomers.weights"] = chain.newcomers.weights
    return out


def restore(chain: Chain, state: Mapping[str, NDArray[Any]]) -> None:
    """Put a chain, at its start, where another like it was."""
    for prefix, part, names in _parts(chain):
        for name in names:
            if f"{prefix}.{name}" in state:
                value, now = np.array(state[f"{prefix}.{name}"]), getattr(part, name)
                setattr(
                    part, name, value if isinstance(now, np.ndarray) else type(now)(value.item())
                )
    head = "posterior."
    chain.posterior.restore(
        {name.removeprefix(head): v for name, v in state.items() if name.startswith(head)}
    )
    if chain.newcomers is not None and "newcomers.weights" in state:
        chain.newcomers.weights = np.array(state["newcomers.weights"])


def _parts(chain: Chain) -> list[tuple[str, Any, tuple[str, ...]]]:
    sampler = chain.sampler
    return [
        ("sampler", sampler, _SAMPLER),
        ("user_prior", sampler.user_prior, _PRIOR),
        ("item_prior", sampler.item_prior, _PRIOR),
        ("user_noise", sampler.user_noise, _NOISE),
        ("item_noise", sampler.item_noise, _NOISE),
    ]
