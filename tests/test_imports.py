"""The architecture as a test: each module imports only from below, and readers need no PyMC."""

import ast
import graphlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bayesdense

PACKAGE = Path(bayesdense.__file__).parent
MODELLING, READING = "modelling", "reading"

#: A row of the page's table: level, modules or folders of modules, branch if in one.
ROW = re.compile(r"^\| (\d) \| ([^|]+) \| (?:(modelling|reading):)?", re.M)
PAGE = (PACKAGE.parent / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
LEVELS = {
    name: (int(level), branch)
    for level, names, branch in ROW.findall(PAGE)
    for name in re.findall(r"`(\w+)`", names)
} | {"_version": (0, ""), "": (9, ""), "__main__": (9, "")}
READERS = ("derive", "prediction", "checks", "summary", "plots", "report")


def room(module: str) -> str:
    """`bayesdense.cli.app` lives in the room `cli`, the package itself in the room with no name."""
    return module.removeprefix("bayesdense").lstrip(".").split(".")[0]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """Every module of this package that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from bayesdense import logs` imports a module, `from bayesdense import fit` a name
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in members]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "bayesdense")


def offences(module: str, path: Path) -> Iterator[str]:
    level, branch = LEVELS[room(module)]
    for target in imported(path):
        below, other = LEVELS[room(target)]
        if below > level:
            yield f"{module} (level {level}) imports {target} (level {below})"
        elif {branch, other} == {MODELLING, READING}:
            yield f"{module} ({branch} branch) imports {target} ({other} branch)"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    assert room(module) in LEVELS, f"{module} has no level: docs/explanation/architecture.md"
    assert list(offences(module, MODULES[module])) == []


def test_there_is_no_circle() -> None:
    graph = {module: set(imported(path)) - {module} for module, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def loaded_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True
    )
    return set(run.stdout.splitlines()[-1].split())


READERS_HERE = [name for name in READERS if importlib.util.find_spec(f"bayesdense.{name}")]


@pytest.mark.parametrize("reader", READERS_HERE)
def test_readers_need_no_pymc(reader: str) -> None:
    assert not loaded_after(f"import bayesdense.{reader}") & {"pymc", "pytensor", "nutpie"}


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert not loaded_after("import bayesdense") & {"numpy", "pandas", "xarray", "pymc", "typer"}
