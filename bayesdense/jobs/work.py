"""The loop of a run: hand jobs over, write down what comes back, try again what failed."""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

from bayesdense.errors import JobError
from bayesdense.interrupts import noticing_interrupts
from bayesdense.jobs.crews import Crew, CrewGone, Pending, WorkerLost
from bayesdense.jobs.execution import versions
from bayesdense.jobs.job import Job
from bayesdense.jobs.ledger import ledger_of, write_ledger
from bayesdense.jobs.outcomes import Failure, Outcome, outcome_of, write_outcome

_LOG = logging.getLogger(__name__)
#: Seconds between two writes of the ledger while jobs run.
_LEDGER_EVERY: Final = 5.0
#: Seconds that Ctrl-C may wait where a system does not break off waiting for a queue.
_TICK: Final = 0.5

#: Told of done and failed jobs, of all of them, and of the seconds left (None: not known yet).
type Progress = Callable[[int, int, int, float | None], object]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job that is tried for the `number`th time, over all runs on a folder."""

    job: Job
    number: int


def due(jobs: Iterable[Job], known: Mapping[str, Outcome], retries: int) -> list[Attempt]:
    """List what is still to be tried: jobs without an outcome, and failed ones with a retry left.

    Parameters
    ----------
    jobs
        All jobs.
    known
        Outcomes by key.
    retries
        How often a failed job is tried again.
    """
    attempts = []
    for job in jobs:
        outcome = known.get(job.key)
        if outcome is None:
            attempts.append(Attempt(job, 1))
        elif not outcome.is_done and outcome.attempts <= retries:
            attempts.append(Attempt(job, outcome.attempts + 1))
    return attempts


class Records:
    """What is known of a run's jobs, on disk first, and told to whoever asked.

    A context manager: when it ends, whatever the reason, the ledger is up to date.

    Parameters
    ----------
    jobs
        All jobs.
    folder
        Folder of the jobs' files.
    known : dict
        Outcomes by key; it grows.
    progress
        See `run_jobs`.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        folder: Path,
        known: dict[str, Outcome],
        progress: Progress | None,
    ) -> None:
        self._jobs, self._folder, self._known, self._progress = jobs, folder, known, progress
        self._began = self._written = time.monotonic()
        self._added, self._done = 0, sum(outcome.is_done for outcome in known.values())

    def __enter__(self) -> Self:
        """Write the ledger and tell the progress as they stand."""
        self._write_ledger()
        self._tell()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the ledger; what ended the run is worse than that it could not be."""
        with contextlib.nullcontext() if error is None else contextlib.suppress(JobError):
            self._write_ledger()
        if isinstance(error, KeyboardInterrupt):
            finished = f"{len(self._known)} of {len(self._jobs)}"
            _LOG.warning("%s jobs are finished and kept; go on with --resume", finished)

    def add(self, outcome: Outcome) -> None:
        """Write an outcome to disk, and only then count it."""
        write_outcome(self._folder, outcome)
        self._known[outcome.job.key] = outcome
        self._added += 1
        self._done += outcome.is_done
        if time.monotonic() - self._written > _LEDGER_EVERY:
            self._write_ledger()
        self._tell()

    def _write_ledger(self) -> None:
        """Bring the ledger up to date."""
        write_ledger(self._folder.parent, ledger_of(self._jobs, self._known))
        self._written = time.monotonic()

    def _tell(self) -> None:
        """Tell the progress: the jobs left take as long as those of this run took on average."""
        if self._progress is None:
            return
        left = None
        if self._added:
            each = (time.monotonic() - self._began) / self._added
            left = each * (len(self._jobs) - len(self._known))
        failed = len(self._known) - self._done
        self._progress(self._done, failed, len(self._jobs), left)


def work_through(attempts: Iterable[Attempt], crew: Crew, records: Records, retries: int) -> None:
    """Let a crew work through jobs until each has an outcome on disk.

    Parameters
    ----------
    attempts
        What is to be tried.
    crew
        Who runs the jobs.
    records
        Where outcomes go.
    retries
        How often a failed job is tried again.

    Raises
    ------
    JobError
        Nobody is left who could run jobs, or an outcome cannot be written.
    KeyboardInterrupt
        Ctrl-C was pressed. As after every error, what had come back is on disk.
    """
    todo, flying = deque(attempts), dict[str, tuple[Attempt, Pending]]()
    landed: SimpleQueue[str] = SimpleQueue()

    def land(key: str, _: object) -> None:
        landed.put(key)

    def hand_over() -> None:
        while todo and len(flying) < crew.at_once:
            attempt = todo.popleft()
            future = crew.submit(attempt.job.message)
            flying[attempt.job.key] = attempt, future
            future.add_done_callback(partial(land, attempt.job.key))

    def settle(key: str) -> None:
        attempt, future = flying[key]
        outcome = _outcome(attempt, future)
        if outcome.is_done or attempt.number > retries:
            records.add(outcome)
        else:
            todo.appendleft(Attempt(attempt.job, attempt.number + 1))
        del flying[key]

    try:
        while todo or flying:
            hand_over()
            key = _next(landed)
            with noticing_interrupts() as interrupted:
                settle(key)
            if interrupted():
                raise KeyboardInterrupt
    except BaseException as error:
        with noticing_interrupts():
            for key in [key for key, (_, future) in flying.items() if future.done()]:
                with contextlib.suppress(CrewGone):
                    settle(key)
        if isinstance(error, CrewGone):
            raise JobError(
                f"{error}; what was finished is kept: go on with --resume (resume=True in Python)"
            ) from error
        raise


def _next(landed: SimpleQueue[str]) -> str:
    """Wait for the next job that comes back."""
    while True:
        with contextlib.suppress(Empty):
            return landed.get(timeout=_TICK)


def _outcome(attempt: Attempt, future: Pending) -> Outcome:
    """What came of an attempt."""
    try:
        report: str = future.result()
    except (CancelledError, BrokenExecutor) as err:
        raise CrewGone(f"the executor runs no more jobs ({type(err).__name__}: {err})") from err
    except CrewGone:
        raise
    except WorkerLost as err:
        return _lost(attempt, str(err))
    except Exception as err:  # the executor's own: what ran the job was lost, or the way to it
        return _lost(attempt, f"{type(err).__name__}: {err}")
    return outcome_of(attempt.job, report, attempt.number)


def _lost(attempt: Attempt, why: str) -> Outcome:
    """Outcome of an attempt of which nothing came back."""
    failure = Failure(WorkerLost.__name__, why)
    return Outcome(attempt.job, None, failure, attempt.number, 0.0, versions())
