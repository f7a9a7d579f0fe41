"""compare: many algorithms on the same folds of many splits, in parallel, to be resumed."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from surprise import AlgoBase
from surprise.dataset import Dataset, DatasetUserFolds
from surprise.model_selection import KFold, PredefinedKFold

from ..data.ids import as_column
from ..errors import DataError, LLMTokensWarning, StorageError, sample
from ..runtime.arguments import require_jobs
from ..runtime.progress import Advance
from ..runtime.progress import progress as progress_bar
from ..runtime.threads import Shared
from .measures import Measure, Measures, better, named_measures
from .results import Comparison
from .settings import digest, settings, versions
from .trial import Fold, Outcome, Work, forget, run

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
    print is dropped. The times are of ``fit`` and ``test`` alone: a process
    first fits this library's algorithms to a few ratings, untimed, so that none includes
    compilation. If a worker is killed, the trials that are done are returned, the others are rows
    with an error, and a warning names them. For memory see :class:`~llmtokens.compare.PeakMemory`.

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
        with progress_bar("compare", plan.total, progress) as advance:
            for at, outcome in pool(delayed(run_at)(*task) for task in plan.todo(advance)):
                plan.keep(at, outcome)
                advance()
    except _lost_workers() as error:
        plan.lose_the_rest(error)
    finally:
        _forget()
    if plan.failure is not None:
        raise plan.failure
    return Comparison(
        table=plan.table(),
        reference=reference or next(iter(algorithms)),
        settings=settings(algorithms, dataset, splits, named, getattr(data, "name", None)),
        predictions=plan.predictions() if keep_predictions else None,
        better={name: better(measure) for name, measure in named.items()},
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
    for name in (*algorithms, *splits):
        if isinstance(name, str) and not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"found the name {name!r}, which holds half of a surrogate pair; expected text "
                    "that a file can hold"
                ) from error
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


def _lost_workers() -> tuple[type[Exception], ...]:
    """What joblib raises when a process that worked for it was killed; Dask when several were."""
    distributed = sys.modules.get("distributed")
    return (BrokenProcessPool, *([distributed.KilledWorker] if distributed is not None else []))


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


def _forget() -> None:
    """Free the fold that this process keeps, and those that the workers of Dask do: other than
    joblib's own, they stay for as long as the cluster does."""
    from joblib.parallel import get_active_backend

    forget()
    client = getattr(get_active_backend()[0], "client", None)
    if client is not None:
        client.run(forget, on_error="ignore")


At = tuple[int, int, int]  # number of the split, the fold and the algorithm


@dataclass
class Plan:
    """Which trials there are, which are done, and what became of them."""

    algorithms: Mapping[str, AlgoBase]
    dataset: Dataset
    splits: Mapping[str, Any]
    measures: dict[str, Measure]
    folder: Path | None
    keep_predictions: bool

    def __post_init__(self) -> None:
        self.done: list[tuple[At, Outcome]] = []
        self.paths: dict[At, Path] = {}
        self.seconds: dict[int, float] = {}
        self.shapes: dict[tuple[int, int], tuple[int, int]] = {}
        self.frames: dict[tuple[int, int], pd.DataFrame] = {}
        self.failure: Exception | None = None
        self.total = _n_folds(self.splits.values()) * len(self.algorithms) or None
        if self.folder is not None:
            shared = digest(sorted(versions().items()), self.measures)
            self.keys = [digest(algorithm, shared) for algorithm in self.algorithms.values()]

    def todo(self, advance: Advance) -> Iterator[tuple[At, Shared[Work], Shared[Fold]]]:
        """Arguments of the trials that are not on disk, fold by fold.

        The longest come first, as far as is known by then, so that no worker is left alone with
        one at the end. joblib runs this in threads of its own, where an exception would be lost:
        it is kept.
        """
        work = Shared(Work(list(self.algorithms.values()), self.measures, self.keep_predictions))
        try:
            for s, f, fold in self._folds():
                self._note(s, f, fold)
                shared = Shared(fold)
                for at in self._missing(s, f, fold, advance):
                    yield at, work, shared
        except Exception as error:
            self.failure = error

    def _folds(self) -> Iterator[tuple[int, int, Fold]]:
        where = ""
        try:
            begun = []
            for name, cv in self.splits.items():  # ours check their folds here, before any trial
                where = f"split {name!r}"
                begun.append(cv.split(self.dataset))
            for s, name in enumerate(self.splits):
                where = f"split {name!r}"
                for f, (trainset, testset) in enumerate(begun.pop(0)):
                    where = f"split {name!r}, fold {f + 1}"
                    yield s, f, Fold.pack(trainset, testset)
        except ValueError as error:  # as ours are, and Surprise's for a number of folds
            raise DataError(f"{where}: {error}") from error

    def _missing(self, s: int, f: int, fold: Fold, advance: Advance) -> list[At]:
        """The trials of a fold that are to be run; those on disk are read."""
        missing = []
        n_kept = fold.n_test if self.keep_predictions else None
        for a in range(len(self.algorithms)):
            at = (s, f, a)
            if self.folder is not None:
                self.paths[at] = self.folder / f"{digest(fold.digest, self.keys[a])}.json"
                kept = Outcome.read(self.paths[at], self.measures, n_kept)
                if kept:
                    self._add(at, kept)
                    advance()
                    continue
            missing.append(at)
        return sorted(missing, key=lambda at: -self.seconds.get(at[2], math.inf))

    def keep(self, at: At, outcome: Outcome) -> None:
        """Take a new outcome in, and to disk where results are kept and it will last."""
        if at in self.paths and outcome.lasting:
            outcome.write(self.paths[at])
        self._add(at, outcome)

    def lose_the_rest(self, error: Exception) -> None:
        """Note trials as failed that were not done when a worker was killed, and warn of them."""
        done = {at for at, _ in self.done}
        names = list(self.algorithms)
        lost = [
            (s, f, a)
            for s, f, fold in self._folds()
            for a in self._noted(s, f, fold)
            if (s, f, a) not in done
        ]
        said = f"{type(error).__name__}: a worker was killed before this trial was done"
        for at in lost:
            unknown = dict.fromkeys(self.measures, math.nan)
            self._add(at, Outcome(unknown, dict.fromkeys(self.measures, said), lasting=False))
        which = sample(
            (f"{names[a]} on split {list(self.splits)[s]}, fold {f + 1}" for s, f, a in lost), 6
        )
        kept = "" if self.folder else ": give folder=, and what is done will be kept"
        warnings.warn(
            f"a worker was killed, as systems do when memory runs out; {len(done)} trials are done "
            f"and {len(lost)} are not: {which}. Compare again with fewer n_jobs{kept}",
            LLMTokensWarning,
            stacklevel=3,
        )

    def _noted(self, s: int, f: int, fold: Fold) -> range:
        """Numbers of the algorithms, of a fold that is in the table now."""
        self._note(s, f, fold)
        return range(len(self.algorithms))

    def _add(self, at: At, outcome: Outcome) -> None:
        self.done.append((at, outcome))
        if not outcome.errors:
            self.seconds[at[2]] = outcome.fit_time + outcome.test_time

    def _note(self, s: int, f: int, fold: Fold) -> None:
        self.shapes[s, f] = (fold.n_train, fold.n_test)
        _ = fold.digest  # worked out here once, and not in every process
        if self.keep_predictions:
            users, items = fold.test_columns()
            n_user, n_item = fold.test_counts()
            columns = {"user": as_column(users), "item": as_column(items)}
            numbers = {"rating": fold.test_values, "n_user": n_user, "n_item": n_item}
            self.frames[s, f] = pd.DataFrame(columns | numbers)

    def _rows(self, at: At, outcome: Outcome) -> Iterator[dict[str, Any]]:
        s, f, a = at
        for measure in self.measures:
            yield {
                "split": list(self.splits)[s],
                "algorithm": list(self.algorithms)[a],
                "fold": f + 1,
                "measure": measure,
                "value": outcome.values[measure],
                "fit_time": outcome.fit_time,
                "test_time": outcome.test_time,
                "peak_memory": outcome.peak_memory,
                "n_train": self.shapes[s, f][0],
                "n_test": self.shapes[s, f][1],
                "error": outcome.errors.get(measure, ""),
            }

    def table(self) -> pd.DataFrame:
        """A row for each trial and measure, in the order given."""
        return pd.DataFrame([row for pair in self._in_order() for row in self._rows(*pair)])

    def _in_order(self) -> list[tuple[At, Outcome]]:
        return sorted(self.done, key=lambda pair: pair[0])

    def predictions(self) -> pd.DataFrame:
        """A row for each prediction, in the order given."""
        parts = [pd.DataFrame({"split": [], "algorithm": [], "fold": [], "est": [], "std": []})]
        for (s, f, a), outcome in self._in_order():
            if outcome.predicted:
                known = {"split": list(self.splits)[s], "algorithm": list(self.algorithms)[a]}
                columns = known | {"fold": f + 1, "std": np.nan} | outcome.predicted
                parts.append(self.frames[s, f].assign(**columns))
        whole = pd.concat(parts[1:] or parts, ignore_index=True)
        names = {"split": self.splits, "algorithm": self.algorithms}
        return whole.assign(**{k: pd.Categorical(whole[k], list(v)) for k, v in names.items()})


def run_at(at: At, work: Shared[Work], fold: Shared[Fold]) -> tuple[At, Outcome]:
    """One trial, in whatever process joblib gives it to."""
    return at, run(work.value, at[2], fold.value)


def _n_folds(splits: Iterable[Any]) -> int:
    """Folds of all splits, 0 where one does not say: for the progress bar only."""
    try:
        return sum(int(cv.get_n_folds()) for cv in splits)
    except AttributeError:  # PredefinedKFold knows after it was given the data
        return 0
