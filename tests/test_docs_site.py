"""The site is whole: every public name and every figure has its place in it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bayesdense
from bayesdense.names import PLOT_KINDS, STUDY_PLOT_KINDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SCRIPTS = sorted((DOCS / "gallery").glob("*.py"))


def documented() -> list[str]:
    """Names that the reference's pages take from docstrings."""
    pages = (DOCS / "reference" / "api").glob("*.md")
    directive = re.compile(r"^\.\. auto(?:class|function):: (\w+)$", re.M)
    return [name for page in pages for name in directive.findall(page.read_text(encoding="utf-8"))]


def from_docs(name: str) -> ModuleType:
    """A module of the docs folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_documented_once() -> None:
    assert sorted(documented()) == sorted(set(bayesdense.__all__) - {"__version__"})


@pytest.mark.parametrize("page", sorted((DOCS / "reference" / "api").glob("*.md")), ids=str)
def test_a_page_lists_what_it_documents(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    listed = re.findall(r"^   (\w+)$", text.split(":nosignatures:")[1], flags=re.M)
    assert listed == re.findall(r"^\.\. auto\w+:: (\w+)$", text, flags=re.M)


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", index, flags=re.M | re.S)
    entries = {line for tree in trees for line in tree.splitlines() if line and line[0] != ":"}
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix()
        for folder in ("tutorials", "how-to", "explanation", "reference")
        for path in (DOCS / folder).rglob("*.md")
    }
    assert entries - {"figures/index"} == pages


def test_every_kind_of_figure_has_a_script() -> None:
    assert {script.stem for script in SCRIPTS} == {*PLOT_KINDS, *STUDY_PLOT_KINDS}
    shown = {
        name for script in SCRIPTS for name in re.findall(r"bd\.(plot_\w+)", script.read_text())
    }
    assert shown == {name for name in bayesdense.__all__ if name.startswith("plot_")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_writes_its_figure(script: Path) -> None:
    assert re.search(rf'savefig\("{script.stem}\.png"', script.read_text(encoding="utf-8"))


def test_fits_are_made_again_when_the_code_or_the_data_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = from_docs("fits")
    for folder in ("bayesdense", "models", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bayesdense" / "laws.py").write_text("one")
    monkeypatch.setattr(fits, "ROOT", tmp_path)
    monkeypatch.setattr(fits, "WHERE", tmp_path)
    monkeypatch.setattr(fits, "NOTE", tmp_path / "fits" / "made.json")
    monkeypatch.setattr(fits, "COMMANDS", {"one": ("fit", "one")})
    made: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command[0] == sys.executable:
            made.append(command[3:])
            (tmp_path / "fits" / "one").mkdir(exist_ok=True)
            (tmp_path / "fits" / "one" / "manifest.json").write_text("{}")
        return subprocess.CompletedProcess(command, 0, "said")

    monkeypatch.setattr(fits.subprocess, "run", run)
    assert fits.make()["one"]["commit"] == "said"
    fits.make()
    assert made == [["fit", "one"]]
    (tmp_path / "bayesdense" / "laws.py").write_text("another")
    fits.make()
    assert len(made) == 2
    monkeypatch.setattr(
        fits.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "no")
    )
    (tmp_path / "bayesdense" / "laws.py").write_text("a third")
    with pytest.raises(SystemExit, match="one: exit status 1"):
        fits.make()


def test_the_readme_shows_what_the_fit_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = from_docs("fits")
    (tmp_path / "fits").mkdir()
    (tmp_path / "fits" / "densing.txt").write_text("every 1.0 months\n", encoding="utf-8")
    marks = ("<!-- output of `bayesdense fit` -->", "<!-- end of output -->")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    monkeypatch.setattr(fits, "ROOT", tmp_path)
    monkeypatch.setattr(fits, "WHERE", tmp_path)
    fits.show_in_readme()
    shown = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"{marks[0]}\n```text\nevery 1.0 months\n```\n{marks[1]}" in shown
    assert shown.split(marks[0])[0] == readme.split(marks[0])[0]
    assert shown.split(marks[1])[1] == readme.split(marks[1])[1]
