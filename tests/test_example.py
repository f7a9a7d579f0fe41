"""The cold-start example of benchmarks/: it runs, and it is as short as it says."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[1] / "benchmarks" / "cold_start_example.py"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The names the example leaves behind, and where its report is."""
    out = tmp_path_factory.mktemp("example") / "page.html"
    arguments = ["--ratings", "6000", "--folds", "3", "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(EXAMPLE), *arguments])
        return runpy.run_path(str(EXAMPLE), run_name="__main__"), out


def test_the_table_has_the_controls_beside_the_tokens(ran):
    summary = ran[0]["result"].summary()
    expected = {"user mean", "genres and year, ridge", "shuffled tokens", "tokens"}
    for split in ("cold items", "five ratings"):
        rows = summary[(summary["split"] == split) & (summary["measure"] == "rmse")]
        assert set(rows["algorithm"]) == expected
        assert (rows["folds"] == 3).all()
        assert (rows["failed"] == 0).all()


def test_tokens_beat_the_other_items_text(ran):
    differences = ran[0]["result"].differences()
    rows = differences[(differences["algorithm"] == "tokens") & (differences["measure"] == "rmse")]
    assert (rows["difference"] < 0).all()
    assert len(rows) == 2


def test_tokens_are_below_shuffled_ones_all_along_the_learning_curve(ran):
    means = ran[0]["curve"].table()
    assert means.columns.tolist() == [0, 1, 2, 5, 10, 20]
    assert (means.loc["tokens"] < means.loc["shuffled tokens"] - 0.005).all()
    assert (means.loc["tokens"].diff().dropna() < 0).all()


def test_the_report_is_written_in_all_three_forms(ran):
    out = ran[1]
    page = out.read_text(encoding="utf-8")
    assert "What text is worth on cold items" in page
    assert "genres and year, ridge" in page
    assert "rmse by ratings of the item" in page
    for suffix in (".md", ".csv"):
        assert out.with_suffix(suffix).stat().st_size > 500


def test_the_section_takes_less_than_20_lines():
    cell = re.search(r"^# %% The section: (\d+) lines\n(.*)", EXAMPLE.read_text(), re.S | re.M)
    lines = [line for line in cell[2].splitlines() if line.strip()]
    assert len(lines) == int(cell[1]) < 20
