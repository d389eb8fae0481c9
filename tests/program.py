"""Run the program as its users do, and hold its JSON against the schemas that ship."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jsonschema

import bayesdense

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


def hold(payload: object, schema: str) -> None:
    """Hold a JSON output against its schema."""
    content = json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    jsonschema.validate(payload, content)
