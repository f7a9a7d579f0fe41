"""What all algorithms share: one way to fit, one way to predict, cold ids included."""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from surprise import AlgoBase, Prediction, Trainset

from ..data.entities import EntityIndex
from ..data.ratings import Ratings
from ..errors import AlignmentError, DataError, NotFittedError
from ..recommend import Serving
from ..runtime.threads import one_blas_thread
from ..tokens import LLMTokens

Scores = tuple[NDArray[np.float64], dict[str, NDArray[Any]]]

_BLOCK = 1 << 16  # pairs scored at once: bounds the memory of gathered factors


class TokenAlgoBase(Serving, AlgoBase):
    """Base of the algorithms: a Surprise ``AlgoBase`` that knows tokens.

    A subclass stores its parameters in ``__init__`` and writes two methods: ``_learn``, from arrays
    to the fitted attributes, and ``_score``, from rows (see
    :class:`~llmtokens.data.entities.EntityIndex`) to estimates; for the rest it may give more of
    :class:`~llmtokens.recommend.interface.Hooks`. Everything is rebuilt by each ``fit``, and
    nothing changes if it fails.

    Attributes
    ----------
    trainset : Trainset
    ratings_ : Ratings
        The training ratings as arrays.
    users_, items_ : EntityIndex
        Who can be predicted.
    """

    def __init__(
        self, item_tokens: LLMTokens | None = None, user_tokens: LLMTokens | None = None
    ) -> None:
        super().__init__()
        self.item_tokens = item_tokens
        self.user_tokens = user_tokens

    # -- for subclasses ------------------------------------------------------------------------

    def _learn(self, ratings: Ratings, users: EntityIndex, items: EntityIndex) -> dict[str, Any]:
        """The fitted attributes, by name."""
        raise NotImplementedError

    def _score(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Scores:
        """Estimates for pairs of rows, NaN where impossible, and further details by name."""
        raise NotImplementedError

    def _entities(
        self, user_ids: list[Hashable], item_ids: list[Hashable]
    ) -> tuple[EntityIndex, EntityIndex]:
        """Who can be predicted: these ids, and those that have a token."""
        sides = {"user": (user_ids, self.user_tokens), "item": (item_ids, self.item_tokens)}
        for side, (_, tokens) in sides.items():
            if not (tokens is None or isinstance(tokens, LLMTokens)):
                raise AlignmentError(
                    f"found {side}_tokens of type {type(tokens).__name__}; expected LLMTokens: "
                    "build them with LLMTokens.from_frame, from_texts or from_embeddings"
                )
        users, items = (EntityIndex.build(side, *given) for side, given in sides.items())
        return users, items

    # -- Surprise's interface ------------------------------------------------------------------

    def fit(self, trainset: Trainset) -> TokenAlgoBase:
        """Learn from a trainset.

        Raises
        ------
        DataError
            For an empty trainset, NaN or infinite ratings, or parameters out of range; also if
            the training diverged.
        AlignmentError
            If no id of the trainset has a token.
        """
        ratings = Ratings.from_trainset(trainset)
        users, items = self._entities(ratings.user_ids, ratings.item_ids)
        with one_blas_thread(), breakdowns_named():
            learned = self._learn(ratings, users, items)
        require_finite(learned)
        fitted = copy.copy(self)
        super(TokenAlgoBase, fitted).fit(trainset)
        fitted.ratings_, fitted.users_, fitted.items_ = ratings, users, items
        self.__dict__.update(vars(fitted) | learned)  # at once: nothing can come between
        return self

    def predict(
        self,
        uid: Hashable,
        iid: Hashable,
        r_ui: float | None = None,
        clip: bool = True,
        verbose: bool = False,
    ) -> Prediction:
        """Predict one rating; see Surprise's ``AlgoBase.predict``.

        ``details`` of the result says ``was_impossible``, ``cold_user`` and ``cold_item`` (no
        training ratings).

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        return self._predictions([uid], [iid], [r_ui], clip, verbose)[0]

    def test(
        self, testset: Iterable[tuple[Hashable, Hashable, float | None]], verbose: bool = False
    ) -> list[Prediction]:
        """Predict all pairs of a test set, vectorised; the result is that of ``predict``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        testset = list(testset)
        if not testset:
            return []
        with _collector_paused():
            uids, iids, truths = zip(*testset, strict=True)
            return self._predictions(uids, iids, truths, True, verbose)

    def estimate(self, u: int | str, i: int | str) -> float:
        """Estimate for inner ids, unclipped; unknown ones come as ``"UKN__" + str(raw id)``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        self._require_fitted()
        users = np.array([_inner_row(self.users_, u)], np.int64)
        items = np.array([_inner_row(self.items_, i)], np.int64)
        est = float(self._score(users, items)[0][0])
        return self.default_prediction() if np.isnan(est) else est

    def default_prediction(self) -> float:
        """The mean of the training ratings, where nothing better can be said."""
        return self.ratings_.global_mean

    # -- inside --------------------------------------------------------------------------------

    def _require_fitted(self) -> None:
        if not hasattr(self, "ratings_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first")

    def _predictions(
        self,
        uids: Sequence[Hashable],
        iids: Sequence[Hashable],
        truths: Sequence[float | None],
        clip: bool,
        verbose: bool,
    ) -> list[Prediction]:
        self._require_fitted()
        users, items = self.users_.rows(uids), self.items_.rows(iids)
        est, extra, impossible = self._estimates(users, items, clip)
        details = _details(users >= self.users_.n_warm, items >= self.items_.n_warm, impossible)
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

    def _estimates(
        self, users: NDArray[np.int64], items: NDArray[np.int64], clip: bool
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]], NDArray[np.bool_]]:
        """Finite estimates for pairs of rows, details by name, and which were impossible."""
        with one_blas_thread():
            blocks = [
                self._score(users[k : k + _BLOCK], items[k : k + _BLOCK])
                for k in range(0, max(len(users), 1), _BLOCK)
            ]
        est = np.concatenate([block[0] for block in blocks]).astype(np.float64, copy=False)
        extra = {key: np.concatenate([b[1][key] for b in blocks]) for key in blocks[0][1]}
        impossible = np.isnan(est)
        est[impossible] = self.default_prediction()
        if clip:
            np.clip(est, *self.ratings_.scale, out=est)
        return est, extra, impossible


@contextlib.contextmanager
def breakdowns_named() -> Iterator[None]:
    """A matrix that has no inverse while training is a DataError that says where to look."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise DataError(
            f"training broke down ({error}): look for ratings or tokens of extreme size, or "
            "for ratings that differ by rounding alone"
        ) from error


def require_finite(learned: Mapping[str, Any]) -> None:
    """Raise DataError where what was learned holds NaN or infinity."""
    for name, value in learned.items():
        if isinstance(value, np.ndarray) and not np.isfinite(value).all():
            raise DataError(
                f"training diverged: {name} holds NaN or infinity; lower the learning rates, "
                "or look for ratings far outside the rating scale"
            )


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


def _details(
    cold_user: NDArray[np.bool_], cold_item: NDArray[np.bool_], impossible: NDArray[np.bool_]
) -> list[dict[str, Any]]:
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
