"""compare: many algorithms on the same folds of many splits, in parallel, to be resumed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surprise import AlgoBase
from surprise.dataset import Dataset, DatasetUserFolds
from surprise.model_selection import KFold, PredefinedKFold

from ..errors import DataError, StorageError, sample
from ..runtime.jobs import require_jobs
from . import trial
from .measures import Measures, named_measures
from .plan import Plan, run_at
from .results import Comparison
from .settings import settings

if TYPE_CHECKING:
    from ..datasets import RatingData


def compare(
    algorithms: Mapping[str, AlgoBase],
    data: Dataset | RatingData,
    splits: Mapping[str, Any] | None = None,
    measures: Measures = ("rmse", "mae"),
    *,
    n_jobs: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    reference: str | None = None,
    keep_predictions: bool = False,
    progress: bool = True,
) -> Comparison:
    """Run every algorithm on the same folds of every split.

    Parameters
    ----------
    algorithms : mapping of str to AlgoBase
        Unfitted algorithms by name; they are copied for every fold and never changed. An ablation
        is a dict comprehension: ``{f"k={k}": SVD(n_factors=k) for k in (10, 50)}``.
    data : Dataset or RatingData
    splits : mapping of str to cv iterator, optional
        By default ``{"warm": KFold(5, random_state=0)}``. Give cv iterators a ``random_state``:
        other folds are other results, also when a run is resumed.
    measures : sequence or mapping
        ``"rmse" "mae" "mse" "fcp"`` of ``surprise.accuracy``, and functions from a list of
        predictions to a number; in a mapping, by the name to show. Ranking measures rank the rated
        test items unless wrapped in :func:`full_ranking`. A function that has a parameter
        ``algorithm`` or ``trainset`` without a default is handed the fitted one as well.
    n_jobs : int, optional
        Processes, as joblib counts them: by default one, or what ``joblib.parallel_config`` says,
        whose backend is used: with ``backend="dask"`` the trials run on a cluster. Values are the
        same to the last bit wherever they run.
    folder : str or path, optional
        Where each finished trial is kept, on this machine. A run that was interrupted, and one
        with an algorithm or a fold more, computes only what is missing; an algorithm or a measure
        whose code changed, or a value it reads from its module, is another one. Trials that failed
        are tried again, but for those in which all that failed is a measure, with a DataError.
    reference : str, optional
        What :meth:`Comparison.differences` compares with; by default the first algorithm.
    keep_predictions : bool, default=False
        Keep every prediction, for learning curves and residuals.
    progress : bool, default=True
        A progress bar on stderr.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        For arguments that cannot be used, or a fold without ratings. An algorithm or a measure that
        fails is no error here: its rows say so, and the others go on.
    StorageError
        If ``folder`` cannot be written to.

    Notes
    -----
    Surprise's algorithms take numpy's global generator where their ``random_state`` is None; here
    it is seeded from the fold: that generator belongs to a process, in which therefore one trial
    runs at a time (give Dask's workers one thread each). BLAS runs on one thread. What algorithms
    print is dropped. The times are of ``fit`` and ``test`` alone; the first fit in a process may
    include compilation. For memory see :class:`~llmtokens.compare.PeakMemory`.

    Examples
    --------
    >>> from surprise import BaselineOnly, NormalPredictor
    >>> from llmtokens.datasets import synthetic
    >>> data = synthetic(n_users=50, n_items=80, n_ratings=1000)
    >>> algorithms = {"chance": NormalPredictor(), "baseline": BaselineOnly()}
    >>> result = compare(algorithms, data, measures=["rmse"], progress=False)
    >>> result.summary()[["split", "algorithm", "measure", "folds"]]
      split algorithm measure  folds
    0  warm    chance    rmse      5
    1  warm  baseline    rmse      5
    >>> bool(result.differences()["high"][0] < 0)  # lower than chance, beyond doubt
    True
    """
    from joblib import Parallel, delayed

    dataset = getattr(data, "dataset", data)
    splits = {"warm": KFold(5, random_state=0)} if splits is None else splits
    named = named_measures(measures)
    _check(algorithms, dataset, splits, reference, n_jobs)
    plan = Plan(algorithms, dataset, splits, named, _make(folder), keep_predictions)
    pool = Parallel(n_jobs, return_as="generator_unordered", batch_size=1, prefer="processes")
    try:
        with _bar(plan.total, progress) as advance:
            for at, outcome in pool(delayed(run_at)(*task) for task in plan.todo(advance)):
                plan.keep(at, outcome)
                advance()
    finally:
        _forget()
    if plan.failure is not None:
        raise plan.failure
    return Comparison(
        table=plan.table(),
        reference=reference or next(iter(algorithms)),
        settings=settings(algorithms, dataset, splits, named, getattr(data, "name", None)),
        predictions=plan.predictions() if keep_predictions else None,
    )


def _check(
    algorithms: Mapping[str, AlgoBase],
    dataset: Any,
    splits: Mapping[str, Any],
    reference: str | None,
    n_jobs: int | None,
) -> None:
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"found data of type {type(dataset).__name__}; expected a surprise Dataset: a frame "
            "becomes one through Dataset.load_from_df"
        )
    for what, given in (("algorithms", algorithms), ("splits", splits)):
        if not isinstance(given, Mapping):
            raise DataError(
                f"found {what} of type {type(given).__name__}; expected a mapping from names to "
                f"{what}, such as a dict"
            )
    require_jobs(n_jobs)
    if not (algorithms and splits):
        raise DataError("found no algorithms or no splits; name at least one of each")
    for name, algorithm in algorithms.items():
        if not isinstance(algorithm, AlgoBase):
            hint = ": add ( )" if isinstance(algorithm, type) else ""
            raise DataError(f"algorithm {name!r} is {algorithm!r}; expected an AlgoBase{hint}")
        if hasattr(algorithm, "trainset"):
            raise DataError(f"algorithm {name!r} is fitted already; pass a new one")
    for name, cv in splits.items():
        if not hasattr(cv, "split") or isinstance(cv, str):
            raise DataError(f"split {name!r} is {cv!r}; expected a cv iterator such as KFold")
        if isinstance(dataset, DatasetUserFolds) and not isinstance(cv, PredefinedKFold):
            raise DataError(
                f"split {name!r} is {cv!r}, and the data come with folds of their own; expected "
                "PredefinedKFold(), or data with the folds still to make"
            )
    if reference is not None and reference not in algorithms:
        raise DataError(f"found reference={reference!r}; expected one of {sample(algorithms, 20)}")


def _forget() -> None:
    """Free the fold that this process keeps, and those that the workers of Dask do: other than
    joblib's own, they stay for as long as the cluster does."""
    from joblib.parallel import get_active_backend

    trial.forget()
    client = getattr(get_active_backend()[0], "client", None)
    if client is not None:
        client.run(trial.forget, on_error="ignore")


def _make(folder: str | os.PathLike[str] | None) -> Path | None:
    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"could not make the folder {str(folder)!r} ({error}); choose another"
        ) from error
    return Path(folder)


@contextlib.contextmanager
def _bar(total: int | None, shown: bool) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("compare"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("compare", total=total)
        yield lambda: bar.advance(task)
