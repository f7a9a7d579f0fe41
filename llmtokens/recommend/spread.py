"""Lists for many users: block by block, on as many workers as joblib has."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..runtime.jobs import Shared, require_jobs
from ..runtime.threads import one_blas_thread
from . import ranking

if TYPE_CHECKING:
    from .methods import Serving

_TASKS = 4  # a worker, so that none waits long for the slowest


def recommend(
    algo: Serving,
    users: NDArray[np.int64],
    candidates: Iterable[Hashable] | None,
    wish: ranking.Wish,
    n_jobs: int | None = 1,
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Lists for rows of users: the position of the user of each line, and the lines."""
    wish.check(algo)
    require_jobs(n_jobs)
    items = ranking.candidate_rows(algo, candidates)
    size = max(1, ranking.CELLS // algo.items_.n_rows)
    starts = range(0, len(users), size)
    blocks = _spread(algo, [users[s : s + size] for s in starts], items, wish, n_jobs)
    who = np.concatenate([start + b[0] for start, b in zip(starts, blocks, strict=True)])
    what = np.concatenate([b[1] for b in blocks])
    score = np.concatenate([b[2] for b in blocks])
    return who, ranking.lines(algo, users[who], what, {"score": score})


def _spread(
    algo: Serving,
    users: list[NDArray[np.int64]],
    items: NDArray[np.int64],
    wish: ranking.Wish,
    n_jobs: int | None,
) -> list[ranking.Lists]:
    """Lists of every block of users, a few blocks a task."""
    from joblib import Parallel, delayed, effective_n_jobs

    model = Shared(_bare(algo))
    if len(users) == 1:
        return _blocks(model, users, items, wish)
    n_tasks = min(len(users), effective_n_jobs(n_jobs) * _TASKS)
    cuts = [k * len(users) // n_tasks for k in range(n_tasks + 1)]
    work = (delayed(_blocks)(model, users[a:b], items, wish) for a, b in pairwise(cuts))
    found = Parallel(n_jobs, prefer="threads", batch_size=1)(work)
    return [block for part in found for block in part]


def _blocks(
    model: Shared[Serving],
    users: list[NDArray[np.int64]],
    items: NDArray[np.int64],
    wish: ranking.Wish,
) -> list[ranking.Lists]:
    with one_blas_thread():
        return [ranking.lists(model.value, block, items, wish) for block in users]


def _bare(algo: Serving) -> Serving:
    """The fitted algorithm without what lists are not made from: Surprise's dicts of tuples."""
    bare = copy.copy(algo)
    bare.__dict__.pop("trainset", None)
    return bare
