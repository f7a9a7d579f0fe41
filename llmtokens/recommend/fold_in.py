"""New ratings, users and items without a refit: rows grow, and the algorithm fills them in."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import plain_id, plain_ids
from ..errors import DataError, sample
from ..tokens import LLMTokens
from .ageing import recency

if TYPE_CHECKING:
    from .learning import Learning

Given = Mapping[Hashable, float] | Iterable[tuple[Hashable, float]]
_COLUMNS = ["user", "item", "rating"]


def pairs(ratings: Given) -> tuple[list[Hashable], NDArray[np.float64]]:
    """Ids and values of ratings given as a mapping or as pairs.

    Raises
    ------
    DataError
        For anything else, for NaN or infinity, and for an id that stands twice.
    """
    try:
        rows = list(ratings.items() if isinstance(ratings, Mapping) else ratings)
        ids = plain_ids(raw for raw, _ in rows)
        values = np.array([value for _, value in rows], np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"ratings must be pairs (id, rating) or a dict: {error}") from error
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"found ratings that are NaN or infinite: {sample(rows[k] for k in bad)}; drop or "
            "replace them"
        )
    return ids, values


def fold_in_user(algo: Learning, uid: Hashable, ratings: Given, weights: tuple[Any, Any]) -> None:
    """See :meth:`Learning.fold_in`."""
    items, values = pairs(ratings)
    if not items:
        raise DataError(f"found no ratings of {uid!r}; expected at least one")
    _require_known(algo, "item", items, "fold_in_item")
    uid, (timestamps, half_life) = plain_ids([uid])[0], weights
    algo.users_.rows([uid])  # warns of an id that is known as another type
    if timestamps is not None and half_life is None:
        half_life = getattr(algo, "half_life", None)
    weight = recency(len(items), timestamps, half_life)
    learn(algo, [uid] * len(items), items, values, weight, users=[uid])


def fold_in_item(algo: Learning, iid: Hashable, content: Any, ratings: Given) -> None:
    """See :meth:`Learning.fold_in_item`."""
    users, values = pairs(ratings)
    _require_known(algo, "user", users, "fold_in")
    if content is None and not users:
        raise DataError(f"found neither content nor ratings of {iid!r}; expected either")
    iid = plain_ids([iid])[0]
    row = int(algo.items_.rows([iid])[0])
    iid = iid if row == algo.items_.unknown else algo.items_.ids[row]
    learn(algo, users, [iid] * len(users), values, np.ones(len(users)), items=[iid],
          content=content)  # fmt: skip


def partial_fit(algo: Learning, ratings: Any) -> None:
    """See :meth:`Learning.partial_fit`."""
    if isinstance(ratings, pd.DataFrame):
        named = set(_COLUMNS) <= set(ratings.columns)
        ratings = (ratings[_COLUMNS] if named else ratings).itertuples(index=False)
    try:
        rows = [tuple(row) for row in ratings]
        last = {(plain_id(row[0]), plain_id(row[1])): row[2] for row in rows if len(row) >= 3}
    except TypeError as error:
        raise DataError(f"ratings must be rows of (user, item, rating): {error}") from error
    if not rows or min(map(len, rows)) < 3:
        raise DataError(
            f"found rows such as {sample(rows, 1) or 'none'}; expected rows of (user, item, "
            "rating), and at least one"
        )
    users, items = [pair[0] for pair in last], [pair[1] for pair in last]
    _, values = pairs(enumerate(last.values()))
    algo.users_.rows(dict.fromkeys(users))  # both warn of ids that are known as another type
    algo.items_.rows(dict.fromkeys(items))
    learn(algo, users, items, values, np.ones(len(values)),
          users=plain_ids(dict.fromkeys(users)), items=plain_ids(dict.fromkeys(items)))  # fmt: skip


def learn(
    algo: Learning,
    rated_by: list[Hashable],
    rated: list[Hashable],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    users: Sequence[Hashable] = (),
    items: Sequence[Hashable] = (),
    content: Any = None,
) -> None:
    """Add ratings and learn rows anew; ``content`` is that of the one item in ``items``.

    Nothing of the algorithm changes before everything is known to be well.
    """
    _require_on_scale(algo, rated_by, rated, values)
    state, made = algo._state(), {"users_": algo.users_, "items_": algo.items_}
    changed: dict[str, Any] = {}

    def rearrange(side: str, entities: Any, source: NDArray[np.int64] | None) -> None:
        nonlocal state
        if source is not None:
            made[f"{side}s_"] = entities
            state = algo._grown(state, side, source, entities.n_warm)

    if content is not None:
        changed["item_tokens"], vector = _extended(algo, items[0], content)
        rearrange("item", *made["items_"].with_token(items[0], vector))
    tokens = {"user": algo.user_tokens, "item": changed.get("item_tokens", algo.item_tokens)}
    new_items = [raw for raw in dict.fromkeys(rated) if not made["items_"].is_warm(raw)]
    for side, ids in (("user", rated_by), ("item", rated)):
        rearrange(side, *made[f"{side}s_"].warmed(ids, tokens[side]))
    ratings = algo.ratings_.merged(
        made["users_"].rows(rated_by), made["items_"].rows(rated), values, weights,
        made["users_"].ids[: made["users_"].n_warm], made["items_"].ids[: made["items_"].n_warm],
    )  # fmt: skip

    trial = object.__new__(type(algo))  # the algorithm as it will be
    trial.__dict__.update(algo.__dict__ | changed | made | {"ratings_": ratings})

    def settle(state: dict[str, Any]) -> None:
        trial.__dict__.update(trial._restore(state, ratings, made["users_"], made["items_"]))

    rows = [made["items_"].rows(new_items), made["users_"].rows(users), made["items_"].rows(items)]
    try:
        for better in trial._relearned(algo, state, *(of.tolist() for of in rows)):
            settle(better)
    except np.linalg.LinAlgError as error:
        raise DataError(
            f"learning broke down ({error}): look for ratings or content of extreme size, also "
            "among those of the fit"
        ) from error
    algo.__dict__.update(trial.__dict__)


def _require_on_scale(
    algo: Learning,
    rated_by: list[Hashable],
    rated: list[Hashable],
    values: NDArray[np.float64],
) -> None:
    """Raise for ratings outside the scale, unless those of the fit went as far themselves."""
    low, high = algo.ratings_.scale
    if np.all((low <= values) & (values <= high)):
        return
    known = algo.ratings_.value
    low, high = min(low, float(known.min())), max(high, float(known.max()))
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        where = sample((rated_by[k], rated[k], float(values[k])) for k in outside)
        raise DataError(
            f"found {len(outside)} ratings outside the scale from {low:g} to {high:g}, the first "
            f"(user, item, rating) being {where}; expected ratings on the scale of the fit"
        )


def _extended(algo: Learning, iid: Hashable, content: Any) -> tuple[LLMTokens, NDArray[np.float32]]:
    """The item tokens with new content among them, and its vector."""
    tokens = algo.item_tokens
    if tokens is None:
        raise DataError(
            "this algorithm has no item_tokens, so content says nothing to it: fit with item_tokens"
        )
    grown = tokens.with_content(iid, content)
    return grown, grown[iid]


def _require_known(algo: Learning, side: str, ids: list[Hashable], remedy: str) -> None:
    entities = algo.items_ if side == "item" else algo.users_
    rows = entities.rows(ids)
    unknown = [raw for raw, row in zip(ids, rows, strict=True) if row == entities.unknown]
    if unknown:
        raise DataError(
            f"found {len(unknown)} unknown {side} ids: {sample(unknown)}; add them with {remedy} "
            "first, or give everything to partial_fit"
        )
