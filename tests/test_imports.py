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
#: Functions that import what a text names.
IMPORTERS = ("import_module", "resolve_name")
#: Lines that may do so for any text: public names of the package, and functions that jobs name,
#: which the studies above `jobs` register.
LATE = {"bayesdense": "_HOMES[name]", "bayesdense.jobs.job": "pkgutil.resolve_name(name)"}
READERS = ("derive", "prediction", "checks", "summary", "plots", "report")


def room(module: str) -> str:
    """`bayesdense.cli.app` lives in the room `cli`, the package itself in the room with no name."""
    return module.removeprefix("bayesdense").lstrip(".").split(".")[0]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(source: str) -> Iterator[str]:
    """Every module of this package that a source imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from bayesdense import logs` imports a module, `from bayesdense import fit` a name
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in members]
        elif isinstance(node, ast.Call) and spelt(node.func).split(".")[-1] in IMPORTERS:
            names = [part.value for part in node.args if isinstance(part, ast.Constant)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "bayesdense")


def spelt(node: ast.expr) -> str:
    """`importlib.import_module` of the expression that says so; nothing of any other."""
    if isinstance(node, ast.Attribute):
        return f"{spelt(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def tricks(source: str) -> Iterator[str]:
    """Ways to reach a module that `imported` does not see."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"line {node.lineno}: relative import"
        elif isinstance(node, ast.Attribute) and spelt(node) == "sys.modules":
            yield f"line {node.lineno}: sys.modules"
        elif isinstance(node, ast.Call):
            name = spelt(node.func)
            named = all(isinstance(part, ast.Constant) for part in node.args) and node.args
            if name in ("__import__", "exec", "eval"):
                yield f"line {node.lineno}: {name}"
            elif (importer := name.split(".")[-1]) in IMPORTERS and not named:
                yield f"line {node.lineno}: {importer} of a name that is made up as it runs"


def late_imports(source: str) -> Iterator[str]:
    """Imports inside functions."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield f"line {node.lineno}: import inside {function.name}"


def offences(module: str, path: Path) -> Iterator[str]:
    level, branch = LEVELS[room(module)]
    for target in imported(path.read_text(encoding="utf-8")):
        below, other = LEVELS[room(target)]
        if below > level:
            yield f"{module} (level {level}) imports {target} (level {below})"
        elif {branch, other} == {MODELLING, READING}:
            yield f"{module} ({branch} branch) imports {target} ({other} branch)"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    assert room(module) in LEVELS, f"{module} has no level: docs/explanation/architecture.md"
    assert list(offences(module, MODULES[module])) == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_can_be_seen(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    if late := LATE.get(module):
        source = re.sub(rf"^( *).*{re.escape(late)}.*$", r"\1pass", source, flags=re.M)
    if room(module) in ("", "__main__", "cli"):  # which import late, so that `list` answers at once
        assert list(tricks(source)) == []
    else:
        assert [*tricks(source), *late_imports(source)] == []


@pytest.mark.parametrize(
    "line",
    [
        'importlib.import_module(f"bayesdense.{name}")',
        "import_module(name)",
        "pkgutil.resolve_name(name)",
        '__import__("bayesdense.summary")',
        'sys.modules["bayesdense.summary"]',
        'exec("import bayesdense.summary")',
        "from . import summary",
    ],
)
def test_a_hidden_import_is_noticed(line: str) -> None:
    assert len(list(tricks(f"def f():\n    {line}"))) == 1


def test_an_import_by_name_counts() -> None:
    line = 'importlib.import_module("bayesdense.summary").summarize(fit)'
    assert list(imported(line)) == ["bayesdense.summary"]
    assert list(tricks(line)) == []
    assert list(late_imports("def f():\n    import os")) == ["line 2: import inside f"]


def test_there_is_no_circle() -> None:
    graph = {
        module: set(imported(path.read_text(encoding="utf-8"))) - {module}
        for module, path in MODULES.items()
    }
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


def test_figures_are_not_loaded_before_sampling_ends() -> None:
    """A fit waits for no library that only its report needs (nutpie itself loads matplotlib)."""
    before = (
        "import bayesdense.cli.app, bayesdense.inference, bayesdense.checks, bayesdense.summary"
    )
    assert not loaded_after(before) & {"bokeh", "jinja2", "latex2mathml"}


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert not loaded_after("import bayesdense") & {"numpy", "pandas", "xarray", "pymc", "typer"}
