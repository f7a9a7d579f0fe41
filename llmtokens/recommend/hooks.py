"""What an algorithm tells about itself, so that it can recommend, explain, learn and be saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import LLMTokensError
from ..layout import Layout
from ..roster import Roster
from ..tokens import LLMTokens
from ..trainset import Ratings

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Scores = tuple[Floats, dict[str, NDArray[Any]]]


class Hooks:
    """The methods that may be overridden, each with a default that is right but slow or silent.

    An algorithm that declares ``_layout`` (or overrides ``_state`` and ``_restore``) can be saved;
    one that has ``_fold_in_user`` and ``_fold_in_item`` can learn newcomers.
    """

    item_tokens: LLMTokens | None
    user_tokens: LLMTokens | None
    ratings_: Ratings
    users_: Roster
    items_: Roster

    _layout: ClassVar[Layout | None] = None

    def _score(self, users: Rows, items: Rows) -> Scores:
        """Estimates for pairs of rows, NaN where impossible, and further details by name."""
        raise NotImplementedError

    def _rank_scores(self, user_rows: Rows) -> NDArray[np.floating]:
        """What lists are sorted by, for all items: shape (n_users, n_item_rows), NaN: unknown."""
        n = self.items_.n_rows
        every = np.arange(n)
        out = np.empty((len(user_rows), n))
        for k, row in enumerate(user_rows):
            out[k] = self._score(np.full(n, row), every)[0]
        return out

    def _terms(self, user: int, item: int) -> dict[str, float]:
        """What the unclipped estimate of a pair of rows is the sum of."""
        return {"estimate": float(self._score(np.array([user]), np.array([item]))[0][0])}

    def _influence(self, user: int, item: int) -> Floats | None:
        """By how much the estimate would fall without each rating of the user, in the order of
        ``ratings_.of_user``; None where the algorithm cannot say."""
        return None

    def _state(self) -> dict[str, Any]:
        """Everything ``fit`` learned, as arrays and scalars by the names in ``_layout``."""
        if self._layout is None:
            raise LLMTokensError(f"{type(self).__name__} cannot be saved or extended")
        return {name: getattr(self, name, None) for name in self._layout}

    def _restore(
        self, state: dict[str, Any], ratings: Ratings, users: Roster, items: Roster
    ) -> dict[str, Any]:
        """The fitted attributes, by name, from what ``_state`` gave."""
        return state

    def _fold_in_user(
        self, row: int, items: Rows, values: Floats, weights: Floats
    ) -> Mapping[str, Any]:
        """What the state holds of one user, by name, from their ratings with all items fixed."""
        raise LLMTokensError(_NO_FOLD_IN.format(type(self).__name__, "users"))

    def _fold_in_item(
        self, row: int, users: Rows, values: Floats, weights: Floats
    ) -> Mapping[str, Any]:
        """What the state holds of one item, from its token and ratings with all users fixed."""
        raise LLMTokensError(_NO_FOLD_IN.format(type(self).__name__, "items"))


_NO_FOLD_IN = "{} cannot learn {} without a refit; add the ratings to the trainset and call fit"
