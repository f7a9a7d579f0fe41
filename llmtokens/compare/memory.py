"""The most memory a piece of work took."""

from __future__ import annotations

import contextlib
import ctypes
import math
import re
from pathlib import Path


class PeakMemory:
    """The most memory this process held at once since construction, above what it held then.

    Resident memory as Linux counts it (``VmHWM``, reset through ``/proc/self/clear_refs``), so
    numpy's and compiled code's memory are in it, other processes' is not. Memory that the process
    had freed, but not given back, can be used again unseen: take it as a lower bound.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _status("VmRSS")
        except OSError:
            self._before = math.nan

    def read(self) -> float:
        """In MB (10^6 bytes); NaN where the system does not tell."""
        if math.isnan(self._before):
            return math.nan
        return max(0.0, _status("VmHWM") - self._before)


def _status(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) * 1024 / 1e6 if found else math.nan
