"""Digests of settings: two values have the same digest if they ask for the same computation."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from ..tokens import LLMTokens

_PLAIN = {str, int, float, bool, type(None)}


def digest(*values: Any) -> str:
    """A hex digest (32 characters) of values by their content, the same in every process.

    Numbers, text, containers, arrays, frames, tokens, functions (by their code, defaults and what
    they close over), classes (by name and the code of their methods) and objects (by their class
    and attributes) are understood.

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
    for part in _parts(values, ()):
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()[:32]


def _parts(value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    """The value as a prefix-free stream of bytes; ``above`` holds the ids of what contains it."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, PurePath)):
        yield f"{type(value).__name__}:{value!r}".encode("utf-8", "surrogatepass")
        return
    if id(value) in above:
        yield b"above:%d" % above.index(id(value))
        return
    above = (*above, id(value))
    match value:
        case np.ndarray() if not value.dtype.hasobject:
            yield f"array:{value.dtype.str}:{value.shape}".encode()
            yield np.ascontiguousarray(value).tobytes()
        case np.generic():
            yield from _parts(value.item(), above)
        case pd.DataFrame() | pd.Series() | pd.Index():
            names = value.columns.tolist() if isinstance(value, pd.DataFrame) else value.name
            hashed = pd.util.hash_pandas_object(value).to_numpy()
            yield from _parts([type(value).__name__, names, hashed], above)
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
            defaults = [value.__defaults__, value.__kwdefaults__]
            yield from _parts(
                ["function", value.__qualname__, value.__code__, defaults, cells], above
            )
        case types.CodeType():
            yield from _parts(["code", value.co_code, value.co_names, value.co_consts], above)
        case type():
            yield from _parts(
                ["class", value.__module__, value.__qualname__, _methods(value)], above
            )
        case _ if callable(value) and hasattr(value, "__qualname__"):  # compiled functions
            yield from _parts(["function", value.__module__, value.__qualname__], above)
        case _:
            yield from _object_parts(value, above)


def _methods(cls: type) -> list[Any]:
    """The Python code of a class, its parents' included: an edited method is another method."""
    return [
        [name, member.__code__]
        for base in cls.__mro__
        for name, member in sorted(vars(base).items())
        if isinstance(member, types.FunctionType)
    ]


def _object_parts(value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
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
