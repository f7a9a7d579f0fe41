"""The lower bounds of setup.cfg are those that ``.ci/versions oldest`` runs the tests with."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OLDEST = ROOT / ".ci" / "oldest.txt"


def bounds(text: str, sign: str) -> dict[str, str]:
    """Version by package, of the lines ``package >= version`` (or ``==``)."""
    found = re.findall(rf"^\s*([\w-]+)\s*{sign}\s*([\w.]+)\s*$", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


@pytest.mark.skipif(not OLDEST.exists(), reason="only where the repository is checked out")
def test_the_oldest_versions_that_are_tested_are_those_that_are_promised():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    promised = bounds(setup["options"]["install_requires"], ">=")
    for extra in extras:
        if extra != "dev":
            promised |= bounds(extras[extra], ">=")
    assert len(promised) > 12
    assert bounds(OLDEST.read_text(encoding="utf-8"), "==") == promised
