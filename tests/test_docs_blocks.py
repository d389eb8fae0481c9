"""Every block of code in README and docs runs, in the order of its page, as a reader would run it.

Chains are short, as what is tried is the page and not the posterior; whatever else is made smaller
stands in `SHORTER`. Statistics of the shipped data are the business of other tests.
"""

import contextlib
import csv
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import ENVIRONMENT, invoke

import bayesdense as bd

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data" / "densing"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)
RUN = ("python", "console", "bash")

#: Length of chains, in place of what a page says or leaves to the defaults.
LENGTH = {"draws": 40, "tune": 40, "chains": 2}
#: Verbs that take a length, and whose short chains fail checks (exit status 1), with what else is
#: left out: figures of the report, and processes that import everything anew.
FITTING = {
    "fit": ("--no-report",),
    "sweep": ("--executor", "serial"),
    "backtest": ("--executor", "serial"),
    "compare": (),
    "power": ("--simulations", "3", "--executor", "serial"),
    "calibrate": ("--draws", "500", "--tune", "100", "--executor", "serial"),
}
#: What is said on a page, and what is run in its place.
SHORTER = {
    # the first half of what it says; uv is what runs this
    "pip install uv && uv run bayesdense fit": "bayesdense fit",
    # minutes: that trend goes through its pm.Model
    "fit densing --set trend=break_free": "fit densing-published --set trend=break_free",
    "--axes reference_tokens,params": "--axes date_error",
    'axes=["reference_tokens"]': 'axes=["date_error"], draws=40, tune=40, chains=2',
    # about 35 fits
    "sweep densing --jobs 2": "sweep densing --jobs 2 --axes date_error",
    "sweep densing --resume": "sweep densing --resume --axes date_error",
    # six refits of each trend
    "compare densing --trends exponential,quadratic --lfo": (
        "compare densing-published --trends exponential,quadratic --lfo"
    ),
    # twice twenty fits, and a free break where sizes are inferred
    "--check 20": "--check 1",
    "bayesdense power densing": "bayesdense power densing-published",
    "compare densing --trends exponential,break_free --power studies/power-densing": (
        "compare densing-published --trends exponential,break_free "
        "--power studies/power-densing-published"
    ),
    # hundreds of fits, and ranks of too few of them to be repeated
    "densing --quick --plot": "densing --fits 1 --plot",
    "calibrate densing --jobs 2": "calibrate densing --jobs 2 --fits 1",
    "--fits 200 --world all --jobs 2": "--fits 1 --world whole_percent",
    "--fits 200 --world all --truths data": "--fits 1 --truths data",
    "fits=100, worlds=": "fits=1, draws=500, tune=100, worlds=",
    "bayesdense backtest densing  ": "bayesdense backtest densing --origins 2024-06",
    'out="studies/backtest"': 'origins=["2024-06"], draws=40, tune=40, chains=2, out="studies/one"',
}
#: Verbs whose output is the same everywhere: where a page shows it, it is what is printed.
REPEATABLE = ("point", "trends")
#: Blocks that are not run, and why.
LEFT_OUT = {
    "uv run pytest": "it is what runs this test",
    "--repeat-of studies/": "one fit has no ranks that are judged",
    "--weights studies/": "chains this short give no weights of leave-future-out",
    "uv run sphinx-build": "`.ci/run` does, as it takes two minutes",
    "tests/faults.py $part": "it kills commands for an hour",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Kind and text of every block of a page, without its indent."""
    return [
        (found["kind"], re.sub(rf"^{found['indent']}", "", found["text"], flags=re.M))
        for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def shortened(text: str) -> str:
    for said, run in SHORTER.items():
        text = text.replace(said, run)
    return text


class Reader:
    """Who does what a page says, in a folder of their own."""

    def __init__(
        self, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.place = place
        self.names: dict[str, Any] = {"__name__": "page"}
        self.printed = ""
        self.program: Callable[..., tuple[int, str, str]] = lambda *arguments: invoke(
            monkeypatch, capsys, *arguments
        )

    def python(self, text: str) -> None:
        """In one namespace for a page, as in a notebook; as a script where it says so."""
        if "__main__" in text:
            (self.place / "script.py").write_text(text, encoding="utf-8")
            self.process([sys.executable, "script.py"])
        else:
            exec(compile(text, "page", "exec"), self.names)

    def shell(self, text: str) -> None:
        """One line after the other; `printed` is what the last one says."""
        if "dask scheduler" in text:
            start_dask(text)
            return
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            words = words[2:] if words[:2] == ["uv", "run"] else words
            if not words:
                continue
            if words[0] == "bayesdense":
                self.bayesdense(words[1:])
            else:
                self.process(words)

    def bayesdense(self, words: list[str]) -> None:
        """In this process, which is quicker; a length of chains is added."""
        if words[0] in FITTING and words[2:3] != ["--score"]:  # which judges, and fits nothing
            length = [word for name, n in LENGTH.items() for word in (f"--{name}", str(n))]
            words = [*words, *length, *FITTING[words[0]]]
        status, self.printed, said = self.program(*words)
        assert status in allowed(words[0]), f"{words}: exit status {status}\n{said}"
        assert "internal error" not in said, said

    def process(self, words: list[str]) -> None:
        done = subprocess.run(
            words, cwd=self.place, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"


def allowed(verb: str) -> tuple[int, ...]:
    """Exit statuses of a verb that may read short chains: 1 says that a check failed."""
    return (0, 1) if verb in (*FITTING, "check") else (0,)


def start_dask(text: str) -> None:
    """Start scheduler and workers as a page says, here, and see that they find each other."""
    from distributed import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = text.replace("host:", "127.0.0.1:").replace("8786", str(port))
    text = text.replace("--nworkers 16", "--nworkers 1 --no-dashboard")
    with contextlib.ExitStack() as running:
        for line in text.splitlines():
            words = [str(Path(sys.executable).with_name("dask")), *shlex.split(line)[1:]]
            started = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            running.callback(started.wait)
            running.callback(started.terminate)
        with Client(f"tcp://127.0.0.1:{port}", timeout=60) as client:
            client.wait_for_workers(1, timeout=60)


@pytest.fixture(scope="module")
def short_fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of the main dataset, for pages that begin where one is there."""
    fit = bd.fit(bd.load_spec("joint"), bd.load_dataset("densing"), seed=1, **LENGTH)
    return fit.save(tmp_path_factory.mktemp("fits") / "densing")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A clone's folder as far as pages see it; whatever is changed for the page is put back."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "fits").mkdir()
    monkeypatch.chdir(tmp_path)
    # `--trend-file` and `add_trend` add to this process: what is added goes when the page is done.
    monkeypatch.setattr("bayesdense.trends.known._ADDED", {})
    whole = bd.fit

    def short(spec: bd.ModelSpec, dataset: bd.Dataset, **options: Any) -> bd.Fit:
        return whole(spec, dataset, **options | (LENGTH if spec.is_joint else {}))

    if request.node.callspec.params["page"].name != "README.md":  # whose checks have to pass
        monkeypatch.setattr(bd, "fit", short)
    return tmp_path


def prepare(page: str, place: Path, short_fit: Callable[[], Path]) -> None:
    """What a page takes to be there already."""
    if page not in ("README.md", "docs/tutorials/first-fit.md"):
        (place / "fits" / "densing").symlink_to(short_fit())
    if page == "docs/how-to/compare-two-fits.md":
        for month in ("march", "april"):
            (place / "fits" / month).symlink_to(short_fit())
        shutil.copytree(DATA, place / "april-data")
        shutil.copy(ROOT / "models" / "joint.toml", place / "march-model.toml")
    if page == "docs/how-to/own-dataset.md":
        shutil.copytree(DATA, place / "our-ladder")
    if page == "docs/how-to/forecast.md":
        later_dataset(place / "my-later-dataset")


def later_dataset(folder: Path) -> None:
    """The main dataset, its last LLMs released a year later."""
    shutil.copytree(DATA, folder)
    path = folder / "llms.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["release_date"] > "2025-07":
            row["release_date"] = row["release_date"].replace("2025", "2026")
    with path.open("w", encoding="utf-8", newline="") as file:
        written = csv.DictWriter(file, list(rows[0]))
        written.writeheader()
        written.writerows(rows)


#: Blocks that a page says to save: how each begins, and the file.
SAVED = {
    "llm,release_date,n_params,n_params_non_embedding,family,": "new-llms.csv",
    "llm,release_date,n_params,n_params_non_embedding,family\n": "our-llms.csv",
    "llm,benchmark,score": "new-scores.csv",
    "import numpy as np\n\nfrom bayesdense import Trend": "my_trends.py",
    'title = "Our ladder': "our-ladder/card.toml",
}


@pytest.mark.fit
@pytest.mark.filterwarnings("ignore:Numba will use object mode")  # of PyMC's prior draws
@pytest.mark.parametrize(
    "page", [page for page in PAGES if {kind for kind, _ in blocks(page)} & set(RUN)], ids=page_id
)
def test_blocks_run(
    page: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    prepare(page_id(page), place, lambda: request.getfixturevalue("short_fit"))
    reader = Reader(place, monkeypatch, capsys)
    before = "nothing run"
    for kind, text in blocks(page):
        for beginning, name in SAVED.items():
            if text.startswith(beginning):
                (place / name).write_text(text, encoding="utf-8")
        if any(said in text for said in LEFT_OUT):
            continue
        if kind == "python":
            reader.python(shortened(text))
        elif kind in RUN:
            reader.shell(shortened(text))
            before = text
        elif kind == "text" and before.split()[-2] in REPEATABLE:
            assert [line.rstrip() for line in text.strip("\n").splitlines()] == [
                line.rstrip() for line in reader.printed.strip("\n").splitlines()
            ]

    if page.name == "trends.md":
        told_as_quoted(page, bd.growth_break(reader.names["fit"]))


def told_as_quoted(page: Path, found: bd.GrowthBreak) -> None:
    """Hold a quoted sentence to what the fit of its page says: numbers differ by rounding only."""
    lines = re.findall(r"^> (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    number = re.compile(r"-?\d+\.\d+")
    quoted, said = (" ".join(" ".join(lines).split()), repr(found).replace("95%", "95 %"))
    assert number.sub("#", quoted) == number.sub("#", said)
    pairs = zip(number.findall(quoted), number.findall(said), strict=True)
    assert all(abs(float(one) - float(other)) <= 0.11 for one, other in pairs), said


def test_whatever_is_made_smaller_is_on_a_page() -> None:
    shown = "\n".join(text for page in PAGES for kind, text in blocks(page))
    for said in (*SHORTER, *LEFT_OUT, *SAVED):
        assert said in shown, f"{said}: on no page any more"


def test_blocks_of_code_say_what_they_are() -> None:
    known = {*RUN, "text", "toml", "{toctree}", "{eval-rst}", ""}
    fence = re.compile(r"^ *```(\S+)$", re.M)
    for page in PAGES:
        assert set(fence.findall(page.read_text(encoding="utf-8"))) <= known, page_id(page)
