"""Where jobs run: here, one after the other, or wherever an object with `.submit` sends them."""

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from bayesdense.jobs.execution import execute
from bayesdense.jobs.setup import set_up_worker

#: Jobs handed over at a time: enough for a cluster to see what is coming, few enough for memory.
MANY: Final = 1000


class Pending(Protocol):
    """A future, as far as it is needed: that of `concurrent.futures`, or Dask's."""

    def result(self) -> Any:  # noqa: ANN401 - of any call
        """Return what the call returned, or raise what it raised."""

    def done(self) -> bool:
        """Whether there is nothing to wait for."""

    def add_done_callback(self, fn: Callable[[Any], object], /) -> object:
        """Call a function with this future when it is done, in any thread."""


@runtime_checkable
class Submits(Protocol):
    """Runs calls elsewhere: an executor of `concurrent.futures`, or anything of that shape."""

    def submit(self, fn: Callable[..., Any], /, *args: object) -> Any:  # noqa: ANN401 - see Pending
        """Run `fn(*args)` some time; return its future."""


class WorkerLost(Exception):
    """The process that ran a job ended before the job did: the job may be tried again."""


class CrewGone(Exception):
    """There is nobody left who could run a job: not this one, and no other."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Whoever runs jobs.

    Attributes
    ----------
    submit
        Takes `Job.message`, returns the future of what `execution.execute` reports. What it or the
        future raises is no fault of the job: `CrewGone` ends the run, anything else is one attempt.
    at_once
        Most jobs to be handed over and not finished at a time.
    """

    submit: Callable[[str], Pending]
    at_once: int


@contextmanager
def serial() -> Iterator[Crew]:
    """Run each job in this process as soon as it is submitted."""

    def submit(text: str) -> Future[str]:
        future: Future[str] = Future()
        future.set_result(execute(text))
        return future

    yield Crew(submit, at_once=1)


@contextmanager
def foreign(executor: Submits) -> Iterator[Crew]:
    """Let somebody else's executor run the jobs; it is left open."""
    home = _process()

    def submit(text: str) -> Pending:
        try:
            future: Pending = executor.submit(execute_elsewhere, text, home)
        except Exception as err:  # broken, shut down, ...: each kind of executor has its own
            raise CrewGone(f"{type(err).__name__}: {err}") from err
        return future

    yield Crew(submit, at_once=MANY)


def execute_elsewhere(text: str, home: str) -> str:
    """Run a job in somebody else's worker; `home` tells a worker process from a thread."""
    if _process() != home:
        set_up_worker()
    return execute(text)


def _process() -> str:
    """Name of this process among those of all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"
