"""What all algorithms share: one way to fit, one way to predict, cold ids included."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, Self

import numpy as np
from surprise import AlgoBase, Prediction, Trainset

from ..data.entities import EntityIndex
from ..data.ratings import Ratings
from ..errors import AlignmentError, DataError, DivergenceError, LLMTokensWarning, sample
from ..recommend import Serving
from ..recommend.interface import FittedModel, Scores
from ..runtime.arrays import Mask, Rows
from ..runtime.locks import writing
from ..runtime.threads import one_blas_thread
from ..tokens import LLMTokens

_REDUCTIONS = {
    f"{side}__{name}": (side, name)
    for side in ("item_tokens", "user_tokens")
    for name in ("n_components", "whiten")
}
_TOO_LARGE = re.compile("array is too big|Maximum allowed dimension")  # as numpy says it


def fitted(read: Callable[[Any], Any]) -> Any:
    """An attribute of an algorithm that is read from its fitted model."""

    def set_(algo: TokenAlgoBase, value: Any) -> None:
        if value is not None:  # as Surprise sets bu and bi at the start of fit
            raise AttributeError("what is read from the fitted model cannot be set; call fit")

    return property(lambda algo: read(algo.model_), set_)


def _with_reductions(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that hands tokens over as `LLMTokens.reduced` makes them."""
    takes = inspect.signature(init)

    @functools.wraps(init)
    def init_with(self: Any, *args: Any, **given: Any) -> None:
        asked = {name: given.pop(name) for name in list(given)
                 if "__" in name and name not in takes.parameters}  # fmt: skip
        if unknown := asked.keys() - _REDUCTIONS.keys():
            raise DataError(
                f"found the parameters {sample(sorted(unknown))}; expected one of "
                f"{sample(_REDUCTIONS)}"
            )
        bound = takes.bind(self, *args, **given)
        for side in {_REDUCTIONS[name][0] for name in asked}:
            settings = {_REDUCTIONS[x][1]: asked[x] for x in asked if _REDUCTIONS[x][0] == side}
            tokens = bound.arguments.get(side)
            if not isinstance(tokens, LLMTokens):
                raise DataError(
                    f"found {sample(f'{side}__{name}' for name in settings)} and {side} of type "
                    f"{type(tokens).__name__}; expected LLMTokens, to make shorter"
                )
            bound.arguments[side] = tokens.reduced(**settings)
        init(*bound.args, **bound.kwargs)

    return init_with


class TokenAlgoBase(Serving, AlgoBase):
    """Base of the algorithms: a Surprise ``AlgoBase`` that knows tokens.

    A subclass stores its parameters in ``__init__`` and writes one method, ``_learn``, from arrays
    to its own :class:`~llmtokens.recommend.interface.FittedModel`, which says the rest. Each
    ``fit`` makes a new one; if it fails, nothing changes.

    Attributes
    ----------
    trainset : Trainset
    model_ : FittedModel
        All that was learned; the other attributes read it.
    ratings_ : Ratings
        The training ratings as arrays.
    users_, items_ : EntityIndex
        Who can be predicted.
    """

    ratings_ = fitted(lambda model: model.ratings)
    users_ = fitted(lambda model: model.users)
    items_ = fitted(lambda model: model.items)

    def __init__(
        self, item_tokens: LLMTokens | None = None, user_tokens: LLMTokens | str | None = None
    ) -> None:
        super().__init__()
        self.item_tokens = item_tokens
        self.user_tokens = user_tokens

    def __init_subclass__(cls, **options: Any) -> None:
        """Constructors take ``item_tokens__n_components`` and the like, as searches give them."""
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _with_reductions(cls.__init__)  # type: ignore[method-assign]

    # -- for subclasses ------------------------------------------------------------------------

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> FittedModel:
        """What there is to learn from the ratings, and from the tokens of users and items."""
        raise NotImplementedError

    def _warn_of_equal(self, ratings: Ratings) -> None:
        """Say that equal ratings teach nothing of who likes what, unless told that they are so."""
        equal = ratings.n > 1 and not np.ptp(ratings.value)
        if equal and not getattr(self, "implicit", False):
            warnings.warn(
                f"all {ratings.n} ratings are {ratings.value[0]:g}, so every estimate will be, "
                "too; for pairs without ratings, such as clicks or purchases, use "
                "LLMTokensEASE(implicit=True)",
                LLMTokensWarning,
                stacklevel=3,
            )

    def _entities(
        self, user_ids: list[Hashable], item_ids: list[Hashable], ratings: Ratings | None = None
    ) -> tuple[EntityIndex, EntityIndex]:
        """Who can be predicted: these ids, and those that have a token.

        Without ``ratings`` there can be no tokens of history.
        """
        of_users = self.user_tokens
        if isinstance(of_users, str):
            if of_users != "history" or not isinstance(self.item_tokens, LLMTokens):
                raise AlignmentError(
                    f"found user_tokens={of_users!r} and item_tokens of type "
                    f"{type(self.item_tokens).__name__}; expected LLMTokens, or user_tokens="
                    '"history" beside item_tokens'
                )
            if ratings is None:
                raise AlignmentError(
                    'found user_tokens="history"; expected LLMTokens here: build them with '
                    "LLMTokens.from_history"
                )
            of_users = LLMTokens.from_history(ratings, self.item_tokens)
        elif ratings is not None and isinstance(of_users, LLMTokens):
            of_users.require_unseen(ratings)
        sides = {"user": (user_ids, of_users), "item": (item_ids, self.item_tokens)}
        for side, (_, tokens) in sides.items():
            if isinstance(tokens, (int, np.integer)):
                raise AlignmentError(
                    f"found {side}_tokens={tokens!r}; expected LLMTokens: a number of factors is "
                    f"written n_factors={tokens!r}, for tokens come first"
                )
            if not (tokens is None or isinstance(tokens, LLMTokens)):
                raise AlignmentError(
                    f"found {side}_tokens of type {type(tokens).__name__}; expected LLMTokens: "
                    "build them with LLMTokens.from_frame, from_texts or from_embeddings"
                )
        users, items = (EntityIndex.build(side, *given) for side, given in sides.items())
        return users, items

    # -- Surprise's interface ------------------------------------------------------------------

    def fit(self, trainset: Trainset) -> Self:
        """Learn from a trainset.

        In Surprise's ``cross_validate`` and searches a fit that diverges, because one of many
        learning rates is too high, say, is told by a warning and predicts the mean of its ratings,
        as the others are still to come; anywhere else it is an error.

        Raises
        ------
        DataError
            For an empty trainset, NaN or infinite ratings, or parameters out of range; also if
            tokens of users are made of other ratings than these.
        DivergenceError
            If the training diverged, or broke down.
        AlignmentError
            If no id of the trainset has a token.
        """
        with writing(self):
            ratings = Ratings.from_trainset(trainset)
            self._warn_of_equal(ratings)
            users, items = self._entities(ratings.user_ids, ratings.item_ids, ratings)
            model: FittedModel
            try:
                with one_blas_thread(), breakdowns_named():
                    model = self._learn(ratings, users, items)
                model.require_finite()
            except DivergenceError as error:
                if not _is_one_of_many():
                    raise
                warnings.warn(
                    f"{error}. This fit predicts the mean of its ratings, so that the others go on",
                    LLMTokensWarning,
                    stacklevel=2,
                )
                model = MeanModel(ratings, users, items)
            after = copy.copy(self)
            super(TokenAlgoBase, after).fit(trainset)
            after.model_ = model
            self.__dict__.update(vars(after))  # at once: an interrupt comes before or after it
        return self

    def predict(
        self,
        uid: Hashable,
        iid: Hashable,
        r_ui: float | None = None,
        clip: bool = True,
        verbose: bool = False,
        at: Any = None,
    ) -> Prediction:
        """Predict one rating; see Surprise's ``AlgoBase.predict``.

        An algorithm with ``timestamps`` predicts it for the moment that these have for the pair, or
        else for ``at``: a number, a date or "now"; with neither, for no moment in particular.

        ``details`` of the result says ``was_impossible``, ``cold_user`` and ``cold_item`` (no
        training ratings).

        Raises
        ------
        DataError
            If ``at`` is no time, or the algorithm was fitted without timestamps.
        NotFittedError
            Before ``fit``.
        """
        return self._predictions([uid], [iid], [r_ui], clip, verbose, at)[0]

    def test(
        self,
        testset: Iterable[tuple[Hashable, Hashable, float | None]],
        verbose: bool = False,
        at: Any = None,
    ) -> list[Prediction]:
        """Predict all pairs of a test set, vectorised; the result is that of ``predict``.

        Raises
        ------
        DataError
            For what is no list of (user, item, rating), such as a frame, or an ``at`` that is no
            time.
        NotFittedError
            Before ``fit``.
        """
        testset = _checked_testset(testset)
        if not testset:
            return []
        with _collector_paused():
            uids, iids, truths = zip(*testset, strict=True)
            return self._predictions(uids, iids, truths, True, verbose, at)

    def estimate(self, u: int | str, i: int | str) -> float:
        """Estimate for inner ids, unclipped; unknown ones come as ``"UKN__" + str(raw id)``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        model = self.model_
        users = np.array([_inner_row(model.users, u)], np.int64)
        items = np.array([_inner_row(model.items, i)], np.int64)
        times = model.moments_of_rows(users, items)
        return float(model.estimates(users, items, False, times)[0][0])

    def default_prediction(self) -> float:
        """The mean of the training ratings, where nothing better can be said."""
        return self.model_.ratings.global_mean

    # -- inside --------------------------------------------------------------------------------

    def _predictions(
        self,
        uids: Sequence[Hashable],
        iids: Sequence[Hashable],
        truths: Sequence[float | None],
        clip: bool,
        verbose: bool,
        at: Any,
    ) -> list[Prediction]:
        model = self.model_
        users, items = model.users.rows(uids), model.items.rows(iids)
        times = model.moments(uids, iids, at)
        est, extra, impossible = model.estimates(users, items, clip, times)
        details = _details(users >= model.users.n_warm, items >= model.items.n_warm, impossible)
        for key, values in extra.items():
            for detail, value in zip(details, values.tolist(), strict=True):
                detail[key] = value
        made = list(
            map(
                tuple.__new__,
                repeat(Prediction),
                zip(uids, iids, truths, est.tolist(), details, strict=True),
            )
        )
        if verbose:
            for prediction in made:
                print(prediction)
        return made


class MeanModel(FittedModel):
    """What is left of a fit that diverged: the mean of its ratings for everything."""

    def score(self, users: Rows, items: Rows) -> Scores:
        return np.full(len(users), self.ratings.global_mean), {}


def _is_one_of_many() -> bool:
    """Whether Surprise fits for a cross-validation or a search."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "fit_and_score":
            return frame.f_globals.get("__name__", "").startswith("surprise.")
        frame = frame.f_back  # type: ignore[assignment]
    return False


@contextlib.contextmanager
def breakdowns_named() -> Iterator[None]:
    """What breaks down while training is a DataError that says where to look."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise DivergenceError(
            f"training broke down ({error}): look for ratings or tokens of extreme size, or "
            "for ratings that differ by rounding alone"
        ) from error
    except (MemoryError, ValueError) as error:
        if isinstance(error, ValueError) and not _TOO_LARGE.search(str(error)):
            raise
        why = f" ({error})" if str(error) else ""
        raise DataError(
            f"training needs more memory than there is{why}; lower the parameters that give "
            "the number of factors, samples or dims"
        ) from error


def _checked_testset(
    testset: Iterable[tuple[Hashable, Hashable, float | None]],
) -> list[tuple[Hashable, Hashable, float | None]]:
    """The rows of a test set, of three values each."""
    remedy = "expected a list of (user, item, rating)"
    if hasattr(testset, "build_testset"):
        raise DataError(f"found a Trainset to test on; {remedy}: pass trainset.build_testset()")
    if hasattr(testset, "itertuples"):
        raise DataError(
            f"found a DataFrame to test on; {remedy}: pass list(frame[['user', 'item', 'rating']]"
            ".itertuples(index=False, name=None))"
        )
    try:
        rows = list(testset)
    except TypeError as error:
        raise DataError(f"found a {type(testset).__name__} to test on; {remedy}") from error
    if rows and (not isinstance(rows[0], (tuple, list)) or len(rows[0]) != 3):
        raise DataError(f"found a test set of rows such as {sample(rows, 1)}; {remedy}")
    return rows


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Many new objects and no garbage: without this the collector takes most of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _details(cold_user: Mask, cold_item: Mask, impossible: Mask) -> list[dict[str, Any]]:
    kinds: list[dict[str, Any]] = []
    for kind in range(8):
        detail: dict[str, Any] = {
            "was_impossible": kind >= 4,
            "cold_user": kind % 2 == 1,
            "cold_item": kind // 2 % 2 == 1,
        }
        if kind >= 4:
            detail["reason"] = "User and item are unknown."
        kinds.append(detail)
    return [kinds[kind].copy() for kind in (cold_user + 2 * cold_item + 4 * impossible).tolist()]


def _inner_row(entities: EntityIndex, inner: int | str) -> int:
    if isinstance(inner, str):
        return int(entities.rows([inner.removeprefix("UKN__")])[0])
    return int(inner) if 0 <= inner < entities.n_warm else entities.unknown
