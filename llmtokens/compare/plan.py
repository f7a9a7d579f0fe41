"""Which trials a comparison consists of, which are done, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from surprise import AlgoBase
from surprise.dataset import Dataset

from ..errors import DataError
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
        self.shapes: dict[tuple[int, int], tuple[int, int]] = {}
        self.frames: dict[tuple[int, int], pd.DataFrame] = {}
        self.failure: Exception | None = None
        self.total = _n_folds(self.splits.values()) * len(self.algorithms) or None
        if self.folder is not None:
            shared = [sorted(versions().items()), self.measures]
            self.keys = [digest(algorithm, shared) for algorithm in self.algorithms.values()]

    def todo(self, advance: Callable[[], None]) -> Iterator[tuple[Any, ...]]:
        """Arguments of the trials that are not on disk, fold by fold.

        joblib runs this in threads of its own, where an exception would be lost: it is kept.
        """
        try:
            for s, (name, cv) in enumerate(self.splits.items()):
                for f, (trainset, testset) in enumerate(cv.split(self.dataset)):
                    try:
                        fold = Fold.pack(trainset, testset)
                    except DataError as error:
                        raise DataError(f"split {name!r}, fold {f + 1}: {error}") from error
                    self._note(s, f, fold)
                    for a, algorithm in enumerate(self.algorithms.values()):
                        path = self._path(fold, a)
                        kept = path and trial.Outcome.read(
                            path, self.measures, self.keep_predictions
                        )
                        if kept:
                            self.done.append(((s, f, a), kept))
                            advance()
                            continue
                        rest = (fold, self.measures, path, self.keep_predictions)
                        yield ((s, f, a), algorithm, *rest)
        except Exception as error:
            self.failure = error

    def _path(self, fold: Fold, a: int) -> Path | None:
        return self.folder and self.folder / f"{digest(fold.digest, self.keys[a])}.json"

    def _note(self, s: int, f: int, fold: Fold) -> None:
        self.shapes[s, f] = (fold.n_train, fold.n_test)
        _ = fold.digest  # worked out here once, and not in every process
        if self.keep_predictions:
            users, items = fold.test_columns()
            n_user, n_item = fold.test_counts()
            columns = {"user": users, "item": items, "rating": fold.test_values}
            self.frames[s, f] = pd.DataFrame(columns | {"n_user": n_user, "n_item": n_item})

    def rows(self, at: At, outcome: trial.Outcome) -> Iterator[dict[str, Any]]:
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

    def predictions(self, results: list[tuple[At, trial.Outcome]]) -> pd.DataFrame:
        parts = [pd.DataFrame({"split": [], "algorithm": [], "fold": [], "est": [], "std": []})]
        for (s, f, a), outcome in results:
            if outcome.predicted:
                known = {"split": list(self.splits)[s], "algorithm": list(self.algorithms)[a]}
                columns = known | {"fold": f + 1, "std": np.nan} | outcome.predicted
                parts.append(self.frames[s, f].assign(**columns))
        whole = pd.concat(parts[1:] or parts, ignore_index=True)
        names = {"split": self.splits, "algorithm": self.algorithms}
        return whole.assign(**{k: pd.Categorical(whole[k], list(v)) for k, v in names.items()})


def run_at(at: At, *arguments: Any) -> tuple[At, trial.Outcome]:
    return at, trial.run(*arguments)


def _n_folds(splits: Iterable[Any]) -> int:
    """Folds of all splits, 0 where one does not say: for the progress bar only."""
    counts = [int(cv.get_n_folds()) if hasattr(cv, "get_n_folds") else 0 for cv in splits]
    return sum(counts) if all(counts) else 0
