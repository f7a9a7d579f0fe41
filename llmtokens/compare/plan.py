"""Which trials a comparison consists of, which are done, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from surprise import AlgoBase
from surprise.dataset import Dataset

from ..data.ids import as_column
from ..errors import DataError
from ..runtime.jobs import Shared
from . import trial
from .digest import digest
from .environment import versions
from .folds import Fold
from .measures import Measure

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
        self.done: list[tuple[At, trial.Outcome]] = []
        self.paths: dict[At, Path] = {}
        self.seconds: dict[int, float] = {}
        self.shapes: dict[tuple[int, int], tuple[int, int]] = {}
        self.frames: dict[tuple[int, int], pd.DataFrame] = {}
        self.failure: Exception | None = None
        self.total = _n_folds(self.splits.values()) * len(self.algorithms) or None
        if self.folder is not None:
            shared = digest(sorted(versions().items()), self.measures)
            self.keys = [digest(algorithm, shared) for algorithm in self.algorithms.values()]

    def todo(
        self, advance: Callable[[], None]
    ) -> Iterator[tuple[At, Shared[trial.Work], Shared[Fold]]]:
        """Arguments of the trials that are not on disk, fold by fold.

        The longest come first, as far as is known by then, so that no worker is left alone with
        one at the end. joblib runs this in threads of its own, where an exception would be lost:
        it is kept.
        """
        work = Shared(
            trial.Work(list(self.algorithms.values()), self.measures, self.keep_predictions)
        )
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

    def _missing(self, s: int, f: int, fold: Fold, advance: Callable[[], None]) -> list[At]:
        """The trials of a fold that are to be run; those on disk are read."""
        missing = []
        n_kept = fold.n_test if self.keep_predictions else None
        for a in range(len(self.algorithms)):
            at = (s, f, a)
            if self.folder is not None:
                self.paths[at] = self.folder / f"{digest(fold.digest, self.keys[a])}.json"
                kept = trial.Outcome.read(self.paths[at], self.measures, n_kept)
                if kept:
                    self._add(at, kept)
                    advance()
                    continue
            missing.append(at)
        return sorted(missing, key=lambda at: -self.seconds.get(at[2], math.inf))

    def keep(self, at: At, outcome: trial.Outcome) -> None:
        """Take a new outcome in, and to disk where results are kept and it will last."""
        if at in self.paths and outcome.lasting:
            outcome.write(self.paths[at])
        self._add(at, outcome)

    def _add(self, at: At, outcome: trial.Outcome) -> None:
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

    def _rows(self, at: At, outcome: trial.Outcome) -> Iterator[dict[str, Any]]:
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

    def _in_order(self) -> list[tuple[At, trial.Outcome]]:
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


def run_at(at: At, work: Shared[trial.Work], fold: Shared[Fold]) -> tuple[At, trial.Outcome]:
    """One trial, in whatever process joblib gives it to."""
    return at, trial.run(work.value, at[2], fold.value)


def _n_folds(splits: Iterable[Any]) -> int:
    """Folds of all splits, 0 where one does not say: for the progress bar only."""
    try:
        return sum(int(cv.get_n_folds()) for cv in splits)
    except AttributeError:  # PredefinedKFold knows after it was given the data
        return 0
