"""What is shipped: the wheel holds models and data, installs alone, and its program works."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import bayesdense

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv")
needs_uv = pytest.mark.skipif(UV is None, reason="uv is not on the PATH")
#: Names of hosts that serve packages: none belongs into a tracked file.
REGISTRY_HOST = re.compile(r"(pypi|pythonhosted|anaconda|artifactory|nexus|devpi)\.[a-z]|/simple/")


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command; where it fails, its stderr is the test's message."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def tracked() -> list[Path]:
    names = run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    run(str(UV), "build", "--quiet", "--out-dir", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bayesdense` of an environment that holds the wheel and what it asks for."""
    place = tmp_path_factory.mktemp("alone")
    run(str(UV), "venv", "--quiet", "--python", sys.executable, place / "venv", cwd=place)
    scripts = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    # The wheel's ranges are open; the tested versions keep this test about the wheel.
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    constraints = place / "constraints.txt"
    constraints.write_text("\n".join(pins.get("constraint-dependencies", [])), encoding="utf-8")
    install = (str(UV), "pip", "install", "--quiet", "--python", python, "-c", constraints, wheel)
    run(*install, cwd=place)
    return scripts / "bayesdense"


def shipped_files() -> set[str]:
    """Names inside the wheel of the models and data that are tracked here."""
    names = (path.relative_to(ROOT).as_posix() for path in tracked())
    return {
        f"bayesdense/_shipped/{name}" for name in names if name.startswith(("models/", "data/"))
    }


@needs_uv
def test_wheel_holds_code_models_data_and_schemas(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    schemas = {
        f"bayesdense/schemas/{path.name}" for path in (ROOT / "bayesdense/schemas").iterdir()
    }
    assert shipped_files() <= names
    assert {"bayesdense/py.typed", "bayesdense/cli/app.py", *schemas} <= names
    strange = {name for name in names if not name.startswith("bayesdense")}
    assert strange == set(), "tests or other folders do not belong into the wheel"


@needs_uv
def test_wheel_holds_the_notices_of_what_it_ships(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = content.read(about).decode()
    assert "\nLicense-Expression: Apache-2.0 AND CC-BY-4.0 AND MIT\n" in metadata
    folder = about.removesuffix("METADATA") + "licenses/"
    kept = {name.removeprefix(folder) for name in names if name.startswith(folder)}
    assert kept == {"LICENSE", "NOTICE", "LICENSES/MIT-llm-compression-intelligence.txt"}


def test_notice_names_every_licence_of_the_data() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for folder in re.findall(r"data/[\w./-]+", notice):
        assert (ROOT / folder.rstrip("/,")).exists(), folder
    for card in sorted((ROOT / "data").glob("*/card.toml")):
        said = tomllib.loads(card.read_text(encoding="utf-8"))
        foreign = said["licence"] != "Apache-2.0"
        assert not foreign or f"data/{card.parent.name}/" in notice, card
        for licence in ("CC BY 4.0", "MIT", "Apache-2.0"):
            assert licence not in said["licence"] or licence.replace("-2.0", "") in notice


def test_readme_names_every_licence_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    _, said = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Licence\n")
    names = {"Apache-2.0": "Apache License 2.0", "CC-BY-4.0": "CC BY 4.0", "MIT": "MIT"}
    for licence in project["license"].split(" AND "):
        assert re.search(rf"\b{re.escape(names[licence])}\b", said), licence


def test_ci_takes_its_python_from_where_everything_does() -> None:
    wanted = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert wanted not in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_upper_bounds_stand_where_private_modules_are_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=]", text)[0]: text for text in project["dependencies"]}
    for name in ("arviz-stats", "nutpie", "pymc", "pytensor"):
        assert ",<" in needed[name], needed[name]


@needs_uv
def test_source_archive_builds_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    archive = next(built.glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        top = {name.split("/", 2)[1] for name in tar.getnames() if "/" in name}
    assert {"models", "data", "bayesdense", "tests", "LICENSE", "CHANGELOG.md"} <= top
    run(str(UV), "build", "--quiet", "--wheel", "--out-dir", tmp_path, archive, cwd=tmp_path)
    again = next(tmp_path.glob("*.whl"))
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@needs_uv
def test_installed_program_lists_what_it_ships(program: Path, tmp_path: Path) -> None:
    answer = json.loads(run(program, "list", "--format", "json", cwd=tmp_path).stdout)
    assert {entry["name"] for entry in answer["datasets"]} >= {"densing", "densing-published"}
    assert {entry["name"] for entry in answer["models"]} >= {"joint"}
    version = run(program, "--version", cwd=tmp_path).stdout
    assert version == f"bayesdense {bayesdense.__version__}\n"


@needs_uv
@pytest.mark.fit
def test_installed_program_fits(program: Path, tmp_path: Path) -> None:
    size = ("--draws", "50", "--tune", "50", "--chains", "2")
    command = [str(program), "fit", "synthetic", *size, "--out", "small", "--format", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    # So few draws cannot converge: the checks have to say so, and every file has to be there.
    assert done.returncode == 1, done.stderr[-3000:]
    assert json.loads(done.stdout)["checks"]["status"] == "fail"
    names = {path.name for path in (tmp_path / "small").iterdir()}
    assert names == {"fit.nc", "report.html", "summary.json", "manifest.json"}


def test_no_tracked_file_names_a_package_registry() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path != Path(__file__)
        and REGISTRY_HOST.search(path.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert found == []


def test_no_lock_file_is_tracked() -> None:
    assert [path.name for path in tracked() if path.name.endswith(".lock")] == []


def test_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project["dynamic"]
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {bayesdense.__version__}\n" in cited
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {bayesdense.__version__}" in changes


def test_public_names_are_typed_and_lazy() -> None:
    source = (ROOT / "bayesdense" / "__init__.py").read_text(encoding="utf-8")
    pairs = re.findall(r"^    from bayesdense\.([\w.]+) import \w+ as (\w+)$", source, re.M)
    assert {name: home for home, name in pairs} == bayesdense._HOMES
    assert set(bayesdense.__all__) <= set(dir(bayesdense))
    with pytest.raises(AttributeError, match="no attribute 'doubling'"):
        bayesdense.doubling  # noqa: B018


@pytest.mark.parametrize("name", sorted(bayesdense._HOMES))
def test_a_public_name_says_what_it_is(name: str) -> None:
    value = getattr(bayesdense, name)
    assert value.__name__ == name and len(value.__doc__ or "") > 40
    assert getattr(bayesdense, name) is value, "kept once imported"
