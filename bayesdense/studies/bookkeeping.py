"""What every study needs: jobs that are done once, and a record of what they were made with."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from bayesdense.files import write_text_atomic

_PACKAGES = ("bayesdense", "pymc", "pytensor", "nutpie", "arviz", "numpy")

#: The result of a job or a study: what JSON can hold.
type Record = dict[str, object]


def done_once(path: Path, job: Callable[[], Record]) -> Record:
    """Return what a job wrote to its file; without one, run it and write it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, json.dumps(job()))
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record


def made_with() -> Record:
    """Commit, versions and machine: what it takes to make figures again."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {
        "commit": _commit(),
        "versions": {name: version(name) for name in _PACKAGES},
        "machine": f"{machine}, Python {platform.python_version()}",
    }


@cache
def _commit() -> str | None:
    """Commit of this code, wherever it is run, at the first call: later ones are not of it."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


class Stopwatch:
    """Seconds since it was made: on the wall, and of this process, which others do not slow."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> Record:
        """Return `wall_seconds` and `cpu_seconds`."""
        wall, cpu = self._began
        return {
            "wall_seconds": round(time.perf_counter() - wall, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }
