"""Draws shared out over threads: every one once, and errors heard."""

import json
import threading
import time

import pytest

from bayesdense.cores import at_most
from bayesdense.jobs import Job
from bayesdense.jobs.execution import execute
from bayesdense.jobs.trials import cores_of_a_job
from bayesdense.sizes import parallel
from bayesdense.sizes.parallel import over_draws


@pytest.mark.parametrize("size", [0, 1, 49, 50, 51, 1234])
def test_every_draw_is_worked_on_once(size: int) -> None:
    worked: list[int] = []
    over_draws(size, worked.append)
    assert sorted(worked) == list(range(size))


def test_several_threads_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two draws wait for each other, which one thread alone could not end."""
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    meet = threading.Barrier(2, timeout=30)

    def work(draw: int) -> None:
        if draw in (0, 99):
            meet.wait()

    over_draws(100, work)


def test_a_job_works_on_one_core() -> None:
    """As many jobs run at once as there are cores."""
    threads: set[int] = set()

    def work(draw: int) -> None:
        time.sleep(0.001)
        threads.add(threading.get_ident())

    with at_most(1):
        over_draws(500, work)
    assert len(threads) == 1
    assert json.loads(execute(Job.of(cores_of_a_job).message))["result"] == 1


def test_an_error_ends_the_work() -> None:
    worked: list[int] = []
    failed = threading.Event()

    def work(draw: int) -> None:
        if draw == 7:
            failed.set()
            raise FloatingPointError("draw 7")
        if draw > 100:  # later blocks go on no faster than the main thread hears of it
            failed.wait()
            time.sleep(0.01)
        worked.append(draw)

    with pytest.raises(FloatingPointError, match="draw 7"):
        over_draws(100_000, work)
    assert len(worked) < 10_000, "what nobody reads is not worked on"
