"""A fitted algorithm as the parts of a file, and back: everything checked before use.

The payload holds the constructor's ``parameters``, the ``scalars`` of the fitted state, the raw
``users`` and ``items`` by inner id, the rating ``scale``, and each table of tokens; the arrays are
named ``state.*``, ``ratings.*`` and ``<parameter>.*`` for tokens. Rows without ratings follow from
the tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..data.entities import EntityIndex
from ..data.ids import plain_ids
from ..data.ratings import Ratings
from ..data.timestamps import Timestamps
from ..errors import FileFormatError
from ..storage.container import jsonable_ids
from ..storage.models import Array, Layout, check
from ..tokens import LLMTokens
from .interface import FittedModel

if TYPE_CHECKING:
    from ..encode import Encoder


class Fitted(Protocol):
    """What is asked of an algorithm: its parameters are attributes, and all else is the model."""

    fitted_type: ClassVar[type[FittedModel]]
    model_: Any


Algorithm = TypeVar("Algorithm", bound=Fitted)
Parts = tuple[dict[str, Any], dict[str, NDArray[Any]]]  # a payload and arrays

_TOKENS = ("item_tokens", "user_tokens")
_APART = {*_TOKENS, "timestamps"}  # no parameters to a file
_SOMETIMES = {"timestamps", "events"}
_RATINGS: Layout = {
    "user_ptr": Array(("users + 1",), "int"),
    "item": Array(("ratings",), "int", below="items"),
    "value": Array(("ratings",)),
    "weight": Array(("ratings",), optional=True),
    "events": Array(("kinds", "ratings"), "bool", optional=True),
}
_KEYS = {"parameters", "scalars", "users", "items", "scale", *_TOKENS}


def to_parts(algo: Fitted) -> Parts:
    """The payload and the arrays that :func:`from_parts` makes the same algorithm of."""
    model: FittedModel = algo.model_
    ratings, state = model.ratings, model.arrays()
    arrays: dict[str, Any] = {
        f"state.{k}": v for k, v in state.items() if isinstance(v, np.ndarray)
    }
    rated = {k: getattr(ratings, k) for k in _RATINGS}
    rated["events"] = np.array(list(ratings.events.values())) if ratings.events else None
    arrays |= {f"ratings.{k}": v for k, v in rated.items()}
    payload: dict[str, Any] = {
        "parameters": _parameters(algo),
        "scalars": {
            k: _plain(v) for k, v in state.items() if v is not None and f"state.{k}" not in arrays
        },
        "users": jsonable_ids([_plain(raw) for raw in ratings.user_ids]),
        "items": jsonable_ids([_plain(raw) for raw in ratings.item_ids]),
        "scale": list(ratings.scale),
    }
    if ratings.events:
        payload["events"] = list(ratings.events)
    for side, tokens in (("item_tokens", model.item_tokens), ("user_tokens", model.user_tokens)):
        payload[side], parts = (None, {}) if tokens is None else tokens.to_parts()
        arrays |= {f"{side}.{k}": v for k, v in parts.items()}
    if model.timestamps is not None:
        payload["timestamps"], parts = model.timestamps.to_parts()
        arrays |= {f"timestamps.{k}": v for k, v in parts.items()}
    return payload, {k: v for k, v in arrays.items() if v is not None}


def from_parts(
    cls: type[Algorithm], payload: Any, arrays: dict[str, NDArray[Any]], encoder: Encoder | None
) -> Algorithm:
    """The algorithm that :func:`to_parts` took apart.

    Raises
    ------
    FileFormatError
        If the parts are not those of such an algorithm.
    """
    if not isinstance(payload, dict) or payload.keys() - _SOMETIMES != _KEYS:
        raise FileFormatError(f"expected the parts {sorted(_KEYS)}")
    groups: dict[str, dict[str, NDArray[Any]]] = {
        name: {} for name in ("state", "ratings", "timestamps", *_TOKENS)
    }
    for name, array in arrays.items():
        group, _, key = name.partition(".")
        groups[group][key] = array
    tokens = {
        side: LLMTokens.from_parts(payload[side], groups[side], encoder)
        for side in _TOKENS
        if payload[side] is not None
    }
    ratings = _ratings(payload, groups["ratings"])
    users = EntityIndex.of("user", ratings.user_ids, tokens.get("user_tokens"))
    items = EntityIndex.of("item", ratings.item_ids, tokens.get("item_tokens"))
    algo = cls(**_checked_parameters(cls, payload["parameters"]), **tokens)
    state = _no_clash(payload["scalars"], groups["state"])
    layout = cls.fitted_type.layout
    if layout is None:
        raise FileFormatError(f"a {cls.__name__} cannot be loaded")
    sizes = {
        "users": ratings.n_users, "user_rows": users.n_rows, "user_dims": users.tokens.shape[1],
        "items": ratings.n_items, "item_rows": items.n_rows, "item_dims": items.tokens.shape[1],
    }  # fmt: skip
    check(layout, state, sizes)
    state = {name: state.get(name) for name in layout}
    model = cls.fitted_type.from_arrays(state, ratings, users, items)
    if "timestamps" in payload:
        when = Timestamps.from_parts(payload["timestamps"], groups["timestamps"])
        model = replace(model, timestamps=when)
        vars(algo)["timestamps"] = when  # so that it can be fitted again
    algo.model_ = model
    return algo


def _ratings(payload: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Ratings:
    users, items = _ids(payload["users"]), _ids(payload["items"])
    check(_RATINGS, arrays, {"users": len(users), "items": len(items)})
    ptr, item, weight = arrays["user_ptr"], arrays["item"], arrays.get("weight")
    if ptr[0] != 0 or ptr[-1] != len(item) or np.any(np.diff(ptr) < 0) or len(item) == 0:
        raise FileFormatError("'user_ptr' does not divide the ratings among the users")
    kinds, had = payload.get("events", []), arrays.get("events", np.zeros((0, 0), bool))
    if not isinstance(kinds, list) or len(set(map(str, kinds))) != len(kinds):
        raise FileFormatError(f"'events' is {kinds!r:.40}; expected the names of kinds")
    if len(had) != len(kinds):
        raise FileFormatError(f"found {len(kinds)} kinds of events; expected {len(had)}")
    if weight is not None and not np.all(weight > 0):
        raise FileFormatError("'weight' holds a number that is not positive")
    scale = payload["scale"]
    if not (
        isinstance(scale, list)
        and [type(x) for x in scale] == [float, float]
        and -1e300 < scale[0] <= scale[1] < 1e300
    ):
        raise FileFormatError(f"'scale' is {scale!r:.40}; expected two numbers")
    counts = np.diff(ptr)
    return Ratings(
        user=np.repeat(np.arange(len(users), dtype=np.int32), counts),
        item=item.astype(np.int32),
        value=arrays["value"].astype(np.float64),
        user_ptr=ptr.astype(np.int64),
        scale=(scale[0], scale[1]),
        user_ids=users,
        item_ids=items,
        weight=weight,
        events=dict(zip(map(str, kinds), had, strict=True)),
    )


def _ids(raw: Any) -> list[Hashable]:
    if not isinstance(raw, list) or not raw:
        raise FileFormatError("expected a list of ids")
    return plain_ids(jsonable_ids(raw))


def _no_clash(scalars: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(scalars, dict) or scalars.keys() & arrays.keys():
        raise FileFormatError("'scalars' is not a table of names that no array has")
    return scalars | arrays


def _parameters(algo: Fitted) -> dict[str, Any]:
    """Constructor parameters; a RandomState, which has no value, becomes None."""
    names = [name for name in inspect.signature(type(algo)).parameters if name not in _APART]
    values = {name: _plain(getattr(algo, name)) for name in names}
    return {
        name: None if isinstance(value, np.random.RandomState) else value
        for name, value in values.items()
    }


def _checked_parameters(cls: type[Fitted], values: Any) -> dict[str, Any]:
    """The parameters, if the constructor has them and each is of the type of its default."""
    known = inspect.signature(cls).parameters
    if not isinstance(values, dict) or not values.keys() <= known.keys() - _APART:
        raise FileFormatError(f"'parameters' are not those of {cls.__name__}")
    for name, value in values.items():
        default = known[name].default
        right: tuple[type, ...] = (bool, int, float, str, type(None))
        if default is not None:
            right = (int, float) if isinstance(default, float) else (type(default),)
        if not isinstance(value, right):
            raise FileFormatError(f"the parameter {name!r} is {value!r:.40}")
    return values


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
