"""What the benchmark scripts share: the data, the tokens, the machine, and the results on disk."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from llmtokens import LLMTokens
from llmtokens.datasets import RatingData, load_movielens

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "llmtokens",
    "scikit-surprise",
    "numpy",
    "numba",
    "scikit-learn",
    "sentence-transformers",
)


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the option every script has."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--data", required=True, help="folder of a MovieLens data set")
    return made


def load(folder: str) -> RatingData:
    """A MovieLens folder."""
    return load_movielens(folder)


def movie_tokens(data: RatingData) -> LLMTokens:
    """The tokens of all figures: title and genres as text, genres and year as structure."""
    return LLMTokens.from_frame(
        data.items, "{title}. Genres: {genres}", categorical=["genres"], numeric=["year"]
    )


def machine() -> dict[str, Any]:
    """Hardware and versions, to stand beside every figure."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def save(name: str, results: dict[str, Any]) -> Path:
    """Write one result file, with the machine it came from."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(
        json.dumps({"machine": machine(), **results}, indent=1) + "\n", encoding="utf-8"
    )
    return path
