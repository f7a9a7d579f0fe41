"""What a fitted EASE is made of, under the names it has in a file."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from scipy import sparse

from ...errors import FileFormatError
from .solver import DenseItems, FactoredItems, Items
from .text_kernel import TextSmoother

State = dict[str, Any]


def state_of(weights: Items, smoother: TextSmoother | None) -> State:
    """All that weights and text are made of, None where this kind of weights has no such part."""
    names = {f.name for kind in (DenseItems, FactoredItems) for f in fields(kind)}
    state: State = {f"weights_{name}": getattr(weights, name, None) for name in names}
    if smoother is not None:
        state |= named("text", smoother, ("features", "mixing"))
        state |= named("landmarks", smoother.landmarks, ("tokens", "root", "scale"))
    return state


def named(prefix: str, of: Any, names: tuple[str, ...]) -> State:
    """Attributes as entries of a state."""
    return {f"{prefix}_{name}": getattr(of, name) for name in names}


def gathered(prefix: str, state: State) -> State:
    """What :func:`named` made of one object; empty where there was none."""
    split = {key.partition("_"): value for key, value in state.items() if value is not None}
    return {name: value for (kind, _, name), value in split.items() if kind == prefix and name}


def matrix(parts: State, shape: tuple[int, int]) -> sparse.csr_array:
    """X as it was when B was learned; a file may lie."""
    ptr, indices, data = (parts[name] for name in ("indptr", "indices", "data"))
    n_users = len(ptr) - 1
    if n_users > shape[0] or ptr[0] != 0 or ptr[-1] != len(data) or np.any(np.diff(ptr) < 0):
        raise FileFormatError("'learned_indptr' does not divide the ratings among the users")
    return sparse.csr_array((data, indices, ptr), shape=(n_users, shape[1]))
