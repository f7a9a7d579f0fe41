"""How accurate are the peers, on the very folds of ``quality.py``?

myFM, Cornac, LensKit and cmfrec, each in an environment of its own that this script makes (they are
no dependencies of ours). Their settings are chosen from small grids (``peer_libraries/``), once per
kind of split, on a split of the same kind of the first training set: more than ``LLMTokensSVD``
and its kin get, which have one set of defaults for all. Estimates are clipped to the scale; where a
library gives none (cold ids, in some), the user's mean stands in, and the results say how often.

    python benchmarks/peers.py --data ml-latest-small

With ``--folder``, what was computed is kept there and not computed again.
"""

from __future__ import annotations

import argparse
import json
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import RESULTS, load, movie_tokens, parser, save
from peer_libraries.driver import filled, read, rmse
from peer_libraries.environments import CACHE, installed, run
from quality import SEED, SPLITS
from surprise import Dataset, Reader

from llmtokens import LLMTokens
from llmtokens.data.timestamps import Timestamps
from llmtokens.datasets import RatingData

PEERS = {  # what pip is asked for
    "cornac": ["cornac"],
    "cmfrec": ["cmfrec", "threadpoolctl"],
    "lenskit": ["lenskit"],
    "myfm": ["myfm"],
}


class Codes:
    """Raw ids as numbers, in the order of the data: peers get no other ids."""

    def __init__(self, data: RatingData) -> None:
        self.users = {raw: k for k, raw in enumerate(data.ratings["user"].unique().tolist())}
        known = data.ratings["item"].unique().tolist()
        self.items = {raw: k for k, raw in enumerate(known)}
        self.times = Timestamps.of(data.ratings)

    def columns(self, rows: list[tuple[Any, Any, float]], prefix: str = "") -> dict[str, Any]:
        """The columns of a list of ratings, and the day of each, counted from 1970."""
        seconds = self.times.of_pairs([u for u, _, _ in rows], [i for _, i, _ in rows])
        return {
            f"{prefix}day": (seconds // 86_400).astype(np.int32),
            f"{prefix}user": np.array([self.users[u] for u, _, _ in rows], np.int32),
            f"{prefix}item": np.array([self.items[i] for _, i, _ in rows], np.int32),
            f"{prefix}rating": np.array([r for _, _, r in rows], np.float64),
        }


def write_tasks(data: RatingData, folder: Path, splits: dict[str, Any], folds: int) -> Codes:
    """The folds of every split, an inner split of each first training set, and the side data."""
    codes = Codes(data)
    tokens = {
        "structure": LLMTokens.from_frame(data.items, categorical=["genres"], numeric=["year"]),
        "tokens": movie_tokens(data),
    }
    side = {}
    for name, table in tokens.items():
        rows = table.align(list(codes.items))
        side[name] = np.where(rows[:, None] >= 0, table.vectors[rows], 0)  # 0 is the mean
    sizes = {"n_users": len(codes.users), "n_items": len(codes.items)}
    np.savez(folder / "side.npz", scale=data.rating_scale, **sizes, **side)
    for name, cv in splits.items():
        for fold, (train, test) in zip(range(folds), cv.split(data.dataset), strict=False):
            known = [tuple(row) for row in train.build_testset()]
            columns = codes.columns(known) | codes.columns(test, "test_")
            np.savez(folder / f"{name}.{fold}.npz", **columns)
            if fold == 0:
                inner_cv = copy(cv)
                inner_cv.random_state = SEED + 1  # with the same one, the same items are held out
                inner, held = next(inner_cv.split(_dataset(known, data)))
                columns = codes.columns(inner.build_testset()) | codes.columns(held, "test_")
                np.savez(folder / f"{name}.inner.npz", **columns)
    return codes


def _dataset(rows: list[tuple[Any, Any, float]], data: RatingData) -> Dataset:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    return Dataset.load_from_df(frame, Reader(rating_scale=data.rating_scale))


def measured(folder: Path, splits: dict[str, Any], peer: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per variant that has estimates of every task of a split."""
    side, rows = read(folder / "side.npz"), []
    for out in sorted((folder / "out").iterdir()):
        row = {"name": out.name.replace("_", " "), "rmse": {}, "no_estimate": {}}
        row |= {"settings": {}, "fit_and_test_s": {}}
        for split in splits:
            errors, absent, seconds = [], [], []
            tasks = sorted(folder.glob(f"{split}.[0-9]*.npz"))
            if not all((out / path.name).exists() for path in tasks):
                continue
            for path in tasks:
                task, found = read(path), read(out / path.name)
                errors.append(round(rmse(task, filled(task, side, found.est)), 5))
                absent.append(float(np.mean(~np.isfinite(found.est))))
                seconds.append(float(found.seconds))
            row["rmse"][split] = errors
            row["no_estimate"][split] = round(float(np.mean(absent)), 5)
            row["fit_and_test_s"][split] = round(float(np.mean(seconds)), 2)
            row["settings"][split] = json.loads((out / f"{split}.json").read_text())
        rows += [peer | row] if row["rmse"] else []
    return rows


def peer_results(
    folder: Path, cache: Path, splits: dict[str, Any], peers: list[str]
) -> dict[str, Any]:
    """Install, run and measure peers in turn."""
    found: dict[str, list[Any]] = {"peers": [], "not_installed": [], "not_finished": []}
    for name, packages in PEERS.items():
        if name not in peers:
            continue
        python, versions = installed(cache, name, packages)
        if python is None:
            found["not_installed"].append({"name": name, "reason": versions})
            continue
        own = folder / name
        own.mkdir(exist_ok=True)
        for task in folder.glob("*.npz"):
            if not (own / task.name).exists():
                (own / task.name).hardlink_to(task)
        problem = run(python, name, own)
        if problem:
            found["not_finished"].append({"name": name, "reason": problem})
        found["peers"] += measured(own, splits, {"packages": versions})
    return found


def peer_parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the options of scripts that run peers."""
    made = parser(doc)
    made.add_argument("--folds", type=int, default=5, help="of the five; fewer is quicker")
    made.add_argument("--folder", type=Path, help="keep what peers gave here, and resume")
    made.add_argument("--cache", type=Path, default=CACHE, help="where environments are made")
    return made


def kept(peers: list[str]) -> list[dict[str, Any]]:
    """What was found before of other peers than these."""
    before = RESULTS / "peers.json"
    rows = json.loads(before.read_text())["peers"] if before.exists() else []
    return [row for row in rows if not set(peers) & row["packages"].keys()]


def main() -> None:
    arguments = peer_parser(__doc__ or "")
    arguments.add_argument("--peer", action="append", choices=PEERS, help="others stay as they are")
    options = arguments.parse_args()
    data = load(options.data)
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_tasks(data, folder, SPLITS, options.folds)
        found = peer_results(folder, options.cache, SPLITS, options.peer or [*PEERS])
    found["peers"] = kept(options.peer or [*PEERS]) + found["peers"]
    for row in found["peers"]:
        means = [f"{split} {np.mean(errors):.4f}" for split, errors in row["rmse"].items()]
        print(f"{row['name']:<28}", *means, sep="  ")
    head = {"data": data.name, "seed": SEED, "folds": options.folds}
    print(save("peers", head | found))


if __name__ == "__main__":
    main()
