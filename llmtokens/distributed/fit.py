"""The Bayesian model on one machine's disk, or on a cluster: see :func:`fit_bpmf`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from ..algorithms.base import breakdowns_named
from ..algorithms.bpmf import LLMTokensBPMF
from ..algorithms.bpmf.chain import Chain, Plan, kept_samples
from ..algorithms.bpmf.drift import DriftPrior
from ..algorithms.bpmf.features import Known
from ..algorithms.bpmf.sampler import Size
from ..data.ratings import checked_scale
from ..errors import DataError, LLMTokensError
from ..recommend.interface import require_finite
from ..runtime.memory import kept_memory
from ..runtime.threads import one_blas_thread
from ..storage import container as store
from ..tokens import LLMTokens
from . import disk
from .cluster import (
    Cluster,
    Here,
    OnWorkers,
    WorkerLostError,
    check_client,
    check_folder,
    connected,
    wait_for,
)  # fmt: skip
from .disk import opened
from .pieces import pieces
from .table import Table

_OF_USERS = "user_samples", "user_open", "selection"  # parts of the model that are in the folder
_MOST_LOSSES = 3  # of Dask's own attempts, with no checkpoint in between


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

    Ratings are numbered, checked and divided into shards of users where they are read, and stay in
    files in ``folder``, as the model's rows of users do. Without a client one process streams them
    from there, sweep by sweep. With one, each worker holds some shards, and one leads the others;
    users never move, items are replicated, and a sweep exchanges the items' rows and sums over
    users: exact Gibbs sampling, not an approximation. Random numbers belong to users and items, and
    sums are added in one order, so that the samples are those of ``LLMTokensBPMF.fit`` on the same
    data, whatever the number of workers.

    Parameters
    ----------
    ratings : path, dask.dataframe.DataFrame or pandas.DataFrame
        A folder of Parquet files, one such file, or a frame, with the columns ``user``, ``item``
        and ``rating``; no pair twice. A column ``timestamp`` is what ``timestamps`` are to
        :class:`~llmtokens.LLMTokensBPMF`. Ids are numbered in the order in which they appear, files
        read in that of their names, ``part.2`` before ``part.10``.
    item_tokens, user_tokens : LLMTokens, optional
    client : distributed.Client, optional
        A client, connected; not an address. Of the ratings it holds the ids, and of the finished
        model the items; all else is in files that it maps.
    folder : path, optional
        Where ratings, samples and checkpoints go: some 60 bytes a rating, and twice the samples
        kept, which are at most some 1 GiB. One fit at a time may use it. The model goes on reading
        from it: ``save`` it before the folder is deleted. The client and all workers must see it:
        where they are different machines, it must be on a disk that these share. A fit that was
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
        If there are no workers, and none comes within a minute; if some are lost again and again
        with no checkpoint in between; if the client loses its scheduler.
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
    scale, found = checked_scale(rating_scale), pieces(ratings)
    with opened(folder) as place, one_blas_thread(), breakdowns_named(), connected(client):
        if client is not None:
            wait_for(client, 1)
            check_folder(client, str(place.resolve()))
        run = Here() if client is None else OnWorkers(client)
        own = disk.Folder(str(place.resolve()))
        table = Table.of(found, scale, own, algo.timestamps, run)
        algo.timestamps = table.timestamps
        users, items = algo._entities(table.ids.user_ids, table.ids.item_ids)
        known = algo._known(users, items)
        job = _job(algo, table, known, int(checkpoint_every))
        disk.write_known(own, known)
        table.write_shards(run)
        parts = _sampled(algo, job, table.ids.n, client)
        if client is not None:
            rows = disk.fitted_rows(own)
            parts |= zip(_OF_USERS, (rows.samples, rows.open, rows.selection), strict=True)
        model = algo._finished(
            parts, table.ratings, users, items, known, table.std, table.timestamps
        )
    # of users' samples none is a number less than these are: both come from the same sums
    require_finite({"qi": model.item_samples})
    algo.model_ = model
    return algo


class Job(NamedTuple):
    """One fit: what a chain is made of, and how it is taken up again.

    Attributes
    ----------
    drift : DriftPrior, or None
        At its start.
    every : int
        Sweeps from one checkpoint to the next.
    fit : str
        What a checkpoint must agree in: ratings, their times, features and parameters.
    """

    where: disk.Where
    size: Size
    plan: Plan
    plain: bool
    std: float
    drift: DriftPrior | None
    every: int
    fit: str

    def saved(self) -> tuple[dict[str, Any], Any] | None:
        """The last checkpoint."""
        path = self.where.folder.path(disk.CHECKPOINT)
        if not path.exists():
            return None
        _, payload, state = store.read(path, disk.CHAIN)
        if payload.get("fit") != self.fit:
            raise DataError(
                f"{self.where.folder.name!r} has the checkpoint of another fit: the data, tokens "
                "or parameters differ; name another folder, or delete this one"
            )
        return payload, state

    def swept(self) -> int:
        """Sweeps before the last checkpoint."""
        saved = self.saved()
        return 0 if saved is None else int(saved[1]["sampler.sweeps"].item())

    def run(self, team: Any, wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """Sample, from the last checkpoint if there is one, until it is done, or nobody wants it.

        Returns
        -------
        dict
            The parts of the model.
        """

        def checkpoint(chain: Chain) -> None:
            if not wanted():
                raise LLMTokensError("nobody waits for this fit any more")
            sweeps = chain.sampler.sweeps
            if sweeps % self.every and sweeps < self.plan.n_sweeps:
                return
            team.save(sweeps)
            payload = {"fit": self.fit, "seed": self.where.seed}
            store.write(folder.path(disk.CHECKPOINT), disk.CHAIN, payload, chain.state())
            disk.forget(folder, sweeps)

        folder = self.where.folder
        known = disk.read_known(folder)
        chain = Chain(
            team, self.size, known, self.plain, self.plan, self.std, self.where.seed, self.drift
        )
        saved = self.saved()
        if saved is not None:
            chain.restore(saved[1])
            team.restore(chain.sampler.sweeps)
        return chain.run(checkpoint)


def _job(algo: LLMTokensBPMF, table: Table, known: Known, every: int) -> Job:
    ids = table.ids
    slots, _ = kept_samples(algo.n_samples, known, algo.n_factors)
    where = disk.Where(table.folder, ids.bounds, algo.n_factors, 0, slots)
    size = Size(len(ids.user_ids), len(ids.item_ids), ids.n, algo.n_factors, known.lead.shape[1])
    drift = None if table.gap is None else DriftPrior(table.gap)
    fit = _digest(algo, table, known)
    job = Job(where, size, algo._plan, algo._plain, table.std, drift, every, fit)
    saved = job.saved()
    seed = algo._seed() if saved is None else int(saved[0]["seed"])
    return job._replace(where=where._replace(seed=seed))


def _sampled(algo: LLMTokensBPMF, job: Job, n: int, client: Any) -> dict[str, Any]:
    """What a chain has left, here or on the workers, however often some of these are lost."""
    workers, losses, swept = 0 if client is None else len(client.nthreads()), 0, -1
    while True:
        try:
            if client is None:
                with algo._threads(n):
                    team = disk.DiskShards(job.where, range(len(job.where.bounds) - 1))
                    return job.run(team)
            run = OnWorkers(client)
            return cast("dict[str, Any]", run.result(run.submit(_lead, job)))
        except WorkerLostError as error:
            now = job.swept()
            losses, swept = losses + 1 if now == swept else 1, now
            if losses == _MOST_LOSSES:
                raise LLMTokensError(
                    f"workers were lost {_MOST_LOSSES} times with no checkpoint in between, at "
                    f"last: {error}. They may be short of memory: give them more, start more of "
                    "them, or lower checkpoint_every, and fit again with the same folder"
                ) from error
            wait_for(client, workers)


def _lead(job: Job) -> dict[str, Any]:
    """Sample, on a worker that leads the others."""
    from distributed import get_worker

    worker, key = get_worker(), get_worker().get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    with kept_memory(), contextlib.closing(Cluster(job.where)) as team:
        parts = job.run(team, wanted)
    return {name: part for name, part in parts.items() if name not in _OF_USERS}


def _digest(algo: LLMTokensBPMF, table: Table, known: Known) -> str:
    names = ("n_factors", "n_content", "n_samples", "burn_in")
    values: dict[str, Any] = {name: int(getattr(algo, name)) for name in names}
    state = algo.random_state
    values["random_state"] = int(state) if isinstance(state, (int, np.integer)) else None
    values["ratings"] = table.digests
    digest = hashlib.sha256(json.dumps(values).encode())
    for array in known[:3]:
        digest.update(memoryview(np.ascontiguousarray(array)).cast("B") if array.size else b"")
    return digest.hexdigest()
