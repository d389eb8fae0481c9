"""Whole processes, as a user starts them: wall seconds, their parts and peak memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent
#: (dataset, seed, environment) -> what came of it.
type Runner = Callable[[str, int, Mapping[str, str]], "Process"]


@dataclass(frozen=True, slots=True)
class Process:
    """One process that ran to its end; `parts_s` is its own account of where the time went."""

    wall_s: float
    peak_gib: float
    status: int
    parts_s: Mapping[str, float | None]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def cold_and_warm(run: Runner, dataset: str, seed: int) -> dict[str, Process]:
    """Run twice in a folder of empty caches: the first run is cold, the second warm.

    Cold means that nothing is compiled: not by numba or PyTensor, nor Python's own bytecode.
    """
    with tempfile.TemporaryDirectory() as folder:
        caches = empty_caches(Path(folder))
        return {state: run(dataset, seed, caches) for state in ("cold", "warm")}


def empty_caches(folder: Path) -> dict[str, str]:
    """Environment in which compiled code is kept in this folder alone.

    Python's bytecode as well, and also where it is switched off: compiling the source of all
    libraries anew at every start takes longer than importing them.
    """
    flags = f"base_compiledir={folder / 'pytensor'}"
    given = os.environ.get("PYTENSOR_FLAGS")
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment | {
        "NUMBA_CACHE_DIR": str(folder / "numba"),
        "PYTHONPYCACHEPREFIX": str(folder / "python"),
        "PYTENSOR_FLAGS": f"{given},{flags}" if given else flags,
    }


def run_fit(
    dataset: str, seed: int, environment: Mapping[str, str], *, draws: int = 1000
) -> Process:
    """Run `bayesdense fit` as from a shell, without the report."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "fit"
        counts = ["--draws", str(draws), "--chains", "4", "--seed", str(seed)]
        counts += ["--quiet", "--no-report"]
        command = [sys.executable, "-m", "bayesdense", "fit", dataset, *counts]
        ended = waited([*command, "--out", str(out)], environment)
        written = out / "summary.json"
        if not written.exists():
            raise RuntimeError(f"bayesdense fit wrote no summary: {ended.stderr[-2000:]}")
        parts = json.loads(written.read_text(encoding="utf-8"))["timings_s"]
    return Process(ended.wall_s, ended.peak_gib, ended.status, parts)


def run_textbook(
    dataset: str,
    seed: int,
    environment: Mapping[str, str],
    *,
    version: str = "centred",
    draws: int = 1000,
    tune: int | None = None,
) -> Process:
    """Run `textbook.py`, under `pm.sample`'s defaults but for what is given."""
    command = [sys.executable, str(_HERE / "textbook.py"), "--dataset", dataset]
    command += ["--version", version, "--seed", str(seed), "--draws", str(draws)]
    if tune is not None:
        command += ["--tune", str(tune)]
    ended = waited(command, environment)
    if ended.status:
        raise RuntimeError(f"textbook.py failed: {ended.stderr[-2000:]}")
    parts = json.loads(ended.stdout.splitlines()[-1])
    return Process(ended.wall_s, ended.peak_gib, ended.status, parts)


class Ended(NamedTuple):
    """What is known of a command that ended."""

    wall_s: float
    peak_gib: float
    status: int
    stdout: str
    stderr: str


def waited(command: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Run a command to its end."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began = time.perf_counter()
        child = subprocess.Popen(command, env=dict(environment), stdout=stdout, stderr=stderr)
        # wait4 gives the memory of this child; getrusage would give the largest of all so far
        _, ended, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(ended)
        stdout.seek(0)
        stderr.seek(0)
        said, complaint = stdout.read().decode(), stderr.read().decode()
    unit = 1 if sys.platform == "darwin" else 1024
    return Ended(wall, usage.ru_maxrss * unit / 2**30, child.returncode, said, complaint)


def main() -> None:
    """Print what `bayesdense fit` takes from empty caches, and then with seeds 1 to 5, as JSON."""
    from measures import machine

    with tempfile.TemporaryDirectory() as folder:
        caches = empty_caches(Path(folder))
        cold, *warm = (run_fit("densing", seed, caches).to_dict() for seed in (1, 1, 2, 3, 4, 5))
    commit = waited(["git", "rev-parse", "HEAD"], os.environ).stdout.strip()
    found = {"commit": commit, "machine": machine(), "cold": cold, "warm": warm}
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
