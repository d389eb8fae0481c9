"""The command line around real, small fits: files, statuses, the verbs that read them, Ctrl-C."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from program import cli, hold, invoke

import bayesdense

pytestmark = pytest.mark.fit

SMALL = ("--draws", "60", "--tune", "60", "--chains", "2", "--seed", "3")
FILES = {"fit.nc", "summary.json", "report.html", "manifest.json"}


def fitted(dataset: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Fit a dataset; so few draws fail the checks, which has to exit 1 with all files written."""
    done = cli("fit", dataset, *SMALL, "--out", folder, "--threshold", "100", "--format", "json")
    assert done.returncode == 1, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda *arguments: invoke(monkeypatch, capsys, *arguments)


@pytest.fixture(scope="module")
def densities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A fit of published densities, and what its command printed."""
    folder = tmp_path_factory.mktemp("fits") / "published"
    return folder, fitted("densing-published", folder).stdout


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of a ladder with scores."""
    folder = tmp_path_factory.mktemp("fits") / "joint"
    fitted("synthetic", folder)
    return folder


def test_fit_writes_what_it_prints(densities: tuple[Path, str]) -> None:
    folder, out = densities
    payload = json.loads(out)
    hold(payload, "summary")
    assert {path.name for path in folder.iterdir()} == FILES
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == payload
    assert payload["model"]["name"] == "trend_only"
    assert payload["seed"] == 3
    assert 0 <= payload["doubling_time_days"]["p_below_threshold"] <= 1
    assert payload["timings_s"]["total"] > payload["timings_s"]["sample"]


def test_an_existing_fit_needs_force(densities: tuple[Path, str]) -> None:
    folder, _ = densities
    before = (folder / "manifest.json").read_bytes()
    done = cli("fit", "densing-published", *SMALL, "--out", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert (folder / "manifest.json").read_bytes() == before


def test_one_seed_gives_one_answer(densities: tuple[Path, str], tmp_path: Path) -> None:
    again = json.loads(fitted("densing-published", tmp_path / "again").stdout)
    answers = [answer["growth_rate_per_year"] for answer in (json.loads(densities[1]), again)]
    for quantity in ("median", "mean", "sd", "eti95"):
        assert answers[0][quantity] == pytest.approx(answers[1][quantity], rel=1e-6)


@pytest.mark.parametrize("fit", ["densities", "joint"])
def test_verbs_that_read_a_fit(fit: str, call: Any, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(fit)
    folder = made[0] if isinstance(made, tuple) else made
    for verb, schema, expected in (("summarize", "summary", 0), ("check", "check", 1)):
        status, out, err = call(verb, folder, "--format", "json")
        assert (status, err) == (expected, "")
        payload = json.loads(out)
        hold(payload, schema)
        assert payload.get("checks", payload)["status"] == "fail"
        assert list(csv.DictReader(io.StringIO(call(verb, folder, "--format", "csv")[1])))
        assert max(map(len, call(verb, folder)[1].splitlines())) <= 80


def test_predict_speaks_of_every_benchmark(joint: Path, call: Any) -> None:
    run = ("--params", "7e9", "--tokens", "2e12")
    status, out, err = call("predict", joint, *run, "--format", "json")
    assert (status, err) == (0, "")
    payload = json.loads(out)
    hold(payload, "predict")
    dataset = bayesdense.load_dataset("synthetic")
    assert [p["benchmark"] for p in payload["predictions"]] == list(dataset.benchmarks["benchmark"])
    assert {(p["n_params"], p["n_tokens"]) for p in payload["predictions"]} == {(7e9, 2e12)}
    shown = call("predict", joint, *run)[1]
    assert max(map(len, shown.splitlines())) <= 80
    assert "Extrapolated beyond" in shown


@pytest.mark.parametrize(("params", "tokens"), [("0", "1e12"), ("7e9", "-1"), ("nan", "1e12")])
def test_predict_refuses_sizes_that_cannot_be(
    params: str, tokens: str, joint: Path, call: Any
) -> None:
    status, out, err = call("predict", joint, "--params", params, "--tokens", tokens)
    assert (status, out) == (2, "")
    assert err.startswith("error: predict: ")


def test_predict_needs_reference_runs(densities: tuple[Path, str], call: Any) -> None:
    status, out, err = call("predict", densities[0], "--params", "7e9", "--tokens", "2e12")
    assert (status, out) == (2, "")
    assert err.startswith("error: ")


def wait_for_sampling(process: subprocess.Popen[str]) -> None:
    """Read what a fit says until it samples."""
    assert process.stderr is not None
    said = ""
    while "sampling" not in said:
        line = process.stderr.readline()
        assert line, f"ended before sampling:\n{said}"
        said += line
    time.sleep(0.5)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
@pytest.mark.usefixtures("minding_ctrl_c")
def test_ctrl_c_while_sampling_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "never"
    size = ("--draws", "50000", "--tune", "100000", "--chains", "2")
    command = [sys.executable, "-m", "bayesdense", "fit", "densing-published", *size]
    with subprocess.Popen(
        [*command, "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            wait_for_sampling(process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()  # one that does not obey must not outlive the test
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert not folder.exists()
