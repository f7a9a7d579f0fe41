"""What was compared, with what and where: in words that tell two settings apart, and in digests.

Two values have the same digest if they ask for the same computation.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
import types
from collections.abc import Mapping
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import joblib
import numpy as np
import pandas as pd
from surprise import AlgoBase
from surprise.dataset import Dataset

from ..errors import DataError
from ..runtime.memory import of_machine
from ..tokens import LLMTokens
from .measures import FullRanking

_LONGEST = 200  # characters of a value that is shown as it is
_PACKAGES = (
    "scikit-surprise", "numpy", "scipy", "numba", "scikit-learn", "pandas", "joblib",
    "sentence-transformers", "torch",
)  # fmt: skip
_HASHED = (  # by joblib, by content
    bool, int, float, complex, str, bytes, PurePath, type(None), np.ndarray, np.generic,
    pd.DataFrame, pd.Series, pd.Index, np.random.RandomState,
)  # fmt: skip
_READ = (  # of the names that code shares with its module, those of such values count
    *_HASHED, types.FunctionType, types.MethodType, partial, type, LLMTokens,
    Mapping, set, frozenset, list, tuple,
)  # fmt: skip
_LIBRARIES = (*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")), "<frozen")
_OURS = f"{Path(__file__).parents[1]}{os.sep}"


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
    memory = of_machine()
    if memory:
        found["memory"] = f"{memory / 1e9:.0f} GB"
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


def digest(*values: Any) -> str:
    """A hex digest (32 characters) of values by their content, the same in every process.

    What it promises: whatever changes the computation changes the digest, as far as it can be
    seen from Python. Numbers, text, containers, arrays and frames count by content (joblib's
    hash), tokens by ids and vectors, objects by their class and attributes. Functions and classes
    that belong to no installed package count by their compiled code, their defaults, what they
    close over and the values of the names that they share with their module; those of a package by
    name and code, since it has a version. Of modules, and of other objects that a function finds
    in its module, only the name counts. Code that was edited but not imported anew is not taken
    for the new code. Where values are equal but one is, say, another type, digests may differ:
    then a result is computed once more, never taken wrongly.

    Raises
    ------
    DataError
        For an object that does not show what it consists of.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    >>> digest(lambda x: x + 1) == digest(lambda x: x + 2)
    False
    """
    found = joblib.hash(_told(values, (), {}))
    assert found is not None
    return found


def _told(value: Any, above: tuple[int, ...], met: dict[int, int]) -> Any:
    """The value as nested tuples of what joblib hashes.

    ``above``: ids of what contains it; ``met``: the functions and classes told before it.
    """
    if _is_hashed(value):
        return value
    if id(value) in above:
        return ("above", above.index(id(value)))
    if isinstance(value, (types.FunctionType, type)):
        if id(value) in met:
            return ("met", met[id(value)])
        met[id(value)] = len(met)
    name, parts = _parts(value)
    return (name, *(_told(part, (*above, id(value)), met) for part in parts))


def _is_hashed(value: Any) -> bool:
    """Whether joblib hashes it by content as it is; so are lists of a million plain ids."""
    match value:
        case np.ndarray():
            return not value.dtype.hasobject
        case list() | tuple():
            return {str, int, float, bool, type(None)}.issuperset(map(type, value))
        case _:
            return isinstance(value, _HASHED)


def _parts(value: Any) -> tuple[str, Any]:
    """What kind of value it is, and what it consists of."""
    match value:
        case LLMTokens():
            return "tokens", (value.ids, value.vectors)
        case Mapping():
            pairs = sorted((digest(key), item) for key, item in value.items())
            return "mapping", [part for pair in pairs for part in pair]
        case set() | frozenset():
            return "set", sorted(digest(item) for item in value)
        case list() | tuple() | np.ndarray():
            return "sequence", value
        case partial():
            return "partial", (value.func, value.args, value.keywords)
        case types.MethodType():
            return "method", (value.__func__, value.__self__)
        case types.FunctionType():
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            given = (value.__defaults__, value.__kwdefaults__, cells)
            return "function", (value.__qualname__, value.__code__, *given, _read(value))
        case types.CodeType():
            return "code", (value.co_code, value.co_names, value.co_consts)
        case type():
            defined = [_defined(base) for base in value.__mro__]
            return "class", (value.__module__, value.__qualname__, defined)
        case _ if callable(value) and hasattr(value, "__qualname__"):  # compiled functions
            return "function", (value.__module__, value.__qualname__)
        case _ if hasattr(value, "__dict__"):
            return "object", (type(value), vars(value))
    if " at 0x" in repr(value):
        raise DataError(
            f"found {value!r}, which does not show what it consists of, so that a result "
            "cannot be recognised in a later run; use plain values, functions or objects with "
            "attributes, or leave out the folder"
        )
    return "other", (type(value), repr(value))


def _read(function: types.FunctionType) -> dict[str, Any]:
    """What a function may read from its module; nothing for one of a package."""
    if _is_installed(function.__code__.co_filename):
        return {}
    found = function.__globals__
    return {name: _seen(found[name]) for name in _names(function.__code__) if name in found}


def _names(code: types.CodeType) -> set[str]:
    """The names in code and in the functions inside it: its globals are among them."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*inner)


def _defined(cls: type) -> dict[str, Any]:
    """What a class defines itself: of one of a package the methods' code, else values as well."""
    if _is_installed(getattr(sys.modules.get(cls.__module__), "__file__", None) or ""):
        functions = {name: _function(member) for name, member in vars(cls).items()}
        return {k: v.__code__ for k, v in functions.items() if isinstance(v, types.FunctionType)}
    own = {k: v for k, v in vars(cls).items() if callable(v) or not k.startswith("__")}
    return {name: _seen(_function(member)) for name, member in own.items()}


def _function(member: Any) -> Any:
    """The function of a descriptor that is made of one; else the member itself."""
    match member:
        case property():
            return [member.fget, member.fset, member.fdel]
        case cached_property():
            return member.func
        case _:
            return getattr(member, "__func__", member)


def _seen(value: Any) -> Any:
    """A value that counts by its content; else the name of what it is."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    return value if isinstance(value, _READ) else type(value).__qualname__


def _is_installed(path: str) -> bool:
    """Whether code is of an installed package, of Python or ours: of what has a version."""
    packages = {"site-packages", "dist-packages"}.intersection(PurePath(path).parts)
    return bool(packages) or path.startswith((*_LIBRARIES, _OURS))
