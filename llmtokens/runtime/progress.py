"""How far a long piece of work has come, on stderr: a bar on a terminal, else plain lines."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from threading import Timer
from typing import Protocol

PATIENCE, _EVERY = 2.0, 10.0  # seconds of which nothing is said, and between plain lines

Advance = Callable[..., None]


class _Shown(Protocol):
    def advance(self, n: int = 1) -> None:
        """So many steps are done."""

    def last(self) -> None:
        """There are no more."""


@contextlib.contextmanager
def progress(
    what: str,
    total: int | None = None,
    shown: bool = True,
    *,
    unit: str = "",
    patience: float = PATIENCE,
) -> Iterator[Advance]:
    """Show how far a ``with`` block has come.

    Parameters
    ----------
    what : str
        What is being done, for the reader.
    total : int, optional
        Steps; where that is not known, the time that has passed is shown alone.
    shown : bool, default=True
    unit : str, optional
        What the steps are; then their number a second is told, too.
    patience : float, default=2
        Seconds that pass before anything is shown.

    Yields
    ------
    callable
        To be called after each step, or with a number of steps.

    Examples
    --------
    >>> with progress("counting", total=3, shown=False) as advance:
    ...     for _ in range(3):
    ...         advance()
    """
    if not shown:
        yield lambda n=1: None
        return
    made: _Shown = (_Bar if _can_draw() else _Lines)(what, total, unit, patience)
    try:
        yield made.advance
    finally:
        made.last()


def _can_draw() -> bool:
    """Whether a bar can be shown: on a terminal, or in a notebook with what rich needs there."""
    if type(sys.stderr).__module__.startswith("ipykernel"):  # which says that it is a terminal
        return importlib.util.find_spec("ipywidgets") is not None
    return sys.stderr.isatty()


class _Bar:
    """A bar that is drawn once the patience is over, whether or not a step is done by then."""

    def __init__(self, what: str, total: int | None, unit: str, patience: float) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        told = TextColumn("{task.description}", markup=False), BarColumn()
        counted = () if total is None else (MofNCompleteColumn(),)
        rate = (TextColumn("{task.fields[rate]}"),) if unit else ()
        columns = *told, *counted, *rate, TimeElapsedColumn()
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.task = self.bar.add_task(what, total=total, rate="")
        self.total, self.unit = total, unit
        self.drawn = patience <= 0
        self.timer = Timer(patience, self._draw)
        self.timer.daemon = True
        if self.drawn:
            self.bar.start()
        else:
            self.timer.start()

    def _draw(self) -> None:
        self.drawn = True
        self.bar.start()

    def advance(self, n: int = 1) -> None:
        self.bar.advance(self.task, n)
        if self.unit:
            one = self.bar.tasks[0]
            rate = _rate(one.completed, one.elapsed or 0.0, self.unit)
            self.bar.update(self.task, rate=rate)

    def last(self) -> None:
        if self.timer.is_alive():
            self.timer.cancel()
            self.timer.join()
        if self.drawn:
            if self.total is None:
                self.bar.update(self.task, total=1, completed=1)
            self.bar.stop()


class _Lines:
    """A line when the patience is over, another each ten seconds, and one at the end."""

    def __init__(self, what: str, total: int | None, unit: str, patience: float) -> None:
        self.what, self.total, self.done = what, total, 0
        self.unit, self.patience = unit, patience
        self.begun = time.monotonic()
        self.due = self.begun + patience

    def advance(self, n: int = 1) -> None:
        self.done += n
        if time.monotonic() >= self.due and self.done != self.total:
            self.due = time.monotonic() + _EVERY
            self._print()

    def last(self) -> None:
        if time.monotonic() - self.begun >= self.patience:
            self._print()

    def _print(self) -> None:
        seconds = time.monotonic() - self.begun
        of = "" if self.total is None else f"{self.done} of {self.total}"
        rate = _rate(self.done, seconds, self.unit) if self.unit else ""
        told = ", ".join(x for x in (of, f"{seconds:.0f} s", rate) if x)
        print(f"{self.what}: {told}", file=sys.stderr, flush=True)


def _rate(done: float, seconds: float, unit: str) -> str:
    return f"{done / seconds:,.0f} {unit} a second" if seconds > 0 else ""
