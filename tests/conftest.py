"""Fixtures shared by the tests: the real data set where it is at hand, and small tables."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llmtokens.algorithms.base import TokenAlgoBase

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def ml_small_folder() -> Path:
    """The folder of MovieLens ml-latest-small."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml-latest-small"
    folder = Path(os.environ.get("LLMTOKENS_MOVIELENS", beside))
    if not (folder / "ratings.csv").is_file():
        pytest.skip("needs ml-latest-small: set LLMTOKENS_MOVIELENS to its folder")
    return folder


@pytest.fixture(scope="module")
def fitted(request: pytest.FixtureRequest) -> Callable[[str], TokenAlgoBase]:
    """One object per algorithm, fitted to the module's TRAIN, for tests that only look."""
    from algorithms import make

    return cache(lambda name: make(name).fit(request.module.TRAIN))
