"""What this machine can hold: asked before, as systems end a process that takes too much; and when
memory is given back."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_TRIM, _MMAP = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_USUAL = 128 << 10  # of both, in bytes


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


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, memory that was let go of stays with the process, to be used again.

    Dask has its workers give it back at once, and to have it cleared anew costs a loop over the
    same large arrays a fifth of its time. Where the C library is not glibc, nothing is changed.
    """
    try:
        set_to = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        yield
        return
    set_to(_TRIM, 1 << 30)
    set_to(_MMAP, 32 << 20)  # the most it takes
    try:
        yield
    finally:
        set_to(_TRIM, int(os.environ.get("MALLOC_TRIM_THRESHOLD_", _USUAL)))
        set_to(_MMAP, _USUAL)
        give_back_memory()


def give_back_memory() -> None:
    """Give to the system what the process has let go of, where the C library is glibc."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
