"""What is said of the Bayesian sampler's growth, and what ``benchmarks/scaling.py`` measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "scaling.json"
FOUND = json.loads(RESULTS.read_text("utf-8"))
ALONE = {row["n_ratings"]: row for row in FOUND["rows"] if not row["workers"]}
MILLION = 10**6


def test_a_sweep_takes_time_in_proportion_to_the_ratings():
    few, many = (ALONE[n * MILLION]["cpu_seconds"] / n for n in (5, 20))
    assert many == pytest.approx(few, rel=0.1)


def test_twenty_million_ratings_fit_into_6_gb():
    assert max(ALONE[20 * MILLION]["mb"]) < 6000
    assert sum(ALONE[5 * MILLION]["mb"]) < FOUND["trainset"][-1]["mb"]
    assert FOUND["trainset"][-1]["n_ratings"] == 5 * MILLION


def test_50_million_were_measured_and_workers_too():
    assert max(ALONE) == 50 * MILLION
    assert {row["workers"] for row in FOUND["rows"]} == {0, 1, 2}
