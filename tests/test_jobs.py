"""The engine of studies: what a job is, its file, its folder; the same results everywhere."""

import errno
import hashlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from program import invoke

from bayesdense.cli.app import app
from bayesdense.cli.options import ExecutorOption, JobsOption, ResumeOption, StudyOption
from bayesdense.cli.progress import Reporter, _duration
from bayesdense.errors import JobError
from bayesdense.files import parse_json
from bayesdense.jobs import Job, Results, canonical, job_function, run_jobs, scan, write_result
from bayesdense.jobs.execution import execute
from bayesdense.jobs.job import function_named
from bayesdense.jobs.seeds import seeds_of
from bayesdense.jobs.setup import _compile_folder
from bayesdense.jobs.trials import echo, fail, normals

TRIALS = "bayesdense.jobs.trials"


def some_jobs(count: int = 5, seconds: float = 0.0) -> list[Job]:
    """Quick jobs; one of them fails."""
    drawn = [Job.of(normals, {"n": 3, "seconds": seconds}, seed=k) for k in range(count - 1)]
    return [*drawn, Job.of(fail, {"message": "as asked"})]


def records(out: Path) -> dict[str, bytes]:
    """The lines of all jobs' files that have to be the same wherever the jobs were run."""
    return {path.name: path.read_bytes().split(b"\n")[1] for path in (out / "jobs").glob("*.json")}


# ---------------------------------------------------------------- canonical JSON

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    LEAVES | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_canonical_json_is_read_back_and_written_alike(value: object) -> None:
    text = canonical(value)
    assert parse_json(text.encode()) == value
    assert canonical(parse_json(text)) == text


@given(st.dictionaries(TEXT, VALUES, max_size=6), st.randoms())
def test_the_order_of_keys_and_the_kind_of_container_do_not_matter(
    value: dict[str, object], random: object
) -> None:
    keys = list(value)
    random.shuffle(keys)  # type: ignore[attr-defined]
    other = MappingProxyType(
        {key: tuple(v) if isinstance(v := value[key], list) else v for key in keys}
    )
    assert canonical(other) == canonical(value)


@given(VALUES, VALUES)
def test_different_values_have_different_texts(one: object, other: object) -> None:
    same = parse_json(json.dumps(one)) == parse_json(json.dumps(other))
    if canonical(one) == canonical(other):
        assert same
    elif same:  # Python holds 1, 1.0 and True, and 0.0 and -0.0, to be equal
        assert repr(one) != repr(other)


def test_the_key_of_a_job_never_changes() -> None:
    """What is hard-coded here is what folders of finished studies rest on."""
    job = Job.of(echo, {"value": [1, 2.5, "é"]}, spec={"trend": "flat"}, dataset="ab", seed=3)
    assert job.text == (
        '{"dataset":"ab","function":"bayesdense.jobs.trials:echo",'
        '"params":{"value":[1,2.5,"é"]},"seed":3,"spec":{"trend":"flat"}}'
    )
    assert job.key == "2fdba2577da23f70e90aa144648913fa54ca2fd267d8d9a9ecee4892d17f4748"
    assert seeds_of(job).generate_state(1)[0] == 1418421385


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, float("nan")]}, r"^value\.a\[1\]: nan, allowed: finite numbers"),
        (float("-inf"), "^value: -inf"),
        ({"a": {1: 2}}, r"^value\.a: the key 1 is no text"),
        ({"a": np.arange(3)}, r"value\.a: array.*numpy\.ndarray.*\.tolist\(\)"),
        ([np.int64(3)], r"value\[0\]: .*int64"),
        ({"a": {1, 2}}, r"value\.a: \{1, 2\} \(builtins\.set\)"),
        ("\ud800", "half a character"),
        ({"\udfff": 1}, "half a character"),
        pytest.param(1 << 100_000, "whole number of 100001 bits", id="huge"),
        ({"a\x1b": b""}, r"'value\.a\\x1b'"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: object, message: str) -> None:
    with pytest.raises(JobError, match=message):
        canonical(value)


def test_what_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(JobError, match="nested more than 64 levels"):
        canonical(value)


def test_numpy_floats_are_floats() -> None:
    assert canonical({"x": np.float64(0.1)}) == '{"x":0.1}'


# ---------------------------------------------------------------- jobs and their functions


def test_a_job_is_what_it_says() -> None:
    params = {"value": [1]}
    job = Job.of(echo, params, seed=1)
    params["value"].append(2)
    job.params["value"].append(3)
    assert job.params == {"value": [1]}
    assert job == Job.of(echo, {"value": (1,)}, seed=1)
    assert job != Job.of(echo, {"value": [1]}, seed=2)
    assert (job.function, job.spec, job.dataset, job.seed) == (f"{TRIALS}:echo", None, None, 1)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "bayesdense:load_fit",
        "bayesdense.files:write_text_atomic",
        "bayesdense.jobs.nothing:echo",
        f"{TRIALS}:nothing",
        f"{TRIALS}:Job",
        f"{TRIALS}:normals.__globals__",
        f"{TRIALS}:np.random.seed",
        f"{TRIALS}.os:system",
        "bayesdense.../etc:passwd",
        f"{TRIALS}:echo\n",
        "",
    ],
)
def test_only_registered_functions_can_be_named(name: str) -> None:
    with pytest.raises(JobError, match=r"no function of|no such function|no job function"):
        function_named(name)


def test_only_functions_of_the_package_can_be_registered() -> None:
    with pytest.raises(JobError, match="a plain one of a module of bayesdense"):
        job_function(some_jobs)
    with pytest.raises(JobError, match="no job function; decorate it"):
        Job.of(seeds_of)  # type: ignore[arg-type]
    with pytest.raises(JobError, match="no job function"):
        Job.of(partial(echo))


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1"])
def test_seeds_are_whole_numbers(seed: object) -> None:
    with pytest.raises(JobError, match="allowed: a whole number from 0 on"):
        Job.of(echo, {"value": 1}, seed=seed)  # type: ignore[arg-type]


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_other_jobs_have_other_random_numbers(one: int, other: int) -> None:
    first, second = (
        np.random.default_rng(seeds_of(Job.of(echo, {"value": 0}, seed=seed))).normal(size=2)
        for seed in (one, other)
    )
    assert (first == second).all() == (one == other)


# ---------------------------------------------------------------- what a worker reports


def test_a_panic_of_compiled_code_and_an_exit_are_outcomes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Panic(BaseException):
        pass

    for problem in (Panic("\ud800 lost"), SystemExit(3), RecursionError("deep")):

        def broken(_: Job, problem: BaseException = problem) -> None:
            raise problem

        monkeypatch.setattr("bayesdense.jobs.execution.function_named", lambda _, f=broken: f)
        told = json.loads(execute(Job.of(echo).message))
        assert told["type"] == type(problem).__name__ and "broken" in told["traceback"]

    def interrupted(_: Job) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bayesdense.jobs.execution.function_named", lambda _: interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(Job.of(echo).message)


WORKER = """
import sys
from bayesdense.jobs.setup import set_up_worker
assert "numpy" not in sys.modules
set_up_worker()
import numba, numpy, pytensor, scipy.linalg
from threadpoolctl import threadpool_info
print(pytensor.config.base_compiledir, pytensor.config.floatX)
print(numba.config.NUMBA_NUM_THREADS, {pool["num_threads"] for pool in threadpool_info()})
"""


def test_a_worker_has_one_thread_and_a_compile_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a, b='c"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setenv("PYTENSOR_FLAGS", "floatX=float32")
    run = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True)
    folder = home / "bayesdense" / "workers" / socket.gethostname() / "0"
    assert run.stdout.splitlines() == [f"{folder} float32", "1 {1}"]


def test_compile_folders_are_held_while_a_worker_lives_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    first, one = _compile_folder()
    second, other = _compile_folder()
    assert (first.name, second.name) == ("0", "1") and one is not None and other is not None
    one.release()
    third, one = _compile_folder()
    assert third == first and one is not None
    one.release()
    other.release()


def test_without_a_cache_the_compile_folder_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder, lock = _compile_folder()
    assert folder.parent == tmp_path and folder.is_dir() and lock is None


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of jobs that were run in this process."""
    out = tmp_path_factory.mktemp("serial") / "run"
    run_jobs(some_jobs(), out, executor="serial")
    return out


def test_results_are_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    jobs = some_jobs()
    told: list[tuple[int, int, int, float | None]] = []
    results = run_jobs(
        jobs, tmp_path / "run", executor="serial", progress=lambda *a: told.append(a)
    )
    assert list(results) == [job.key for job in jobs] and len(results) == 5
    assert results.failed == (results[jobs[-1].key],)
    assert [outcome.job for outcome in results.done] == jobs[:-1]
    assert [row[:3] for row in told] == [(0, 0, 5), *((k, 0, 5) for k in range(1, 5)), (4, 1, 5)]
    assert told[0][3] is None and told[-1][3] == 0.0
    failed = results.failed[0]
    assert failed.failure is not None and failed.result is None and failed.attempts == 2
    assert (failed.failure.type, failed.failure.message) == ("RuntimeError", "as asked")
    assert failed.failure.traceback.rstrip().endswith("RuntimeError: as asked")
    draws = np.random.default_rng(seeds_of(jobs[0])).normal(size=3)
    assert results[jobs[0].key].result == {"draws": draws.tolist(), "mean": draws.mean()}
    assert results[jobs[0].key].versions["numpy"] == np.__version__


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_give_the_same_files(serial: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "run"
    run_jobs(some_jobs()[::-1], out, executor="processes", workers=workers)
    assert records(out) == records(serial)


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_gives_the_same_files(
    serial: Path, tmp_path: Path, pool: type[Executor]
) -> None:
    out = tmp_path / "run"
    extra = {"mp_context": get_context("spawn")} if pool is ProcessPoolExecutor else {}
    with pool(2, **extra) as executor:  # type: ignore[call-arg]
        run_jobs(some_jobs(), out, executor=executor)
        assert executor.submit(abs, -1).result() == 1, "somebody else's executor is left open"
    assert records(out) == records(serial)


def test_no_jobs_are_no_problem(tmp_path: Path) -> None:
    assert dict(run_jobs([], tmp_path / "run")) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"executor": "ray"}, "executor 'ray', allowed: serial, processes, dask"),
        ({"executor": 3}, "executor 3 has no `submit`"),
        ({"workers": 0}, "workers = 0, allowed"),
        ({"retries": -1}, "retries = -1, allowed"),
    ],
)
def test_bad_arguments_are_refused(
    tmp_path: Path, arguments: Mapping[str, object], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        run_jobs(some_jobs(), tmp_path / "run", **arguments)  # type: ignore[arg-type]


def test_a_job_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"jobs 1 and 2 are one: .*give each a seed"):
        run_jobs([Job.of(echo, {"value": v}) for v in (1, 2, 2)], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_result_that_is_no_json_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesdense.jobs.trials.echo", lambda job: None)
    monkeypatch.setitem(function_named.__globals__["_FUNCTIONS"], f"{TRIALS}:echo", _not_finite)
    job = Job(
        canonical(json.loads(Job.of(fail, {"message": ""}).text) | {"function": f"{TRIALS}:echo"})
    )
    outcome = run_jobs([job], tmp_path / "run", executor="serial", retries=0)[job.key]
    assert outcome.failure is not None and outcome.attempts == 1
    assert outcome.failure.message.startswith("result.growth[1]: inf, allowed: finite numbers")


def _not_finite(job: Job) -> object:
    return {"growth": [1.0, float("inf")]}


# ---------------------------------------------------------------- resuming


def test_a_folder_that_holds_something_is_refused(serial: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"not empty; go on .* with --resume .*--out"):
        run_jobs(some_jobs(), serial, executor="serial")
    (tmp_path / "letter.txt").touch()
    with pytest.raises(JobError, match=r"not empty.*--resume.*--out"):
        run_jobs(some_jobs(), tmp_path, executor="serial")
    with pytest.raises(JobError, match=r"holds no jobs to go on with.*--out"):
        run_jobs(some_jobs(), tmp_path, executor="serial", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(JobError, match="no usable folder: Not a directory"):
        run_jobs(some_jobs(), tmp_path / "letter.txt", executor="serial")


def test_finished_jobs_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, jobs = tmp_path / "run", some_jobs(6)
    first = run_jobs(jobs[:3], out, executor="serial")
    ran: list[str] = []

    def spy(text: str) -> str:
        ran.append(Job.received(text).key)
        return execute(text)

    monkeypatch.setattr("bayesdense.jobs.crews.execute", spy)
    second = run_jobs(jobs, out, executor="serial", resume=True, retries=0)
    assert ran == [job.key for job in jobs[3:]]
    assert {key: second[key] for key in first} == dict(first)
    run_jobs(jobs, out, executor="serial", resume=True, retries=0)
    assert len(ran) == 3, "a failure is an outcome"
    third = run_jobs(jobs, out, executor="serial", resume=True, retries=2)
    assert ran[3:] == [jobs[-1].key] * 2 and third.failed[0].attempts == 3


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_that_was_killed_at_its_very_beginning_is_begun_anew(
    tmp_path: Path, resume: bool
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (".lock", ".probe.0123456789ab.tmp", ".ledger.json.0123456789ab.tmp"):
        (out / name).touch()
    assert len(run_jobs(some_jobs(), out, executor="serial", resume=resume)) == 5
    assert {path.name for path in out.iterdir()} == {".lock", "jobs", "ledger.json"}


def test_resuming_what_was_never_begun_begins_it(tmp_path: Path) -> None:
    assert len(run_jobs(some_jobs(), tmp_path / "run", executor="serial", resume=True)) == 5


def test_the_ledger_is_read_off_the_files(tmp_path: Path) -> None:
    out, jobs = tmp_path / "run", some_jobs(6)
    run_jobs(jobs[2:], out, executor="serial")
    ledger = json.loads((out / "ledger.json").read_text())
    assert (ledger["n_done"], ledger["n_failed"], ledger["n_pending"]) == (3, 1, 0)
    assert ledger["failed"][0]["key"] == jobs[-1].key
    assert "RuntimeError: as asked" in ledger["failed"][0]["traceback"]
    (out / "ledger.json").write_text("nonsense")
    found = scan(out, jobs)
    assert found.pending == tuple(job.key for job in jobs[:2])
    assert found.done == tuple(job.key for job in jobs[2:-1])
    assert [outcome.job for outcome in found.failed] == [jobs[-1]]
    run_jobs(jobs, out, executor="serial", resume=True)
    assert json.loads((out / "ledger.json").read_text())["n_done"] == 5


def test_finished_jobs_of_another_study_are_told_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, jobs = tmp_path / "run", some_jobs(6)
    run_jobs(jobs, out, executor="serial")
    assert len(run_jobs(jobs[:2], out, executor="serial", resume=True)) == 2
    assert "4 finished jobs are not among the 2 of this run" in caplog.text
    assert len(scan(out, jobs).done) == 5


def test_other_versions_are_told(
    serial: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bayesdense.jobs.run.versions", lambda: {"numpy": "99"})
    run_jobs(some_jobs(), serial, executor="serial", resume=True)
    assert "5 of the finished jobs were run with other versions: " in caplog.text
    assert f"numpy {np.__version__} (now 99)" in caplog.text


# ---------------------------------------------------------------- damaged files


def damaged(content: bytes, how: int) -> bytes:
    """A file's content with a bit turned (`how` from 0 on), or cut short (below 0)."""
    if how < 0:
        return content[: how % len(content)]
    place, bit = divmod(how % (8 * len(content)), 8)
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


@given(st.data())
def test_a_damaged_file_is_never_read_as_a_result(
    serial: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    jobs = some_jobs()
    job = data.draw(st.sampled_from(jobs))
    content = (serial / "jobs" / f"{job.key}.json").read_bytes()
    how = data.draw(st.integers(-len(content), 8 * len(content) - 1))
    out = tmp_path_factory.mktemp("damaged")
    (out / "jobs").mkdir()
    path = out / "jobs" / f"{job.key}.json"
    path.write_bytes(content)
    assert scan(out, [job]).pending == ()
    path.write_bytes(damaged(content, how))
    assert scan(out, [job]).pending == (job.key,)


def test_a_damaged_file_is_told_and_its_job_run_again(
    serial: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, jobs = tmp_path / "run", some_jobs()
    run_jobs(jobs, out, executor="serial")
    paths = [out / "jobs" / f"{job.key}.json" for job in jobs]
    paths[0].write_bytes(damaged(paths[0].read_bytes(), 2000))
    paths[1].write_bytes(damaged(paths[1].read_bytes(), -30))
    paths[2].write_bytes(b"")
    paths[3].write_bytes((serial / "jobs" / paths[0].name).read_bytes())  # whole, of another job
    left = paths[4].with_name(f".{paths[4].name}.0123456789ab.tmp")
    left.write_bytes(b"half")
    run_jobs(jobs, out, executor="serial", resume=True)
    assert records(out) == records(serial)
    assert not left.exists()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.split(": ")[0] for line in told] == [str(path) for path in paths[:4]]
    assert all(line.endswith("the job is run again") for line in told)


def test_a_file_of_another_schema_is_refused(serial: Path, tmp_path: Path) -> None:
    job = some_jobs()[0]
    body = b'{"schema":2,\n"record":null'
    (tmp_path / "jobs").mkdir()
    path = tmp_path / "jobs" / f"{job.key}.json"

    def write(body: bytes) -> None:
        checksum = hashlib.sha256(body).hexdigest().encode()
        path.write_bytes(body + b',\n"sha256":"' + checksum + b'"}\n')

    write(body)
    with pytest.raises(JobError, match="not of schema 1, which this version of bayesdense reads"):
        scan(tmp_path, [job])
    write(body.replace(b"2", b"1"))
    assert scan(tmp_path, [job]).pending == (job.key,)


def test_a_system_without_processes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", start)
    with pytest.raises(JobError, match=r"2 worker processes cannot be started.*--jobs"):
        run_jobs(some_jobs(), tmp_path / "run", workers=2)


# ---------------------------------------------------------------- folders that cannot be used


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:  # root may write anywhere else
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(JobError, match="cannot be written: Read-only file system; give another"):
        run_jobs(some_jobs(), tmp_path / "run", executor="serial")
    assert list(tmp_path.iterdir()) == []


FULL = """
import logging, resource, sys
from pathlib import Path
from bayesdense.errors import JobError
from bayesdense.jobs import Job, run_jobs
from bayesdense.jobs.trials import echo

def fill(done, failed, total, left):
    if done == 2:  # from now on files cannot grow beyond 4 kB, as on a disk without space
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

try:
    jobs = [Job.of(echo, {"value": "x" * 9000, "k": k}) for k in range(5)]
    run_jobs(jobs, sys.argv[1], executor=sys.argv[2], workers=2, resume=True,
             progress=fill if sys.argv[3] == "full" else None)
except JobError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.skipif(os.name == "nt", reason="limits of files are those of POSIX")
@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_full_disk_ends_a_run_that_can_be_gone_on_with(tmp_path: Path, executor: str) -> None:
    def go(state: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", FULL, str(tmp_path / "run"), executor, state]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    first = go("full")
    assert first.returncode == 2 and first.stderr == ""
    assert "cannot be written: File too large; what was finished before is kept" in first.stdout
    names = {path.name for path in (tmp_path / "run" / "jobs").iterdir()}
    assert len(names) == 2 and all(name.endswith(".json") for name in names)
    assert go("free").returncode == 0
    assert len(list((tmp_path / "run" / "jobs").glob("*.json"))) == 5


def test_what_lies_in_the_way_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "jobs").touch()
    with pytest.raises(JobError, match=r"run/jobs: cannot be written: File exists"):
        run_jobs(some_jobs(), out, executor="serial", resume=True)
    (out / "jobs").unlink()
    (out / "jobs").mkdir()
    (out / "jobs" / f"{some_jobs()[0].key}.json").mkdir()
    with pytest.raises(JobError, match=r"\.json: cannot be read: not a regular file"):
        run_jobs(some_jobs(), out, executor="serial", resume=True)
    with pytest.raises(JobError, match=r"null byte|null character"):
        run_jobs(some_jobs(), "a\0b", executor="serial")


def test_a_second_run_on_one_folder_is_refused(tmp_path: Path) -> None:
    out, jobs = tmp_path / "run", some_jobs()
    refused: list[str] = []

    def another(done: int, *_: object) -> None:
        if done == 2:
            with pytest.raises(JobError) as problem:
                run_jobs(jobs, out, executor="serial", resume=True)
            refused.append(str(problem.value))

    run_jobs(jobs, out, executor="serial", progress=another)
    assert len(refused) == 1
    assert f"another run is using it (process {os.getpid()} on " in refused[0]
    assert "wait until that ends, or write elsewhere with --out" in refused[0]
    run_jobs(jobs, out, executor="serial", resume=True)


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.usefixtures("minding_ctrl_c")
@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_ctrl_c_keeps_what_is_finished(
    tmp_path: Path, executor: str, serial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, jobs = tmp_path / "run", some_jobs()

    def press(done: int, *_: object) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, out, executor=executor, workers=2, progress=press)
    finished = {path.name: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()}
    assert 2 <= len(finished) <= 5
    assert "jobs are finished and kept; go on with --resume" in caplog.text
    assert json.loads((out / "ledger.json").read_text())["n_pending"] == 5 - len(finished)
    run_jobs(jobs, out, executor=executor, workers=2, resume=True)
    assert records(out) == records(serial)
    assert (
        finished.items()
        <= {path.name: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()}.items()
    )


def test_an_error_of_whoever_follows_the_progress_keeps_what_is_finished(tmp_path: Path) -> None:
    out, jobs = tmp_path / "run", some_jobs()

    def stumble(done: int, *_: object) -> None:
        if done == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_jobs(jobs, out, executor="serial", progress=stumble)
    assert len(scan(out, jobs).done) == 2
    assert isinstance(run_jobs(jobs, out, executor="serial", resume=True), Results)


# ---------------------------------------------------------------- the command line, the page


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The program with a verb that runs some jobs."""

    def trial(
        out: StudyOption = None,
        jobs: JobsOption = None,
        resume: ResumeOption = False,
        executor: ExecutorOption = "processes",
    ) -> None:
        assert out is not None
        with Reporter(quiet=False) as progress:
            progress.stage("trying")
            arguments = {"executor": executor, "workers": jobs, "resume": resume}
            results = run_jobs(some_jobs(9), out, progress=progress.jobs, **arguments)  # type: ignore[arg-type]
        raise typer.Exit(1 if results.failed else 0)

    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
    app.command("trial")(trial)
    return lambda *arguments: invoke(monkeypatch, capsys, "trial", *arguments)


def test_a_verb_runs_jobs_and_says_how_far_it_is(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    status, _, err = call("--out", out, "--executor", "serial", "--jobs", 1)
    assert status == 1
    lines = [line.split(" s ", 1)[1] for line in err.splitlines()]
    assert lines[0] == "trying" and lines[1] == "jobs; 0 of 9 finished"
    assert lines[2].startswith("jobs; 3 of 9 finished, ") and lines[2].endswith(" s left")
    assert lines[-1] == "jobs, failed: 1; 9 of 9 finished"
    status, stdout, err = call("--out", out)
    assert (status, stdout) == (2, "") and err.count("\n") >= 2
    assert "error: " in err and "--resume" in err and "--out" in err
    assert call("--out", out, "--resume", "--executor", "serial")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--executor", "ray"), "'ray', allowed: serial, processes, dask"),
        (("--jobs", "0"), "'--jobs'"),
        (("--out", ""), "empty, allowed: a folder"),
    ],
)
def test_bad_options_exit_2(
    call: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], message: str
) -> None:
    status, _, err = call(*arguments)
    assert status == 2 and message in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.2, "4 s"), (89.9, "90 s"), (100, "2 min"), (5400, "1.5 h")]
)
def test_time_left_has_few_digits(seconds: float, said: str) -> None:
    assert _duration(seconds) == said


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    page = Path(__file__).parents[1] / "docs" / "how-to" / "studies-and-clusters.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    (tmp_path / "script.py").write_text(example, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stderr == "" and run.stdout.endswith("] 0\n")
    assert len(list((tmp_path / "studies" / "trial" / "jobs").iterdir())) == 8


def test_what_a_study_found_is_written_or_told(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"x\.json: cannot be written: No such.*--resume"):
        write_result(tmp_path / "absent", "x.json", "{}")
    write_result(tmp_path, "x.json", "{}")
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == "{}"
