"""Random numbers that belong to users and items, not to who draws them.

Every run of :data:`BLOCK` users has a generator of its own for every sweep and purpose, so that the
same numbers are drawn however users are divided among shards, threads and machines, and a chain can
be taken up at any sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np

BLOCK = 1024  # users; shards begin at multiples of it


class Purpose(IntEnum):
    """What numbers are for."""

    START = 0
    ITEMS = 1
    USERS = 2
    NOISE = 3
    LINKS = 4


def stream(seed: int, sweep: int, purpose: Purpose, *block: int) -> np.random.Generator:
    """The generator of one block, anew.

    >>> stream(0, 5, Purpose.USERS, 1).random() == stream(0, 5, Purpose.USERS, 1).random()
    True
    """
    key = (sweep, int(purpose), *block)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def by_block(
    seed: int, sweep: int, purpose: Purpose, first: int, n: int, *further: int
) -> Iterator[tuple[slice, np.random.Generator]]:
    """For ``n`` users from ``first`` on: those of each block, counted from 0, and its generator."""
    for start in range(0, n, BLOCK):
        block = (first + start) // BLOCK
        yield (
            slice(start, min(start + BLOCK, n)),
            stream(seed, sweep, purpose, *further, block),
        )
