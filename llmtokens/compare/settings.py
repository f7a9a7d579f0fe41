"""What was compared, with what and where, in words that tell two settings apart."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from surprise import AlgoBase
from surprise.dataset import Dataset

from ..errors import DataError
from ..tokens import LLMTokens
from .digest import digest
from .measures import FullRanking

_LONGEST = 200  # characters of a value that is shown as it is
_PACKAGES = (
    "scikit-surprise", "numpy", "scipy", "numba", "scikit-learn", "pandas", "joblib",
    "sentence-transformers", "torch",
)  # fmt: skip


def settings(
    algorithms: Mapping[str, AlgoBase],
    dataset: Dataset,
    splits: Mapping[str, Any],
    measures: Mapping[str, Any],
    name: str | None,
) -> dict[str, dict[str, str]]:
    """Data, algorithms, splits, measures, versions and hardware."""
    low, high = dataset.reader.rating_scale
    data = {"rating scale": f"{low:g} to {high:g}"}
    ratings = getattr(dataset, "raw_ratings", None)  # a Dataset made from folds has none
    if ratings is not None:
        counts = {"ratings": len(ratings), "users": len({row[0] for row in ratings})}
        counts["items"] = len({row[1] for row in ratings})
        data = {key: f"{value:,}" for key, value in counts.items()} | data
    return {
        "data": ({"name": str(name)} if name else {}) | data,
        "algorithms": {key: _call(algorithm) for key, algorithm in algorithms.items()},
        "splits": {key: _call(cv) for key, cv in splits.items()},
        "measures": {key: _measure(measure) for key, measure in measures.items()},
        "versions": versions(),
        "hardware": hardware(),
    }


def _call(thing: Any) -> str:
    """An object as the call that makes one like it."""
    unsaid = vars(AlgoBase()).items() if isinstance(thing, AlgoBase) else ()
    shown = {
        key: value
        for key, value in vars(thing).items()
        if not key.startswith("_") and (key, value) not in unsaid
    }
    return f"{type(thing).__name__}({_arguments(shown)})"


def _measure(measure: Any) -> str:
    if isinstance(measure, FullRanking):
        return f"{_measure(measure.measure)} over the whole catalogue"
    if isinstance(measure, partial):
        shown = {key: value for key, value in measure.keywords.items() if key != "verbose"}
        given = ", ".join([*map(_value, measure.args), *([_arguments(shown)] if shown else [])])
        return f"{_measure(measure.func)}({given})" if given else _measure(measure.func)
    return f"{measure.__module__}.{getattr(measure, '__qualname__', type(measure).__name__)}"


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    """A value, or what tells it apart where it is too long or shows nothing but an address."""
    if isinstance(value, LLMTokens):
        made = {
            "columns": value.projection.columns,
            "template": value.template,
            "encoder": value.encoder,
            "revision": value.revision,
        }
        said = [_arguments({key: known}) for key, known in made.items() if known]
        return ", ".join([repr(value).removesuffix(")"), *said, f"{_short(value)})"])
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    shown = repr(value)
    if len(shown) <= _LONGEST and "\n" not in shown and " at 0x" not in shown:
        return shown
    return f"{type(value).__name__}({_short(value)})"


def _short(value: Any) -> str:
    try:
        return f"digest={digest(value)[:8]}"
    except DataError:  # it does not show what it consists of
        return "..."


# -- the machine -------------------------------------------------------------------------------


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
