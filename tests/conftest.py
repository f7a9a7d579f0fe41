"""Fixtures shared by the tests: the real data set where it is at hand, and small tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def ml_small_folder() -> Path:
    """The folder of MovieLens ml-latest-small."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml-latest-small"
    folder = Path(os.environ.get("LLMTOKENS_MOVIELENS", beside))
    if not (folder / "ratings.csv").is_file():
        pytest.skip("needs ml-latest-small: set LLMTOKENS_MOVIELENS to its folder")
    return folder
