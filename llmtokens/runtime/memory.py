"""What this machine can hold: asked before, as systems end a process that takes too much."""

from __future__ import annotations

import os


def of_machine() -> int:
    """Bytes of memory, 0 where that cannot be told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def require_memory(n_bytes: float, what: str) -> None:
    """Raise MemoryError where ``what`` takes more than there is.

    >>> require_memory(1e18, "1,000 users of 10^12 factors")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    MemoryError: 1,000 users of 10^12 factors take 1,000,000,000 GB; this machine has ...
    """
    there = of_machine()
    if there and n_bytes > there:
        raise MemoryError(
            f"{what} take {n_bytes / 1e9:,.0f} GB; this machine has {there / 1e9:,.0f}"
        )
