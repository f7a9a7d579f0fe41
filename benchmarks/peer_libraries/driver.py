"""What a peer's script does with its tasks: choose settings, fit, and leave estimates on disk.

It runs in the peer's own environment, so it knows numpy alone. A task is an ``.npz`` file with a
training set and a test set, ids being numbers; ``inner`` tasks hold a split of the first training
set and are there to choose settings on. What is on disk already is not computed again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

Settings = Mapping[str, Any]
Predict = Callable[[SimpleNamespace, SimpleNamespace, Settings], np.ndarray]
Error = Callable[[SimpleNamespace, np.ndarray], float]


def read(path: Path) -> SimpleNamespace:
    """The arrays of an ``.npz`` file as attributes."""
    with np.load(path, allow_pickle=False) as arrays:
        return SimpleNamespace(**{name: arrays[name] for name in arrays.files})


def user_means(task: SimpleNamespace, n_users: int) -> np.ndarray:
    """A user's mean of the training ratings, with five at the mean of all; shape (n_users,)."""
    mean = task.rating.mean()
    sums = np.bincount(task.user, task.rating - mean, minlength=n_users)
    return mean + sums / (np.bincount(task.user, minlength=n_users) + 5)


def filled(task: SimpleNamespace, side: SimpleNamespace, est: np.ndarray) -> np.ndarray:
    """Estimates on the rating scale; where the library gives none, the user's mean."""
    means = user_means(task, int(side.n_users))[task.test_user]
    return np.clip(np.where(np.isfinite(est), est, means), *side.scale)


def rmse(task: SimpleNamespace, est: np.ndarray) -> float:
    """Root mean square error of finite estimates."""
    return float(np.sqrt(np.mean((est - task.test_rating) ** 2)))


def liked(task: SimpleNamespace, side: SimpleNamespace, part: str = "") -> np.ndarray:
    """Which (user, item) pairs of the training or test part are rated 4 or more, a dense mask."""
    mask = np.zeros((int(side.n_users), int(side.n_items)), bool)
    user, item, rating = (getattr(task, part + name) for name in ("user", "item", "rating"))
    mask[user[rating >= 4], item[rating >= 4]] = True
    return mask


def ndcg_loss(task: SimpleNamespace, side: SimpleNamespace, scores: np.ndarray) -> float:
    """1 - NDCG@10 over the catalogue without training items, by a score of every pair."""
    scores = scores.copy()
    scores[task.user, task.item] = -np.inf
    relevant = liked(task, side, "test_")
    wanted = np.minimum(relevant.sum(1), 10)
    users = np.flatnonzero(wanted)
    top = np.argsort(-scores[users], axis=1, kind="stable")[:, :10]
    discount = 1 / np.log2(np.arange(2, 12))
    gain = np.take_along_axis(relevant[users], top, 1) @ discount
    return 1 - float(np.mean(gain / np.cumsum(discount)[wanted[users] - 1]))


def main(
    variants: Mapping[str, tuple[Predict, Sequence[Settings]]],
    ranking: bool = False,
    only: Mapping[str, Sequence[str]] = {},
) -> None:
    """Run every variant on every task of the folder named on the command line.

    ``variants`` maps a name to a function (task, side, settings) -> estimates of the test pairs, or
    scores of all pairs, and to the settings to choose from, for each kind of split by itself.
    ``only``: the kinds of split that a variant is asked about, where these are not all.
    """
    folder = Path(sys.argv[1])
    side = read(folder / "side.npz")
    inner = {path.stem.split(".")[0]: path for path in sorted(folder.glob("*.inner.npz"))}
    for name, (predict, grid) in variants.items():
        out = folder / "out" / name.replace(" ", "_")
        out.mkdir(parents=True, exist_ok=True)
        for split, path in inner.items():
            if split not in only.get(name, inner):
                continue
            chosen = _chosen(out / f"{split}.json", predict, grid, read(path), side, ranking)
            for fold in sorted(folder.glob(f"{split}.[0-9]*.npz")):
                target = out / fold.name
                if target.exists():
                    continue
                task, start = read(fold), time.process_time()
                est = np.asarray(predict(task, side, chosen), np.float32)
                seconds = time.process_time() - start
                partial = target.with_suffix(".part")
                with open(partial, "wb") as file:
                    np.savez(file, est=est, seconds=seconds)
                os.replace(partial, target)
                print(f"{name}: {fold.stem} {seconds:.1f} s", flush=True)


def _chosen(
    path: Path,
    predict: Predict,
    grid: Sequence[Settings],
    task: SimpleNamespace,
    side: SimpleNamespace,
    ranking: bool,
) -> Settings:
    """The settings with the least error on the inner task; kept at ``path``."""
    if path.exists():
        return json.loads(path.read_text())["settings"]
    errors = [float("nan")] * len(grid)
    for k, settings in enumerate(grid if len(grid) > 1 else ()):
        est = predict(task, side, settings)
        errors[k] = ndcg_loss(task, side, est) if ranking else rmse(task, filled(task, side, est))
        print(f"{path.parent.name}, {path.stem}: {settings} {errors[k]:.4f}", flush=True)
    best = grid[int(np.nanargmin(errors))] if len(grid) > 1 else grid[0]
    trials = [{"settings": s, "error": e} for s, e in zip(grid, errors, strict=True)]
    path.write_text(json.dumps({"settings": best, "trials": trials if len(grid) > 1 else []}))
    return best
