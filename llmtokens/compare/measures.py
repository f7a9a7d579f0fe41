"""What ``compare`` measures: names, functions, and rankings of the whole catalogue."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, SupportsFloat

import numpy as np
from surprise import AlgoBase, Prediction, accuracy

from ..errors import DataError
from ..metrics import Rankings

_ACCURACY = ("rmse", "mae", "mse", "fcp")
_LOWER = ("rmse", "mae", "mse")
_HIGHER = (
    "fcp", "classification", "precision_at_k", "recall_at_k", "f1_at_k", "hit_rate_at_k",
    "map_at_k", "mrr", "ndcg_at_k", "auc",
)  # fmt: skip

Function = Callable[..., float]


@dataclass(frozen=True)
class FullRanking:
    """A ranking measure to be taken over the whole catalogue; see :func:`full_ranking`."""

    measure: Function


def full_ranking(measure: Function, /, **options: Any) -> FullRanking:
    """A ranking measure over the whole catalogue, for ``compare(measures=...)``.

    All of them together cost one :func:`~llmtokens.metrics.rank_all` a trial.

    Parameters
    ----------
    measure : callable
        Of :mod:`llmtokens.metrics`: it takes predictions or rankings.
    **options
        For the measure, also one called ``measure``, as :func:`~llmtokens.metrics.group_gap` has.

    Examples
    --------
    >>> from llmtokens.metrics import ndcg_at_k
    >>> measures = {"rmse": "rmse", "ndcg@10": full_ranking(ndcg_at_k, k=10)}
    """
    return FullRanking(partial(measure, **options) if options else measure)


Measure = Function | FullRanking
MeasureLike = str | Measure
Measures = Sequence[MeasureLike] | Mapping[str, MeasureLike]


def named_measures(measures: Measures) -> dict[str, Measure]:
    if isinstance(measures, (str, FullRanking)) or callable(measures):
        raise DataError(f"found measures={measures!r}; expected a list of them, or a mapping")
    pairs = measures.items() if isinstance(measures, Mapping) else [(_name(m), m) for m in measures]
    named: dict[str, Measure] = {}
    for name, measure in pairs:
        if isinstance(measure, str) and measure.lower() not in _ACCURACY:
            raise DataError(
                f"found the measure {measure!r}; expected one of {', '.join(_ACCURACY)}, or a "
                "function of a list of predictions"
            )
        if isinstance(measure, str):
            measure = partial(getattr(accuracy, measure.lower()), verbose=False)
        if not callable(measure) and not isinstance(measure, FullRanking):
            raise DataError(f"found the measure {measure!r}; expected a name or a function")
        if name in named:
            raise DataError(f"found the measure {name!r} twice; use a mapping to tell them apart")
        named[name] = measure
    if not named:
        raise DataError("found no measures; name at least one, such as 'rmse'")
    return named


def better(measure: Measure) -> str:
    """ "lower" or "higher", where the better of two values is known; else nothing."""
    function: Any = measure
    while isinstance(function, (FullRanking, partial)):
        function = function.measure if isinstance(function, FullRanking) else function.func
    known = getattr(function, "__module__", "").startswith(("surprise.", "llmtokens."))
    name = getattr(function, "__name__", "") if known else ""
    return "lower" if name in _LOWER else "higher" if name in _HIGHER else ""


def _name(measure: Any) -> str:
    """What to call a measure: by its function, and by the numbers and names that it is given."""
    if isinstance(measure, FullRanking):
        return _name(measure.measure)
    if isinstance(measure, partial):
        given = [f"{k}={_name(v)}" for k, v in measure.keywords.items() if _is_short(v)]
        return f"{_name(measure.func)}({', '.join(given)})" if given else _name(measure.func)
    if isinstance(measure, (str, Real)):
        return str(measure)
    return str(getattr(measure, "__name__", type(measure).__name__))


def _is_short(value: Any) -> bool:
    return isinstance(value, (str, Real)) or callable(value)


def take(
    measure: Measure,
    predictions: list[Prediction],
    algorithm: AlgoBase,
    rankings: Callable[[], Rankings],
) -> float:
    """The measure's value, the measure being handed what it asks for by name.

    Raises
    ------
    DataError
        If that is no number.
    """
    function: Function
    given: list[Prediction] | Rankings
    if isinstance(measure, FullRanking):
        function, given = measure.measure, rankings()
    else:
        function, given = measure, predictions
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # compiled code may not show its signature
        return _number(function(given))
    wanted = {p.name for p in parameters if p.default is p.empty}
    at_hand = {"algorithm": algorithm, "trainset": algorithm.trainset}
    return _number(function(given, **{k: v for k, v in at_hand.items() if k in wanted}))


def _number(found: Any) -> float:
    if np.ndim(found) or not isinstance(found, SupportsFloat):
        raise DataError(
            f"the measure gave a {type(found).__name__}; expected one number: of a table take an "
            "entry, as with lambda predictions: interval_coverage(predictions)[0.95]"
        )
    return float(found)
