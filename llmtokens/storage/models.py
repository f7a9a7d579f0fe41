"""Fitted algorithms as files, and back: no pickle, no code, everything checked before use.

What an algorithm is made of is said once, by a layout: for files, for their checks, and for
growing. The file is one of :mod:`llmtokens.storage.container`, its kind the name of the class; what
is in it is the algorithm's own to say, by ``to_parts`` and ``from_parts``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, LLMTokensError
from ..runtime.arrays import Rows
from . import container

_LARGEST = 1e70  # ratings end at 1e30 and their squares at 1e60: sums of products stay finite
_KINDS = {"float": "f", "int": "i", "bool": "b"}
_ANOTHER = "; if another version of llmtokens wrote the file, fit and save the model anew"
# the only names a file can make this library import
_ALGORITHMS = {
    "LLMTokensSVD": "svd",
    "LLMTokensBPMF": "bpmf",
    "LLMTokensEASE": "ease",
    "LLMTokensContent": "content",
}


@dataclass(frozen=True)
class Array:
    """An array: its dimensions by name or number, what it holds, and whether it may be absent.

    ``user_rows`` and ``item_rows`` are the rows of the entities, ``users`` and ``items`` those with
    ratings, ``user_dims`` and ``item_dims`` the lengths of the tokens. Any other name stands for
    one length, the same wherever it is used; an expression such as ``"factors + 1"`` adds to it.
    With ``below``, the numbers are indices into that dimension.
    """

    dims: tuple[str | int, ...]
    kind: str = "float"
    below: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class Scalar:
    """One float, int, bool or str."""

    type: type
    optional: bool = False


Layout = Mapping[str, Array | Scalar]
"""Entries by name; a dotted one, ``"text.inner"``, is an attribute of an attribute."""
Sizes = dict[str, int]


def check(layout: Layout, state: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Raise unless the state is what the layout says, to the last index.

    Raises
    ------
    FileFormatError
        For missing or extra entries, wrong types or shapes, NaN, infinity, indices out of range.

    Examples
    --------
    >>> layout = {"bu": Array(("users",)), "best": Array(("users",), "int", below="items")}
    >>> state = {"bu": np.zeros(2), "best": np.array([0, 3])}
    >>> check(layout, state, {"users": 2, "items": 3})
    Traceback (most recent call last):
        ...
    llmtokens.errors.FileFormatError: 'best' points outside its 3 items
    """
    if set(state) - set(layout):
        unexpected = sorted(set(state) - set(layout))
        raise FileFormatError(f"found unexpected parts {unexpected}{_ANOTHER}")
    known: Sizes = dict(sizes)
    for name, spec in layout.items():
        value = state.get(name)
        if value is None:
            if not spec.optional:
                raise FileFormatError(f"{name!r} is missing{_ANOTHER}")
        elif isinstance(spec, Scalar):
            _check_scalar(name, spec, value)
        else:
            _check_array(name, spec, value, known)


def _check_scalar(name: str, spec: Scalar, value: Any) -> None:
    wanted = (int, float) if spec.type is float else (spec.type,)
    wrong = isinstance(value, bool) and spec.type is not bool
    if wrong or not isinstance(value, wanted):
        raise FileFormatError(f"{name!r} is {value!r:.40}; expected {spec.type.__name__}")
    if isinstance(value, (int, float)) and not abs(value) < 1e300:
        raise FileFormatError(f"{name!r} is {value!r:.40}; expected a finite number")


def _check_array(name: str, spec: Array, value: Any, sizes: Sizes) -> None:
    if not isinstance(value, np.ndarray) or value.dtype.kind != _KINDS[spec.kind]:
        raise FileFormatError(f"{name!r} is not an array of {spec.kind}")
    expected = ", ".join(map(str, spec.dims))
    if value.ndim != len(spec.dims) or not all(
        _fits(dim, length, sizes) for dim, length in zip(spec.dims, value.shape, strict=True)
    ):
        raise FileFormatError(f"{name!r} has the shape {value.shape}; expected ({expected})")
    if spec.kind == "float" and value.size and not _is_bounded(value):
        raise FileFormatError(f"{name!r} holds NaN, infinity or a number beyond {_LARGEST:g}")
    if spec.below is not None and value.size:
        limit = sizes[spec.below]
        if value.min() < 0 or value.max() >= limit:
            raise FileFormatError(f"{name!r} points outside its {limit} {spec.below}")


def _is_bounded(value: NDArray[np.floating]) -> bool:
    """Whether all numbers are finite, and none too large, as those of 16 or 32 bits never are."""
    if value.dtype.itemsize < 8:  # the least and the largest of 16 bits take ten times as long
        return bool(np.isfinite(value).all())
    return bool(value.min() > -_LARGEST and value.max() < _LARGEST)


def _fits(dim: str | int, length: int, sizes: Sizes) -> bool:
    if isinstance(dim, int):
        return length == dim
    name, _, more = dim.partition(" + ")
    extra = int(more) if more else 0
    return length >= extra and sizes.setdefault(name, length - extra) == length - extra


def grown(
    layout: Layout, state: Mapping[str, Any], side: str, source: Rows, n_warm: int
) -> dict[str, Any]:
    """The state with the rows of one side rearranged.

    Parameters
    ----------
    side : {"user", "item"}
    source : ndarray of int64
        For each new row the old one that it starts from; an entry that only rows with ratings
        have starts from 0 where the old row had none.
    n_warm : int
        How many of the new rows have ratings.
    """
    every, warm = f"{side}_rows", f"{side}s"
    out = dict(state)
    for name, spec in layout.items():
        if isinstance(spec, Array) and out.get(name) is not None:
            for axis, dim in enumerate(spec.dims):
                if dim == every:
                    out[name] = np.take(out[name], source, axis)
                elif dim == warm:
                    rows = source[:n_warm]
                    new = np.flatnonzero(rows >= out[name].shape[axis])
                    out[name] = np.take(out[name], rows, axis, mode="clip")
                    np.moveaxis(out[name], axis, 0)[new] = 0
    return out


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Entries with dotted names as tables in tables; what is absent is left out there.

    >>> nested({"bu": 1, "text.inner": 2, "text.landmarks.root": 3, "weights.factor": None})
    {'bu': 1, 'text': {'inner': 2, 'landmarks': {'root': 3}}, 'weights': {}}
    """
    out: dict[str, Any] = {}
    for path, value in arrays.items():
        *heads, name = path.split(".")
        inner = out
        for head in heads:
            inner = inner.setdefault(head, {})
        if value is not None or not heads:
            inner[name] = value
    return out


def put(
    layout: Layout, state: dict[str, Any], side: str, row: int, values: Mapping[str, Any]
) -> None:
    """Write one row of one side, in place: ``values`` by the names of the layout."""
    for name, value in values.items():
        spec = layout[name]
        if isinstance(spec, Array):
            axis = next(k for k, dim in enumerate(spec.dims) if dim in (f"{side}_rows", f"{side}s"))
            np.moveaxis(state[name], axis, 0)[row] = value


def save(algo: Any, path: str | Path) -> None:
    """See :meth:`~llmtokens.recommend.Serving.save`."""
    name = type(algo).__name__
    if name not in _ALGORITHMS:
        raise LLMTokensError(f"{name} cannot be saved; expected one of {sorted(_ALGORITHMS)}")
    container.write(path, name, *algo.to_parts())


def load(path: str | Path, *, encoder: Any = None, mmap: bool = False) -> Any:
    """Read an algorithm written by its ``save``, ready to predict, recommend, ask and fold in.

    It answers as the saved one did, to the last bit. Surprise's ``trainset`` is not part of it;
    the ratings are, as ``ratings_``.

    Parameters
    ----------
    path : str or Path
    encoder : Encoder, optional
        For ``ask`` and new texts, where the tokens were made with another encoder than the
        library's own; see :meth:`LLMTokens.load`.
    mmap : bool, default=False
        Leave the arrays on disk, where all processes that load this file share them. Then it may be
        replaced by another, as ``save`` does, but not overwritten in place (as by ``cp``): that
        would change the model, or end the process. By default the model is read into memory.

    Raises
    ------
    StorageError
        If there is no such file, or it cannot be opened.
    FileFormatError
        If it is damaged, cut short, newer than this library, or not an algorithm.

    Examples
    --------
    >>> import llmtokens, tempfile
    >>> from llmtokens import LLMTokensSVD
    >>> from llmtokens.datasets import synthetic
    >>> trainset = synthetic(n_users=20, n_items=30, n_ratings=200).dataset.build_full_trainset()
    >>> algo = LLMTokensSVD(n_factors=3).fit(trainset)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     algo.save(f"{folder}/model.safetensors")
    ...     again = llmtokens.load(f"{folder}/model.safetensors")
    >>> again.predict(1, 1) == algo.predict(1, 1)
    True
    """
    kind, payload, arrays = container.read(path, mmap=mmap)
    if kind not in _ALGORITHMS:
        raise FileFormatError(
            f"{str(path)!r} holds {kind!r:.60}; expected one of {sorted(_ALGORITHMS)}"
        )
    try:
        module = importlib.import_module(f"llmtokens.algorithms.{_ALGORITHMS[kind]}")
        return getattr(module, kind).from_parts(payload, arrays, encoder)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} does not hold a whole {kind}: {error}") from error
    except (LLMTokensError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"{str(path)!r} does not hold a whole {kind}: {type(error).__name__}: {error!s:.200}"
        ) from error
