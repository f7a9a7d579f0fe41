import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from llmtokens.runtime.memory import kept_memory

HAS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def make_and_drop_arrays_of_a_megabyte(n: int) -> None:
    assert len([np.ones(125_000) for _ in range(n)]) == n


@pytest.mark.skipif(not HAS_GLIBC, reason="another C library")
def test_memory_stays_with_the_process_inside_and_is_given_back_at_the_end() -> None:
    before = resident_mb()
    with kept_memory():
        make_and_drop_arrays_of_a_megabyte(300)
        kept = resident_mb()
        make_and_drop_arrays_of_a_megabyte(300)
        assert resident_mb() < kept + 50
    assert kept > before + 200
    assert resident_mb() < before + 100
