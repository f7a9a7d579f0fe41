"""The structure of the library, read from its own imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llmtokens

PACKAGE = Path(llmtokens.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Every module imports from lines further down only; those on one line do not know each other.
LAYERS = [
    {"cli"},
    {"report"},
    {"plots"},
    {"curves"},
    {"compare"},
    {"controls", "model_selection", "metrics", "datasets", "distributed"},
    {"algorithms"},
    {"recommend"},
    {"tokens"},
    {"encode", "data", "kernels"},
    {"storage"},
    {"runtime"},
    {"errors"},
]
LAZY = {
    "torch",
    "sentence_transformers",
    "transformers",
    "matplotlib",
    "jinja2",
    "dask",
    "distributed",
}
ALONE = {"sentence_transformers": "encode", "transformers": "encode"}


def part(path: Path) -> str:
    """The part of the library a file belongs to: its folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, top_level: bool = False):
    """Absolute names of what a file imports; ``top_level``: only what import itself runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ("llmtokens", *path.relative_to(PACKAGE).parts[:-1])
    for node in _running(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "llmtokens":
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def _running(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _running(node)


def ours(names):
    return {name.split(".")[1] for name in names if name.startswith("llmtokens.")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    me = part(path)
    if me == "__init__":
        return
    level = next(k for k, layer in enumerate(LAYERS) if me in layer)
    below = {name for layer in LAYERS[level + 1 :] for name in layer} | {me, "__version__"}
    assert ours(imports(path, top_level=True)) <= below


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_where_they_are_used(path):
    top = {name.split(".")[0] for name in imports(path, top_level=True)}
    assert not top & LAZY


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_one_part_knows_the_text_encoder(path):
    for name in imports(path):
        package = name.split(".")[0]
        assert ALONE.get(package, part(path)) == part(path)


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=lambda p: p.name)
def test_kernels_know_numpy_and_numba_alone(path):
    known = {name.split(".")[0] for name in imports(path) if name != "llmtokens.kernels.twice"}
    assert known - set(sys.stdlib_module_names) <= {"numpy", "numba"}


def test_the_bare_import_is_as_light_as_surprise():
    code = (
        "import sys, surprise; before = set(sys.modules); import llmtokens;"
        "print(*(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {name.split(".")[0] for name in out.stdout.split()} <= {"llmtokens"}


def test_every_public_name_can_be_imported():
    for name in llmtokens.__all__:
        assert getattr(llmtokens, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        llmtokens.nonsense  # noqa: B018
