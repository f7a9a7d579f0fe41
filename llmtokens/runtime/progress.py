"""How far a long piece of work has come, on stderr: a bar on a terminal, else plain lines."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator

_FIRST, _EVERY = 2.0, 10.0  # seconds before the first plain line, and between the others

Advance = Callable[[], None]


@contextlib.contextmanager
def progress(what: str, total: int | None = None, shown: bool = True) -> Iterator[Advance]:
    """Show how far a ``with`` block has come.

    Parameters
    ----------
    what : str
        What is being done, for the reader.
    total : int, optional
        Steps; where that is not known, the time that has passed is shown alone.
    shown : bool, default=True

    Yields
    ------
    callable
        To be called after each step.

    Examples
    --------
    >>> with progress("counting", total=3, shown=False) as advance:
    ...     for _ in range(3):
    ...         advance()
    """
    if not shown:
        yield lambda: None
    elif _can_draw():
        with _bar(what, total) as advance:
            yield advance
    else:
        lines = _Lines(what, total)
        try:
            yield lines.advance
        finally:
            lines.last()


def _can_draw() -> bool:
    """Whether a bar can be shown: on a terminal, or in a notebook with what rich needs there."""
    if type(sys.stderr).__module__.startswith("ipykernel"):  # which says that it is a terminal
        return importlib.util.find_spec("ipywidgets") is not None
    return sys.stderr.isatty()


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    counted = () if total is None else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counted)
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
        if total is None:
            bar.update(task, total=1, completed=1)


class _Lines:
    """A line when it takes longer than two seconds, another each ten, and one at the end."""

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.begun = time.monotonic()
        self.due = self.begun + _FIRST

    def advance(self) -> None:
        self.done += 1
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + _EVERY
            self._print()

    def last(self) -> None:
        if time.monotonic() - self.begun >= _FIRST:
            self._print()

    def _print(self) -> None:
        of = "" if self.total is None else f"{self.done} of {self.total}, "
        seconds = time.monotonic() - self.begun
        print(f"{self.what}: {of}{seconds:.0f} s", file=sys.stderr, flush=True)
