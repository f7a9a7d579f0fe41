"""What a fitted algorithm is: the data it knows, arrays, and what follows from them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from ..data.entities import EntityIndex
from ..data.ratings import Changes, Rated, Ratings
from ..data.times import moment
from ..data.timestamps import Timestamps
from ..errors import DataError, DivergenceError, LLMTokensError
from ..runtime.arrays import Floats, Mask, Rows
from ..runtime.locks import cached_property
from ..runtime.threads import one_blas_thread
from ..storage.models import Layout, grown, nested, put
from ..tokens import LLMTokens

Scores = tuple[Floats, dict[str, NDArray[Any]]]

_SOME = 8  # users with a token and no ratings, whose scores tell whether tokens are read
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
    changes : Changes
        Ratings that came and went.
    learn_users, learn_items : list of int
        Rows to learn anew.
    timestamps : Timestamps, optional
        When pairs were rated, old ones and new.
    """

    ratings: Ratings
    users: EntityIndex
    items: EntityIndex
    user_source: Rows | None
    item_source: Rows | None
    changes: Changes
    new_items: Sequence[int]
    learn_users: Sequence[int]
    learn_items: Sequence[int]
    timestamps: Timestamps | None = None


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
    timestamps : Timestamps, optional
        When pairs were rated, or will be, where the algorithm makes something of it.
    """

    ratings: Ratings
    users: EntityIndex
    items: EntityIndex
    timestamps: Timestamps | None = field(default=None, kw_only=True)

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

    def score_at(self, users: Rows, items: Rows, times: Floats) -> Scores:
        """:meth:`score` at moments, shape (n,), NaN where unknown."""
        return self.score(users, items)

    def moments(
        self, uids: Sequence[Hashable], iids: Sequence[Hashable], at: Any = None
    ) -> Floats | None:
        """When pairs of raw ids are rated: as the timestamps say, or else ``at``; NaN where neither
        does, and None where time says nothing to the model.

        Raises
        ------
        DataError
            If ``at`` is no time, or the model knows none.
        """
        if self.timestamps is None:
            if at is not None:
                raise DataError(
                    f"found at={at!r}, but this model was fitted without timestamps, so that time "
                    "says nothing to it; expected an algorithm with timestamps: leave at out"
                )
            return None
        times = self.timestamps.of_pairs(uids, iids)
        if at is not None:
            times[np.isnan(times)] = moment(at)
        return times

    def moments_of_rows(self, users: Rows, items: Rows, at: Any = None) -> Floats | None:
        """The same for pairs of rows."""
        if self.timestamps is None and at is None:
            return None
        uids, iids = (
            [entities.ids[row] if row < entities.unknown else None for row in rows.tolist()]
            for entities, rows in ((self.users, users), (self.items, items))
        )
        return self.moments(uids, iids, at)

    def rank_scores(self, users: Rows) -> NDArray[np.floating]:
        """How well all items suit users: shape (n_users, n_item_rows), NaN: unknown."""
        every = np.arange(self.items.n_rows)
        out = np.empty((len(users), len(every)))
        for k, row in enumerate(users):
            out[k] = self.score(np.full(len(every), row), every)[0]
        return out

    def list_scores(self, users: Rows) -> NDArray[np.floating]:
        """What lists are sorted by, in the shape of :meth:`rank_scores`, which they are unless the
        algorithm is one that predicts ratings well and ranks badly by them."""
        return self.rank_scores(users)

    def taste(self, user: int) -> NDArray[np.floating]:
        """How much better every item row suits a user than somebody unknown, as far as the
        algorithm tells it from content, where it can say that apart; NaN: unknown.

        Shape (n_item_rows,), or (draws, n_item_rows) of an algorithm that has a posterior.
        """
        mine, usual = self.rank_scores(np.array([user, self.users.unknown])).astype(np.float64)
        return mine - np.where(np.isnan(usual), 0.0, usual)

    @cached_property
    def text_rows(self) -> Rows:
        """Row in the table of item tokens of every item row, -1 without a token."""
        tokens = self.item_tokens
        if tokens is None:
            return np.full(self.items.n_rows, -1)
        return np.append(tokens.align(self.items.ids), -1)

    @cached_property
    def reads_user_tokens(self) -> bool:
        """Whether what is known of users by their tokens alone changes anything."""
        some = np.arange(self.users.n_warm, self.users.unknown)[:_SOME]
        of_unknown = self.rank_scores(np.array([self.users.unknown]))
        made = self.rank_scores(some)
        return not np.allclose(made, np.tile(of_unknown, (len(some), 1)), equal_nan=True)

    def estimates(
        self, users: Rows, items: Rows, clip: bool = True, times: Floats | None = None
    ) -> tuple[Floats, dict[str, NDArray[Any]], Mask]:
        """Finite estimates for pairs of rows, details by name, and which were impossible.

        With ``clip``, estimates are inside the rating scale; with ``times`` of :meth:`moments` they
        are for these.
        """
        with one_blas_thread():
            parts = [slice(k, k + _BLOCK) for k in range(0, max(len(users), 1), _BLOCK)]
            blocks = [
                self.score(users[at], items[at])
                if times is None
                else self.score_at(users[at], items[at], times[at])
                for at in parts
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
        DivergenceError
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
        the other side fixed. Where nothing changed, nothing does.

        Raises
        ------
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        model, known = self.grown(growth), set(growth.learn_items)
        items = list(dict.fromkeys([*growth.new_items, *growth.learn_items]))
        model = model._solved("item", items, growth.changes, self)
        if growth.learn_users:
            again = [row for row in growth.new_items if row not in known] or growth.learn_items
            model = model._solved("user", growth.learn_users, growth.changes, self)
            model = model._solved("item", again, growth.changes, self)
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
        made = self.from_arrays(arrays, growth.ratings, growth.users, growth.items)
        return replace(made, timestamps=growth.timestamps)

    def without_row(self, row: int, ratings: Ratings, users: EntityIndex) -> Self:
        """Without the row of one user; ``ratings`` and ``users`` are those that are left.

        Raises
        ------
        LLMTokensError
            If there is no layout.
        """
        source = np.delete(np.arange(self.users.n_rows), row)
        arrays = grown(self._declared(), self.arrays(), "user", source, users.n_warm)
        made = self.from_arrays(arrays, ratings, users, self.items)
        return replace(made, timestamps=self.timestamps)

    def _solved(
        self, side: str, rows: Sequence[int], changes: Changes, before: FittedModel
    ) -> Self:
        """With some rows learned anew; arrays that ``before`` has as well are not written to."""
        if not rows:
            return self
        if side == "user":
            told = self.users.table is not before.users.table
            by, known = self.ratings.of_user, changes.of_user
            found = [(u, self.user_entries(u, by(u), by(u) if told else known(u))) for u in rows]
        else:
            text = self.items.table is not before.items.table
            of, new = self.ratings.of_item, changes.of_item
            found = [(i, self.item_entries(i, of(i), of(i) if text else new(i))) for i in rows]
        arrays, theirs = self.arrays(), list(before.arrays().values())
        for name in found[0][1]:
            if any(arrays[name] is array for array in theirs):
                arrays[name] = np.copy(arrays[name])
        for row, entries in found:
            put(self._declared(), arrays, side, row, entries)
        made = self.from_arrays(arrays, self.ratings, self.users, self.items)
        return replace(made, timestamps=self.timestamps)

    def user_entries(self, row: int, rated: Rated, changes: Rated) -> Mapping[str, Any]:
        """What the arrays hold of one user, by name, from their ratings with all items fixed.

        ``rated`` are the items, values and weights of all of them, ``changes`` of those that came,
        and with weights below 0 of those that went. Of a user known by a token alone there are
        none.

        Raises
        ------
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        raise LLMTokensError(_NO_CLOSED_FORM.format(type(self).__name__, "users"))

    def item_entries(self, row: int, rated: Rated, changes: Rated) -> Mapping[str, Any]:
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
    """Raise DivergenceError where an array holds NaN or infinity, naming it."""
    for name, value in arrays.items():
        if isinstance(value, np.ndarray) and not np.isfinite(value).all():
            raise DivergenceError(
                f"training diverged: {name} holds NaN or infinity; lower the learning rates, "
                "or look for ratings far outside the rating scale"
            )
