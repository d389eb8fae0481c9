"""Spoilt files given to the program itself, in this process: status, messages, what is printed."""

import contextlib
import io
import json
import os
import random
import sys
from pathlib import Path

import fuzz_holds as holds
from fuzz_kinds import (
    NEWCOMERS,
    SCORES,
    SECONDS,
    Hang,
    alarm,
    csv_bytes,
    edited_fit,
    joint_files,
    kind_named,
)
from fuzz_mutations import NASTY, mutated_csv

from bayesdense.cli import main

#: What a terminal acts on; line ends and tabs are how tables are laid out.
_FORMS = ("table", "json", "csv")


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the program with arguments: status, stdout, stderr."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["bayesdense", *arguments]
    status = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.argv = before
    return status, out.getvalue(), err.getvalue()


def arguments_of(folder: Path, rng: random.Random) -> list[str]:
    """A verb and its arguments, with one spoilt file among them."""
    form = ["--format", rng.choice(_FORMS)]
    match rng.randrange(8):
        case 0 | 1:
            name = rng.choice(("card.toml", "llms.csv", "scores.csv", "runs.csv", "benchmarks.csv"))
            kind_named(name).make(folder, rng)
            place = next(folder.rglob("card.toml")).parent
            return [rng.choice(("validate", "show", "point", "trends")), str(place), *form]
        case 2:
            kind_named("model.toml").make(folder, rng)
            return [rng.choice(("validate", "show")), str(folder / "model.toml"), *form]
        case 3:
            assignment = f"{rng.choice(('trend', 'name', 'options.params'))}={rng.choice(NASTY)}"
            return ["fit", rng.choice(NASTY), "--set", assignment.replace("\x00", ""), *form]
        case 4:
            models = folder / "new.csv"
            models.write_bytes(mutated_csv(NEWCOMERS, rng))
            scores = folder / "scores.csv"
            scores.write_bytes(csv_bytes(SCORES))
            given = ["--scores", str(scores)] if rng.random() < 0.3 else []
            return ["score", str(joint_fit(folder)), str(models), *given, *form]
        case 5:
            kind_named("frozen forecast").make(folder, rng)
            return ["backtest", "olmo-ladder", "--score", str(folder / "forecast.json"), *form]
        case 6:
            kind_named("summary.json").make(folder, rng)
            return ["report", str(folder / "fit"), "--out", str(folder / "report.html"), *form]
        case _:
            place = edited_fit(folder, joint_files(), rng)
            verb = rng.choice(("summarize", "check", "predict", "forecast", "plot"))
            more = {
                "predict": ["--params", "7e9", "--tokens", "2e12"],
                "forecast": ["--at", "2026-01-01"],
                "plot": [rng.choice(("trend", "sizes")), "--out", str(folder / "plot.png")],
            }
            return [verb, str(place), *more.get(verb, []), *form]


def joint_fit(folder: Path) -> Path:
    """A whole fit of a joint model."""
    place = folder / "whole"
    place.mkdir()
    for name, content in joint_files().items():
        (place / name).write_bytes(content)
    return place


def try_arguments(folder: Path, seed: int) -> str:
    """Judge one call: `refused` or `answered`; raises AssertionError."""
    arguments = [
        text.replace("\x00", "") for text in arguments_of(folder, random.Random(f"cli {seed}"))
    ]
    name = f"cli {seed}: {arguments[:2]}"
    began = os.times()
    try:
        with alarm(12 * SECONDS):
            status, out, err = run(*arguments)
    except Hang:
        raise AssertionError(f"{name}: hangs") from None
    ended = os.times()
    assert ended.user - began.user < 3 * SECONDS, name  # verbs compute, too
    assert "Traceback" not in err, f"{name}: {err[-500:]}"
    assert "internal error" not in err, f"{name}: {err[-500:]}"
    assert status in (0, 1, 2), f"{name}: status {status}: {err[-500:]}"
    assert status == 0 or err or out, name
    for text in (out, err):
        assert all(c.isprintable() or c in "\n\r" for c in text), f"{name}: {text[-300:]!r}"
    if "json" in arguments and out:
        json.loads(out, parse_constant=lambda text: 1 / 0)
    assert holds.is_message(err or "-"), name
    return "refused" if status == 2 else "answered"
