"""What a release says of itself, in one voice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import llmtokens

ROOT = Path(__file__).resolve().parents[1]


def text(name: str) -> str:
    """A file of the project, where the tests lie beside it."""
    path = ROOT / name
    if not path.is_file():
        pytest.skip(f"needs {name} of the source tree")
    return path.read_text(encoding="utf-8")


def test_the_citation_names_the_version():
    assert re.search(r"^version: (.+)$", text("CITATION.cff"), re.MULTILINE)[1] == (
        llmtokens.__version__
    )


def test_the_changelog_has_a_section_for_the_version():
    sections = re.findall(r"^## \[?([\w.]+)", text("CHANGELOG.md"), re.MULTILINE)
    assert sections[0] in ("Unreleased", llmtokens.__version__)
    assert llmtokens.__version__ in sections


def test_the_library_is_typed():
    assert (Path(llmtokens.__file__).parent / "py.typed").is_file()
