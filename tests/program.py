"""Run the program as its users do, and hold its JSON against the schemas that ship."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest

import bayesdense
from bayesdense.cli import main

SCHEMAS = Path(bayesdense.__file__).parent / "schemas"
#: A terminal of 80 columns, on every machine.
ENVIRONMENT = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}


def cli(
    *arguments: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bayesdense", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**ENVIRONMENT, **(env or {})},
        check=False,
    )


def invoke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str, str]:
    """Run the program in this process (quicker): status, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "80")
    # Handlers of the command line would outlive the call and silence other tests' logs.
    monkeypatch.setattr("bayesdense.logs.configure", lambda verbosity: None)
    monkeypatch.setattr(sys, "argv", ["bayesdense", *map(str, arguments)])
    with pytest.raises(SystemExit) as leaving:
        main()
    out, err = capsys.readouterr()
    return int(leaving.value.code or 0), out, err


def hold(payload: object, schema: str) -> None:
    """Hold a JSON output against its schema."""
    content = json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    jsonschema.validate(payload, content)
