"""Faults done to the real commands on purpose, and what they cost: kills, by the hundred.

`python tests/faults.py PART --summary docs/evidence/faults.json` does one part and adds what it
found; another `--seed` does another round. Parts are the names in
`PARTS`. Any loss ends it with an AssertionError.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import tables, tiny_dataset, tiny_densities

import bayesdense.approximation
import bayesdense.checks
import bayesdense.report
import bayesdense.studies.sweep
import bayesdense.summary  # noqa: F401 - loaded before forks, as `fit` would
from bayesdense import joint_kernel
from bayesdense.cli import main as main_of_bayesdense
from bayesdense.errors import BayesdenseError
from bayesdense.files import TEMPORARY, write_text_atomic
from bayesdense.results import Fit, load_fit
from bayesdense.studies.bookkeeping import made_with

LENGTH = ("--draws", "50", "--tune", "50", "--chains", "2", "--quiet")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "COLUMNS": "80"}
#: Seconds after which a command that does not end is a loss, too.
PATIENCE = 3600


@dataclass
class Run:
    """A command in a process group of its own."""

    process: "subprocess.Popen[str] | Fork"
    folder: Path

    @property
    def cpu(self) -> float:
        """Seconds of the processor that it and its children have taken: load does not change it."""
        ticks, todo = 0, [self.process.pid]
        while todo:
            pid = todo.pop()
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
            ticks += int(stat[11]) + int(stat[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def writes(self) -> bool:
        """Whether a temporary file of a result lies in its folder, and not only that of a probe."""
        return any(not left.name.startswith(".probe.") for left in self.folder.glob(TEMPORARY))

    def until(self, reached: Callable[[], bool]) -> bool:
        """Wait until something is reached; False if the command ends before."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if reached():
                return True
            assert time.monotonic() < deadline, "hangs"
            time.sleep(0.001)
        return False

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, as a terminal or a system does."""
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """Exit status and what was said on stderr."""
        _, told = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, told


def start(folder: Path, *words: str | Path, env: dict[str, str] | None = None) -> Run:
    """Start a verb as a shell does."""
    command = [sys.executable, "-m", "bayesdense", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT | (env or {}), start_new_session=True, preexec_fn=mind_ctrl_c,
    )  # fmt: skip
    return Run(process, folder)


def mind_ctrl_c() -> None:
    """Mind SIGINT also where this is run in the background, which has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Fork:
    """A verb in a copy of this process, which has loaded the libraries: kills meet its work.

    It has those attributes of `subprocess.Popen` that `Run` asks for.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._said = Path(tempfile.mkstemp(prefix="faults-said-")[1])
        self.returncode: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no thread of this process holds a lock
            self.pid = os.fork()
        if self.pid == 0:
            self._be(words)
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)

    def _be(self, words: Sequence[str]) -> None:
        """Run the verb, and end."""
        status = 1
        try:
            os.setpgid(0, 0)
            mind_ctrl_c()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(self._said, os.O_WRONLY), 2)
            sys.argv = ["bayesdense", *words]
            main_of_bayesdense()
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def poll(self) -> int | None:
        """Exit status, if it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def communicate(self, timeout: float) -> tuple[None, str]:
        """Wait for its end; what it said on stderr."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < deadline, "hangs"
            time.sleep(0.001)
        said = self._said.read_text(encoding="utf-8", errors="replace")
        self._said.unlink()
        return None, said


def fork(folder: Path, *words: str | Path) -> Run:
    """Start a verb in a copy of this process."""
    return Run(Fork([str(word) for word in words]), folder)


def undisturbed(folder: Path, *words: str | Path) -> float:
    """Run a verb to its end; return its seconds of the processor."""
    run, cpu = fork(folder, *words), [0.0]
    run.until(lambda: cpu.append(run.cpu) or False)
    status, told = run.end()
    assert status in (0, 1) and "rror" not in told, told
    return max(cpu)


@dataclass
class Tally:
    """What kills have met."""

    rng: np.random.Generator
    found: Counter[str] = field(default_factory=Counter)

    def kill(self, run: Run, cpu: float, *, writing: bool, number: int = signal.SIGKILL) -> str:
        """Send a signal at a random moment of a run, or of its writing phase."""
        if writing:
            delay = self.rng.exponential(0.05)
            reached = run.until(lambda: run.writes)
            time.sleep(delay)
            reached = reached and run.process.poll() is None
        else:
            moment = self.rng.uniform(0.0, cpu)
            reached = run.until(lambda: run.cpu >= moment)
        if reached:
            run.signal(number)
        status, told = run.end()
        assert reached or (status in (0, 1) and "rror" not in told), told
        self.found["while writing" if writing else "at any moment"] += reached
        self.found["ended before"] += not reached
        self.found[f"status {status}"] += 1
        print(time.strftime("%H:%M:%S"), dict(self.found), file=sys.stderr, flush=True)
        return told


# ---------------------------------------------------------------- what has to stand


def posterior(fit: Fit) -> dict[str, bytes]:
    """Every number of a fit."""
    return {
        f"{node.path}/{name}": values.values.tobytes()
        for node in fit.tree.subtree
        for name, values in node.data_vars.items()
        if values.dtype.kind in "fiub"
    }


def same(found: Fit, wanted: Fit) -> bool:
    """Whether two fits hold the same numbers, bit for bit."""
    return posterior(found) == posterior(wanted)


def jobs_of(out: Path) -> dict[str, bytes]:
    """Bytes of the finished jobs of a study."""
    return {path.name: path.read_bytes() for path in (out / "jobs").glob("*.json")}


def table_of(out: Path) -> bytes:
    """Bytes of a sweep's result, less the seconds that its fits took."""
    found = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    for row in found["rows"]:
        row.pop("seconds", None)
    return json.dumps(found, sort_keys=True).encode()


def records_of(out: Path) -> dict[str, bytes]:
    """Lines `record` of all jobs: the same wherever they were run."""
    return {name: content.split(b"\n")[1] for name, content in jobs_of(out).items()}


# ---------------------------------------------------------------- kills


def kills_of_fit(room: Path, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Kill fits that replace a fit, and first fits."""
    data, tally = tiny_dataset(room), Tally(rng)
    words = ("fit", data, *LENGTH, "--no-report")
    fits, cpu = {seed: room / f"reference-{seed}" for seed in ("1", "2")}, 0.0
    for seed, fit in fits.items():
        cpu = undisturbed(fit, *words, "--seed", seed, "--out", fit)
    wanted = {seed: load_fit(fit) for seed, fit in fits.items()}
    old = {path.name: path.read_bytes() for path in fits["1"].iterdir()}
    for turn in range(kills):
        folder, replaces = room / "fit", turn % 4 > 0
        shutil.rmtree(folder, ignore_errors=True)
        if replaces:
            shutil.copytree(fits["1"], folder)
        run = fork(folder, *words, "--seed", "2", "--out", folder, "--force")
        tally.kill(run, cpu, writing=turn % 2 == 1)
        try:
            found = load_fit(folder)
        except BayesdenseError as refused:
            assert not replaces, f"an earlier fit was lost: {refused}"
            assert "no such folder" in str(refused) or "--force" in str(refused)
            tally.found["absent, and said so"] += 1
        else:
            assert same(found, wanted[str(found.seed)])
            if found.seed == 1:
                assert {name: (folder / name).read_bytes() for name in old} == old
            tally.found["the old fit" if found.seed == 1 else "the new fit"] += 1
            assert found.seed == 2 or run.process.returncode == -signal.SIGKILL
    undisturbed(folder, *words, "--seed", "2", "--out", folder, "--force")
    assert same(load_fit(folder), wanted["2"])
    assert {path.name for path in folder.iterdir()} == {"fit.nc", "summary.json", "manifest.json"}
    return dict(tally.found)


def kills_of_report(room: Path, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Kill reports of a fit, with an older report and without."""
    data, tally = tiny_densities(room), Tally(rng)
    folder, bare, whole = room / "fit", room / "bare", room / "whole"
    undisturbed(bare, "fit", data, *LENGTH, "--no-report", "--out", bare)
    for copy in (whole, folder):
        shutil.copytree(bare, copy)
    cpu = undisturbed(whole, "report", whole)
    wanted, page = posterior(load_fit(folder)), (whole / "report.html").read_bytes()
    for turn in range(kills):
        before = (folder / "report.html").exists()
        tally.kill(fork(folder, "report", folder), cpu, writing=turn % 2 == 1)
        assert posterior(load_fit(folder)) == wanted
        now = (folder / "report.html").exists()
        assert now >= before, "an older report was lost"
        assert not now or (folder / "report.html").read_bytes() == page
        tally.found["with its report" if now else "without a report yet"] += 1
        if now and turn % 4 == 3:
            shutil.rmtree(folder)
            shutil.copytree(bare, folder)
    undisturbed(folder, "report", folder)
    assert (folder / "report.html").read_bytes() == page
    assert len(list(folder.iterdir())) == 4
    return dict(tally.found)


def kills_of_sweep(room: Path, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Kill sweeps, which are resumed until they are through, then begun anew."""
    data, tally = tiny_dataset(room), Tally(rng)
    axes = ("--axes", "reference_tokens,window")
    words = (
        "sweep",
        data,
        *LENGTH,
        *axes,
        "--jobs",
        "1",
        "--resume",
        "--executor",
        "serial",
        "--out",
    )
    out, whole = room / "sweep", room / "whole"
    cpu = undisturbed(whole, *words, whole)
    kept: dict[str, bytes] = {}
    for turn in range(kills):
        run = fork(out / "jobs", *words, out)
        tally.kill(run, cpu, writing=turn % 2 == 1)
        now = jobs_of(out)
        assert kept.items() <= now.items(), "a finished job was lost, or run again"
        tally.found["finished jobs that were kept"] += len(kept)
        kept = now
        if len(kept) == len(jobs_of(whole)):
            undisturbed(out, *words, out)
            assert (records_of(out), table_of(out)) == (records_of(whole), table_of(whole))
            tally.found["sweeps brought to their end"] += 1
            shutil.rmtree(out)
            kept = {}
    undisturbed(out, *words, out)
    assert (records_of(out), table_of(out)) == (records_of(whole), table_of(whole))
    assert {p.name for p in out.iterdir()} == {".lock", "jobs", "ledger.json", "sweep.json"}
    assert not list((out / "jobs").glob(TEMPORARY))
    tally.found["sweeps brought to their end"] += 1
    return dict(tally.found)


# ---------------------------------------------------------------- Ctrl-C


def ctrl_c(room: Path, times: int, rng: np.random.Generator) -> dict[str, Any]:
    """Press Ctrl-C at random moments of the three verbs."""
    data, tally = tiny_dataset(room), Tally(rng)
    fit, out, axes = room / "fit", room / "sweep", ("--axes", "reference_tokens,window")
    cpu = undisturbed(fit, "fit", data, *LENGTH, "--no-report", "--out", fit)
    wanted, kept = load_fit(fit), {}
    for turn in range(times):
        words: tuple[str | Path, ...] = (
            ("fit", data, *LENGTH, "--no-report", "--out", fit, "--force"),
            ("report", fit),
            ("sweep", data, *LENGTH, *axes, "--resume", "--executor", "serial", "--out", out),
        )[turn % 3]
        before = Counter(tally.found)
        said = tally.kill(fork(room, *words), cpu, writing=False, number=signal.SIGINT)
        (status,) = (k for k in tally.found - before if k.startswith("status"))
        if status == "status 130":
            assert "interrupted" in said, said
        assert "Traceback" not in said, said
        assert same(load_fit(fit), wanted)
        now = jobs_of(out)
        assert kept.items() <= now.items()
        kept = now
        assert not [*fit.glob(TEMPORARY), *out.glob(TEMPORARY), *(out / "jobs").glob(TEMPORARY)]
    return dict(tally.found)


# ---------------------------------------------------------------- damage


def damage(room: Path, cases: int, rng: np.random.Generator) -> dict[str, Any]:
    """Truncate files and flip bits in them: refused, or of no consequence."""
    found: Counter[str] = Counter()
    data = tiny_dataset(room)
    fit, out = room / "fit", room / "sweep"
    undisturbed(fit, "fit", data, *LENGTH, "--no-report", "--out", fit)
    words = ("sweep", data, *LENGTH, "--executor", "serial", "--axes", "family", "--out", out)
    undisturbed(out, *words)
    wanted, table = posterior(load_fit(fit)), table_of(out)
    files = [*sorted(fit.iterdir()), *sorted((out / "jobs").iterdir()), out / "ledger.json"]
    from bayesdense.jobs import Job
    from bayesdense.jobs.outcomes import read_outcomes

    jobs = [Job(json.dumps(json.loads(path.read_text())["record"]["job"], sort_keys=True,
            separators=(",", ":"), ensure_ascii=False)) for path in files if path.parent.name ==
            "jobs"]  # fmt: skip
    known = {key: outcome.result for key, outcome in read_outcomes(out / "jobs", jobs).items()}
    assert len(known) == len(jobs)
    for case in range(cases):
        turn, which = divmod(case, len(files))
        path, cut = files[which], turn % 2 == 0
        content = path.read_bytes()
        path.write_bytes(_damaged(content, rng, cut=cut))
        kind = "truncated" if cut else "bit flipped"
        name = path.name if path.parent != out / "jobs" else "job file"
        try:
            same = posterior(load_fit(fit)) == wanted
            read = read_outcomes(out / "jobs", jobs)
            assert same and all(known[key] == outcome.result for key, outcome in read.items())
            refused = len(read) < len(known)
        except BayesdenseError:
            refused = True
        found[f"{name} {kind}: {'refused' if refused else 'of no consequence'}"] += 1
        path.write_bytes(content)
    for path in (*sorted((out / "jobs").iterdir()), out / "ledger.json"):
        path.write_bytes(_damaged(path.read_bytes(), rng, cut=True))
    _, said = fork(out, *words, "--resume").end()
    assert said.count("the job is run again") == len(jobs), said
    assert table_of(out) == table
    return dict(found)


def _damaged(content: bytes, rng: np.random.Generator, *, cut: bool) -> bytes:
    """Part of a file's bytes, or all with one bit flipped."""
    if cut:
        return content[: rng.integers(len(content))]
    raw = bytearray(content)
    raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
    return bytes(raw)


# ---------------------------------------------------------------- disks, folders, clocks


@contextmanager
def disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """A small file system of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "x", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # fits may be open still


def last_line(told: str, room: Path) -> str:
    """What a verb said last, without names of this machine."""
    line = told.strip().splitlines()[-1].replace(str(room), "")
    return line.replace(f" on {platform.node()}", " on HOST")


def surroundings(room: Path, _: int, rng: np.random.Generator) -> dict[str, Any]:
    """Full and read-only disks, no room for temporary files, two runs at once, a wild clock."""
    del rng
    found: dict[str, Any] = {}
    data, fit = tiny_dataset(room), room / "fit"
    verbs: dict[str, Callable[[Path], tuple[str | Path, ...]]] = {
        "fit": lambda at: ("fit", data, *LENGTH, "--no-report", "--force", "--out", at / "fit"),
        "report": lambda at: ("report", at / "fit"),
        "sweep": lambda at: (
            "sweep", data, *LENGTH, "--executor", "serial", "--resume", "--axes", "family",
            "--out", at / "sweep",
        ),
    }  # fmt: skip
    for words in (verbs["fit"](room), verbs["sweep"](room)):
        undisturbed(room, *words)
    wanted, kept = load_fit(fit), jobs_of(room / "sweep")
    table = table_of(room / "sweep")

    def told_of(what: str, verb: str, at: Path, status: int, said: str, **env: str) -> None:
        words = verbs[verb](at)
        code, err = (start(at, *words, env=env) if env else fork(at, *words)).end()
        assert (code, said in err, "Traceback" in err) == (status, True, False), (code, err)
        assert same(load_fit(at / "fit"), wanted)
        assert kept.items() <= (jobs_of(at / "sweep") or kept).items()
        said = last_line(err, room) if status == 2 else ""
        found.setdefault(what, {})[verb] = {"status": code, "said": said}

    size = sum(path.stat().st_size for path in fit.iterdir()) // 1024 + 200
    with disk(room / "full", size) as at:
        shutil.copytree(fit, at / "fit")
        for verb in ("fit", "report"):
            told_of("full disk", verb, at, 2, "No space left on device")
        assert {path.name for path in (at / "fit").iterdir()} == {
            path.name for path in fit.iterdir()
        }
        shutil.copytree(room / "sweep", at / "sweep")
        next((at / "sweep" / "jobs").iterdir()).unlink()
        free = os.statvfs(at)
        (at / "filler").write_bytes(b"\0" * (free.f_bavail * free.f_frsize))
        code, err = fork(at, *verbs["sweep"](at)).end()
        assert code == 2 and "No space left on device" in err, (code, err)
        found["full disk"]["sweep"] = {"status": code, "said": last_line(err, room)}
        (at / "filler").unlink()
        (at / "fit" / "fit.nc").unlink()
        undisturbed(at, *verbs["sweep"](at))
        assert table_of(at / "sweep") == table
    with disk(room / "locked", 2 * size + 4000) as at:
        shutil.copytree(fit, at / "fit")
        shutil.copytree(room / "sweep", at / "sweep")
        subprocess.run(["mount", "-o", "remount,ro", at], check=True)
        for verb in verbs:
            told_of("read-only folder", verb, at, 2, "Read-only file system")
        nowhere = {"TMPDIR": str(at), "TEMP": str(at), "TMP": str(at), "HOME": str(at)}
        for verb, status in (("fit", 1), ("report", 0), ("sweep", 1)):
            told_of("unwritable TMPDIR and HOME", verb, room, status, "", **nowhere)
    (room / "two").mkdir()
    for verb in ("fit", "sweep"):
        first = fork(room / "two" / verb, *verbs[verb](room / "two"))
        first.until(lambda v=verb: (room / "two" / v / ".lock").exists())
        code, err = fork(room, *verbs[verb](room / "two")).end()
        assert code == 2 and "another run is using it" in err, (code, err)
        said = {"status": code, "said": last_line(err, room)}
        found.setdefault("two runs on one folder", {})[verb] = said
        first.end()
    assert load_fit(room / "two" / "fit").seed == load_fit(fit).seed
    assert table_of(room / "two" / "sweep") == table
    words = [str(word) for word in verbs["sweep"](room / "wild")]
    program = (
        "import itertools, sys, time; back = itertools.count()\n"
        "time.time = lambda: 2e9 - 3600.0 * next(back)\n"
        f"sys.argv = {['bayesdense', *words]}\nfrom bayesdense.cli import main; main()"
    )
    code = subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode
    assert code == 1 and table_of(room / "wild" / "sweep") == table
    found["clock an hour back at every look"] = {"sweep": {"status": code, "said": ""}}
    return found


# ---------------------------------------------------------------- forty jobs


def forty(room: Path, _: int, rng: np.random.Generator) -> dict[str, Any]:
    """One sweep of forty jobs under every executor, with workers killed, and interrupted."""
    data = many_benchmarks(room)
    words = ("sweep", data, *LENGTH, "--resume", "--jobs", "1", "--out")
    whole, found = room / "serial", {}
    cpu = undisturbed(whole, *words, whole, "--executor", "serial")
    found["n_jobs"], found["serial"] = len(jobs_of(whole)), {"cpu_seconds": round(cpu)}
    assert found["n_jobs"] >= 40
    for executor in ("processes", "dask"):
        out = room / executor
        run = start(out, *words, out, "--executor", executor)
        killed = 0
        for at in (5, 20):
            run.until(lambda at=at, out=out: len(jobs_of(out)) >= at)
            time.sleep(0.1)
            workers = [pid for pid in _offspring(run.process.pid) if "spawn_main" in _command(pid)]
            assert workers, "no worker was found"
            os.kill(workers[-1], signal.SIGKILL)
            killed += 1
        status, said = run.end()
        assert status in (0, 1), said
        found[executor] = {"workers killed": killed}
    out, interrupted = room / "interrupted", 0
    for number in (signal.SIGINT, signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGINT):
        run, before = fork(out, *words, out, "--executor", "serial"), len(jobs_of(out))
        stop = before + int(rng.integers(3, 8))
        assert run.until(lambda n=stop: len(jobs_of(out)) >= n)
        run.signal(number)
        status, said = run.end()
        assert status == (130 if number == signal.SIGINT else -number), said
        interrupted += 1
    undisturbed(out, *words, out, "--executor", "serial")
    found["interrupted and resumed"] = {"times": interrupted}
    for name in ("processes", "dask", "interrupted"):
        assert records_of(room / name) == records_of(whole), name
        assert table_of(room / name) == table_of(whole), name
    failed = sum(b'"failure":null' not in record for record in records_of(whole).values())
    return {**found, "failed_jobs": failed, "tables_differ": 0}


def _offspring(pid: int) -> list[int]:
    """Processes that a process and its children have started."""
    try:
        own = [int(x) for t in Path(f"/proc/{pid}/task").iterdir()
               for x in (t / "children").read_text().split()]  # fmt: skip
    except OSError:
        return []
    return [*own, *(grand for child in own for grand in _offspring(child))]


def _command(pid: int) -> str:
    """Command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def many_benchmarks(room: Path, copies: int = 5) -> Path:
    """The tiny dataset with every benchmark several times over, under other names."""
    changes = {}
    for name, rows in tables().items():
        if "benchmark" in rows[0]:
            place = rows[0].index("benchmark")
            changes[name] = lambda rows, at=place: [
                rows[0],
                *([*row[:at], row[at] + "x" * k, *row[at + 1 :]] for k in range(copies)
                  for row in rows[1:]),
            ]  # fmt: skip
    return tiny_dataset(room, name="forty", **changes)


#: What each part does, and how often unless told.
PARTS: dict[str, tuple[Callable[[Path, int, np.random.Generator], dict[str, Any]], int]] = {
    "kills_of_fit": (kills_of_fit, 40),
    "kills_of_sweep": (kills_of_sweep, 40),
    "kills_of_report": (kills_of_report, 24),
    "ctrl_c": (ctrl_c, 15),
    "damage": (damage, 600),
    "surroundings": (surroundings, 1),
    "forty": (forty, 1),
}
#: Parts whose counts are added to those of earlier rounds, of other seeds.
COUNTED = (kills_of_fit, kills_of_sweep, kills_of_report, ctrl_c, damage)


def main() -> None:
    """Do one part and add what it found to the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--times", type=int)
    parser.add_argument("--seed", type=int, default=6)
    given = parser.parse_args()
    part, usual = PARTS[given.part]
    joint_kernel.native()
    with tempfile.TemporaryDirectory(prefix="faults-") as room:
        found = part(Path(room), given.times or usual, np.random.default_rng(given.seed))
    summary = json.loads(given.summary.read_text()) if given.summary.exists() else {}
    before = summary.get(given.part, {"seeds": [], "found": {}})
    if part in COUNTED:
        found = dict(Counter(before["found"]) + Counter(found))
    seeds = [*before["seeds"], given.seed]
    summary[given.part] = {"seeds": seeds, "lost": 0, "found": found, **made_with()}
    write_text_atomic(given.summary, json.dumps(summary, indent=1, sort_keys=True) + "\n")
    print(json.dumps(summary[given.part], indent=1))


if __name__ == "__main__":
    main()
