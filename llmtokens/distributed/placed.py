"""Tokens that are on the workers of a Dask cluster, and go to tasks by name."""

from __future__ import annotations

import uuid
from collections.abc import MutableMapping
from typing import Any
from weakref import WeakValueDictionary

from ..errors import DataError, LLMTokensError
from ..tokens import LLMTokens
from .cluster import check_client

_HERE: MutableMapping[str, LLMTokens] = WeakValueDictionary()


def on_workers(tokens: LLMTokens, client: Any) -> LLMTokens:
    """The same tokens, sent to every worker of a Dask cluster once, and to tasks by name.

    Surprise's ``GridSearchCV`` makes an algorithm for every task, with all its tokens; of these
    ones a task takes a name of a few bytes. Workers that come later get them too. Only processes
    of this cluster know the name: save an algorithm with ``save``, and pickle it with the tokens
    that this function was given.

    Parameters
    ----------
    tokens : LLMTokens
        Also those that this function returned for another cluster.
    client : distributed.Client

    Returns
    -------
    LLMTokens

    Raises
    ------
    DataError
        If the tokens are none; if the client is none, or not connected.
    MissingExtraError
        Without the extra ``distributed``.
    LLMTokensError
        When the result is used in a process that is no worker of the cluster.

    Examples
    --------
    >>> import numpy as np
    >>> from dask.distributed import Client
    >>> from llmtokens import LLMTokens
    >>> from llmtokens.distributed import on_workers
    >>> tokens = LLMTokens.from_embeddings([1, 2, 3], np.eye(3))
    >>> with Client(processes=False, dashboard_address=":0") as client:
    ...     there = on_workers(tokens, client)
    ...     client.submit(lambda known: known.n_dims, there).result() == tokens.n_dims
    True
    """
    if not isinstance(tokens, LLMTokens):
        raise DataError(
            f"found tokens of type {type(tokens).__name__}; expected LLMTokens: build them with "
            "LLMTokens.from_frame, from_texts or from_embeddings"
        )
    check_client(client)
    from distributed import WorkerPlugin

    name = f"llmtokens-{uuid.uuid4()}"
    sent, made = object.__new__(LLMTokens), _named(name)
    sent.__dict__.update(tokens.__dict__)
    sent.__dict__.pop("_name", None)  # by which these workers may not know them

    class Place(WorkerPlugin):
        """Holds the tokens where a worker's tasks find them."""

        def setup(self, worker: Any) -> None:
            _place(name, sent)

    client.register_plugin(Place(), name=name)
    made.__dict__.update(sent.__dict__)
    _place(name, made)
    return made


class PlacedTokens(LLMTokens):
    """Tokens that go to another process as a name. Where there are none of that name they may be
    handed on, as a scheduler does, but not be used."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        name = self.__dict__.get("_name")  # tokens made from these have none
        return (_named, (name,)) if name else super().__reduce_ex__(protocol)

    def __getattr__(self, attribute: str) -> Any:
        name = self.__dict__.get("_name")
        if attribute.startswith("__") or name is None or "vectors" in self.__dict__:
            raise AttributeError(attribute)
        raise LLMTokensError(
            "these tokens are on the workers of a Dask cluster, and this process is none of them; "
            "send it the tokens that on_workers was given"
        )


def _place(name: str, tokens: LLMTokens) -> None:
    _HERE[name] = tokens


def _named(name: str) -> PlacedTokens:
    made = object.__new__(PlacedTokens)
    made.__dict__["_name"] = name
    if name in _HERE:
        made.__dict__.update(_HERE[name].__dict__)
    return made
