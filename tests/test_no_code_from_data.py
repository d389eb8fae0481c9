"""Nothing that is read is ever run: no pickle, no eval, no shell, and no network in the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz_cli import run

import bayesdense
from bayesdense.errors import BayesdenseError
from bayesdense.results import load_fit
from bayesdense.spec import load_spec

PACKAGE = Path(bayesdense.__file__).parent
#: Modules whose readers may run code, or whose parsers were not made for strangers' files.
MODULES = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"),
    *("dbm", "code", "codeop", "runpy", "imp", "xml", "plistlib", "tarfile", "zipfile"),
    *("requests", "urllib.request", "urllib3", "http", "httpx", "ftplib", "telnetlib", "xmlrpc"),
}
#: Functions that run what they are given, by their last name: `shape.eval()` is given nothing, and
#: `re.compile` runs nothing.
CALLS = {
    *("eval", "exec", "compile", "execfile", "__import__", "exec_module", "load_module"),
    *("system", "popen", "getoutput", "getstatusoutput", "spawnl", "spawnv", "execv", "execl"),
    *("read_pickle", "to_pickle", "read_html", "read_xml", "allow_pickle", "unsafe_load"),
    *("from_code", "run_path", "run_module", "fromfile"),
}
#: The one place: a trend of a user's own, in a file named with --trend-file.
ALLOWED = {("bayesdense/cli/trends.py", "exec_module")}


def found(source: str) -> Iterator[str]:
    """Names that are forbidden, of a source."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (a.name for a in names if is_forbidden(a.name))
            case ast.ImportFrom(module=str(module)) if is_forbidden(module):
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield name
            case ast.Call(func=ast.Attribute(attr="compile", value=ast.Name(id=name))):
                yield from ("compile",) if name == "builtins" else ()
            case ast.Call(func=ast.Attribute(attr="compile")):
                pass
            case ast.Call(func=ast.Attribute(attr=name), args=[_, *_]) if name in CALLS:
                yield name
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if name.split(".")[
                0
            ] in MODULES and called(node) in ("import_module", "__import__"):
                yield name
        if isinstance(node, ast.keyword):
            value = getattr(node.value, "value", None)
            if node.arg == "shell" and value is not False:
                yield "shell"
            if node.arg == "allow_pickle" and value is not False:
                yield "allow_pickle"
            if node.arg == "autoescape" and value is False:
                yield "autoescape"


def is_forbidden(module: str) -> bool:
    """Whether a module, or one that it lies in, is in the list."""
    parts = module.split(".")
    return any(".".join(parts[:k]) in MODULES for k in range(1, len(parts) + 1))


def called(call: ast.Call) -> str:
    """Last name of the function that is called."""
    return getattr(call.func, "attr", None) or getattr(call.func, "id", "")


def test_nothing_runs_what_is_read() -> None:
    there = {
        (path.relative_to(PACKAGE.parent).as_posix(), what)
        for path in PACKAGE.rglob("*.py")
        for what in found(path.read_text(encoding="utf-8"))
    }
    assert there == ALLOWED


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("from yaml import load", "yaml"),
        ("eval(text)", "eval"),
        ("builtins.exec(text)", "exec"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("subprocess.run(text, shell=True)", "shell"),
        ("subprocess.run(text, shell=wanted)", "shell"),
        ("import_module('pickle')", "pickle"),
        ("os.system(text)", "system"),
        ("pd.read_pickle(path)", "read_pickle"),
        ("Environment(autoescape=False)", "autoescape"),
    ],
)
def test_what_is_looked_for_is_found(source: str, what: str) -> None:
    assert list(found(source)) == [what]


TREND = """
from pathlib import Path
Path(__file__).with_suffix(".ran").touch()
raise RuntimeError("\\x1b[31mas asked")
"""


def test_a_trend_file_runs_only_when_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.py"
    path.write_text(TREND, encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # beside what is read
    ran = path.with_suffix(".ran")
    for text in (str(path), "own", "own.py", "own.py:TREND", f"{path}:TREND"):
        with pytest.raises(BayesdenseError):
            load_spec(text)
        with pytest.raises(BayesdenseError):
            load_spec("joint").with_options(trend=text)
        with pytest.raises(BayesdenseError):
            load_fit(text)
        assert run("fit", "densing", "--set", f"trend={text}")[0] == 2
        assert not ran.exists()
    status, _, said = run("--trend-file", f"{path}:TREND", "list")
    assert ran.exists()
    assert status == 2
    assert "running it failed with RuntimeError: \\x1b[31mas asked" in said
