"""The worst day: processes killed at random moments, full disks and read-only ones."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
KILLS = int(os.environ.get("LLMTOKENS_KILLS", "8"))
LONG = "LLMTOKENS_KILLS" in os.environ
needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


def child(script: str, *args: object) -> subprocess.Popen[str]:
    """A process of its own, in a group of its own, that runs a script of this library's tests."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def output(script: str, *args: object, seconds: float = 600) -> str:
    """What a child printed; fails where the child did."""
    process = child(script, *args)
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return out


_NURSERY = """
import os, sys
print("grown", flush=True)
for _ in sys.stdin:
    victim = os.fork()
    if victim == 0:
        work()
        os._exit(0)
    print(victim, flush=True)
    print(os.waitpid(victim, 0)[1], flush=True)
"""


def killed(
    script: str,
    args: tuple[object, ...],
    window: float,
    look: Callable[[], object],
    enough: Callable[[], bool] = lambda: True,
) -> int:
    """Run the function ``work`` that a script defines, again and again, killed at random moments.

    A process imports what the script needs, and forks a victim for each kill.

    Parameters
    ----------
    window : float
        A kill comes up to so many seconds after the start.
    look : callable
        Called after each kill: what must be true whatever the moment.
    enough : callable, optional
        Whether the kills have met all that they should; further ones follow until they have, as
        they do late on a machine that is busy.

    Returns
    -------
    int
        How many of the kills found ``work`` still running.
    """
    moments, running = random.Random(KILLS), 0
    process = child(script + _NURSERY, *args)
    if process.stdout.readline() != "grown\n":
        raise AssertionError(process.communicate()[1])
    try:
        kills = 0
        while kills < KILLS or not enough():
            kills += 1
            process.stdin.write("\n")
            process.stdin.flush()
            victim = int(process.stdout.readline())
            time.sleep(moments.uniform(0, window))
            with suppress(ProcessLookupError):  # it has ended already
                os.kill(victim, signal.SIGKILL)
            status = int(process.stdout.readline())
            assert status in (0, signal.SIGKILL)
            running += status == signal.SIGKILL
            look()
    finally:
        process.kill()
        process.communicate()
    return running


@contextmanager
def mounted(options: str) -> Iterator[Path]:
    """A file system in memory; skips the test where none may be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("may not mount a file system here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Give a mounted file system other options."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def spoil_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have chains end with a sample that is no number."""
    from llmtokens.algorithms.bpmf.chain import Chain

    run = Chain.run

    def spoiled(*args: Any) -> dict[str, Any]:
        parts = run(*args)
        parts["item_samples"][3, 0] = math.nan
        return parts

    monkeypatch.setattr(Chain, "run", spoiled)
