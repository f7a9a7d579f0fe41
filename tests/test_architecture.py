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
    {"__main__"},
    {"cli"},
    {"report"},
    {"plots"},
    {"curves"},
    {"compare"},
    {"model_selection"},
    {"controls", "metrics", "distributed", "serve"},
    {"datasets"},
    {"algorithms"},
    {"recommend"},
    {"tokens"},
    {"encode", "data", "kernels"},
    {"storage"},
    {"runtime"},
    {"errors"},
]
LOOSE = {"__init__.py", "__main__.py", "errors.py", "curves.py", "controls.py"}
LAZY = {
    "torch",
    "sentence_transformers",
    "transformers",
    "openvino",
    "matplotlib",
    "jinja2",
    "dask",
    "distributed",
    "uvicorn",
}
ALONE = {
    "sentence_transformers": "encode",
    "transformers": "encode",
    "openvino": "encode",
    "fastapi": "serve",
    "uvicorn": "serve",
}


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


def test_every_file_lives_in_a_package_but_for_five():
    assert {path.name for path in PACKAGE.glob("*.py")} <= LOOSE


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    """All of them: those for annotations and those inside functions too."""
    me = part(path)
    if me == "__init__":
        return
    level = next(k for k, layer in enumerate(LAYERS) if me in layer)
    below = {name for layer in LAYERS[level + 1 :] for name in layer} | {me, "__version__"}
    assert ours(imports(path)) <= below


def test_no_file_imports_what_imports_it():
    graph = {path: set(_files(path)) for path in FILES}
    found = [{str(path.relative_to(PACKAGE)) for path in group} for group in _circles(graph)]
    assert found == []


def _files(path: Path):
    """The files that a file imports; the package itself is no file of its parts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (not node.level and node.module is None):
            continue
        if node.level:
            base = (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
        elif node.module.split(".")[0] == "llmtokens":
            base = tuple(node.module.split(".")[1:])
        else:
            continue
        folder = PACKAGE.joinpath(*base)
        for alias in node.names:
            for found in (folder / f"{alias.name}.py", folder / alias.name / "__init__.py"):
                if found.is_file():
                    yield found
                    break
            else:
                file = folder.with_suffix(".py")
                found = file if file.is_file() else folder / "__init__.py"
                if found.parent != PACKAGE or found.name != "__init__.py":
                    yield found


def _circles(graph):
    """Groups of files that can be reached from each other (Tarjan 1972)."""
    number, low, stack, found = {}, {}, [], []

    def visit(path):
        number[path] = low[path] = len(number)
        stack.append(path)
        for to in graph[path]:
            if to not in number:
                visit(to)
                low[path] = min(low[path], low[to])
            elif to in stack:
                low[path] = min(low[path], number[to])
        if low[path] == number[path]:
            group = stack[stack.index(path) :]
            del stack[stack.index(path) :]
            if len(group) > 1 or path in graph[path]:
                found.append(group)

    for path in graph:
        if path not in number:
            visit(path)
    return found


def test_circles_are_found():
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]


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
    compiler = {"llmtokens.kernels.compiled", "llmtokens.errors"}
    known = {name.split(".")[0] for name in imports(path) if name not in compiler}
    assert known - set(sys.stdlib_module_names) <= {"numpy", "numba"}


def test_the_bare_import_is_as_light_as_surprise():
    code = (
        "import sys, surprise; before = set(sys.modules); import llmtokens;"
        "print(*(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {name.split(".")[0] for name in out.stdout.split()} <= {"llmtokens"}


def test_type_checkers_know_every_public_name():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    found = {
        name.asname: node.module
        for node in ast.walk(stub)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert found == llmtokens._PUBLIC


def test_every_public_name_can_be_imported():
    for name in llmtokens.__all__:
        assert getattr(llmtokens, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        llmtokens.nonsense  # noqa: B018


def test_a_model_from_a_file_needs_nothing_that_only_fitting_does(tmp_path):
    from algorithms import DATA, make

    make("LLMTokensEASE").fit(DATA.dataset.build_full_trainset()).save(tmp_path / "model")
    code = (
        "import sys; from llmtokens.cli.fitted import open_model;"
        "open_model(sys.argv[1]).recommend(1); print(*sys.modules)"
    )
    asked = [sys.executable, "-c", code, str(tmp_path / "model")]
    loaded = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    parts_of_scipy = {"scipy.stats", "scipy.special", "scipy.sparse.linalg"}
    assert not {"sklearn", "numba", "torch", "fastapi", *parts_of_scipy} & set(loaded)
