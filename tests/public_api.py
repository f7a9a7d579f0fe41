"""The public names of the library, what their docstrings say they raise, and what they do raise."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import llmtokens
from llmtokens import errors

ERRORS = {
    name: error
    for name, error in vars(errors).items()
    if isinstance(error, type) and issubclass(error, errors.LLMTokensError)
}
FROM_HERE = ("llmtokens.controls", "llmtokens.curves")  # modules without __all__ for users
PARTS = ("plots", "metrics", "curves")  # their names are told apart by the part
_SECTION = re.compile(r"^Raises\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.DOTALL | re.MULTILINE)
_LISTED = re.compile(r"^\w+Error(?:, \w+Error)*$", re.MULTILINE)
_REFERENCE = re.compile(r"errors\s+are\s+those\s+of\s+:func:`([\w.]+)`")


class Public(NamedTuple):
    """A function, class or method, and the public class it was found in."""

    value: Callable[..., Any]
    owner: type | None = None


def callables() -> dict[str, Public]:
    """All of them, by a name such as "LLMTokens.save"; what is inherited, once."""
    found: dict[str, Public] = {}
    seen: set[Any] = set()
    for module in _modules():
        for name in _names(module):
            value = getattr(module, name)
            if not callable(value) or value in seen:
                continue
            seen.add(value)
            part = value.__module__.split(".")[1]
            full = f"{part}.{name}" if part in PARTS else name
            found[full] = Public(value)
            for own, member in inspect.getmembers(value) if isinstance(value, type) else ():
                function = _function(member)
                if own[0] != "_" and function is not None and function not in seen:
                    seen.add(function)
                    found[f"{full}.{own}"] = Public(function, value)
    return found


def _modules() -> Iterator[ModuleType]:
    yield llmtokens
    for info in pkgutil.walk_packages(llmtokens.__path__, "llmtokens."):
        yield importlib.import_module(info.name)


def _names(module: ModuleType) -> list[str]:
    if module.__name__ not in FROM_HERE:
        return list(getattr(module, "__all__", ()))
    own = [k for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    return [name for name in own if name[0] != "_"]


def _function(value: Any) -> FunctionType | None:
    """The function of ours behind a method, if it is one."""
    function = inspect.unwrap(getattr(value, "__func__", value))
    ours = isinstance(function, FunctionType) and function.__module__.startswith("llmtokens")
    return function if ours else None


# -- what the docstring says


def documented(public: Public) -> set[str]:
    """The errors named in the ``Raises`` section, or in that of the function it refers to."""
    text = inspect.getdoc(public.value) or ""
    section = _SECTION.search(text)
    if section:
        return {name for line in _LISTED.findall(section[1]) for name in line.split(", ")}
    module = inspect.getmodule(public.value)
    others = [Public(getattr(module, name)) for name in _REFERENCE.findall(text)]
    return {error for other in others for error in documented(other)}


# -- what the code does


def raised(public: Public) -> set[str]:
    """Errors of ours that a function raises, itself or through functions of ours it names."""
    return _raised(public, frozenset())


def _raised(public: Public, above: frozenset[Any]) -> set[str]:
    value, owner = public
    if isinstance(value, type):
        value, owner = vars(value).get("__init__"), value
    function = _function(value)
    if function is None or (function, owner) in above:
        return set()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:  # made by @dataclass
        return set()
    scope = Scope(function.__globals__, owner, above | {(function, owner)})
    return scope.errors(tree)


class Scope(NamedTuple):
    """The names a function sees, the class of its ``self``, and the functions that called it."""

    names: dict[str, Any]
    owner: type | None
    above: frozenset[Any]

    def errors(self, node: ast.AST) -> set[str]:
        """What the code under a node raises; what is caught, and does not go on, is not."""
        match node:
            case ast.Try():
                found = self._of(node.body)
                for handler in node.handlers:
                    if not any(isinstance(x, ast.Raise) and not x.exc for x in ast.walk(handler)):
                        found = self._without(found, [handler.type] if handler.type else [])
                return found | self._of([*node.handlers, *node.orelse, *node.finalbody])
            case ast.With(items=[ast.withitem(ast.Call(ast.Attribute(attr="suppress"), kinds))]):
                return self._without(self._of(node.body), kinds)
            case ast.Raise(exc=ast.Call(func)) if ast.unparse(func) in ERRORS:
                return {ast.unparse(func)}
            case ast.Call(func):
                called = _raised(self._resolve(func), self.above)
                return called | self._of(ast.iter_child_nodes(node))
            case _:
                return self._of(ast.iter_child_nodes(node))

    def _of(self, nodes: Any) -> set[str]:
        return {error for node in nodes for error in self.errors(node)}

    def _without(self, found: set[str], kinds: list[ast.expr]) -> set[str]:
        flat = [x for kind in kinds for x in (kind.elts if isinstance(kind, ast.Tuple) else [kind])]
        named = [self.names.get(ast.unparse(x)) or vars(builtins).get(ast.unparse(x)) for x in flat]
        caught = tuple(kind for kind in named if isinstance(kind, type))
        return {name for name in found if not issubclass(ERRORS[name], caught)}

    def _resolve(self, node: ast.expr) -> Public:
        match node:
            case ast.Name(name):
                return _owned(self.names.get(name))
            case ast.Attribute(ast.Name("self" | "cls"), name):
                return Public(getattr(self.owner, name, None), self.owner)
            case ast.Attribute(ast.Name(base), name):
                base = self.names.get(base)
                owner = base if isinstance(base, type) else None
                return Public(getattr(base, name, None), owner)
        return Public(None)


def _owned(value: Any) -> Public:
    return Public(value, value if isinstance(value, type) else None)
