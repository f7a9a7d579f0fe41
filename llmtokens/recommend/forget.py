"""A model without one of its users: as if their id and ratings had never been told."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..data.entities import EntityIndex
from ..errors import DataError
from .interface import FittedModel

Model = TypeVar("Model", bound=FittedModel)


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
