"""The client of a cluster: that it is one, stays connected, and has workers behind it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from ..errors import DataError, LLMTokensError, MissingExtraError
from . import sources

_PATIENCE = 60.0  # seconds in which workers may come, or lost ones be replaced


def check_client(client: Any) -> None:
    """Raise an error for what is no client, or one that is not connected.

    Raises
    ------
    DataError, MissingExtraError
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(
            sources.MISSING.format(what="a cluster", package="distributed")
        ) from error
    if not isinstance(client, Client):
        raise DataError(
            f"found client={client!r:.80}; expected a distributed.Client, which "
            "distributed.Client('tcp://scheduler:8786') makes of a scheduler's address"
        )
    if client.status != "running":
        raise DataError(
            f"found a client that is {client.status}; expected one that is connected to its "
            "scheduler: make a new one, and fit before it is closed"
        )


@contextlib.contextmanager
def connected(client: Any) -> Iterator[None]:
    """Tell, of what goes wrong inside, whether it is that the connection is lost.

    Raises
    ------
    LLMTokensError
        If it is: Dask's own errors then are of many types.
    """
    if client is None:
        yield
        return
    from distributed.comm import CommClosedError

    try:
        yield
    except LLMTokensError:
        raise
    except Exception as error:
        if client.status == "running" and not isinstance(error, CommClosedError):
            raise
        raise LLMTokensError(
            f"the connection to the cluster is lost (the client is {client.status}: {error!r:.200})"
            "; make a new client, and fit again with the same folder: it goes on from the last "
            "checkpoint"
        ) from error


def wait_for(client: Any, workers: int) -> None:
    """Until there are so many workers, or some after a while.

    Raises
    ------
    LLMTokensError
        If there are none then.
    """
    end = time.monotonic() + _PATIENCE
    while (found := len(client.nthreads())) < workers and time.monotonic() < end:
        time.sleep(0.1)
    if not found:
        raise LLMTokensError(
            f"there are no workers, and none came within {_PATIENCE:.0f} s; start some, and fit "
            "again with the same folder: it goes on from the last checkpoint"
        )
