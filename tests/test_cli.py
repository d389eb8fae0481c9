"""The command line as its users meet it: answers, exit statuses, messages, quickness."""

import csv
import inspect
import io
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import every_cell, tiny_dataset
from fake_fit import fake_checks, fake_fit
from program import SCHEMAS, cli, hold, invoke
from rich.console import Console

import bayesdense
from bayesdense import summary, text_tables
from bayesdense.catalog import model_path
from bayesdense.cli import fitting, words
from bayesdense.cli.options import Format
from bayesdense.cli.output import Answer, columns_or_stack, emit, table
from bayesdense.cli.progress import Reporter
from bayesdense.errors import BayesdenseError, CheckFailure
from bayesdense.results import Fit
from bayesdense.wording import printable_lines

VERBS = (
    *("list", "show", "validate", "fit", "check", "summarize", "predict", "score"),
    *("forecast", "point", "simulate"),
)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda *arguments: invoke(monkeypatch, capsys, *arguments)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A dataset of densities, the smallest that is whole."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "card.toml").write_text('title = "Tiny"\nretrieved = 2025-01-02\n', encoding="utf-8")
    rows = "".join(f"llm-{k},f{k},2024-0{k}-01,{0.1 * 2**k}\n" for k in range(1, 9))
    text = f"llm,family,release_date,density\n{rows}"
    (folder / "densities.csv").write_text(text, encoding="utf-8")
    return folder


# Quickness and help


@pytest.mark.parametrize(
    "arguments", [("--help",), ("list",), ("fit", "--help"), ("show", "densing")]
)
def test_quick_verbs_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; from bayesdense.cli import main\n"
        f"sys.argv = ['bayesdense', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'pymc', 'xarray', 'scipy', 'matplotlib', 'numba'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == ""


def test_nothing_is_searched_for_cycles_at_the_end() -> None:
    code = (
        "import atexit, gc, sys; from bayesdense.cli import main\n"
        "atexit.register(lambda: print(gc.get_freeze_count(), file=sys.stderr))\n"
        "sys.argv = ['bayesdense', 'list']\n"
        "main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stderr) > 0


@pytest.mark.parametrize("arguments", [("--help",), ("list",)])
def test_help_and_list_answer_at_once(arguments: tuple[str, ...]) -> None:
    def busy() -> float:
        """Seconds of work, which other programs on the machine do not stretch, where known."""
        times = os.times()
        return time.perf_counter() if os.name == "nt" else times[2] + times[3]

    def seconds() -> float:
        began = busy()
        assert cli(*arguments).returncode == 0
        return busy() - began

    assert min(seconds() for _ in range(3)) < 1.0


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str, call: Any) -> None:
    status, out, _ = call(verb, "--help")
    assert status == 0
    assert f"Example: bayesdense {verb}" in out
    assert "--format" in out
    assert max(map(len, out.splitlines())) <= 80


def test_no_verb_is_missing_from_help(call: Any) -> None:
    _, out, _ = call("--help")
    shown = {line.split()[1] for line in out.splitlines() if line.startswith("│ ") and "  " in line}
    assert set(VERBS) <= shown


def test_version(call: Any) -> None:
    assert call("--version")[:2] == (0, f"bayesdense {bayesdense.__version__}\n")


def test_completion_offers_shipped_names() -> None:
    words = {"COMP_WORDS": "bayesdense fit dens", "COMP_CWORD": "2"}
    done = cli(env={"_BAYESDENSE_COMPLETE": "complete_bash", **words})
    assert {"densing", "densing-published"} <= set(done.stdout.split())


# Verbs that look


def test_list_in_three_forms(call: Any) -> None:
    status, out, _ = call("list", "--format", "json")
    payload = json.loads(out)
    hold(payload, "list")
    assert status == 0
    names = [entry["name"] for entry in payload["datasets"] + payload["models"]]
    assert names == [*bayesdense.dataset_names(), *bayesdense.model_names()]

    rows = list(csv.DictReader(io.StringIO(call("list", "--format", "csv")[1])))
    assert [row["name"] for row in rows] == names
    assert {row["kind"] for row in rows} == {"dataset", "model"}

    shown = call("list")[1]
    assert all(name in shown for name in names)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("columns", [30, 40, 60])
def test_narrow_terminals_get_whole_words(columns: int, tiny: Path) -> None:
    for verb in (("list",), ("point", tiny, "--permutations", "20")):
        shown = cli(*verb, env={"COLUMNS": str(columns)}).stdout
        assert max(map(len, shown.splitlines())) <= columns
        assert verb[0] == "point" or "reference" in shown.split()
    assert "dataset densing" in cli("list", env={"COLUMNS": "40"}).stdout


def test_list_counts_what_the_tables_hold(call: Any) -> None:
    entries = {d["name"]: d for d in json.loads(call("list", "--format", "json")[1])["datasets"]}
    densing = bayesdense.load_dataset("densing")
    counts = {key: entries["densing"][key] for key in ("n_llms", "n_scores", "n_losses")}
    assert counts == {
        "n_llms": len(densing.llms),
        "n_scores": len(densing.scores),
        "n_losses": len(densing.runs),
    }
    assert entries["densing-published"]["n_scores"] is None


@pytest.mark.parametrize("name", ["densing", "joint"])
def test_show_a_shipped_name(name: str, call: Any) -> None:
    status, out, _ = call("show", name, "--format", "json")
    payload = json.loads(out)
    hold(payload, "show")
    assert status == 0
    assert payload["name"] == name
    assert max(map(len, call("show", name)[1].splitlines())) <= 80


def test_show_a_folder(tiny: Path, call: Any) -> None:
    payload = json.loads(call("show", tiny, "--format", "json")[1])
    hold(payload, "show")
    assert payload["card"] == {"title": "Tiny", "retrieved": "2025-01-02"}
    assert payload["tables"][0]["rows"] == 8


def test_show_refuses_an_empty_folder_as_validate_does(tmp_path: Path, call: Any) -> None:
    said = one_error(call("show", tmp_path))
    assert said == one_error(call("validate", tmp_path))
    assert "card.toml: missing" in said and "no tables" in said


def test_show_needs_the_card_or_a_table(tiny: Path, call: Any) -> None:
    (tiny / "card.toml").rename(tiny / "card.bak")
    assert call("show", tiny)[0] == 0
    (tiny / "card.bak").rename(tiny / "card.toml")
    (tiny / "densities.csv").unlink()
    status, out, _ = call("show", tiny)
    assert status == 0 and "Tiny" in out


def test_show_names_every_prior_of_a_model(call: Any) -> None:
    spec = bayesdense.load_spec("joint")
    out = call("show", "joint", "--format", "csv")[1]
    for name, component in spec.components.items():
        for prior in component.priors:
            assert f"{name}.priors.{prior}," in out


def test_show_tells_scale_and_reason_of_every_prior_and_where_the_model_lies(call: Any) -> None:
    spec = bayesdense.load_spec("joint")
    payload = json.loads(call("show", "joint", "--format", "json")[1])
    assert payload["digest"] == spec.digest
    assert Path(payload["path"]).name == "joint.toml"
    assert Path(payload["path"]).is_file()
    rows = csv.DictReader(io.StringIO(call("show", "joint", "--format", "csv")[1]))
    told = {row["key"]: row for row in rows}
    shown = " ".join(call("show", "joint")[1].split())
    for name, component in spec.components.items():
        assert f"[{name}] kind = {component.kind}" in shown
        for variable, prior in component.priors.items():
            for key, one in [("", prior), *((f".kwargs.{k}", p) for k, p in prior.inner.items())]:
                row = told[f"{name}.priors.{variable}{key}"]
                assert (row["reason"], row["scale"]) == (one.reason, one.scale or "")
                assert one.reason in shown
            assert not prior.scale or f"times {prior.scale}: {prior.scale_meaning}" in shown
    assert told["residual.priors.residual_df"]["used"] == "false"
    assert told["residual.priors.residual_sd"]["used"] == "true"


@pytest.mark.parametrize("name", bayesdense.model_names())
def test_what_show_says_of_set_is_true(name: str, call: Any) -> None:
    lines = [line.split() for line in call("show", name)[1].splitlines()]
    hints = [words[1] for words in lines if words[:1] == ["--set"]]
    spec = bayesdense.load_spec(name)
    assert len(hints) == 3
    assert spec.with_overrides(hints) == spec, "the hints name entries with the values they have"


def test_show_checks_a_model_file(tmp_path: Path, call: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('schema = 1\nname = "mine"\ntrent.kind = "flat"\n', encoding="utf-8")
    status, out, err = call("show", path)
    assert (status, out) == (2, "")
    assert "did you mean 'trend'?" in err


def test_an_unknown_name_is_answered_with_the_nearest(call: Any) -> None:
    status, out, err = call("show", "jont")
    assert (status, out) == (2, "")
    assert "did you mean 'joint'?" in err
    assert "Traceback" not in err


def test_validate_a_good_dataset(tiny: Path, call: Any) -> None:
    status, out, _ = call("validate", tiny, "--format", "json")
    payload = json.loads(out)
    hold(payload, "validate")
    assert status == 0
    assert payload["valid"]
    assert payload["rows"] == {"densities": 8}
    shown = " ".join(call("validate", tiny)[1].split())
    assert "a valid dataset (8 densities)" in shown


def test_validate_names_every_problem(tiny: Path, call: Any) -> None:
    path = tiny / "densities.csv"
    text = path.read_text(encoding="utf-8").replace("2024-02-01,0.4", "2024-13-01,-1")
    path.write_text(text, encoding="utf-8")
    status, out, err = call("validate", tiny, "--format", "json")
    payload = json.loads(out)
    hold(payload, "validate")
    assert (status, payload["valid"], len(payload["problems"])) == (2, False, 2)
    status, out, err = call("validate", tiny)
    assert (status, out) == (2, "")
    assert "2 problems" in err


def test_validate_a_model_file(tmp_path: Path, call: Any) -> None:
    assert call("validate", "no-such.toml")[0] == 2
    path = tmp_path / "mine.toml"
    path.write_text("schema = 1\n", encoding="utf-8")
    assert call("validate", path)[0] == 2


@pytest.mark.parametrize("verb", ["show", "validate"])
def test_a_models_file_needs_no_suffix(verb: str, tmp_path: Path, call: Any) -> None:
    path = tmp_path / "mine"
    path.write_bytes(model_path("joint").read_bytes())
    status, out, _ = call(verb, path, "--format", "json")
    assert (status, json.loads(out)["kind"]) == (0, "model")


def test_a_wrong_option_is_told_with_the_models_file(tmp_path: Path, call: Any) -> None:
    path = tmp_path / "mine.toml"
    text = model_path("joint").read_text(encoding="utf-8")
    path.write_text(text.replace("base_only = true", 'base_only = "yes"'), encoding="utf-8")
    assert "mine.toml: options.base_only: 'yes'" in one_error(call("validate", path))


@pytest.mark.parametrize("name", ["", "  "])
@pytest.mark.parametrize("verb", ["show", "validate"])
def test_an_empty_name_is_told_as_that(verb: str, name: str, call: Any) -> None:
    assert one_error(call(verb, name)).startswith("error: the name is empty, allowed a dataset")


def test_validate_knows_names_of_models(call: Any) -> None:
    status, out, _ = call("validate", "joint", "--format", "json")
    payload = json.loads(out)
    hold(payload, "validate")
    assert (status, payload["kind"], payload["valid"]) == (0, "model", True)
    status, out, err = call("validate", "jont")
    assert (status, out) == (2, "")
    assert "did you mean 'joint'?" in err
    status, out, _ = call("validate", "jont", "--format", "json")
    assert (status, json.loads(out)["valid"]) == (2, False)


# Hostile input


def one_error(answer: tuple[int, str, str]) -> str:
    """What a refusal says: one error, status 2, no internal error and no traceback."""
    status, out, err = answer
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "internal" not in err
    return err


@pytest.mark.parametrize(
    "arguments",
    [("show", "\x1b[2J\x9bx"), ("validate", "\x1b[2J\x9bx"), ("list", "--format", "\x1b[2J"),
     ("\x1b[2J\x9b",), ("list", "--\x1b[2J"), ("check", "\x1b[2J\x9b")],
    ids=range(6),
)  # fmt: skip
def test_hostile_arguments_are_escaped(arguments: tuple[str, ...], call: Any) -> None:
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert [char for char in err if not char.isprintable() and char != "\n"] == []


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [("show", LONG), ("show", f"{LONG}.toml"), ("validate", LONG), ("validate", f"{LONG}.toml"),
     ("fit", "-q", "--model", LONG), ("fit", "-q", "--model", f"{LONG}.toml"), ("fit", LONG),
     ("fit", "--out", LONG), ("simulate", "--out", LONG), ("point", LONG), ("check", LONG),
     ("summarize", LONG), ("predict", LONG, "--params", "1e9", "--tokens", "1e12")],
    ids=lambda arguments: " ".join(arguments)[:20],
)  # fmt: skip
def test_a_name_that_no_file_system_takes_is_one_error(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "xxx" in one_error(call(*arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["show", "validate"])
def test_a_card_is_no_model(verb: str, tiny: Path, call: Any) -> None:
    message = one_error(call(verb, tiny / "card.toml"))
    assert f"did you mean its folder {tiny}?" in message


@pytest.mark.parametrize("verb", ["fit", "simulate"])
def test_no_folder_is_not_the_working_directory(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = call(verb, "--out", "")
    assert (status, out) == (2, "")
    assert "empty, allowed: a folder" in " ".join(err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "card",
    ["title = " + "[" * 5000, "title = " + "9" * 5000, "title = " + "x." * 9 + "'"],
    ids=["nested", "digits", "no toml"],
)
def test_a_monstrous_card_is_one_error(card: str, tiny: Path, call: Any) -> None:
    (tiny / "card.toml").write_text(card, encoding="utf-8")
    for verb in ("show", "validate", "point"):
        assert "card.toml" in one_error(call(verb, tiny))


def test_a_monstrous_number_in_a_card_is_shown(tiny: Path, call: Any) -> None:
    number = "1" + "0" * 400
    (tiny / "card.toml").write_text(f'title = "x"\nn = {number}\n', encoding="utf-8")
    status, out, _ = call("show", tiny, "--format", "json")
    assert (status, json.loads(out)["card"]["n"]) == (0, number[:60] + "...")


def test_a_monstrous_cell_is_one_error(tiny: Path, call: Any) -> None:
    with (tiny / "densities.csv").open("a", encoding="utf-8") as file:
        file.write("x" * 200_000 + ",f,2024-01-01,1\n")
    for verb in ("show", "validate", "point"):
        assert "densities.csv" in one_error(call(verb, tiny))


# Point


def test_point_reproduces_the_paper(call: Any) -> None:
    status, out, _ = call("point", "densing-published", "--format", "json", "--permutations", "50")
    payload = json.loads(out)
    hold(payload, "point")
    assert status == 0
    assert payload["n_records"] == 9
    assert payload["doubling_time_days"] == pytest.approx(106.2, abs=0.05)
    shown = call("point", "densing-published", "--permutations", "50")[1]
    assert "106.2 days" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    rows = csv.DictReader(io.StringIO(call("point", "densing-published", "--format", "csv")[1]))
    assert sum(row["is_record"] == "true" for row in rows) == 9


def test_point_says_densities_that_no_float_holds(tiny: Path, call: Any) -> None:
    path = tiny / "densities.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(",0.2\n", ",1e-320\n").replace(",25.6\n", ",1.79e308\n"), "utf-8")
    status, out, err = call("point", tiny, "--permutations", "20")
    assert (status, err) == (0, "")
    assert "1.00e-320" in out
    assert "beyond 1e+304" in out
    payload = json.loads(call("point", tiny, "--permutations", "20", "--format", "json")[1])
    assert payload["records"][-1]["density"] is None


def test_point_with_too_few_records_for_a_line_says_so(tiny: Path, call: Any) -> None:
    path = tiny / "densities.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",0.2\n", ",99\n"), "utf-8")
    status, out, err = call("point", tiny, "--permutations", "50")
    assert (status, err) == (0, "")
    assert "tiny: 1 record: too few for a line" in out
    assert "Were there no growth" in out
    assert "for growth at least as fast" not in out


def test_point_claims_no_more_than_its_permutations_show(tiny: Path, call: Any) -> None:
    out = " ".join(call("point", tiny, "--permutations", "20")[1].split())
    assert "p < 0.05 for growth" in out or "p = 0." in out
    assert "p = 0.0000" not in out


def test_losses_that_no_law_fits_are_one_error(tmp_path: Path, call: Any) -> None:
    folder = tiny_dataset(tmp_path, runs=every_cell("loss", lambda _: "1e308"))
    assert "loss law fits none of the 9 reference losses" in one_error(call("point", folder))


# Simulate


def test_simulate_writes_a_dataset_and_its_truth(tmp_path: Path, call: Any) -> None:
    folder = tmp_path / "world"
    status, out, err = call("simulate", "--out", folder, "--seed", "4", "--format", "json")
    payload = json.loads(out)
    hold(payload, "simulate")
    assert (status, err) == (0, "")
    truth = tomllib.loads((folder / "truth.toml").read_text(encoding="utf-8"))
    assert truth["global"]["growth_rate"] == payload["truth"]["growth_rate"]
    assert bayesdense.load_dataset(folder).digest == payload["dataset"]["digest"]

    status, out, err = call("simulate", "--out", folder, "--seed", "5")
    assert (status, out) == (2, "")
    assert "--force" in err
    status, out, _ = call("simulate", "--out", folder, "--seed", "5", "--force")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80


def test_simulate_says_which_datasets_and_models_it_needs(tmp_path: Path, call: Any) -> None:
    out = ("--out", tmp_path / "new")
    message = one_error(call("simulate", "--like", "densing-published", *out))
    assert "simulate needs a dataset with scores" in message
    message = one_error(call("simulate", "--model", "trend_only", *out))
    assert "draws no scores" in message
    assert list(tmp_path.iterdir()) == []


def test_simulate_refuses_an_occupied_folder_before_any_work(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    monkeypatch.setattr("bayesdense.simulate.simulate_dataset", raising(AssertionError("work")))
    assert "--force" in one_error(call("simulate", "--out", tiny))


# Fit


def test_defaults_are_the_library_s() -> None:
    library = inspect.signature(bayesdense.fit).parameters
    verb = inspect.signature(fitting.fit).parameters
    shared = ("draws", "tune", "chains", "seed", "sampler")
    assert {name: verb[name].default for name in shared} == {
        name: library[name].default for name in shared
    }


# Exit statuses and messages


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-verb",),
        ("show",),
        ("fit", "--draws", "many"),
        ("list", "--format", "xml"),
        ("-x",),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...], call: Any) -> None:
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert err


def raising(error: BaseException) -> Any:
    def verb() -> tuple[str, ...]:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BayesdenseError("no such thing"), 2, "error: no such thing\n"),
        (CheckFailure("r_hat failed"), 1, "error: r_hat failed\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            ZeroDivisionError("x"),
            1,
            "internal error: ZeroDivisionError: x; run again with --debug for more\n",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_statuses(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    monkeypatch.setattr("bayesdense.catalog.dataset_names", raising(error))
    got, out, err = call("list")
    assert (got, out) == (status, "")
    assert err.startswith(message)
    assert "Traceback" not in err


@pytest.mark.parametrize("position", [0, 1])
def test_debug_shows_the_traceback(
    position: int, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    monkeypatch.setattr("bayesdense.catalog.dataset_names", raising(BayesdenseError("oh")))
    arguments = ["list"]
    arguments.insert(position, "--debug")
    status, _, err = call(*arguments)
    assert status == 2
    assert "Traceback" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE whose status to imitate")
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_closed_pipe_is_no_accident(form: str) -> None:
    read, write = os.pipe()
    os.close(read)  # a reader that has gone, without a race against it
    with os.fdopen(write, "w") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "bayesdense", "show", "joint", "--format", form],
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("locale", ["ascii", "cp1252", "latin-1:strict"])
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_redirected_output_is_utf8_under_every_locale(form: str, locale: str, tiny: Path) -> None:
    (tiny / "card.toml").write_text('title = "Zażółć 🦙"\n', encoding="utf-8")
    done = cli("show", tiny, "--format", form, env={"PYTHONIOENCODING": locale, "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (0, "")
    assert form == "csv" or "Zażółć 🦙" in done.stdout
    nowhere = cli("show", "nie-ma-żadnego", env={"PYTHONIOENCODING": locale, "PYTHONUTF8": "0"})
    assert "nie-ma-żadnego: no dataset" in nowhere.stderr


def test_a_fit_is_not_touched_without_force(tmp_path: Path, call: Any) -> None:
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    status, out, err = call("fit", "densing-published", "--out", tmp_path)
    assert (status, out) == (2, "")
    assert "--force" in err
    assert "--out" in err
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("verb", ["fit", "summarize"])
@pytest.mark.parametrize("days", ["0", "-3", "nan", "inf"])
def test_a_threshold_is_checked_before_any_work(
    verb: str, days: str, tmp_path: Path, call: Any
) -> None:
    arguments = ("--out", tmp_path / "f") if verb == "fit" else (tmp_path,)
    status, out, err = call(verb, *arguments, "--threshold", days)
    assert (status, out) == (2, "")
    assert "a positive number of days" in " ".join(err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def fitting_gives(made: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesdense.inference.fit", lambda *_, **__: made)


def test_a_fit_of_draws_that_are_no_numbers_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    draws = np.random.default_rng(1).normal(2.0, 0.2, (4, 250))
    draws[1, 7] = np.nan
    fitting_gives(fake_fit(growth_draws=draws, densities_only=True), monkeypatch)
    folder = tmp_path / "broken"
    status, out, _ = call("fit", "densing-published", "--out", folder, "--threshold", "90")
    assert status == 1
    assert out.startswith("No answer: 9 of ")  # of growth, and of what follows
    kept = {"fit.nc", "summary.json", "report.html", "manifest.json"}
    assert {path.name for path in folder.iterdir()} == kept
    assert "No answer" in (folder / "report.html").read_text(encoding="utf-8")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    hold(summary, "summary")
    assert summary["growth_rate_per_year"]["median"] is None
    assert call("summarize", folder)[0] == 0
    assert call("check", folder)[0] == 1


def test_warnings_about_the_data_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: Any,
) -> None:
    made = fake_fit(densities_only=True)
    made.tree.attrs["dataset_warnings"] = json.dumps(["three LLMs have one name"])
    fitting_gives(made, monkeypatch)
    for arguments in (("fit", "densing-published", "--out", tmp_path / "f"),
                      ("summarize", tmp_path / "f")):  # fmt: skip
        assert "\nwarning: three LLMs have one name\n" in call(*arguments)[1]
    assert caplog.messages == []
    call("summarize", tmp_path / "f", "--format", "json")
    assert caplog.messages == ["three LLMs have one name"]


@pytest.mark.parametrize("verb", ["check", "summarize"])
def test_a_folder_that_is_no_fit(verb: str, tmp_path: Path, call: Any) -> None:
    status, out, err = call(verb, tmp_path)
    assert (status, out) == (2, "")
    assert "manifest.json" in err


def test_laws_and_maps_of_the_benchmarks(tmp_path: Path, call: Any) -> None:
    fit = fake_fit()
    constant = fit.tree["constant_data"]
    constant["log_params_centre"], constant["log_tokens_centre"] = np.log(1e8), np.log(5e9)
    fit.save(tmp_path / "f")
    payload = json.loads(call("summarize", tmp_path / "f", "--benchmarks", "--format", "json")[1])
    hold(payload, "benchmarks")
    assert payload["centre"] == {"params": pytest.approx(1e8), "tokens": pytest.approx(5e9)}
    assert len(payload["parameters"]) == 2 * 9
    slope = next(row for row in payload["parameters"] if row["parameter"] == "score_slope")
    assert slope["eti95"][0] < slope["median"] == pytest.approx(20.0, abs=0.1)
    shown = call("summarize", tmp_path / "f", "--benchmarks")[1]
    assert "losses at 100M parameters and 5B tokens" in shown and "loss_midpoint" in shown
    rows = list(
        csv.DictReader(
            call("summarize", tmp_path / "f", "--benchmarks", "--format", "csv")[1].splitlines()
        )
    )
    assert {row["benchmark"] for row in rows} == {"MMLU", "BBH"}
    densities = tmp_path / "d"
    fake_fit(densities_only=True).save(densities)
    status, out, err = call("summarize", densities, "--benchmarks")
    assert (status, out) == (2, "") and "a fit of densities only has no laws" in err


# Text for terminals


def test_control_characters_are_shown_not_obeyed() -> None:
    assert printable_lines("a\x1b[31mb\u202ec\x7f\x9bd\ne") == "a\\x1b[31mb\\u202ec\\x7f\\x9bd\ne"


def test_a_hostile_name_stays_text(tiny: Path, call: Any) -> None:
    path = tiny / "card.toml"
    path.write_text('title = "[red]x[/red] \\u001b[2J \\u007F \\u009B1m"\n', encoding="utf-8")
    header = tiny / "densities.csv"
    header.write_text(header.read_text(encoding="utf-8").replace("llm,", "l\x9b1m,", 1), "utf-8")
    for form in ("table", "json", "csv"):
        out = call("show", tiny, "--format", form)[1]
        assert [char for char in out if not char.isprintable() and char != "\n"] == []
        assert form == "csv" or "[red]x[/red]" in out


def test_table_cells_are_no_markup() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(table(("[b]x",), [("[/nothing]",), (None,)]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[/nothing]" in text
    assert "[b]x" in text


@pytest.mark.parametrize("columns", [30, 45, 60])
def test_numbers_are_never_cropped(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ("benchmark", "scores", "CRPS", "log score", "95 %")
    cells = ["HumanEval", 12, "0.0982 \N{PLUS-MINUS SIGN} 0.0521", "-1.996", "100.0 %"]
    parts = columns_or_stack(names, [cells], right=names[1:], compact=True)
    emit(Answer({}, [], (parts,)), Format.TABLE)
    shown = capsys.readouterr().out
    assert all(str(cell) in shown for cell in cells)


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("name", ["Qwen3-30B-A3B-{}", "maker/llm-with-a-long-name-{}-Base"])
def test_a_summary_fits_a_terminal(
    columns: int, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    names = [name.format(k) for k in range(8)]
    fit = fake_fit(llms=names)
    content = summary.summarize(fit, fake_checks("review"))
    hold(content, "summary")
    llms = words.llm_table(text_tables.llm_text_table(fit))
    answer = words.summary_answer(content, summary.headline(content), *llms)
    emit(answer, Format.TABLE)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    assert shown == "".join(f"{line.rstrip()}\n" for line in shown.splitlines())
    lines = [next(line for line in shown.splitlines() if one in line) for one in names]
    assert [line[0] for line in lines] == ["<"] + [" "] * 5 + [">"] * 2, (
        "no name is broken, bounds marked"
    )
    emit(answer, Format.CSV)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["lower_bound_only"] for row in rows].count("true") == 2
    assert rows[0]["n_params"] == "6500000000"


@pytest.mark.parametrize("columns", [40, 80])
def test_checks_fit_a_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    items = [
        {"name": "r_hat", "status": "pass", "value": 1.0043217, "threshold": 1.01, "advice": ""},
        {
            "name": "ppc_score_largest[HumanEval]",
            "status": "review",
            "value": 0.997,
            "threshold": [0.005, 0.995],
            "advice": "look",
        },
    ]
    answer = words.checks_answer(fake_checks("review", items=items).to_dict())
    emit(answer, Format.TABLE)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    assert "ppc_score_largest[HumanEval]" in shown
    assert "1.0043" in shown
    assert "1.00432" not in shown
    emit(answer, Format.CSV)
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["threshold"], first["threshold_low"]) == ("1.01", "")
    assert (second["threshold"], second["threshold_low"], second["threshold_high"]) == (
        "", "0.005", "0.995",
    )  # fmt: skip


def test_check_and_summary_describe_checks_alike() -> None:
    check, whole = (
        json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))["properties"]
        for name in ("check", "summary")
    )
    assert {name: part for name, part in check.items() if name != "schema"} == whole["checks"][
        "properties"
    ]


@pytest.mark.parametrize(
    ("bounds", "text"),
    [((1.0, 2.5), "1.00 to 2.50"), ((1.0, None), "1.00 to unbounded")],
)
def test_an_open_end_is_spelt_out(bounds: tuple[float | None, float | None], text: str) -> None:
    assert words.interval(bounds) == text


def test_nested_json_becomes_columns() -> None:
    tree = {"loss": {"median": 1.0, "eti95_mean": [0.5, None]}, "names": ["a", "b", "c"]}
    assert words.flat(tree) == {
        "loss_median": 1.0,
        "loss_eti95_mean_low": 0.5,
        "loss_eti95_mean_high": None,
        "names": ["a", "b", "c"],
    }


def test_no_color_is_respected(tiny: Path) -> None:
    forced = cli("list", env={"FORCE_COLOR": "1"}).stdout
    plain = cli("list", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert "\x1b[3" not in plain
    assert "\x1b[" in forced


def test_progress_is_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Reporter(quiet=False) as progress:
        progress.stage("fitting [all] of it")
        for done in range(0, 101, 10):
            progress.sampling(done, 100, divergences=1)
        progress.stage("writing")
    out, err = capsys.readouterr()
    lines = [line.split(" s ", 1)[1] for line in err.splitlines()]
    assert out == ""
    assert lines == [
        "fitting [all] of it",
        *(f"sampling, divergences: 1; {done} of 100 draws" for done in (0, 30, 50, 80, 100)),
        "writing",
    ]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(quiet=True) as progress:
        progress.stage("fitting")
        progress.sampling(1, 1)
    assert capsys.readouterr() == ("", "")
