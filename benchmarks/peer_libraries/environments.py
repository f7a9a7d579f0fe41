"""Environments of the peers: made once, under the user's cache folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_cache_path

CACHE = user_cache_path("llmtokens") / "peers"
MINUTES = 20  # for an installation
TOOLS = ["setuptools<80", "wheel", "numpy"]  # some build with what newer ones have dropped
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LK_NUM_THREADS")
FLAGS = {"lightfm": ["--no-build-isolation"]}


def installed(
    cache: Path, name: str, packages: Sequence[str], alone: Sequence[str] = ()
) -> tuple[Path, dict[str, str]] | tuple[None, str]:
    """The environment's Python and the versions in it; or None, and why there is none.

    ``alone``: what is installed without what it asks for, which old versions of other packages are.
    """
    folder = cache / name
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        try:
            asked = [*FLAGS.get(name, []), *packages]
            without = [[*pip, "--no-deps", *alone]] if alone else []
            for command in ([*pip, *TOOLS], [*pip, *asked], *without):
                subprocess.run(
                    command, check=True, timeout=60 * MINUTES, capture_output=True, text=True
                )
        except subprocess.CalledProcessError as error:
            return None, f"{' '.join(error.cmd[2:])}: {_last_line(error.stderr)}"
        except subprocess.TimeoutExpired:
            return None, f"pip install {' '.join(packages)} takes more than {MINUTES} minutes"
        done.touch()
    listed = subprocess.check_output([python, "-m", "pip", "list", "--format=json"], text=True)
    versions = {line["name"].lower(): line["version"] for line in json.loads(listed)}
    names = (package.partition("<")[0] for package in (*packages, *alone))
    return python, {package: versions[package] for package in names}


def run(python: Path, name: str, folder: Path) -> str:
    """Run a peer's script on the tasks of a folder; what went wrong, or nothing."""
    threads = dict.fromkeys(THREADS, "1")
    script = Path(__file__).with_name(f"with_{name}.py")
    with open(folder / "log.txt", "a+") as log:
        start = log.tell()
        code = subprocess.run(
            [python, script, folder], env=os.environ | threads, stdout=sys.stderr, stderr=log
        ).returncode
        log.seek(start)
        return _last_line(log.read()) if code else ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
