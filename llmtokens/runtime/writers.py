"""One writer at a time: locks that belong to objects without being part of them."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary

_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_guard = threading.Lock()


def writing(owner: Any) -> AbstractContextManager[Any]:
    """The lock of an object: whoever learns on it waits here for whoever does so already.

    It is kept beside the object, which can be copied and pickled as before; a copy has its own.
    """
    with _guard:
        return _locks.setdefault(owner, threading.RLock())


def _start_anew() -> None:
    """In a forked child no other thread is left to give a lock back."""
    global _guard
    _guard = threading.Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
