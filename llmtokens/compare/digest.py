"""Digests of settings: two values have the same digest if they ask for the same computation."""

from __future__ import annotations

import dis
import hashlib
import os
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from ..tokens import LLMTokens

_PLAIN = {str, int, float, bool, type(None)}
_SCALARS = (bool, int, float, complex, str, bytes, PurePath, type(None))
_CODE = (types.FunctionType, types.MethodType, partial, type)
_SHOWN = (  # of the names that a function takes from its module, those of such values count
    *_SCALARS, *_CODE, np.ndarray, np.generic, pd.DataFrame, pd.Series, pd.Index, LLMTokens,
    np.random.RandomState, Mapping, set, frozenset, list, tuple,
)  # fmt: skip
_LIBRARIES = (*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")), "<frozen")
_OURS = f"{Path(__file__).parents[1]}{os.sep}"


@dataclass(frozen=True)
class _Above:
    """What contains a value, by ids, and which functions and classes have been told before it."""

    ids: tuple[int, ...] = ()
    told: dict[int, int] = field(default_factory=dict)


def digest(*values: Any) -> str:
    """A hex digest (32 characters) of values by their content, the same in every process.

    Numbers, text, containers, arrays, frames, tokens, functions (by their code, their defaults and
    what they close over), classes (by name and what they define) and objects (by their class and
    attributes) are understood. What a function that belongs to no installed package reads from its
    module counts too, where it is one of these; of modules and other objects there, only what they
    are called.

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
    state = hashlib.sha256()
    for part in _parts(values, _Above()):
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()[:32]


def _parts(value: Any, above: _Above) -> Iterator[bytes]:
    """The value as a prefix-free stream of bytes."""
    if isinstance(value, _SCALARS):
        yield f"{type(value).__name__}:{value!r}".encode("utf-8", "surrogatepass")
        return
    if id(value) in above.ids:
        yield b"above:%d" % above.ids.index(id(value))
        return
    if isinstance(value, (types.FunctionType, type)):
        if id(value) in above.told:
            yield b"told:%d" % above.told[id(value)]
            return
        above.told[id(value)] = len(above.told)
    above = replace(above, ids=(*above.ids, id(value)))
    match value:
        case np.ndarray() if not value.dtype.hasobject:
            yield f"array:{value.dtype.str}:{value.shape}".encode()
            yield np.ascontiguousarray(value).tobytes()
        case np.generic():
            yield from _parts(value.item(), above)
        case pd.DataFrame() | pd.Series() | pd.Index():
            names = value.columns.tolist() if isinstance(value, pd.DataFrame) else value.name
            try:
                content: list[Any] = [pd.util.hash_pandas_object(value).to_numpy()]
            except TypeError:  # cells that have no hash, such as lists
                content = [getattr(value, "index", None), value.to_numpy(dtype=object)]
            yield from _parts([type(value).__name__, names, *content], above)
        case LLMTokens():
            yield from _parts(["LLMTokens", value.ids, value.vectors], above)
        case np.random.RandomState():
            yield from _parts(["RandomState", value.get_state(legacy=False)], above)
        case Mapping():
            pairs = sorted((digest(key), key, item) for key, item in value.items())
            yield from _parts(["mapping", *[(key, item) for _, key, item in pairs]], above)
        case set() | frozenset():
            yield from _parts(["set", *sorted(digest(item) for item in value)], above)
        case list() | tuple() if _PLAIN.issuperset(map(type, value)):
            yield f"plain:{value!r}".encode()
        case list() | tuple() | np.ndarray():
            yield b"sequence:%d" % len(value)
            for item in value:
                yield from _parts(item, above)
        case partial():
            yield from _parts(["partial", value.func, value.args, value.keywords], above)
        case types.MethodType():
            yield from _parts(["method", value.__func__, value.__self__], above)
        case types.FunctionType():
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            given = [value.__defaults__, value.__kwdefaults__, cells, _globals(value)]
            yield from _parts(["function", value.__qualname__, value.__code__, given], above)
        case types.CodeType():
            yield from _parts(["code", value.co_code, value.co_names, value.co_consts], above)
        case type():
            defined = [_defined(base) for base in value.__mro__]
            yield from _parts(["class", value.__module__, value.__qualname__, defined], above)
        case _ if callable(value) and hasattr(value, "__qualname__"):  # compiled functions
            yield from _parts(["function", value.__module__, value.__qualname__], above)
        case _:
            yield from _object_parts(value, above)


def _globals(function: types.FunctionType) -> dict[str, Any]:
    """What a function reads from its module; nothing for one of a package, which has a version."""
    if _is_installed(function.__code__.co_filename):
        return {}
    found = function.__globals__
    return {name: _shown(found[name]) for name in _names(function.__code__) if name in found}


def _names(code: types.CodeType) -> set[str]:
    """The globals that code reads, with the functions inside it."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    reads = ("LOAD_GLOBAL", "LOAD_NAME")
    own = {step.argval for step in dis.get_instructions(code) if step.opname in reads}
    return own.union(*inner)


def _defined(cls: type) -> dict[str, Any]:
    """What a class defines itself: of one of a package the methods' code, else values as well."""
    members = {name: _function(member) for name, member in vars(cls).items()}
    if _is_installed(getattr(sys.modules.get(cls.__module__), "__file__", None) or ""):
        functions = (types.FunctionType,)
        return {k: v.__code__ for k, v in members.items() if isinstance(v, functions)}
    own = {k: v for k, v in members.items() if callable(v) or not k.startswith("__")}
    return {name: _shown(member) for name, member in own.items()}


def _function(member: Any) -> Any:
    """The function of a descriptor that is made of one; else the member itself."""
    match member:
        case staticmethod() | classmethod():
            return member.__func__
        case property():
            return [member.fget, member.fset, member.fdel]
        case cached_property():
            return member.func
        case _:
            return member


def _shown(value: Any) -> Any:
    """A value that counts by its content; else the name of what it is."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    return value if isinstance(value, _SHOWN) else type(value).__qualname__


def _is_installed(path: str) -> bool:
    """Whether code is of an installed package, of Python or ours: of what has a version."""
    packages = {"site-packages", "dist-packages"}.intersection(PurePath(path).parts)
    return bool(packages) or path.startswith((*_LIBRARIES, _OURS))


def _object_parts(value: Any, above: _Above) -> Iterator[bytes]:
    if not hasattr(value, "__dict__"):
        if " at 0x" in repr(value):
            raise DataError(
                f"found {value!r}, which does not show what it consists of, so that a result "
                "cannot be recognised in a later run; use plain values, functions or objects with "
                "attributes, or leave out the folder"
            )
        yield from _parts([type(value), repr(value)], above)
        return
    yield from _parts(["object", type(value), vars(value)], above)
