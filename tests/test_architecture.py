"""The house: which room may import which, how long files and functions may be, where tests lie."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pti_hub"

ROOMS = [
    *("errors", "version", "logging", "storage", "images", "generators", "perceptual", "faces", "optim", "encoders"),
    *("personalization", "projectors", "tuners", "edits", "checkpoints", "pipelines", "evaluation", "app", "cli"),
]
"""From the ground floor up: a room imports from itself and from the rooms before it."""

LONGEST_FILE, LONGEST_PIPELINE, LONGEST_FUNCTION = 400, 350, 80


def modules() -> dict[str, Path]:
    """Files of the package by module name."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports from, as it names them, wherever in the file; of `from a import b` both."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    """The folder or file below the package that a module lies in; the package's own name for its `__init__`."""
    return module.split(".")[1] if "." in module else module


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_import_runs_against_the_arrows(name: str) -> None:
    if room(name) == "pti_hub":
        return  # what users import from: it knows all rooms
    here = ROOMS.index(room(name))
    above = {m for m in imports(modules()[name]) if m in modules() and m != "pti_hub" and ROOMS.index(room(m)) > here}
    assert not above, f"{name} imports from above: {', '.join(sorted(above))}"


def test_no_import_runs_in_a_circle() -> None:
    known = modules()
    graph = {name: {m for m in imports(path) if m in known and m != name} for name, path in known.items()}
    for name, imported in graph.items():
        # Importing a module runs its packages first; a package that exports its own modules is no circle.
        imported -= {name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports run in a circle: {' → '.join(error.args[1])}")


def test_no_module_imports_through_its_own_room() -> None:
    for name, path in modules().items():
        packages = {name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)} - {"pti_hub"}
        through = packages & set(imports(path)) if path.name != "__init__.py" else set()
        assert not through, f"{name} imports from {through.pop()}, which imports {name}"


def test_files_and_functions_are_one_thing_each() -> None:
    for path in sorted([*SOURCE.rglob("*.py"), *ROOT.glob("examples/**/*.py"), *ROOT.glob("benchmarks/*.py")]):
        text = path.read_text(encoding="utf-8")
        longest = LONGEST_PIPELINE if path.name == "pipeline.py" else LONGEST_FILE
        assert text.count("\n") <= longest, f"{path.relative_to(ROOT)} has more than {longest} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                where = f"{path.relative_to(ROOT)}: {node.name}"
                assert lines <= LONGEST_FUNCTION, f"{where} has {lines} lines; expected at most {LONGEST_FUNCTION}"


def test_tests_lie_as_the_package_lies() -> None:
    tests = ROOT / "tests"
    rooms = {path.name for path in tests.iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert rooms <= {*ROOMS, "examples"}
    for path in tests.rglob("*.py"):
        imported = {name.split(".")[-1] for name in imports(path)} | {name.split(".")[0] for name in imports(path)}
        others = {name for name in imported if name.startswith("test_") and any(tests.rglob(f"{name}.py"))}
        assert not others, f"{path.relative_to(ROOT)} imports from {', '.join(sorted(others))}"
        assert path.read_text(encoding="utf-8").count("\n") <= LONGEST_FILE, f"{path.relative_to(ROOT)} is too long"
