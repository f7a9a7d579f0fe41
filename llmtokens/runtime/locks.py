"""Locks that a forked child does not inherit as they are, those of objects, and what needs none.

A fork copies the memory and one thread. What another thread had locked would stay so for ever in
the child, where nobody is left to open it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar, overload
from weakref import WeakKeyDictionary, WeakSet

_known: WeakSet[Lock] = WeakSet()


class Lock:
    """For ``with lock.held:``; open in a forked child.

    Attributes
    ----------
    held : threading.Lock
        Python's own: an interrupt inside an ``__exit__`` of ours, before it has opened the lock,
        would leave it locked for ever.
    """

    def __init__(self) -> None:
        self.open()
        _known.add(self)

    def open(self) -> None:
        """Forget whoever is inside."""
        self.held = threading.Lock()


_guard = Lock()
_of_objects: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def writing(owner: Any) -> AbstractContextManager[Any]:
    """The lock of an object: whoever learns on it waits here for whoever does so already.

    It is kept beside the object, which can be copied and pickled as before; a copy has its own.
    """
    with _guard.held:
        return _of_objects.setdefault(owner, threading.RLock())


def _in_forked_child() -> None:
    for lock in _known:
        lock.open()
    _of_objects.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 (the name of functools' own)
    """``functools.cached_property`` as it is from Python 3.12 on.

    That of Python 3.11 has one lock for all objects of a class, which a process forked meanwhile
    inherits locked. Two threads may work the same thing out here, and get the same.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> cached_property[T] | T:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._function(instance)
        return value
