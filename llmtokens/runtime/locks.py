"""Locks that a forked child does not inherit as they are, and locks that belong to objects.

A fork copies the memory and one thread. What another thread had locked would stay so for ever in
the child, where nobody is left to open it.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

_known: WeakSet[Lock] = WeakSet()


class Lock:
    """``threading.Lock`` for ``with`` blocks; open in a forked child."""

    def __init__(self) -> None:
        self.open()
        _known.add(self)

    def open(self) -> None:
        """Forget whoever is inside."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_guard = Lock()
_of_objects: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def writing(owner: Any) -> AbstractContextManager[Any]:
    """The lock of an object: whoever learns on it waits here for whoever does so already.

    It is kept beside the object, which can be copied and pickled as before; a copy has its own.
    """
    with _guard:
        return _of_objects.setdefault(owner, threading.RLock())


def _in_forked_child() -> None:
    for lock in _known:
        lock.open()
    _of_objects.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
