"""What a fitted algorithm is: the data it knows, arrays, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from ..data.entities import EntityIndex
from ..data.ratings import Ratings
from ..errors import DataError, LLMTokensError
from ..runtime.arrays import Floats, Mask, Rows
from ..runtime.threads import one_blas_thread
from ..storage.layout import Layout, grown, nested, put
from ..tokens import LLMTokens

Scores = tuple[Floats, dict[str, NDArray[Any]]]

_BLOCK = 1 << 16  # pairs scored at once: bounds the memory of gathered factors


@dataclass(frozen=True, eq=False)
class Growth:
    """What came after a fit, and whom it concerns.

    Attributes
    ----------
    ratings : Ratings
        All of them, old and new.
    users, items : EntityIndex
        Who can be predicted from now on.
    user_source, item_source : ndarray of int64, or None
        For each row the old one that it starts from (for somebody new: the unknown row); None where
        rows stay where they are.
    new_items : list of int
        Rows of items that had no ratings and have some now.
    learn_users, learn_items : list of int
        Rows to learn anew.
    """

    ratings: Ratings
    users: EntityIndex
    items: EntityIndex
    user_source: Rows | None
    item_source: Rows | None
    new_items: Sequence[int]
    learn_users: Sequence[int]
    learn_items: Sequence[int]


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What ``fit``, ``load`` and everything learned later make, and never change.

    An algorithm has a subclass of its own, with its arrays as further fields. It must say
    ``score``; whatever else is here has a default that is right but slow or silent. One that
    declares ``layout`` can be saved; one that has ``user_entries`` and ``item_entries`` as well, or
    ``relearned``, can learn newcomers. Rows are those of
    :class:`~llmtokens.data.entities.EntityIndex`.

    Attributes
    ----------
    ratings : Ratings
        What was learned from.
    users, items : EntityIndex
        Who can be predicted.
    """

    ratings: Ratings
    users: EntityIndex
    items: EntityIndex

    layout: ClassVar[Layout | None] = None

    @property
    def item_tokens(self) -> LLMTokens | None:
        return cast("LLMTokens | None", self.items.table)

    @property
    def user_tokens(self) -> LLMTokens | None:
        return cast("LLMTokens | None", self.users.table)

    @property
    def has_opinions(self) -> bool:
        """Whether estimates are ratings, and not only scores brought to their scale."""
        return True

    # -- predicting ------------------------------------------------------------------------------

    def score(self, users: Rows, items: Rows) -> Scores:
        """Estimates for pairs of rows, NaN where impossible, and further details by name."""
        raise NotImplementedError

    def rank_scores(self, users: Rows) -> NDArray[np.floating]:
        """What lists are sorted by, for all items: shape (n_users, n_item_rows), NaN: unknown."""
        every = np.arange(self.items.n_rows)
        out = np.empty((len(users), len(every)))
        for k, row in enumerate(users):
            out[k] = self.score(np.full(len(every), row), every)[0]
        return out

    def estimates(
        self, users: Rows, items: Rows, clip: bool = True
    ) -> tuple[Floats, dict[str, NDArray[Any]], Mask]:
        """Finite estimates for pairs of rows, details by name, and which were impossible.

        With ``clip``, estimates are inside the rating scale.
        """
        with one_blas_thread():
            blocks = [
                self.score(users[k : k + _BLOCK], items[k : k + _BLOCK])
                for k in range(0, max(len(users), 1), _BLOCK)
            ]
        est = np.concatenate([block[0] for block in blocks]).astype(np.float64, copy=False)
        extra = {key: np.concatenate([b[1][key] for b in blocks]) for key in blocks[0][1]}
        impossible = np.isnan(est)
        est[impossible] = self.ratings.global_mean
        if clip:
            np.clip(est, *self.ratings.scale, out=est)
        return est, extra, impossible

    def terms(self, user: int, item: int) -> dict[str, float]:
        """What the unclipped estimate of a pair of rows is the sum of."""
        return {"estimate": float(self.score(np.array([user]), np.array([item]))[0][0])}

    def influence(self, user: int, item: int) -> Floats | None:
        """By how much the estimate would fall without each rating of the user, in the order of
        ``ratings.of_user``; None where the algorithm cannot say."""
        return None

    def require_finite(self) -> None:
        """Ask whether training diverged.

        Raises
        ------
        DataError
            Where what was learned holds NaN or infinity.
        """
        require_finite({field.name: getattr(self, field.name) for field in fields(self)})

    # -- as arrays -------------------------------------------------------------------------------

    def arrays(self) -> dict[str, Any]:
        """All that was learned, arrays and scalars, by their paths in ``layout``.

        Raises
        ------
        LLMTokensError
            If there is no layout.
        """
        return {path: _at(self, path) for path in self._declared()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> Self:
        """The model whose :meth:`arrays` these are."""
        return cls(ratings, users, items, **nested(arrays))

    @classmethod
    def _declared(cls) -> Layout:
        if cls.layout is None:
            raise LLMTokensError(
                f"a {cls.__name__} cannot be saved or extended; add the ratings to the trainset "
                "and call fit"
            )
        return cls.layout

    # -- learning newcomers ----------------------------------------------------------------------

    def relearned(self, growth: Growth) -> Self:
        """The model that knows what came after the fit, too.

        Items that had no ratings are learned first, then the users, then the items, one by one with
        the other side fixed.

        Raises
        ------
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        model, known = self.grown(growth), set(growth.learn_items)
        items = list(dict.fromkeys([*growth.new_items, *growth.learn_items]))
        model = model._solved("item", items, self)
        if growth.learn_users:
            again = [row for row in growth.new_items if row not in known] or growth.learn_items
            model = model._solved("user", growth.learn_users, self)
            model = model._solved("item", again, self)
        return model

    def grown(self, growth: Growth) -> Self:
        """With the ratings and the rows of today, and nothing learned from them yet.

        Raises
        ------
        LLMTokensError
            If there is no layout.
        """
        arrays, layout = self.arrays(), self._declared()
        for side, entities, source in (
            ("user", growth.users, growth.user_source),
            ("item", growth.items, growth.item_source),
        ):
            if source is not None:
                arrays = grown(layout, arrays, side, source, entities.n_warm)
        return self.from_arrays(arrays, growth.ratings, growth.users, growth.items)

    def _solved(self, side: str, rows: Sequence[int], before: FittedModel) -> Self:
        """With some rows learned anew; arrays that ``before`` has as well are not written to."""
        if not rows:
            return self
        solve = self.user_entries if side == "user" else self.item_entries
        of = self.ratings.of_user if side == "user" else self.ratings.of_item
        found = [(row, solve(row, *of(row))) for row in rows]
        arrays, theirs = self.arrays(), list(before.arrays().values())
        for name in found[0][1]:
            if any(arrays[name] is array for array in theirs):
                arrays[name] = np.copy(arrays[name])
        for row, entries in found:
            put(self._declared(), arrays, side, row, entries)
        return self.from_arrays(arrays, self.ratings, self.users, self.items)

    def user_entries(
        self, row: int, items: Rows, values: Floats, weights: Floats
    ) -> Mapping[str, Any]:
        """What the arrays hold of one user, by name, from their ratings with all items fixed.

        Raises
        ------
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        raise LLMTokensError(_NO_CLOSED_FORM.format(type(self).__name__, "users"))

    def item_entries(
        self, row: int, users: Rows, values: Floats, weights: Floats
    ) -> Mapping[str, Any]:
        """What the arrays hold of one item, from its token and ratings with all users fixed.

        Raises
        ------
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        raise LLMTokensError(_NO_CLOSED_FORM.format(type(self).__name__, "items"))


_NO_CLOSED_FORM = (
    "a {} cannot learn {} without a refit; add the ratings to the trainset and call fit"
)


def _at(value: Any, path: str) -> Any:
    """An attribute of an attribute, None where there is none."""
    return reduce(lambda part, name: getattr(part, name, None), path.split("."), value)


def require_finite(arrays: Mapping[str, Any]) -> None:
    """Raise DataError where an array holds NaN or infinity, naming it."""
    for name, value in arrays.items():
        if isinstance(value, np.ndarray) and not np.isfinite(value).all():
            raise DataError(
                f"training diverged: {name} holds NaN or infinity; lower the learning rates, "
                "or look for ratings far outside the rating scale"
            )
