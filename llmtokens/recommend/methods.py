"""What every fitted algorithm offers beside Surprise's own methods."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import as_column
from ..errors import FileFormatError
from ..storage import models
from . import ask, explain, parts, ranking, spread
from .learning import Learning

if TYPE_CHECKING:
    from typing import Self

    from ..encode import Encoder


class Serving(Learning):
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
            ``s_u`` the standard deviation of the user's relevance over the items that may be
            listed: the same value weighs alike on every rating scale, and does more to an
            algorithm whose relevance follows popularity less. Negative values ask for the well
            known.

        Returns
        -------
        DataFrame
            Best first: item, label (where the tokens carry labels), score, est (the predicted
            rating), std (where the algorithm knows it), and basis: what is known of the user,
            "ratings" or else "text" (a token, of which the algorithm makes what it can, in the
            worst case nothing), or the list is what is "popular" in general.

        Raises
        ------
        DataError
            For arguments out of range, an id that cannot be hashed, or if no candidate is known.
        NotFittedError
            Before ``fit``.
        """
        self._require_fitted()
        wish = ranking.Wish(n, exclude_seen, diversity, popularity_penalty)
        user = int(self.users_.rows([uid])[0])
        _, frame = spread.recommend(self, np.array([user]), candidates, wish)
        return frame.assign(basis=ranking.basis(self, user))

    def recommend_all(
        self,
        n: int = 10,
        n_jobs: int | None = None,
        candidates: Iterable[Hashable] | None = None,
        exclude_seen: bool = True,
        diversity: float = 0.0,
        popularity_penalty: float = 0.0,
    ) -> pd.DataFrame:
        """:meth:`recommend` for every user with ratings or a token, one list after the other.

        Users are scored in blocks, so that memory does not grow with users times items.

        Parameters
        ----------
        n_jobs : int, optional
            As joblib counts them: by default one, or what ``joblib.parallel_config`` says. They
            are threads unless that names another backend; with ``backend="dask"`` the model goes
            to each worker once. The result is the same to the last bit.

        Returns
        -------
        DataFrame
            user, and the columns of :meth:`recommend`.

        Raises
        ------
        DataError, NotFittedError
            As :meth:`recommend`.
        """
        self._require_fitted()
        wish = ranking.Wish(n, exclude_seen, diversity, popularity_penalty)
        users = np.arange(self.users_.unknown)
        who, frame = spread.recommend(self, users, candidates, wish, n_jobs)
        raw = as_column(self.users_.ids)
        frame.insert(0, "user", raw.take(who).set_axis(frame.index))
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
            of an unknown one), std and, with a user, basis.

        Raises
        ------
        DataError
            If there are no item tokens, they have no text, or arguments are out of range.
        ModelNotFoundError
            If the text encoder is not at hand.
        NotFittedError
            Before ``fit``.
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

        Raises
        ------
        DataError
            For ``n`` out of range, ids that cannot be hashed, or if the model holds numbers so
            large that an influence cannot be computed.
        NotFittedError
            Before ``fit``.
        """
        self._require_fitted()
        return explain.explain(self, uid, iid, n)

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted algorithm, its tokens included, as one safetensors file.

        Raises
        ------
        StorageError
            If the folder is missing, full or read-only; an older file stays as it was.
        DataError
            If a raw id is neither str, int nor float.
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If it is no algorithm of this library.
        """
        self._require_fitted()
        models.save(self, path)

    def to_parts(self) -> parts.Parts:
        """A JSON payload and arrays, from which :meth:`from_parts` makes the same algorithm."""
        return parts.to_parts(self)

    @classmethod
    def from_parts(
        cls, payload: Any, arrays: dict[str, NDArray[Any]], encoder: Encoder | None = None
    ) -> Self:
        """The algorithm whose parts these are, checked to the last index.

        Raises
        ------
        FileFormatError
            If they are not those of such an algorithm.
        """
        return parts.from_parts(cls, payload, arrays, encoder)

    @classmethod
    def load(cls, path: str | Path, *, encoder: Encoder | None = None) -> Self:
        """Read what ``save`` wrote; see :func:`llmtokens.load`.

        Raises
        ------
        StorageError
            If there is no such file, or it cannot be opened.
        FileFormatError
            If the file is damaged, or holds another algorithm.
        """
        algo = models.load(path, encoder=encoder)
        if not isinstance(algo, cls):
            raise FileFormatError(
                f"{str(path)!r} holds a {type(algo).__name__}; expected {cls.__name__}"
            )
        return algo
