"""Documents say what is: links resolve, commands and names exist, as does each module named."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import bayesdense
from bayesdense.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:uv run )?bayesdense ((?:-\w|--\w|[a-z])[^`|\n(]*)")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)
PROGRAM = get_command(app)
VERBS: dict[str, set[str]] = {
    name: {
        option for parameter in verb.params for option in parameter.opts + parameter.secondary_opts
    }
    for name, verb in PROGRAM.commands.items()  # type: ignore[attr-defined]
}
GLOBAL = {option for parameter in PROGRAM.params for option in parameter.opts} | {"--help", "-vv"}


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(page: Path) -> Iterator[list[str]]:
    """Command lines of the program that a page shows, in blocks and in code spans."""
    shown = [block for kind, block in BLOCK.findall(text(page)) if kind in ("console", "bash")]
    shown += re.findall(r"`([^`\n]+)`", BLOCK.sub("", text(page)))
    for piece in shown:
        for found in COMMAND.findall(re.sub(r"\s+#.*", "", piece)):
            yield shlex.split(found.split(" > ")[0].split("&&")[0])


def anchors(page: Path) -> set[str]:
    """Names that the headings of a page have on GitHub and on the site."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text(page)), flags=re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def dead(page: Path, link: str) -> bool:
    """Whether a link inside the repository names no file, or no heading of it."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return not target.exists() or bool(anchor and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    inside = [link for link in LINK.findall(text(page)) if "://" not in link]
    assert [link for link in inside if dead(page, link)] == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three\n\n```text\n# no heading\n```\n", encoding="utf-8")
    links = {link: dead(page, link) for link in ("page.md#one-two-three", "#no-heading", "x.md")}
    assert links == {"page.md#one-two-three": False, "#no-heading": True, "x.md": True}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist(page: Path) -> None:
    for words in commands(page):
        verb = next((word for word in words if not word.startswith("-")), None)
        assert verb is None or verb in VERBS or verb.isupper(), f"{words}: no such verb"
        options = {word.split("=")[0] for word in words if word.startswith("-")}
        assert options <= VERBS.get(str(verb), set()) | GLOBAL, words


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(text(index))}
    pages = {page for page in (ROOT / "docs").glob("[!e]*/*.md")} | set(
        (ROOT / "docs" / "explanation").glob("*.md")
    )
    assert sorted(page_id(page) for page in pages - linked) == []


def test_the_cli_reference_has_every_verb_and_option() -> None:
    sections = re.split(r"^## ", text(ROOT / "docs/reference/cli.md"), flags=re.M)[1:]
    written = {
        section.split()[0]: {name for name in re.findall(r"`(--[a-z-]+)`", section)}
        for section in sections
    }
    taken = {verb: {o for o in options if o.startswith("--")} for verb, options in VERBS.items()}
    assert written == {verb: options - {"--help"} for verb, options in taken.items()}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_names_exist(page: Path) -> None:
    for kind, block in BLOCK.findall(text(page)):
        if kind == "python":
            ast.parse(block)
            assert set(re.findall(r"\bbd\.(\w+)", block)) <= set(bayesdense.__all__)


def test_the_architecture_names_every_module() -> None:
    page = text(ROOT / "docs/explanation/architecture.md")
    rows = re.findall(r"^\| \d \| ([^|]+) \|", page, flags=re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    package = Path(bayesdense.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__", "_version"}
    folders = {path.parent.name for path in package.glob("*/*.py")}
    assert named == modules | folders


def test_schemas_are_all_listed() -> None:
    page = text(ROOT / "docs/reference/json.md")
    schemas = {path.name for path in (ROOT / "bayesdense" / "schemas").glob("*.json")}
    assert schemas == set(re.findall(r"schemas/(\w+\.schema\.json)", page))


def test_the_readme_opens_with_the_two_commands() -> None:
    blocks = [block.strip() for kind, block in BLOCK.findall(text(ROOT / "README.md"))]
    assert blocks[0] == "$ pip install uv && uv run bayesdense fit"
    assert blocks[2] == "$ uv run pytest"
    assert "\nuv run pytest\n" in text(ROOT / ".ci" / "run")
