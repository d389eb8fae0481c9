"""A second process that compiles what follows sampling: the right code, and without harm."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_up import made_up_posterior, small_data

from bayesdense import joint_kernel
from bayesdense.dataset import load_dataset
from bayesdense.engine.runs import target_of
from bayesdense.engine.whiten import unwhitened
from bayesdense.observations import observe
from bayesdense.size_slope import size_covariate
from bayesdense.sizes import (
    ahead,
    draw_log_sizes,
    llm_bounds,
    log_likelihoods_and_slopes,
    loo_pit,
    normal,
    quadrature_error,
)
from bayesdense.spec import load_spec

SPEC = load_spec("joint")


def test_calls_are_those_of_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba compiles anew for other types: what is compiled ahead must be what is called."""
    whole, data = observe(SPEC, load_dataset("densing")), small_data()
    target = target_of(SPEC, whole)
    assert target.packed is not None
    called: dict[str, set[tuple[object, ...]]] = {}

    def noted(function: ahead.Function) -> ahead.Function:
        def call(*arguments: object) -> object:
            called.setdefault(function.__name__, set()).add(ahead.types_of(arguments))
            return function(*arguments)

        return call

    expected = {f.__name__: {ahead.types_of(arguments)} for f, arguments in ahead.calls()}
    for function, _ in ahead.calls():
        home = joint_kernel if hasattr(joint_kernel, function.__name__) else normal
        monkeypatch.setattr(home, function.__name__, noted(function))
    # In Python, what is compiled into one function calls its parts one by one
    for name in ("whitened_log_density", "log_density", "_scores"):
        monkeypatch.setattr(joint_kernel, name, getattr(joint_kernel, name).py_func)
    where = target.coordinates
    words = target.packed(unwhitened(where.size), target.nothing_given)
    joint_kernel.whitened_log_density(where.start, words)
    where.natural(np.tile(where.start, (1, 2, 1)))
    posterior = made_up_posterior(SPEC, data, shape=(2, 20))
    draw_log_sizes(posterior, SPEC, data, seed=1)
    llm_bounds(posterior, SPEC, data)
    for covariate in (None, size_covariate(whole)[: len(data.llms.names)]):
        found, _ = log_likelihoods_and_slopes(posterior, SPEC, data, covariate)
    loo_pit(posterior, SPEC, data, found["llm"], seed=1)
    quadrature_error(posterior, SPEC, data)
    assert called == expected


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that are started where numba's cache is empty; they wait instead of compiling."""
    processes: list[subprocess.Popen[bytes]] = []
    waiting = [sys.executable, "-c", "import sys; sys.stdin.buffer.read()"]

    class Noted(subprocess.Popen):
        def __init__(self, command: list[str], **options: object) -> None:
            super().__init__(waiting, **options)
            processes.append(self)

    monkeypatch.setattr(ahead, "is_kept", lambda function: False)
    monkeypatch.setattr(subprocess, "Popen", Noted)
    yield processes
    for process in processes:
        process.kill()


def test_the_process_ends_with_the_context(started: list["subprocess.Popen[bytes]"]) -> None:
    with pytest.raises(RuntimeError, match="of the fit"), ahead.compiling(wanted=True):
        assert started[0].poll() is None
        raise RuntimeError("of the fit")
    assert started[0].returncode is not None


def test_what_takes_too_long_is_not_waited_for(
    started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_PATIENCE", 0.01)
    with ahead.compiling(wanted=True) as wait:
        wait()
        assert started[0].poll() is None


def test_nothing_is_started_without_need(
    started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ahead.compiling(wanted=False) as wait:
        wait()
    monkeypatch.setattr(ahead, "is_kept", lambda function: True)
    with ahead.compiling(wanted=True) as wait:
        wait()
    monkeypatch.setattr(ahead, "is_kept", lambda function: False)
    monkeypatch.setattr(sys, "executable", "")
    with ahead.compiling(wanted=True) as wait:
        wait()
    assert started == []


def test_a_system_that_starts_no_process_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no process for you")

    monkeypatch.setattr(ahead, "is_kept", lambda function: False)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with ahead.compiling(wanted=True) as wait:
        wait()


def test_all_that_is_compiled_is_found_in_the_cache() -> None:
    ahead.compile_all()
    assert all(ahead.is_kept(function) for function, _ in ahead.calls())


def test_caches_are_looked_for_where_numba_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file as numba names it, newer than the source; that of an old source does not count."""
    source = tmp_path / "source.py"
    source.write_text("import numba\n\n@numba.njit(cache=True)\ndef twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    twice = importlib.import_module("source").twice
    assert not ahead.is_kept(twice)
    twice(1.0)
    assert ahead.is_kept(twice)
    (kept,) = Path(twice.stats.cache_path).glob("source.twice-*.nbi")
    written = kept.stat().st_mtime + 10
    os.utime(source, (written, written))  # the same source, written again
    assert not ahead.is_kept(twice)
    monkeypatch.setattr(ahead, "calls", lambda: [(twice, (1.0,))])
    os.utime(kept, (written - 20, written - 20))
    os.utime(source, (written - 10, written - 10))
    ahead.compile_all()
    assert ahead.is_kept(twice)
    kept.unlink()
    assert not ahead.is_kept(twice)


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """Whose end of the pipe the system closes, however it ends."""
    command = [sys.executable, "-P", "-m", "bayesdense.sizes.ahead"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
    assert not any(tmp_path.rglob("*family_terms*.nbi")), "it had time to compile all"
