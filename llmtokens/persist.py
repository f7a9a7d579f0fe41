"""Fitted algorithms as files, and back: no pickle, no code, everything checked before use.

The file is one of :mod:`llmtokens.store`, its kind the name of the class. Its JSON holds the
constructor's ``parameters``, the ``scalars`` of the fitted state, the raw ``users`` and ``items``
by inner id, the rating ``scale``, and each table of tokens; its arrays are named ``state.*``,
``ratings.*`` and ``<parameter>.*`` for tokens. Rows without ratings follow from the tokens.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import store
from .errors import FileFormatError, LLMTokensError
from .ids import plain_ids
from .layout import Array, Layout, check
from .roster import Roster
from .tokens import LLMTokens
from .trainset import Ratings

if TYPE_CHECKING:
    from .encode import Encoder
    from .recommend import Serving

# the only names a file can make this library import
_ALGORITHMS = {
    "LLMTokensSVD": "svd",
    "LLMTokensBPMF": "bpmf",
    "LLMTokensEASE": "ease",
    "LLMTokensContent": "content",
}
_TOKENS = ("item_tokens", "user_tokens")
_APART = {*_TOKENS, "timestamps"}  # no parameters to a file; what times say is in the weights
_RATINGS: Layout = {
    "user_ptr": Array(("users + 1",), "int"),
    "item": Array(("ratings",), "int", below="items"),
    "value": Array(("ratings",)),
    "weight": Array(("ratings",), optional=True),
}
_KEYS = {"parameters", "scalars", "users", "items", "scale", *_TOKENS}


def save(algo: Serving, path: str | Path) -> None:
    """See :meth:`~llmtokens.recommend.Serving.save`."""
    name, ratings = type(algo).__name__, algo.ratings_
    if name not in _ALGORITHMS:
        raise LLMTokensError(f"{name} cannot be saved; expected one of {sorted(_ALGORITHMS)}")
    state = algo._state()
    arrays: dict[str, Any] = {
        f"state.{k}": v for k, v in state.items() if isinstance(v, np.ndarray)
    }
    arrays |= {f"ratings.{k}": getattr(ratings, k) for k in _RATINGS}
    payload: dict[str, Any] = {
        "parameters": _parameters(algo),
        "scalars": {
            k: _plain(v) for k, v in state.items() if v is not None and f"state.{k}" not in arrays
        },
        "users": store.jsonable_ids([_plain(raw) for raw in ratings.user_ids]),
        "items": store.jsonable_ids([_plain(raw) for raw in ratings.item_ids]),
        "scale": list(ratings.scale),
    }
    for side in _TOKENS:
        tokens: LLMTokens | None = getattr(algo, side)
        payload[side], parts = (None, {}) if tokens is None else tokens.to_parts()
        arrays |= {f"{side}.{k}": v for k, v in parts.items()}
    store.write(path, name, payload, {k: v for k, v in arrays.items() if v is not None})


def load(path: str | Path, *, encoder: Encoder | None = None) -> Serving:
    """Read an algorithm written by its ``save``, ready to predict, recommend, ask and fold in.

    It answers as the saved one did, to the last bit. Surprise's ``trainset`` is not part of it;
    the ratings are, as ``ratings_``.

    Parameters
    ----------
    path : str or Path
    encoder : Encoder, optional
        For ``ask`` and new texts, where the tokens were made with another encoder than the
        library's own; see :meth:`LLMTokens.load`.

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
    kind, payload, arrays = store.read(path)
    if kind not in _ALGORITHMS:
        raise FileFormatError(
            f"{str(path)!r} holds {kind!r:.60}; expected one of {sorted(_ALGORITHMS)}"
        )
    try:
        return _build(kind, payload, arrays, encoder)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} does not hold a whole {kind}: {error}") from error
    except (LLMTokensError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"{str(path)!r} does not hold a whole {kind}: {type(error).__name__}: {error!s:.200}"
        ) from error


def _build(
    kind: str, payload: Any, arrays: dict[str, NDArray[Any]], encoder: Encoder | None
) -> Serving:
    if not isinstance(payload, dict) or payload.keys() != _KEYS:
        raise FileFormatError(f"expected the parts {sorted(_KEYS)}")
    groups: dict[str, dict[str, NDArray[Any]]] = {
        name: {} for name in ("state", "ratings", *_TOKENS)
    }
    for name, array in arrays.items():
        group, _, key = name.partition(".")
        groups[group][key] = array
    module = importlib.import_module(f".algorithms.{_ALGORITHMS[kind]}", __package__)
    cls: type[Serving] = getattr(module, kind)
    tokens = {
        side: LLMTokens.from_parts(payload[side], groups[side], encoder)
        for side in _TOKENS
        if payload[side] is not None
    }
    ratings = _ratings(payload, {k: np.array(v) for k, v in groups["ratings"].items()})
    users = Roster.of("user", ratings.user_ids, tokens.get("user_tokens"))
    items = Roster.of("item", ratings.item_ids, tokens.get("item_tokens"))
    parameters = _checked_parameters(cls, payload["parameters"])
    algo = cls(**parameters, **tokens)
    state = _no_clash(payload["scalars"], {k: np.array(v) for k, v in groups["state"].items()})
    layout = cls._layout
    if layout is None:
        raise FileFormatError(f"a {kind} cannot be loaded")
    sizes = {
        "users": ratings.n_users, "user_rows": users.n_rows, "user_dims": users.tokens.shape[1],
        "items": ratings.n_items, "item_rows": items.n_rows, "item_dims": items.tokens.shape[1],
    }  # fmt: skip
    state = cls._brought_forward(state, items.n_rows)
    check(layout, state, sizes)
    state = {name: state.get(name) for name in layout}
    algo.ratings_, algo.users_, algo.items_ = ratings, users, items
    algo.__dict__.update(algo._restore(state, ratings, users, items))
    return algo


def _ratings(payload: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Ratings:
    users, items = _ids(payload["users"]), _ids(payload["items"])
    check(_RATINGS, arrays, {"users": len(users), "items": len(items)})
    ptr, item, weight = arrays["user_ptr"], arrays["item"], arrays.get("weight")
    if ptr[0] != 0 or ptr[-1] != len(item) or np.any(np.diff(ptr) < 0) or len(item) == 0:
        raise FileFormatError("'user_ptr' does not divide the ratings among the users")
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
    )


def _ids(raw: Any) -> list[Hashable]:
    if not isinstance(raw, list) or not raw:
        raise FileFormatError("expected a list of ids")
    return plain_ids(store.jsonable_ids(raw))


def _no_clash(scalars: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(scalars, dict) or scalars.keys() & arrays.keys():
        raise FileFormatError("'scalars' is not a table of names that no array has")
    return scalars | arrays


def _parameters(algo: Serving) -> dict[str, Any]:
    """Constructor parameters; a RandomState, which has no value, becomes None."""
    names = [name for name in inspect.signature(type(algo)).parameters if name not in _APART]
    values = {name: _plain(getattr(algo, name)) for name in names}
    return {
        name: None if isinstance(value, np.random.RandomState) else value
        for name, value in values.items()
    }


def _checked_parameters(cls: type[Serving], values: Any) -> dict[str, Any]:
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
