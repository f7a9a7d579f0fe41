"""The Bayesian model on one machine's disk, or on a cluster: see :func:`fit_bpmf`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms.base import breakdowns_named
from ..algorithms.bpmf import LLMTokensBPMF
from ..algorithms.bpmf.chain import Chain, kept_samples
from ..algorithms.bpmf.drift import DriftPrior
from ..algorithms.bpmf.features import Known
from ..algorithms.bpmf.fitted import FittedBPMF
from ..algorithms.bpmf.model import standard_deviation
from ..algorithms.drift import Moments
from ..data.entities import EntityIndex
from ..data.ratings import Ratings
from ..data.timestamps import Timestamps
from ..errors import DataError, LLMTokensError
from ..runtime.threads import one_blas_thread
from ..storage import container as store
from ..tokens import LLMTokens
from . import disk, sources
from .cluster import Cluster, WorkerLostError, check_client, connected, wait_for
from .disk import opened

_MOST_LOSSES = 5  # with no checkpoint in between


def fit_bpmf(
    ratings: Any,
    item_tokens: LLMTokens | None = None,
    user_tokens: LLMTokens | None = None,
    client: Any = None,
    *,
    folder: str | Path | None = None,
    rating_scale: tuple[float, float] = (1, 5),
    checkpoint_every: int = 10,
    **params: Any,
) -> LLMTokensBPMF:
    """Fit :class:`~llmtokens.LLMTokensBPMF` to ratings that are too many for a Surprise Trainset.

    Users are divided into shards, which are files in ``folder``. Without a client one process
    streams them from there, sweep by sweep. With one, each worker holds some shards; users never
    move, items are replicated, and a sweep exchanges the items' rows and sums over users: exact
    Gibbs sampling, not an approximation. Random numbers belong to users and items, and sums are
    added in one order, so that the samples are those of ``LLMTokensBPMF.fit`` on the same data,
    whatever the number of workers.

    Parameters
    ----------
    ratings : path, dask.dataframe.DataFrame or pandas.DataFrame
        A folder of Parquet files, one such file, or a frame, with the columns ``user``, ``item``
        and ``rating``; no pair twice. A column ``timestamp`` is what ``timestamps`` are to
        :class:`~llmtokens.LLMTokensBPMF`. Ids are numbered in the order in which they appear, files
        read in that of their names, ``part.2`` before ``part.10``.
    item_tokens, user_tokens : LLMTokens, optional
    client : distributed.Client, optional
        A client, connected; not an address. It holds all ratings and the finished model, as a fit
        without one does.
    folder : path, optional
        Where shards, samples and checkpoints go: 16 bytes a rating, and the samples kept, at most
        some 1 GiB. One fit at a time may use it. The client and all workers must see it: where
        they are different machines, it must be on a disk that these share. A fit that was
        interrupted goes on from its last checkpoint when it is called again with the same folder,
        data and parameters. By default a temporary folder of this machine, which is deleted in the
        end.
    rating_scale : tuple of float, default=(1, 5)
        As in Surprise's ``Reader``.
    checkpoint_every : int, default=10
        Sweeps from one checkpoint to the next. When a worker is lost, the fit waits up to a minute
        for another one, and goes on from the last with those there are.
    **params
        Those of :class:`~llmtokens.LLMTokensBPMF`.

    Returns
    -------
    LLMTokensBPMF
        Fitted; it predicts, recommends, folds in, saves and loads like any other, but has no
        Surprise ``trainset``.

    Raises
    ------
    AlignmentError
        If no id of the ratings has a token.
    DataError
        For ratings that are NaN, outside the scale or rated twice, naming the piece; for parameters
        out of range; for a client that is none, or not connected; for a folder where another fit
        is running, or has left its checkpoint; if the training broke down.
    FileFormatError
        For a Parquet file, shard or checkpoint that is damaged, naming it.
    LLMTokensError
        If there are no workers, and none comes within a minute; if some are lost five times with
        no checkpoint in between; if the client loses its scheduler.
    MissingExtraError
        If pyarrow or Dask is needed and not installed: ``pip install 'llmtokens[distributed]'``.
    StorageError
        If a file cannot be read or written, or a worker does not see the folder.

    Examples
    --------
    >>> from llmtokens.datasets import synthetic
    >>> from llmtokens.distributed import fit_bpmf
    >>> frame = synthetic(n_users=30, n_items=40, n_ratings=400).ratings
    >>> algo = fit_bpmf(frame, rating_scale=(0.5, 5), n_samples=6, burn_in=2, random_state=0)
    >>> 0.5 <= algo.predict(1, 2).est <= 5
    True
    """
    if client is not None:
        check_client(client)
    if isinstance(checkpoint_every, bool) or not (
        isinstance(checkpoint_every, (int, np.integer)) and checkpoint_every >= 1
    ):
        raise DataError(f"found checkpoint_every={checkpoint_every!r}; expected a positive int")
    algo = LLMTokensBPMF(item_tokens, user_tokens, **params)
    algo._check_parameters()
    with connected(client):
        if client is not None:
            wait_for(client, 1)
        table = sources.read(ratings, rating_scale, client)
    known = table.ratings
    if table.times is not None:
        if algo.timestamps is not None:
            raise DataError(
                "found timestamps=... and a column timestamp; expected one of the two: leave "
                "out either"
            )
        algo.timestamps = Timestamps.of_rated(known, table.times)
    users, items = algo._entities(known.user_ids, known.item_ids)
    with opened(folder) as place, one_blas_thread(), algo._threads(known.n), breakdowns_named():
        job = _Job(algo, known, users, items, place, int(checkpoint_every))
        with connected(client):
            model = job.run(client)
    model.require_finite()
    algo.model_ = model
    return algo


class _Job:
    """One fit: what it is about, and how it is taken up again."""

    def __init__(
        self,
        algo: LLMTokensBPMF,
        ratings: Ratings,
        users: EntityIndex,
        items: EntityIndex,
        folder: Path,
        every: int,
    ) -> None:
        self.algo, self.ratings, self.users, self.items = algo, ratings, users, items
        self.known: Known = algo._known(users, items)
        self.moments = Moments.of(algo.timestamps, ratings)
        passing = replace(ratings)  # what it works out and keeps is gone when the fit begins
        self.std = standard_deviation(passing)
        self._every, self._path = every, folder / disk.CHECKPOINT
        self._losses = 0
        self._fit = _digest(algo, ratings, self.known, self.moments)
        saved = self._saved()
        self.seed = algo._seed() if saved is None else int(saved[0]["seed"])
        slots, _ = kept_samples(algo.n_samples, users.n_rows, self.known.lead, algo.n_factors)
        self.where = disk.write(
            folder, passing, self.moments.times, self.std, self.known, algo.n_factors, self.seed,
            slots,
        )  # fmt: skip

    def run(self, client: Any) -> FittedBPMF:
        """Sample, from the last checkpoint if there is one, until it is done."""
        workers = 0 if client is None else len(client.nthreads())
        while True:
            try:
                with self._team(client) as team:
                    parts = self._chain(team).run(self._checkpoint)
                return self.algo._finished(
                    parts, self.ratings, self.users, self.items, self.known, self.std, self.moments
                )
            except WorkerLostError as error:
                self._bear(error)
                wait_for(client, workers)

    def _bear(self, error: WorkerLostError) -> None:
        """Raise an error where starting anew would only lose workers again."""
        self._losses += 1
        if self._losses == _MOST_LOSSES:
            raise LLMTokensError(
                f"workers were lost {_MOST_LOSSES} times with no checkpoint in between, at last: "
                f"{error}. They may be short of memory: give them more, start more of them, or "
                "lower checkpoint_every, and fit again with the same folder"
            ) from error

    @contextlib.contextmanager
    def _team(self, client: Any) -> Iterator[Any]:
        if client is None:
            yield disk.DiskShards(self.where, range(len(self.where.bounds) - 1))
            return
        team = Cluster(client, self.where)
        try:
            team.open()
            yield team
        except WorkerLostError:
            raise  # the next attempt clears up, on the workers that are left
        except BaseException:
            with contextlib.suppress(Exception):
                team.close()
            raise
        team.close()

    def _chain(self, team: Any) -> Chain:
        chain = self.algo._chain(
            team, self.ratings.n, self.users, self.items, self.known, self.std, self.seed,
            DriftPrior.of(self.moments),
        )  # fmt: skip
        saved = self._saved()
        if saved is not None:
            chain.restore(saved[1])
            team.restore(chain.sampler.sweeps)
        return chain

    def _checkpoint(self, chain: Chain) -> None:
        sweeps = chain.sampler.sweeps
        if sweeps % self._every and sweeps < self.algo.burn_in + self.algo.n_samples:
            return
        chain.team.save(sweeps)  # type: ignore[attr-defined]
        store.write(self._path, disk.CHAIN, {"fit": self._fit, "seed": self.seed}, chain.state())
        disk.forget(self.where, sweeps)
        self._losses = 0

    def _saved(self) -> tuple[dict[str, Any], Any] | None:
        """The last checkpoint."""
        if not self._path.exists():
            return None
        _, payload, state = store.read(self._path, disk.CHAIN)
        if payload.get("fit") != self._fit:
            raise DataError(
                f"{str(self._path.parent)!r} has the checkpoint of another fit: the data, tokens "
                "or parameters differ; name another folder, or delete this one"
            )
        return payload, state


def _digest(algo: LLMTokensBPMF, ratings: Ratings, known: Known, moments: Moments) -> str:
    """What a checkpoint must agree in: ratings, their times, features and parameters."""
    names = ("n_factors", "n_content", "n_samples", "burn_in")
    values: dict[str, Any] = {name: int(getattr(algo, name)) for name in names}
    state = algo.random_state
    values["random_state"] = int(state) if isinstance(state, (int, np.integer)) else None
    digest = hashlib.sha256(json.dumps(values).encode())
    times = () if moments.times is None else (moments.times,)
    for array in (ratings.user_ptr, ratings.item, ratings.value, *known[:3], *times):
        digest.update(memoryview(np.ascontiguousarray(array)).cast("B") if array.size else b"")
    return digest.hexdigest()
