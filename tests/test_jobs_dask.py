"""Jobs on a Dask cluster: the same files, and workers and schedulers that are lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_jobs import records, some_jobs

from bayesdense.errors import JobError
from bayesdense.jobs import Job, run_jobs, scan
from bayesdense.jobs.trials import normals

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
DASK = shutil.which("dask", path=str(Path(sys.executable).parent)) or shutil.which("dask")


class Cluster:
    """A scheduler and its workers, each a process, as an administrator starts them."""

    def __init__(self, folder: Path, n_workers: int, n_threads: int) -> None:
        self.folder = folder
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        options = ("--no-nanny", "--no-dashboard", "--nthreads", str(n_threads))
        options += ("--local-directory", str(folder))
        self.workers = [self._start("worker", *options) for _ in range(n_workers)]
        self.address = str(self._said()["address"])

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a part of the cluster; all of them find each other through a file."""
        file = ("--scheduler-file", str(self.folder / "scheduler.json"))
        return subprocess.Popen(
            [str(DASK), *command, *file], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def _said(self) -> dict[str, object]:
        """What the scheduler says of itself, once it does."""
        while True:
            try:
                said: dict[str, object] = json.loads(
                    (self.folder / "scheduler.json").read_text(encoding="utf-8")
                )
            except (FileNotFoundError, ValueError):
                time.sleep(0.05)
            else:
                return said

    def end(self) -> None:
        """End every part."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def cluster(folder: Path, n_workers: int = 2, n_threads: int = 1) -> Iterator[Cluster]:
    made = Cluster(folder, n_workers, n_threads)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("serial") / "run"
    run_jobs(some_jobs(9, seconds=0.3), out, executor="serial")
    return out


def test_a_cluster_of_this_machine_gives_the_same_files(serial: Path, tmp_path: Path) -> None:
    run_jobs(some_jobs(9, seconds=0.3), tmp_path / "run", executor="dask", workers=2)
    assert records(tmp_path / "run") == records(serial)


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_a_worker_killed_in_mid_job_loses_nothing(serial: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with cluster(tmp_path) as lent:

        def kill(done: int, *_: object) -> None:
            if done == 2:  # others are under way: one of them is run again by the other worker
                lent.workers[0].send_signal(signal.SIGKILL)

        run_jobs(some_jobs(9, seconds=0.3), out, executor=lent.address, progress=kill)
        assert lent.workers[0].wait() == -signal.SIGKILL
        assert lent.scheduler.poll() is None, "somebody else's cluster is left alone"
    assert records(out) == records(serial)


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_a_lost_scheduler_ends_the_run_with_what_is_finished(serial: Path, tmp_path: Path) -> None:
    out, jobs = tmp_path / "run", some_jobs(9, seconds=0.3)
    with cluster(tmp_path) as lent:

        def kill(done: int, *_: object) -> None:
            if done == 2:
                lent.scheduler.kill()

        with pytest.raises(JobError, match=r"the Dask scheduler was lost.*go on with --resume"):
            run_jobs(jobs, out, executor=lent.address, progress=kill)
    found = scan(out, jobs)
    assert 2 <= len(found.done) < 9 and found.failed == ()
    run_jobs(jobs, out, executor="serial", resume=True)
    assert records(out) == records(serial)


def test_workers_of_several_threads_are_refused(tmp_path: Path) -> None:
    with cluster(tmp_path, n_workers=1, n_threads=2) as lent:
        from distributed import Client

        with Client(lent.address, set_as_default=False) as client:
            client.wait_for_workers(1)
        with pytest.raises(JobError, match=r"1 of 1 workers have several threads .*--nthreads 1"):
            run_jobs(some_jobs(), tmp_path / "run", executor=lent.address)


def test_an_address_without_a_scheduler_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesdense.jobs.cluster._PATIENCE", 1)
    with pytest.raises(JobError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers there"):
        run_jobs(some_jobs(), tmp_path / "run", executor="tcp://127.0.0.1:9")


def test_without_dask_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(JobError, match=r"Dask is not installed; .* the extra `cluster`"):
        run_jobs([Job.of(normals, {"n": 1})], tmp_path / "run", executor="dask")
