"""What does the careful reader cost beside pandas' own, at a million rows?

The frames are compared first, value by value; then both read each file in turn, and the least
seconds count. A second file has text ids, a third is quoted throughout. Text ids come numbered, as
categories, which pandas is asked for once as well.

    python benchmarks/reading.py --rows 1000000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from common import save

from llmtokens.datasets import tables

KINDS: dict[str, tables.Kind] = {
    "user": "id",
    "item": "id",
    "rating": "number",
    "timestamp": "time",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    rng, n = np.random.default_rng(0), asked.rows
    frame = pd.DataFrame(
        {
            "user": rng.integers(1, n // 10, n),
            "item": rng.integers(1, n // 50, n),
            "rating": rng.integers(1, 11, n) / 2,
            "timestamp": rng.integers(10**9, 15 * 10**8, n),
        }
    )
    texts = frame.assign(user="u" + frame["user"].astype(str), item="i" + frame["item"].astype(str))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, table, quoting in (
            ("numbers", frame, 0),
            ("texts", texts, 0),
            ("quoted", texts, 1),
        ):
            path = Path(folder, f"{name}.csv")
            table.to_csv(path, index=False, quoting=quoting)
            ours, theirs = tables.read(path, KINDS).frame, pd.read_csv(path)
            for column in KINDS:
                assert (
                    ours[column].astype(theirs[column].dtype).tolist() == theirs[column].tolist()
                ), column
            del ours, theirs
            careful, plain = seconds(
                lambda path=path: tables.read(path, KINDS),
                lambda path=path: pd.read_csv(path),
                asked.repeats,
            )
            results[name] = {
                "seconds": round(careful, 3),
                "pandas, seconds": round(plain, 3),
                "ratio": round(careful / plain, 2),
            }
            if table is texts:
                same, numbered = seconds(
                    lambda path=path: tables.read(path, KINDS),
                    lambda path=path: pd.read_csv(
                        path, dtype={"user": "category", "item": "category"}
                    ),
                    3,
                )
                results[name] |= {
                    "pandas, categories, seconds": round(numbered, 3),
                    "ratio, categories": round(same / numbered, 2),
                }
            print(name, results[name])
    print(save("reading", {"rows": n, "files": results}))


def seconds(one: Callable[[], object], other: Callable[[], object], repeats: int) -> list[float]:
    """The least seconds of each, taken in turn."""
    least = [np.inf, np.inf]
    for _ in range(repeats):
        for k, function in enumerate((one, other)):
            start = time.perf_counter()
            function()
            least[k] = min(least[k], time.perf_counter() - start)
    return least


if __name__ == "__main__":
    main()
