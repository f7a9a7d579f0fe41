"""What the pages' code prints, below the code that prints it.

python docs/outputs.py            run every page, and say where the printed output differs
python docs/outputs.py --write    put today's output into the pages

A ```python block runs as it stands, after those above it on the page, in an empty folder. A ```text
block right below it is its output. A ```sh block runs, in the same folder, if it has such a block.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(
    r"^```(python|sh)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)


def filled(page: Path) -> str:
    """The page's text with the output of today, its code run from top to bottom."""
    names: dict[str, Any] = {"__name__": page.stem}
    text = page.read_text(encoding="utf-8")

    def run(found: re.Match[str]) -> str:
        language, code, shown = found.groups()
        if language == "sh":
            printed = "" if shown is None else _printed(code)
        else:
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(compile(code, str(page), "exec"), names)
            printed = stream.getvalue()
        if shown is None:
            return found.group()
        lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
        return f"```{language}\n{code}```\n\n```text\n" + "\n".join(lines) + "\n```\n"

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return _BLOCK.sub(run, text)
        finally:
            os.chdir(here)


def _printed(commands: str) -> str:
    """What commands print, those of this Python's environment first; one that fails is an error."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    run = subprocess.run(
        ["sh", "-e", "-c", commands],
        stdout=subprocess.PIPE,
        check=True,
        encoding="utf-8",
        env=os.environ | {"PATH": path},
    )
    return run.stdout


def main() -> int:
    """Compare or write all pages that have code."""
    changed = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if "```python" in text and (now := filled(page)) != text:
            changed.append(page)
            if "--write" in sys.argv:
                page.write_text(now, encoding="utf-8")
    for page in changed:
        print(page.relative_to(ROOT), "differs from what its code prints")
    return len(changed) if "--write" not in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
