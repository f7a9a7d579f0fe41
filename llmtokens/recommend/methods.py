"""What every fitted algorithm offers beside Surprise's own methods."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import as_column
from ..data.timestamps import Timestamps
from ..errors import DataError, FileFormatError, NotFittedError
from ..runtime.arrays import Rows
from ..runtime.locks import writing
from ..storage import models
from ..tokens import LLMTokens
from . import ask, explain, parts, portrait, ranking, similar
from .fold_in import Given, in_words, with_batch, with_item, with_user, without_user
from .interface import FittedModel
from .where import Where

if TYPE_CHECKING:
    from ..encode import Encoder


class _NotFitted:
    """Stands for the fitted model until there is one: whoever reads it is told so."""

    def __get__(self, algo: Any, owner: type) -> Any:
        if algo is None:
            return self
        raise NotFittedError(f"this {owner.__name__} is not fitted yet; call fit first")


class Serving:
    """Recommend, ask, explain, learn newcomers, save and load.

    Everything reads one fitted model, ``model_``, which nothing changes: whoever learns makes a new
    one and puts it in its place. So other threads may predict, recommend and explain meanwhile,
    each call from the model it met, and several may learn, one after the other.

    Attributes
    ----------
    model_ : FittedModel
        All that was learned.

    Examples
    --------
    Those of the methods share this model:

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

    fitted_type: ClassVar[type[FittedModel]] = FittedModel
    model_: FittedModel = cast(FittedModel, _NotFitted())
    item_tokens: LLMTokens | None
    user_tokens: LLMTokens | str | None

    # -- lists ---------------------------------------------------------------------------------

    def recommend(
        self,
        uid: Any = None,
        n: int = 10,
        candidates: Iterable[Hashable] | None = None,
        exclude_seen: bool | str | Sequence[str] = True,
        diversity: float = 0.0,
        popularity_penalty: float = 0.0,
        at: Any = None,
        where: Where | None = None,
        content: Any = None,
    ) -> pd.DataFrame:
        r"""The ``n`` best items for a user, known or not, or for each of several.

        Models of ratings do not rank by the estimate, which favours what few have rated, but by
        how likely an item is to be chosen and liked: the product of its number of ratings and the
        chance that the user's rating is above the mean of all.

        Parameters
        ----------
        uid : raw id, or list of raw ids
            A list of users, an array or a column gives one list after the other. May be left out
            where there is ``content``.
        n : int, default=10
        candidates : iterable of raw ids, optional
            Only these items; by default all with ratings or a token.
        exclude_seen : bool, or one or several kinds of events, default=True
            Leave out what the user has rated; False: leave out nothing, for what people choose
            again. Of data from :func:`~llmtokens.datasets.load_events` also a kind, such as
            ``"buy"``, or a list of kinds: what the user bought is left out, and what was merely
            looked at stays.
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
        at : number, date or "now", optional
            The moment the list is for, where the algorithm has ``timestamps``.
        where : str or function, optional
            Only items for which it holds, by the columns that item tokens were made from (their
            ``columns``), item and label: comparisons joined by ``and``, ``or`` and ``not``, such as
            ``"year < 1990 and 'Comedy' in genres"``. ``in`` asks for a label, a part of a text, or
            one of a list, whatever the case of letters; where cells hold labels, ``==`` and ``!=``
            ask for one among them. Names with blanks stand in backticks. No
            comparison holds for a number that is missing. A function gets the frame of all items
            and gives one bool for each.
        content : str, or one of the other forms that ``fold_in`` takes, optional
            What the user says of themselves, such as ``"I like slow science fiction"``: the list is
            what it would be if that were folded in, and nothing is kept.

        Returns
        -------
        DataFrame
            Best first: user (for several), item, label (where the tokens carry labels), score (what
            the list is sorted by), est (the predicted rating), std (where the algorithm knows it),
            and basis: what is known of the user, "ratings" or else "text" (a token that the
            algorithm makes something of); if neither, the list is of what is "popular", in the
            order of the number of ratings.

        Raises
        ------
        DataError
            For arguments out of range, an id that cannot be hashed, if no candidate is known, or
            for a condition that cannot be read; also if there is neither ``uid`` nor ``content``.
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from llmtokens import LLMTokens, LLMTokensEASE
        >>> from llmtokens.datasets import synthetic
        >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
        >>> tokens = LLMTokens.from_frame(data.items, categorical="genres", numeric="year")
        >>> algo = LLMTokensEASE(tokens).fit(data.dataset.build_full_trainset())
        >>> old = algo.recommend([1, 2], n=2, where="year < 1990 and 'western' in genres")
        >>> year = data.items.set_index("item")["year"]
        >>> old["user"].tolist(), bool((year[old["item"]] < 1990).all())
        ([1, 1, 2, 2], True)
        """
        model = self.model_
        wish = ranking.Wish(n, exclude_seen, diversity, popularity_penalty)
        if content is not None:
            model, user = in_words(model, uid, content)
            return _lists(model, np.array([user]), None, candidates, wish, where, at=at)
        if uid is None:
            raise DataError(
                "found neither uid nor content; expected the id of a user, or words of somebody"
            )
        several = isinstance(uid, (list, np.ndarray, pd.Series, pd.Index))
        uids = list(uid) if several else [uid]
        return _lists(model, model.users.rows(uids), uids if several else None, candidates, wish,
                      where, at=at)  # fmt: skip

    def recommend_all(
        self,
        n: int = 10,
        n_jobs: int | None = None,
        candidates: Iterable[Hashable] | None = None,
        exclude_seen: bool | str | Sequence[str] = True,
        diversity: float = 0.0,
        popularity_penalty: float = 0.0,
        at: Any = None,
        where: Where | None = None,
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
        model = self.model_
        wish = ranking.Wish(n, exclude_seen, diversity, popularity_penalty)
        users = np.arange(model.users.unknown)
        return _lists(model, users, model.users.ids, candidates, wish, where, n_jobs, at)

    def ask(
        self,
        text: str | Sequence[str],
        n: int = 10,
        uid: Hashable | None = None,
        weight: float = 0.75,
        candidates: Iterable[Hashable] | None = None,
        where: Where | None = None,
        diversity: float = 0.0,
    ) -> pd.DataFrame:
        r"""The items that fit a description in words, those first that suit a user's taste.

        The question comes first. It is compared with the texts of all items, without years,
        categories and the like, in the encoder's own space (:attr:`LLMTokens.embeddings`). An item
        is *similar* if its cosine lies so far above the median of all that, were they spread to
        that side as they are to the other, less than one item would be there by chance. What is not
        similar is not listed, so that a list may be short.

        With a user, taste orders those items that are about as near as the nearest: down to
        ``weight`` of the way from the nearest to the least similar item. How many these are depends
        on the question. The others follow by similarity.

        Two wishes in one question ("courtroom and dinosaur films") are told by this: no item is
        similar to both. Then each has its own places in the list, by turns. Alternatives of one
        thing ("a French or Italian comedy") are two wishes for that thing.

        What is not wanted, set off by a comma or a "but" ("a funny film with ghosts, no horror") or
        said of the thing itself ("a musical that is not a cartoon"), is left out: items with that
        label, where there is one, else those similar to it.

        Parameters
        ----------
        text : str, or sequence of str
            Such as ``"a quiet film about loneliness in space"``; several questions give one list
            after the other.
        n : int, default=10
            Length of each list, at most.
        uid : raw id, optional
            Whose taste counts; what this user has rated is left out.
        weight : float in [0, 1], default=0.75
            How far taste reaches: 0 not at all, 1 to all that is similar. The default was best in
            precision on 30 questions other than those ``benchmarks/answers.py`` reports.
        candidates, where
            As in :meth:`recommend`. Which items are similar is judged among all.
        diversity : float in [0, 1], default=0.0
            Share of maximal marginal relevance that goes to being unlike what stands above.

        Returns
        -------
        DataFrame
            question (for several), item, label, score (what the list is sorted by: the similarity,
            or, where taste decides, 1 and the place by taste as a number from 0 to 1; with
            ``diversity`` and several wishes the list is another order of these), similarity
            (cosine), wish (where there are several), est (the predicted rating; without a user that
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
        model = self.model_
        user = None if uid is None else int(model.users.rows([uid])[0])
        several = not isinstance(text, str) and isinstance(text, Iterable)
        texts: list[Any] = list(text) if several else [text]
        questions = [ask.Question(each, user) for each in texts]
        listing = ask.Listing(n, weight, diversity)
        who, frame = ask.ask(model, questions, listing, candidates, where)
        if several:
            frame.insert(0, "question", as_column(texts).take(who).set_axis(frame.index))
        return frame

    def similar_items(self, iid: Hashable, n: int = 10, by: str = "text") -> pd.DataFrame:
        """The items most like one.

        Parameters
        ----------
        iid : raw id
        n : int, default=10
        by : {"text", "ratings"}, default="text"
            "text": by the cosine of texts alone, as :meth:`LLMTokens.similar`. "ratings": by who
            has rated and liked both, the cosine of columns of ratings that go from .05, for the
            lowest, to 1, for the highest; 20 is added to the product of their lengths, so that few
            ratings in common say little. The number was best of 0, 2, 5, 10 and 20 at finding, for
            items that users liked, others that they liked, on an inner fold.

        Returns
        -------
        DataFrame
            The most alike first: item, label (where the tokens carry labels), similarity, and, by
            ratings, common: how many have rated both. By ratings only items that somebody has.

        Raises
        ------
        DataError
            For an unknown item, one without a token (by text) or without ratings (by ratings), or
            arguments out of range.
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> import pandas as pd
        >>> from surprise import Dataset, Reader
        >>> from llmtokens import LLMTokensEASE
        >>> rows = [(1, "a", 5), (1, "b", 4), (2, "a", 4), (2, "b", 5), (3, "c", 3)]
        >>> frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
        >>> algo = LLMTokensEASE().fit(Dataset.load_from_df(frame, Reader()).build_full_trainset())
        >>> algo.similar_items("a", by="ratings")[["item", "common"]].to_dict("records")
        [{'item': 'b', 'common': 2}]
        """
        return similar.similar_items(self.model_, iid, n, by)

    def similar_users(self, uid: Hashable, n: int = 10, by: str = "ratings") -> pd.DataFrame:
        """The users most like one: who have rated and liked the same.

        Parameters
        ----------
        uid : raw id
        n : int, default=10
        by : {"ratings", "text"}, default="ratings"
            As in :meth:`similar_items`; "text" is by ``user_tokens``.

        Returns
        -------
        DataFrame
            The most alike first: user, similarity, and, by ratings, common: how many items both
            have rated.

        Raises
        ------
        DataError
            For an unknown user, one without ratings (by ratings) or without a token (by text), or
            arguments out of range.
        NotFittedError
            Before ``fit``.
        """
        return similar.similar_users(self.model_, uid, n, by)

    def portrait(self, uid: Hashable, n: int = 5) -> pd.DataFrame:
        """What a user likes more, and less, than others do: labels, words and items.

        Parameters
        ----------
        uid : raw id
        n : int, default=5
            How many of each kind, at either end.

        Returns
        -------
        DataFrame
            By kind, the most liked first; empty where content tells the model nothing; with

            - kind: a categorical column of the item tokens, "word" (of the items' labels), "item";
            - name: the label, the word, or what the item is called;
            - liking: how much higher items of that name are estimated for this user than for
              somebody unknown, less the same over all items: in stars for ``LLMTokensSVD`` and
              ``LLMTokensBPMF``, which say it from content alone, as if nobody had rated an item;
              for others in the units of what they rank by, ratings of items included;
            - std: of liking, over the posterior of ``LLMTokensBPMF``; NaN where there is none;
            - chance: the control, the standard deviation that liking would have if the name were
              said of as many items drawn at random (of an item: over all items). Labels and words
              stand here if they lie further out than any of them would, with 95 %, by chance; that
              the user's taste favours them is certain then, that the taste is theirs is not: see
              std;
            - items, and rated: how many items have the name, and how many of these the user rated.

        Raises
        ------
        DataError
            For an unknown user, ``n`` out of range, or without item tokens.
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from llmtokens import LLMTokens, LLMTokensSVD
        >>> from llmtokens.datasets import synthetic
        >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
        >>> tokens = LLMTokens.from_frame(data.items, categorical="genres")
        >>> algo = LLMTokensSVD(item_tokens=tokens, n_factors=10, random_state=0)
        >>> found = algo.fit(data.dataset.build_full_trainset()).portrait(1, n=3)
        >>> found.columns.tolist()
        ['kind', 'name', 'liking', 'std', 'chance', 'items', 'rated']
        >>> set(found["kind"]) <= {"genres", "word", "item"}
        True
        """
        return portrait.portrait(self.model_, uid, n)

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
        return explain.explain(self.model_, uid, iid, n)

    # -- learning newcomers --------------------------------------------------------------------

    def fold_in(
        self,
        uid: Hashable,
        ratings: Given = (),
        timestamps: Sequence[float] | None = None,
        half_life: float | None = None,
        content: Any = None,
    ) -> Self:
        """Learn a new user, or new ratings of a known one, with all items as they are.

        From then on the user is one with ratings, as if seen in training. Ratings of items the
        user had rated before replace the old ones; the others are kept. (``trainset`` stays what
        ``fit`` was given.) A user of whom there is only ``content`` is one with a token and without
        ratings: estimates are those of a ``fit`` whose ``user_tokens`` hold it.

        Parameters
        ----------
        uid : raw id
        ratings : mapping, or iterable of (item id, rating)
        timestamps : sequence of float or of dates, optional
            When each rating was made, in any unit; dates, also as ISO 8601 text, count in seconds.
            Where the algorithm has ``timestamps`` they join these, in their unit.
        half_life : float, optional
            In the same unit (of MovieLens: seconds, a day has 86,400): a rating that is so much
            older than the newest one given counts half as much. By default the algorithm's own,
            where it has one.
        content : str, dict, Series, array of shape (dim,) or one-row DataFrame, optional
            What the user says of themselves, in the form the ``user_tokens`` were made from, or
            simply a text. It joins ``user_tokens``, so that the next ``fit`` knows it too, unless
            these are "history". The table handed over by the user is not changed.

        Raises
        ------
        DataError
            For unknown items, an item that stands twice, ratings that are NaN or outside the
            scale (of the reader, or of the ratings in the fit where these went beyond it), content
            of another form, or neither ratings nor content.
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        if timestamps is not None and half_life is None:
            half_life = getattr(self, "half_life", None)
        with writing(self):
            model = with_user(self.model_, uid, ratings, timestamps, half_life, content)
            told = {"user_tokens": model.user_tokens} if content is not None else {}
            if isinstance(self.user_tokens, str):  # those of the next fit are its own
                told = {}
            self.__dict__.update(model_=model, **told)  # both or none
        return self

    def fold_in_item(self, iid: Hashable, content: Any = None, ratings: Given = ()) -> Self:
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
        with writing(self):
            model = with_item(self.model_, iid, content, ratings)
            self.__dict__.update(model_=model, item_tokens=model.item_tokens)  # both or none
        return self

    def partial_fit(self, ratings: Any) -> Self:
        """Learn from a batch of ratings; new users and items may be among them.

        Items that were without ratings are learned first, then all users in the batch, then all
        its items, each in closed form with the other side fixed (``LLMTokensEASE``: all at once).

        Parameters
        ----------
        ratings : DataFrame, events, or iterable of (user id, item id, rating)
            Of a frame the columns user, item and rating, or else the first three. Where the
            algorithm has ``timestamps``, those of a frame's column timestamp, or a row's fourth
            entry, join them; where it knows kinds of events, those of a column event; nothing else
            is read. The last rating of a pair counts, and what there was of events stays. What
            :func:`~llmtokens.datasets.load_events` made of further events is added to what a pair
            has, up to the top of the scale.

        Raises
        ------
        DataError
            For rows of another form, or ratings that are NaN or outside the scale.
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If the algorithm has no closed form for this.
        """
        with writing(self):
            self.model_ = with_batch(self.model_, ratings)
        return self

    def forget(self, uid: Hashable) -> Self:
        """Let go of a user: their id, ratings, times and token, and what was learned of them alone.

        What all users taught together (items, weights between items) stays as it is until the next
        ``fit``; but weights of ``LLMTokensEASE`` that are made of few users' own rows are solved
        without theirs. ``trainset``, where ``fit`` left it, is Surprise's own and still has them;
        files written from now on have nothing of theirs.

        Parameters
        ----------
        uid : raw id

        Raises
        ------
        DataError
            For an unknown user, or the only one there is.
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If there is no layout of what the algorithm learns.

        Examples
        --------
        >>> from llmtokens import LLMTokensEASE
        >>> from llmtokens.datasets import synthetic
        >>> data = synthetic(n_users=20, n_items=30, n_ratings=200)
        >>> algo = LLMTokensEASE().fit(data.dataset.build_full_trainset())
        >>> algo.forget(1).recommend(1, n=1)["basis"].item()
        'popular'
        """
        with writing(self):
            model = without_user(self.model_, uid)
            own: dict[str, Any] = {"model_": model}
            for name in ("user_tokens", "timestamps"):
                if isinstance(vars(self).get(name), (LLMTokens, Timestamps)):
                    own[name] = getattr(model, name)
            self.__dict__.update(own)  # all or none
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
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If it is no algorithm of this library.
        """
        models.save(self, path)

    def to_parts(self) -> parts.Parts:
        """A JSON payload and arrays, from which :meth:`from_parts` makes the same algorithm.

        Raises
        ------
        DataError
            If a raw id is neither str, int nor float.
        NotFittedError
            Before ``fit``.
        LLMTokensError
            If there is no layout of what the algorithm learns.
        """
        return parts.to_parts(self)

    @classmethod
    def from_parts(
        cls, payload: Any, arrays: dict[str, NDArray[Any]], encoder: Encoder | None = None
    ) -> Self:
        """The algorithm whose parts these are, checked to the last index.

        Raises
        ------
        FileFormatError, DataError
            If they are not those of such an algorithm.
        """
        return parts.from_parts(cls, payload, arrays, encoder)

    @classmethod
    def load(cls, path: str | Path, *, encoder: Encoder | None = None, mmap: bool = False) -> Self:
        """Read what ``save`` wrote; see :func:`llmtokens.load`.

        Raises
        ------
        StorageError
            If there is no such file, or it cannot be opened.
        FileFormatError
            If the file is damaged, or holds another algorithm.
        """
        algo = models.load(path, encoder=encoder, mmap=mmap)
        if not isinstance(algo, cls):
            raise FileFormatError(
                f"{str(path)!r} holds a {type(algo).__name__}; expected {cls.__name__}"
            )
        return algo


def _lists(
    model: FittedModel,
    users: Rows,
    uids: list[Hashable] | None,
    candidates: Iterable[Hashable] | None,
    wish: ranking.Wish,
    where: Where | None,
    n_jobs: int | None = 1,
    at: Any = None,
) -> pd.DataFrame:
    """Lists of rows of users, named if there are several."""
    who, frame = ranking.recommend(model, users, candidates, wish, where, n_jobs, at)
    if uids is not None:
        frame.insert(0, "user", as_column(uids).take(who).set_axis(frame.index))
    known = [ranking.basis(model, user) for user in users.tolist()]
    return frame.assign(basis=[known[k] for k in who])
