"""What every fitted algorithm offers beside Surprise's own methods."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import persist
from ..errors import FileFormatError
from . import ask, explain, foldin, ranking
from .hooks import Floats, Hooks, Rows

if TYPE_CHECKING:
    from typing import Self

    from ..encode import Encoder


class Serving(Hooks):
    """Recommend, ask, explain, learn newcomers, save and load.

    The examples below share this model:

    >>> from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
    >>> texts = ["{title}", "{description}"]
    >>> tokens = LLMTokens.from_frame(data.items, texts, encoder=HashingEncoder())
    >>> algo = LLMTokensSVD(item_tokens=tokens, n_factors=10, random_state=0)
    >>> algo = algo.fit(data.dataset.build_full_trainset())
    >>> list(algo.recommend(1, n=3).columns)
    ['item', 'label', 'score', 'est', 'basis']
    >>> len(algo.ask("a storm at sea", n=5))
    5
    >>> why = algo.explain(1, 2)
    >>> abs(sum(why.terms.values()) - why.est) < 1e-6
    True
    >>> algo.fold_in("newcomer", {1: 5.0, 2: 1.0}).recommend("newcomer", n=1)["basis"].item()
    'ratings'
    """

    def default_prediction(self) -> float:
        """See the algorithm."""
        raise NotImplementedError

    def _require_fitted(self) -> None:
        raise NotImplementedError

    def _estimates(
        self, users: Rows, items: Rows, clip: bool
    ) -> tuple[Floats, dict[str, NDArray[Any]], NDArray[np.bool_]]:
        raise NotImplementedError

    # -- lists ---------------------------------------------------------------------------------

    def recommend(
        self,
        uid: Hashable,
        n: int = 10,
        candidates: Iterable[Hashable] | None = None,
        exclude_seen: bool = True,
        diversity: float = 0.0,
        popularity_penalty: float = 0.0,
    ) -> pd.DataFrame:
        r"""The ``n`` best items for a user, known or not.

        Parameters
        ----------
        uid : raw id
        n : int, default=10
        candidates : iterable of raw ids, optional
            Only these items; by default all with ratings or a token.
        exclude_seen : bool, default=True
            Leave out what the user has rated.
        diversity : float in [0, 1], default=0.0
            Share of maximal marginal relevance that goes to being unlike what stands above, by the
            cosine of tokens, among the best ``20 n``.
        popularity_penalty : float, default=0.0
            :math:`\lambda` in ``score = relevance - lambda * s_u * popularity``, popularity being
            ``log(1 + number of ratings)`` at mean 0 and standard deviation 1 over all items, and
            ``s_u`` the standard deviation of the user's relevance, so that the same value means
            the same for every algorithm and rating scale. Negative values ask for the well known.

        Returns
        -------
        DataFrame
            Best first: item, label (where the tokens carry labels), score, est (the predicted
            rating), std (where the algorithm knows it), and basis: whether the user is known by
            "ratings" or by "text", or the list is what is "popular" in general.

        Raises
        ------
        DataError
            For arguments out of range, or if no candidate is known.
        NotFittedError
            Before ``fit``.
        """
        self._require_fitted()
        wish = ranking.Wish(n, exclude_seen, diversity, popularity_penalty)
        user = int(self.users_.rows([uid])[0])
        _, frame = ranking.recommend(self, np.array([user]), candidates, wish)
        return frame.assign(basis=ranking.basis(self, user))

    def recommend_all(
        self,
        n: int = 10,
        n_jobs: int = 1,
        candidates: Iterable[Hashable] | None = None,
        exclude_seen: bool = True,
        diversity: float = 0.0,
        popularity_penalty: float = 0.0,
    ) -> pd.DataFrame:
        """:meth:`recommend` for every user with ratings or a token, one list after the other.

        Users are scored in blocks, so that memory does not grow with users times items.

        Parameters
        ----------
        n_jobs : int, default=1
            Threads, as joblib counts them; the result does not depend on it.

        Returns
        -------
        DataFrame
            user, and the columns of :meth:`recommend`.
        """
        self._require_fitted()
        wish = ranking.Wish(n, exclude_seen, diversity, popularity_penalty)
        users = np.arange(self.users_.stranger)
        who, frame = ranking.recommend(self, users, candidates, wish, n_jobs)
        raw = pd.Series(self.users_.ids, dtype=object).infer_objects()
        frame.insert(0, "user", raw.take(who).to_numpy())
        known = [ranking.basis(self, user) for user in users.tolist()]
        return frame.assign(basis=[known[k] for k in who])

    def ask(
        self, text: str, n: int = 10, uid: Hashable | None = None, weight: float = 0.5
    ) -> pd.DataFrame:
        """The items that fit a description in words, and a user's taste.

        The text is encoded like that of an item, without its structured columns, and compared
        with all tokens by cosine.

        Parameters
        ----------
        text : str
            Such as ``"a quiet film about loneliness in space"``.
        n : int, default=10
        uid : raw id, optional
            Whose taste counts; what this user has rated is left out.
        weight : float in [0, 1], default=0.5
            Share of the taste: ``score = (1 - weight) * similarity + weight * relevance``, both
            as normal scores of their ranks, so that no scale drowns the other.

        Returns
        -------
        DataFrame
            item, label, score, similarity (cosine), est (the predicted rating; without a user that
            of a stranger), std and, with a user, basis.

        Raises
        ------
        DataError
            If there are no item tokens, they have no text, or arguments are out of range.
        ModelNotFoundError
            If the text encoder is not at hand.
        """
        self._require_fitted()
        user = None if uid is None else int(self.users_.rows([uid])[0])
        return ask.ask(self, text, n, user, weight)

    def explain(self, uid: Hashable, iid: Hashable, n: int = 5) -> explain.Explanation:
        """Why ``predict(uid, iid)`` says what it says.

        Parameters
        ----------
        n : int, default=5
            How many of the nearest items to name.

        Returns
        -------
        Explanation
            Terms that add up to the estimate, the user's ratings by their influence on it, the
            nearest items by token, and one sentence.
        """
        self._require_fitted()
        return explain.explain(self, uid, iid, n)

    # -- newcomers -----------------------------------------------------------------------------

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
        timestamps : sequence of float, optional
            When each rating was made, in any unit.
        half_life : float, optional
            In the same unit (of MovieLens: seconds, a day has 86,400): a rating that is so much
            older than the newest one given counts half as much.

        Raises
        ------
        DataError
            For unknown items, NaN, or an item that stands twice.
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
        content : str, dict, array of shape (dim,) or one-row DataFrame, optional
            What the item tokens were made from: a row of the frame as a dict, a vector for
            tokens from embeddings, or simply a text. It joins ``item_tokens``, so that the next
            ``fit`` knows it too. The table handed over by the user is not changed.
        ratings : mapping, or iterable of (user id, rating)

        Raises
        ------
        DataError
            For unknown users, NaN, a user that stands twice, or content of another form.
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        self._require_fitted()
        foldin.fold_in_item(self, iid, content, ratings)
        return self

    def partial_fit(self, ratings: Any) -> Self:
        """Learn from a batch of ratings; new users and items may be among them.

        Items that were without ratings are learned first, then all users in the batch, then all
        its items, each in closed form with the other side fixed.

        Parameters
        ----------
        ratings : DataFrame or iterable of (user id, item id, rating)
            What follows in a row, such as a time, is not read. The last rating of a pair counts.

        Raises
        ------
        DataError
            For rows of another form, NaN or infinity.
        """
        self._require_fitted()
        foldin.partial_fit(self, ratings)
        return self

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted algorithm, its tokens included, as one safetensors file.

        Raises
        ------
        StorageError
            If the folder is missing, full or read-only; an older file stays as it was.
        DataError
            If a raw id is neither str, int nor float.
        """
        self._require_fitted()
        persist.save(self, path)

    @classmethod
    def load(cls, path: str | Path, *, encoder: Encoder | None = None) -> Self:
        """Read what ``save`` wrote; see :func:`llmtokens.load`.

        Raises
        ------
        FileFormatError
            If the file is damaged, or holds another algorithm.
        """
        algo = persist.load(path, encoder=encoder)
        if not isinstance(algo, cls):
            raise FileFormatError(
                f"{str(path)!r} holds a {type(algo).__name__}; expected {cls.__name__}"
            )
        return algo
