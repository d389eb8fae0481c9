"""What may happen to a run: workers killed, the run itself killed, Ctrl-C in mid-job."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from test_jobs import records, some_jobs

from bayesdense.errors import JobError
from bayesdense.jobs import Job, run_jobs, scan
from bayesdense.jobs.trials import normals, perish

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and /proc are those of Linux")

#: A run that is started again and again, as a user would from a shell.
PROGRAM = """
import sys
from bayesdense.jobs import Job, run_jobs
from bayesdense.jobs.trials import fail, normals

jobs = [Job.of(normals, {"n": 3, "seconds": 0.05}, seed=k) for k in range(int(sys.argv[2]))]
jobs += [Job.of(fail, {"message": "as asked"})]
run_jobs(jobs, sys.argv[1], executor=sys.argv[3], workers=2, resume="--resume" in sys.argv)
"""


def start(out: Path, count: int, executor: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(out), str(count), executor, *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def children(parent: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # gone by now
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def gone(processes: list[int], within: float) -> bool:
    """Whether processes end within so many seconds."""
    deadline = time.monotonic() + within
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def expected(tmp_path: Path, count: int) -> dict[str, bytes]:
    """What an undisturbed run gives."""
    out = tmp_path / "undisturbed"
    _, told = start(out, count, "processes").communicate()
    assert told == ""
    return records(out)


# ---------------------------------------------------------------- workers


def test_a_job_that_kills_its_worker_harms_no_other(tmp_path: Path) -> None:
    jobs = [Job.of(perish), *some_jobs(6, seconds=0.2)[:-1]]
    results = run_jobs(jobs, tmp_path / "run", workers=2, retries=2)
    (lost,) = results.failed
    assert lost.job == jobs[0] and lost.attempts == 3
    assert lost.failure is not None and lost.failure.type == "WorkerLost"
    assert "was ended by signal 9 (Killed) in mid-job" in lost.failure.message
    assert [outcome.attempts for outcome in results.done] == [1] * 5
    assert multiprocessing.active_children() == []


def test_workers_live_as_long_as_the_run(tmp_path: Path) -> None:
    """What they have imported and compiled is kept."""
    seen: set[int | None] = set()

    def look(*_: object) -> None:
        seen.update(worker.pid for worker in multiprocessing.active_children())

    run_jobs(some_jobs(9), tmp_path / "run", workers=2, progress=look)
    assert len(seen) == 2 and multiprocessing.active_children() == []


def test_a_worker_killed_in_mid_job_costs_an_attempt(tmp_path: Path) -> None:
    jobs = [Job.of(normals, {"n": 1, "seconds": s}) for s in (0, 1.0, 0.1)]

    def kill(done: int, *_: object) -> None:
        if done == 1:
            (worker,) = multiprocessing.active_children()
            threading.Timer(0.4, os.kill, (worker.pid, signal.SIGKILL)).start()

    results = run_jobs(jobs, tmp_path / "run", workers=1, progress=kill)
    assert [outcome.attempts for outcome in results.values()] == [1, 2, 1]
    assert results.failed == ()


def test_an_idle_worker_that_is_killed_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = []

    def kill(done: int, *_: object) -> None:
        if done == 1:
            (worker,) = multiprocessing.active_children()
            worker.kill()
            worker.join()
            killed.append(worker)

    monkeypatch.setattr("bayesdense.jobs.processes.MANY", 1)  # no other job waits for the worker
    results = run_jobs(some_jobs(4), tmp_path / "run", workers=1, progress=kill)
    assert killed and [outcome.attempts for outcome in results.done] == [1, 1, 1]


def test_workers_that_cannot_start_end_the_run(tmp_path: Path) -> None:
    """A script without the guard that workers need, as they import it."""
    script = tmp_path / "script.py"
    script.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, script, tmp_path / "run", "3", "processes"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "JobError: a worker process ended with status 1 before it was ready" in run.stderr
    assert 'under `if __name__ == "__main__":`' in run.stderr
    assert list((tmp_path / "run" / "jobs").iterdir()) == []


def test_a_broken_pool_ends_the_run_and_blames_no_job(tmp_path: Path) -> None:
    jobs = [*some_jobs(3)[:-1], Job.of(perish)]
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(JobError, match=r"runs no more jobs \(BrokenProcessPool.*--resume"),
    ):
        run_jobs(jobs, tmp_path / "run", executor=pool, retries=0)
    assert scan(tmp_path / "run", jobs).failed == ()
    results = run_jobs(jobs[:-1], tmp_path / "run", executor="serial", resume=True)
    assert len(results.done) == 2


# ---------------------------------------------------------------- the run itself


def killed_and_resumed(tmp_path: Path, kills: int, count: int, seed: int) -> int:
    """Kill a run at random moments until it is through; return how often it was killed."""
    out, rng, killed = tmp_path / "run", np.random.default_rng(seed), 0
    finished: dict[str, bytes] = {}
    run = start(out, count, "processes")
    while killed < kills:
        # the first second goes to imports and to starting workers, which have to stand kills too
        time.sleep(rng.uniform(0.1, 3.0))
        workers = children(run.pid)
        over = run.poll() is not None
        run.kill()
        _, told = run.communicate()
        assert not over or (run.returncode == 0 and told == ""), told
        assert gone(workers, within=5), "workers outlive the run"
        now = {path.name: path.read_bytes() for path in (out / "jobs").glob("*.json")}
        assert finished.items() <= now.items(), "a finished job was lost or run again"
        finished = now
        if over:
            break
        killed += 1
        run = start(out, count, "processes", "--resume")
    else:
        _, told = run.communicate()
        assert run.returncode == 0, told
    last = {path.name: path.read_bytes() for path in (out / "jobs").glob("*.json")}
    assert finished.items() <= last.items()
    assert {path.name for path in out.iterdir()} == {".lock", "jobs", "ledger.json"}
    assert json.loads((out / "ledger.json").read_text())["n_pending"] == 0
    return killed


def test_a_run_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    count = 60
    assert killed_and_resumed(tmp_path, kills=3, count=count, seed=1) >= 1
    assert records(tmp_path / "run") == expected(tmp_path, count)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_is_killed_often_loses_nothing(tmp_path: Path, seed: int) -> None:
    count = 1000
    assert killed_and_resumed(tmp_path, kills=20, count=count, seed=seed) == 20
    assert records(tmp_path / "run") == expected(tmp_path, count)


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = start(out, 200, "processes")
    while not list((out / "jobs").glob("*.json")):
        time.sleep(0.05)
    with pytest.raises(JobError, match=rf"another run is using it \(process {run.pid} on"):
        run_jobs(some_jobs(), out, executor="serial", resume=True)
    run.kill()
    run.communicate()
    assert len(run_jobs(some_jobs(), out, executor="serial", resume=True)) == 5


# ---------------------------------------------------------------- Ctrl-C in mid-job


@pytest.mark.usefixtures("minding_ctrl_c")
@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_ctrl_c_does_not_wait_for_jobs(tmp_path: Path, executor: str) -> None:
    jobs = [Job.of(normals, {"n": 1, "seconds": s}) for s in (0, 60, 61)]

    def press(done: int, *_: object) -> None:
        if done == 1:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path / "run", executor=executor, workers=2, progress=press)
    assert time.monotonic() - began < 20
    assert multiprocessing.active_children() == []
    assert len(scan(tmp_path / "run", jobs).done) == 1


def test_ctrl_c_on_a_terminal_reaches_everybody_and_ends_all(tmp_path: Path) -> None:
    """A terminal sends the signal to the whole group, workers included."""
    out = tmp_path / "run"
    command = [sys.executable, "-c", PROGRAM, str(out), "600", "processes"]
    run = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while not list((out / "jobs").glob("*.json")):
        time.sleep(0.05)
    workers = children(run.pid)
    os.killpg(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=20)
    assert run.returncode in (1, -signal.SIGINT, 130)
    assert told.count("Traceback") == 1 and told.endswith("KeyboardInterrupt\n")
    assert gone(workers, within=5)
    finished = len(list((out / "jobs").glob("*.json")))
    assert json.loads((out / "ledger.json").read_text())["n_pending"] == 601 - finished
