"""What a result was made with: versions and hardware."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "scikit-surprise", "numpy", "scipy", "numba", "scikit-learn", "pandas", "joblib",
    "sentence-transformers", "torch",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Installed versions of Python, this library and what it computes with.

    >>> sorted(versions())[:2]
    ['Python', 'joblib']
    """
    from .. import __version__

    found = {"llmtokens": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str]:
    """Processor, cores this process may use, memory and operating system, as far as known."""
    found = {"processor": _processor(), "cores": str(_cores())}
    memory = _memory_gb()
    if memory:
        found["memory"] = f"{memory:.0f} GB"
    return found | {"system": f"{platform.system()} {platform.release()} {platform.machine()}"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _cores() -> int:
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (AttributeError, ValueError, OSError):
        return 0.0
