"""What an algorithm tells about itself, so that it can recommend, explain, learn and be saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..data.entities import EntityIndex
from ..data.ratings import Ratings
from ..errors import LLMTokensError
from ..storage.layout import Layout, grown, put
from ..tokens import LLMTokens

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Scores = tuple[Floats, dict[str, NDArray[Any]]]


class Hooks:
    """The methods that may be overridden, each with a default that is right but slow or silent.

    An algorithm that declares ``_layout`` (or overrides ``_state`` and ``_restore``) can be saved;
    one that has ``_fold_in_user`` and ``_fold_in_item``, or ``_relearned``, can learn newcomers.
    """

    item_tokens: LLMTokens | None
    user_tokens: LLMTokens | None
    ratings_: Ratings
    users_: EntityIndex
    items_: EntityIndex

    _layout: ClassVar[Layout | None] = None

    def default_prediction(self) -> float:
        """See the algorithm."""
        raise NotImplementedError

    def _require_fitted(self) -> None:
        raise NotImplementedError

    def _estimates(
        self, users: Rows, items: Rows, clip: bool
    ) -> tuple[Floats, dict[str, NDArray[Any]], NDArray[np.bool_]]:
        raise NotImplementedError

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

    @staticmethod
    def _brought_forward(state: dict[str, Any], n_item_rows: int) -> dict[str, Any]:
        """What a file holds, with the entries of an earlier version as they are today."""
        return state

    def _state(self) -> dict[str, Any]:
        """Everything ``fit`` learned, as arrays and scalars by the names in ``_layout``."""
        if self._layout is None:
            raise LLMTokensError(
                f"{type(self).__name__} cannot be saved or extended; add the ratings to the "
                "trainset and call fit"
            )
        return {name: getattr(self, name, None) for name in self._layout}

    def _restore(
        self, state: dict[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> dict[str, Any]:
        """The fitted attributes, by name, from what ``_state`` gave."""
        return state

    def _grown(self, state: dict[str, Any], side: str, source: Rows, n_warm: int) -> dict[str, Any]:
        """The state with one side's rows rearranged: :func:`~llmtokens.storage.layout.grown`."""
        return grown(self._layout or {}, state, side, source, n_warm)

    def _relearned(
        self,
        before: Hooks,
        state: dict[str, Any],
        new_items: Sequence[int],
        users: Sequence[int],
        items: Sequence[int],
    ) -> Iterator[dict[str, Any]]:
        """Better and better states; each is restored before the next is asked for.

        First comes the state as it is, for what follows to learn from. Rows that had no ratings
        are learned first, then the users, then the items, one by one with the other side fixed.

        Parameters
        ----------
        before : the algorithm as it was
        state : its state, with the rows of today
        new_items : rows of items that had no ratings and have some now
        users, items : rows to learn anew
        """
        yield state
        theirs = list(before._state().values())
        rounds: list[tuple[str, Sequence[int]]] = [
            ("item", list(dict.fromkeys([*new_items, *items])))
        ]
        if users:
            known = set(items)
            again = [row for row in new_items if row not in known] or items
            rounds += [("user", users), ("item", again)]
        for side, rows in rounds:
            if rows:
                state = self._solved(theirs, state, side, rows)
                yield state

    def _solved(
        self, theirs: list[Any], state: dict[str, Any], side: str, rows: Sequence[int]
    ) -> dict[str, Any]:
        """The state with some rows learned anew; ``theirs``: arrays not to be written to."""
        users = side == "user"
        fold = self._fold_in_user if users else self._fold_in_item
        of = self.ratings_.of_user if users else self.ratings_.of_item
        found = [(row, fold(row, *of(row))) for row in rows]
        shared = (name for name in found[0][1] if any(state[name] is own for own in theirs))
        state = state | {name: np.copy(state[name]) for name in shared}
        for row, entries in found:
            put(self._layout or {}, state, side, row, entries)
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
