"""The web application: a route for each thing a fitted model answers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from threading import Thread
from typing import Annotated, Any, Literal

import numpy as np

from .. import __version__
from ..algorithms.base import TokenAlgoBase
from ..errors import LLMTokensError, MissingExtraError, ModelNotFoundError, StorageError
from .answers import Answers, Asked, rows
from .guard import Guard
from .live import LiveModel

try:
    from fastapi import Body, FastAPI, Query, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import Response
    from starlette.exceptions import HTTPException

    from .forms import (
        Diversity,
        End,
        Forgotten,
        Given,
        Id,
        Item,
        Learned,
        Liking,
        Line,
        Model,
        N,
        Rated,
        Refused,
        User,
        Where,
        Why,
    )
    from .together import Together
except ImportError as error:
    raise MissingExtraError(
        f"serving a model needs {error.name}: pip install 'llmtokens[serve]'"
    ) from error

_SHOWN = 10  # different ratings up to which each is offered to those who rate

_ERRORS: dict[int | str, Any] = {
    422: {"model": Refused, "description": "The request is not one that can be answered."},
    503: {"model": Refused, "description": "A file or the text encoder is not at hand."},
}


def create_app(
    path: str | os.PathLike[str], *, token: str | None = None, encoder: Any = None
) -> FastAPI:
    """The ASGI application that serves a fitted model, for uvicorn or any other server.

    One process serves one model: it alone knows what it has learned since the file was written.

    Parameters
    ----------
    path : str or path
        A fitted model. Feedback goes to ``<path>.feedback.jsonl``, and is learned again from there
        at the next start.
    token : str, optional
        What every request must carry, as ``Authorization: Bearer <token>``. Without one only
        requests to ``localhost`` are answered.
    encoder : Encoder, optional
        As :func:`llmtokens.load` takes it.

    Returns
    -------
    fastapi.FastAPI

    Raises
    ------
    StorageError
        If a file cannot be opened, or another process serves this model.
    FileFormatError
        If one is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from fastapi.testclient import TestClient
    >>> from llmtokens import LLMTokensEASE
    >>> from llmtokens.datasets import synthetic
    >>> from llmtokens.serve import create_app
    >>> trainset = synthetic(n_users=20, n_items=30, n_ratings=200).dataset.build_full_trainset()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     LLMTokensEASE().fit(trainset).save(f"{folder}/model.safetensors")
    ...     app = create_app(f"{folder}/model.safetensors")
    ...     with TestClient(app, base_url="http://localhost") as client:
    ...         len(client.get("/recommend", params={"user": 1, "n": 3}).json())
    3
    """
    live = LiveModel(path, encoder)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        Thread(target=_prepare, args=(live.algo,), daemon=True).start()
        yield
        live.close()

    app = FastAPI(
        title="llmtokens",
        version=__version__,
        description="A fitted recommender: lists, answers, reasons, feedback.",
        docs_url=None,  # the usual pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=_ERRORS,
    )
    app.add_middleware(Guard, token=token)
    _answer_errors(app)
    _add_pages(app)
    _add_answers(app, live)
    _add_feedback(app, live)
    return app


def _prepare(algo: TokenAlgoBase) -> None:
    """Load and compile what the first answers would wait for."""
    with contextlib.suppress(LLMTokensError):
        algo.recommend(algo.users_.ids[0], 1)
        if algo.model_.item_tokens is not None:
            algo.ask("a wish", 1)  # the text encoder


def _add_answers(app: FastAPI, live: LiveModel) -> None:
    said = Answers(live)
    recommended, answered = Together(said.lists), Together(said.answers)

    @app.get("/model", response_model=Model)
    def model() -> Any:
        """What is served."""
        algo = live.algo
        ratings = algo.ratings_
        values = np.unique(ratings.value).tolist()
        if len(values) > _SHOWN:
            values = np.linspace(ratings.scale[0], ratings.scale[1], 5).tolist()
        return _json(
            {
                "algorithm": type(algo).__name__,
                "version": __version__,
                "users": ratings.n_users,
                "items": algo.items_.unknown,
                "scale": ratings.scale,
                "ratings": values,
                "implicit": len(values) == 1 or not algo.model_.has_opinions,
                "asks": algo.model_.item_tokens is not None
                and algo.model_.item_tokens.encoder is not None,
                "columns": said.columns(),
                "condition": said.condition(),
            }
        )

    @app.get("/recommend", response_model=list[Line])
    async def recommend(
        user: User,
        n: N = 10,
        where: Where = None,
        diversity: Diversity = 0.0,
        popularity_penalty: Annotated[float, Query(ge=-100, le=100)] = 0.0,
    ) -> Any:
        """The best items for a user, known or not."""
        how = Asked(n, where, diversity, popularity_penalty)
        return _json(await recommended.answer(how, user))

    @app.get("/ask", response_model=list[Line])
    async def ask(
        text: Annotated[str, Query(min_length=1, max_length=2000, description="A wish, in words.")],
        user: Annotated[User | None, Query(description="Whose taste counts as well.")] = None,
        n: N = 10,
        where: Where = None,
        diversity: Diversity = 0.0,
    ) -> Any:
        """Items that fit a description in words."""
        how = Asked(n, where, diversity, known=user is not None)
        return _json(await answered.answer(how, (text, user)))

    @app.get("/similar", response_model=list[Line])
    def similar(
        item: Item,
        n: N = 10,
        by: Annotated[
            Literal["text", "ratings"], Query(description="What they say, or who rated both.")
        ] = "text",
    ) -> Any:
        """The items most like one."""
        algo = live.algo
        return _json(rows(algo.similar_items(algo.items_.as_known(item), n, by)))

    @app.get("/explain", response_model=Why)
    def explain(user: User, item: Item, n: N = 5) -> Any:
        """Why a prediction is what it is."""
        algo = live.algo
        why = algo.explain(algo.users_.as_known(user), algo.items_.as_known(item), n)
        return _json(
            {
                "sentence": why.sentence,
                "est": why.est,
                "terms": why.terms,
                "basis": why.basis,
                "rated": rows(why.rated.head(n)),
                "nearest": rows(why.nearest),
            }
        )

    @app.get("/portrait", response_model=list[Liking])
    def portrait(user: User, n: N = 5) -> Any:
        """What a user likes more, and less, than others do: labels, words and items."""
        algo = live.algo
        return _json(rows(algo.portrait(algo.users_.as_known(user), n)))

    @app.get("/describe", response_model=list[End])
    def describe(
        k: Annotated[int, Query(ge=1, le=100, description="Entries.")] = 5, n: N = 5
    ) -> Any:
        """What the leading entries of the item tokens stand for."""
        return _json(said.ends(k, n))

    @app.get("/ratings", response_model=list[Rated])
    def ratings(user: User) -> Any:
        """What is known of a user: all their ratings, the newest last."""
        return _json(rows(live.ratings_of(user)))


def _add_feedback(app: FastAPI, live: LiveModel) -> None:
    @app.post("/feedback", response_model=Learned)
    def feedback(given: Given) -> Any:
        """Take in a rating or a click: learned, and on disk, when this answers."""
        known = live.learn(given.user, given.item, given.rating)
        return _json({"user": known.user, "item": known.item, "rating": known.rating,
                      "click": known.click})  # fmt: skip

    @app.post("/forget", response_model=Forgotten)
    def forget(user: Annotated[Id, Body(embed=True)]) -> Any:
        """Forget a user: id and ratings are gone from the model, its file and the log."""
        return _json({"ratings": live.forget(user)})


def _add_pages(app: FastAPI) -> None:
    """The page, the documentation of the routes, and what they are made of."""
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
    pages = {"/": "page.html", "/docs": "docs.html"}
    pages |= {f"/{name}": name for name in ("page.css", "page.js", "docs.js")}
    for route, name in pages.items():
        text = files(__package__).joinpath(name).read_bytes()
        kind = f"{kinds[name.rpartition('.')[2]]}; charset=utf-8"
        app.add_api_route(route, _constant(text, kind), include_in_schema=False)


def _constant(text: bytes, kind: str) -> Callable[[], Any]:
    async def page() -> Response:
        return Response(text, media_type=kind)

    return page


def _answer_errors(app: FastAPI) -> None:
    """Whatever is wrong with a request is said in words, in one form."""

    @app.exception_handler(LLMTokensError)
    async def ours(_: Request, error: LLMTokensError) -> Response:
        elsewhere = isinstance(error, (StorageError, ModelNotFoundError, MissingExtraError))
        return _json({"error": str(error)}, 503 if elsewhere else 422)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        places = (
            ".".join(map(str, found["loc"])) + ": " + found["msg"] for found in error.errors()
        )
        return _json({"error": "; ".join(places)}, 422)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return _json({"error": str(error.detail)}, error.status_code, error.headers)


def _json(content: Any, status: int = 200, headers: Any = None) -> Response:
    """ASCII, so that there is no text it cannot say."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")
