"""The client of a cluster: that it is one, and that there are workers behind it."""

from __future__ import annotations

import time
from typing import Any

from ..errors import DataError, LLMTokensError, MissingExtraError
from . import sources

_PATIENCE = 60.0  # seconds for which lost workers may be replaced


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


def wait_for(client: Any, workers: int) -> None:
    """Until as many workers are there as at the start, or some after a while.

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
            f"all workers are lost, and none came back within {_PATIENCE:.0f} s; start some, and "
            "fit again with the same folder: it goes on from the last checkpoint"
        )
