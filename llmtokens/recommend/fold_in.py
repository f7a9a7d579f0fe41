"""New ratings, users and items, or a user to forget, without a refit: from model to model."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..data.entities import EntityIndex
from ..data.ids import plain_id, plain_ids
from ..data.ratings import Ratings
from ..data.times import checked_times, recency, seconds
from ..data.timestamps import Timestamps
from ..errors import DataError, sample
from ..runtime.arguments import pandas_of
from ..runtime.arrays import Floats, Mask, Rows
from ..tokens import LLMTokens
from .interface import FittedModel, Growth

Model = TypeVar("Model", bound=FittedModel)
Given = Mapping[Hashable, float] | pd.Series | Iterable[tuple[Hashable, float]]
_COLUMNS = ["user", "item", "rating"]
_NOBODY = "\0in words"  # the id of somebody who has none


def pairs(ratings: Given) -> tuple[list[Hashable], Floats]:
    """Ids and values of ratings given as a mapping or as pairs.

    Raises
    ------
    DataError
        For anything else, for NaN or infinity, and for an id that stands twice.
    """
    try:
        named = isinstance(ratings, (Mapping, pd.Series))
        rows = list(ratings.items() if named else ratings)  # type: ignore[union-attr]
        ids = plain_ids(raw for raw, _ in rows)
        values = np.array([value for _, value in rows], np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"ratings must be pairs (id, rating) or a dict such as {{id: 5.0}}, with {{id: 1.0}} "
            f"where choices carry no opinion: {error}"
        ) from error
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"found ratings that are NaN or infinite: {sample(rows[k] for k in bad)}; drop or "
            "replace them"
        )
    return ids, values


def with_user(
    model: Model,
    uid: Hashable,
    ratings: Given,
    timestamps: Sequence[float] | None,
    half_life: float | None,
    content: Any = None,
) -> Model:
    """See :meth:`~llmtokens.recommend.Serving.fold_in`."""
    items, values = pairs(ratings)
    items = [model.items.as_known(raw) for raw in items]
    if content is None and not items:
        raise DataError(f"found neither ratings nor content of {uid!r}; expected either")
    _require_known(model, "item", items, "fold_in_item")
    _require_chosen(model, items, values)
    uid = model.users.as_known(plain_ids([uid])[0])
    n, when = len(items), model.timestamps
    if when is not None and timestamps is not None:
        when = when.with_pairs([uid] * n, items, checked_times(n, timestamps))
    ages = when is None or half_life is not None
    weights = recency(n, timestamps, half_life) if ages else np.ones(n)
    return learned(
        model, [uid] * n, items, values, weights, users=[uid], timestamps=when,
        user_content=content,
    )  # fmt: skip


def in_words(model: Model, uid: Hashable | None, content: Any) -> tuple[Model, int]:
    """A model that knows somebody's content, and this user's row; nobody known for ``uid=None``."""
    uid = _NOBODY if uid is None else uid
    model = with_user(model, uid, (), None, None, content)
    return model, model.users.row(uid)


def with_item(model: Model, iid: Hashable, content: Any, ratings: Given) -> Model:
    """See :meth:`~llmtokens.recommend.Serving.fold_in_item`."""
    users, values = pairs(ratings)
    users = [model.users.as_known(raw) for raw in users]
    _require_known(model, "user", users, "fold_in")
    _require_chosen(model, users, values)
    if content is None and not users:
        raise DataError(f"found neither content nor ratings of {iid!r}; expected either")
    iid = model.items.as_known(plain_ids([iid])[0])
    return learned(
        model, users, [iid] * len(users), values, np.ones(len(users)), items=[iid],
        item_content=content,
    )  # fmt: skip


def with_batch(model: Model, ratings: Any) -> Model:
    """See :meth:`~llmtokens.recommend.Serving.partial_fit`."""
    events, adds_up = None, False
    ratings = getattr(ratings, "dataset", ratings)  # of RatingData and EventData
    if hasattr(ratings, "raw_ratings"):
        events = getattr(ratings, "events", None)
        adds_up = events is not None
        ratings = ratings.raw_ratings
    ratings = pandas_of(ratings)
    if isinstance(ratings, pd.DataFrame):
        if not set(_COLUMNS) <= set(ratings.columns) and list(ratings.columns[:3]) != [0, 1, 2]:
            raise DataError(
                f"found a frame with the columns {sample(ratings.columns, 8)}; expected user, item "
                "and rating: rename them, as with frame.rename(columns={'userId': 'user'})"
            )
        named = set(_COLUMNS) <= set(ratings.columns)
        known = [*_COLUMNS, *({"timestamp"} & set(ratings.columns))]
        if named and "event" in ratings:
            events = ratings[["user", "item", "event"]]
        ratings = (ratings[known] if named else ratings).itertuples(index=False, name=None)
    try:
        rows = [tuple(row) for row in ratings]
        rows = [(*_as_known(model, row[:2]), *row[2:]) for row in rows]
        last = {row[:2]: row[2] for row in rows if len(row) >= 3}
    except TypeError as error:
        raise DataError(f"ratings must be rows of (user, item, rating): {error}") from error
    if not rows or min(map(len, rows)) < 3:
        raise DataError(
            f"found rows such as {sample(rows, 1) or 'none'}; expected rows of (user, item, "
            "rating), and at least one"
        )
    users, items = [pair[0] for pair in last], [pair[1] for pair in last]
    _, values = pairs(enumerate(last.values()))
    _require_in_order(model, dict.fromkeys(users), dict.fromkeys(items))
    _require_chosen(model, items, values)
    if adds_up:
        values = np.minimum(values + _sums(model, users, items), model.ratings.scale[1])
    when = {row[:2]: row[3] for row in rows if len(row) > 3}
    return learned(
        model, users, items, values, np.ones(len(values)),
        users=plain_ids(dict.fromkeys(users)), items=plain_ids(dict.fromkeys(items)),
        timestamps=_with_times(model.timestamps, when),
        events=events if model.ratings.events else None,
    )  # fmt: skip


def _as_known(model: FittedModel, pair: Sequence[Hashable]) -> tuple[Hashable, ...]:
    """A user and an item as the model knows them: "1" where it has 1."""
    return tuple(
        side.as_known(plain_id(raw))
        for side, raw in zip((model.users, model.items), pair, strict=False)
    )


def _sums(model: FittedModel, users: list[Hashable], items: list[Hashable]) -> Floats:
    """What the events of pairs have added up to until now, 0 where there were none."""
    known: dict[int, dict[int, float]] = {}
    sums = np.zeros(len(users))
    pairs_of_rows = zip(model.users.rows(users), model.items.rows(items), strict=True)
    for k, (user, item) in enumerate(pairs_of_rows):
        if user not in known:
            rated, values, _ = model.ratings.of_user(int(user))
            known[user] = dict(zip(rated.tolist(), values.tolist(), strict=True))
        sums[k] = known[user].get(int(item), 0.0)
    return sums


def _require_chosen(model: FittedModel, ids: list[Hashable], values: Floats) -> None:
    """Raise for a 0 where a 1 says that something was chosen."""
    if not model.has_opinions and model.ratings.scale[0] == 0:
        not_chosen = [raw for raw, value in zip(ids, values, strict=True) if value == 0]
        if not_chosen:
            raise DataError(
                f"found 0 for {sample(not_chosen)}, but every rating counts as a choice here; "
                "leave out what was not chosen"
            )


def _with_times(known: Timestamps | None, when: Mapping[Any, Any]) -> Timestamps | None:
    """The times of a batch among those there were; ratings of which none is said have none."""
    if known is None or not when:
        return known
    times = seconds(list(when.values()))
    told = [(*pair, t) for pair, t in zip(when, times.tolist(), strict=True) if np.isfinite(t)]
    if not told:
        return known
    users, items, values = zip(*told, strict=True)
    return known.with_pairs(users, items, np.array(values))


def _require_in_order(
    model: FittedModel, users: Iterable[Hashable], items: Iterable[Hashable]
) -> None:
    """Raise where what stand for users are known as items, and none as a user."""
    users, items = list(users), list(items)
    as_given = sum(map(model.users.is_warm, users)) + sum(map(model.items.is_warm, items))
    swapped = sum(map(model.items.is_warm, users)) + sum(map(model.users.is_warm, items))
    if swapped and not as_given:
        raise DataError(
            f"found users such as {sample(users, 2)} and items such as {sample(items, 2)}, which "
            "the model knows the other way round; expected rows of (user, item, rating)"
        )


def learned(
    model: Model,
    rated_by: list[Hashable],
    rated: list[Hashable],
    values: Floats,
    weights: Floats,
    users: Sequence[Hashable] = (),
    items: Sequence[Hashable] = (),
    user_content: Any = None,
    item_content: Any = None,
    timestamps: Timestamps | None = None,
    events: pd.DataFrame | None = None,
) -> Model:
    """A model with further ratings, and rows learned anew.

    Content is that of the one user in ``users``, or of the one item in ``items``; ``timestamps``
    are, by default, those there were; ``events`` are of the pairs that were rated.
    """
    _require_on_scale(model.ratings, rated_by, rated, values)
    new_items = [raw for raw in dict.fromkeys(rated) if not model.items.is_warm(raw)]
    all_users, user_source = _entities(model.users, rated_by, users, user_content)
    all_items, item_source = _entities(model.items, rated, items, item_content)
    by = all_users.rows(rated_by)
    ratings, changes = model.ratings.merged(
        by, all_items.rows(rated), values, weights,
        all_users.ids[: all_users.n_warm], all_items.ids[: all_items.n_warm],
    )  # fmt: skip
    if events is not None:
        ratings = ratings.with_events(events)
    moved = by[_moved(model.timestamps, timestamps, rated_by, rated)]
    growth = Growth(
        ratings, all_users, all_items, user_source, item_source, changes,
        new_items=all_items.rows(new_items).tolist(),
        learn_users=_among(
            all_users.rows(users), np.append(changes.user, moved), user_content is not None
        ),
        learn_items=_among(all_items.rows(items), changes.item, item_content is not None),
        timestamps=timestamps or model.timestamps,
    )  # fmt: skip
    if not (growth.learn_users or growth.learn_items or len(changes.user)):
        return model if events is None else replace(model, ratings=ratings)
    try:
        return model.relearned(growth)
    except ValueError as error:  # as LinAlgError is, and what SciPy raises before it
        if not isinstance(error, np.linalg.LinAlgError) and "infs or NaNs" not in str(error):
            raise
        raise DataError(
            f"learning broke down ({error}): look for ratings or content of extreme size, also "
            "among those of the fit"
        ) from error


def _moved(
    before: Timestamps | None,
    after: Timestamps | None,
    rated_by: list[Hashable],
    rated: list[Hashable],
) -> Mask:
    """Which pairs have another time than before."""
    if before is None or after is None:
        return np.zeros(len(rated), bool)
    old, new = (when.of_pairs(rated_by, rated) for when in (before, after))
    return ~((old == new) | (np.isnan(old) & np.isnan(new)))


def _among(rows: Rows, changed: Rows, everyone: bool = False) -> list[int]:
    """Rows of which something changed."""
    kept: list[int] = rows[np.isin(rows, changed) | everyone].tolist()
    return kept


def _require_on_scale(
    known: Ratings,
    rated_by: list[Hashable],
    rated: list[Hashable],
    values: Floats,
) -> None:
    """Raise for ratings outside the scale, unless those of the fit went as far themselves."""
    low, high = known.scale
    if np.all((low <= values) & (values <= high)):
        return
    low, high = min(low, float(known.value.min())), max(high, float(known.value.max()))
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        where = sample((rated_by[k], rated[k], float(values[k])) for k in outside)
        raise DataError(
            f"found {len(outside)} ratings outside the scale from {low:g} to {high:g}, the first "
            f"(user, item, rating) being {where}; expected ratings on the scale of the fit"
        )


def _entities(
    known: EntityIndex, rated: list[Hashable], about: Sequence[Hashable], content: Any
) -> tuple[EntityIndex, Rows | None]:
    """With further ids among those that have ratings, and new content of one, where there is some;
    and the old row of each new one, None where rows stay where they are."""
    if content is None:
        return known.warmed(rated)
    tokens, side = known.table, known.side
    if not isinstance(tokens, LLMTokens):
        raise DataError(
            f"this algorithm has no {side}_tokens, so content says nothing to it: fit with "
            f"{side}_tokens"
        )
    grown = tokens.with_content(about[0], content)
    told, shifted = known.with_token(about[0], grown[about[0]], grown)
    made, source = told.warmed(rated)
    return made, shifted if source is None else shifted[source]


def _require_known(model: FittedModel, side: str, ids: list[Hashable], remedy: str) -> None:
    entities = model.items if side == "item" else model.users
    rows = entities.rows(ids)
    unknown = [raw for raw, row in zip(ids, rows, strict=True) if row == entities.unknown]
    if unknown:
        raise DataError(
            f"found {len(unknown)} unknown {side} ids: {sample(unknown)}; add them with {remedy} "
            "first, or give everything to partial_fit"
        )


def without_user(model: Model, uid: Hashable) -> Model:
    """See :meth:`~llmtokens.recommend.Serving.forget`."""
    users, ratings = model.users, model.ratings
    row = users.row(uid)
    if row == users.unknown:
        raise DataError(f"found the user {uid!r:.60}, who is unknown; expected one to forget")
    rest = np.delete(np.arange(ratings.n_users), row) if row < ratings.n_users else None
    left = ratings if rest is None else ratings.only(rest)
    if not left.n:
        raise DataError(f"found {uid!r:.60}, whose ratings are all there are; expected others")
    table = model.user_tokens
    if table is not None:
        table = table.without(uid)
    others = EntityIndex.of("user", left.user_ids, table)
    made = model.without_row(row, left, others)
    when = model.timestamps
    return made if when is None else replace(made, timestamps=when.without_user(uid))
