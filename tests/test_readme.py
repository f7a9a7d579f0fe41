"""The README's tables come from the results; that its code runs is asked with the docs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_results():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    pages = {
        page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
        for page in tables.TARGETS
    }
    assert "<!-- table: quality in short -->" in pages["README.md"]
    for name, text in pages.items():
        assert tables.filled(text) == text, name


def test_the_first_two_commands_are_the_demo_and_the_tests():
    commands = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    lines = [line.split("#")[0].strip() for line in commands[0].splitlines()]
    assert lines[:2] == ["make demo", "make test"]
