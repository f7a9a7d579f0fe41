"""What a fitted algorithm offers for what came after ``fit``: users, items, ratings."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from . import fold_in as foldin
from .interface import Hooks

if TYPE_CHECKING:
    from typing import Self


class Learning(Hooks):
    """Learn newcomers without a refit; see :class:`~llmtokens.recommend.Serving`."""

    def fold_in(
        self,
        uid: Hashable,
        ratings: foldin.Given,
        timestamps: Sequence[float] | None = None,
        half_life: float | None = None,
    ) -> Self:
        """Learn a new user, or new ratings of a known one, with all items as they are.

        From then on the user is one with ratings, as if seen in training. Ratings of items the
        user had rated before replace the old ones; the others are kept. (``trainset`` stays what
        ``fit`` was given.)

        Parameters
        ----------
        uid : raw id
        ratings : mapping, or iterable of (item id, rating)
        timestamps : sequence of float or of dates, optional
            When each rating was made, in any unit; dates, also as ISO 8601 text, count in seconds.
        half_life : float, optional
            In the same unit (of MovieLens: seconds, a day has 86,400): a rating that is so much
            older than the newest one given counts half as much. By default the algorithm's own,
            where it has one.

        Raises
        ------
        DataError
            For unknown items, an item that stands twice, or ratings that are NaN or outside the
            scale (of the reader, or of the ratings in the fit where these went beyond it).
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        self._require_fitted()
        foldin.fold_in_user(self, uid, ratings, (timestamps, half_life))
        return self

    def fold_in_item(self, iid: Hashable, content: Any = None, ratings: foldin.Given = ()) -> Self:
        """Learn a new or changed item, with all users as they are.

        Parameters
        ----------
        iid : raw id
        content : str, dict, Series, array of shape (dim,) or one-row DataFrame, optional
            What the item tokens were made from: a row of the frame, a vector for tokens from
            embeddings, or simply a text. It joins ``item_tokens``, so that the next ``fit`` knows
            it too. The table handed over by the user is not changed.
        ratings : mapping, or iterable of (user id, rating)

        Raises
        ------
        DataError
            For unknown users, a user that stands twice, content of another form, or ratings that
            are NaN or outside the scale.
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        self._require_fitted()
        foldin.fold_in_item(self, iid, content, ratings)
        return self

    def partial_fit(self, ratings: Any) -> Self:
        """Learn from a batch of ratings; new users and items may be among them.

        Items that were without ratings are learned first, then all users in the batch, then all
        its items, each in closed form with the other side fixed (``LLMTokensEASE``: all at once).

        Parameters
        ----------
        ratings : DataFrame, or iterable of (user id, item id, rating)
            Of a frame the columns user, item and rating, or else the first three; what follows in
            a row, such as a time, is not read. The last rating of a pair counts.

        Raises
        ------
        DataError
            For rows of another form, or ratings that are NaN or outside the scale.
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        self._require_fitted()
        foldin.partial_fit(self, ratings)
        return self
