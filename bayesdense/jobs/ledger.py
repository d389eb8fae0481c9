"""The ledger: which jobs are done, failed or pending, read off their files and never believed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bayesdense.errors import JobError
from bayesdense.files import write_text_atomic
from bayesdense.jobs.folder import LEDGER
from bayesdense.jobs.job import Job
from bayesdense.jobs.outcomes import Outcome, read_outcomes

_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Ledger:
    """State of a run, every list in the order of its jobs.

    Attributes
    ----------
    done, pending
        Keys of jobs.
    failed
        Outcomes of jobs whose last attempt raised.
    """

    done: tuple[str, ...]
    failed: tuple[Outcome, ...]
    pending: tuple[str, ...]

    def to_json(self) -> str:
        """Content of `ledger.json`."""
        failed = [
            {
                "key": outcome.job.key,
                "attempts": outcome.attempts,
                "type": outcome.failure.type,
                "message": outcome.failure.message,
                "traceback": outcome.failure.traceback,
            }
            for outcome in self.failed
            if outcome.failure
        ]
        return json.dumps(
            {
                "schema": _SCHEMA,
                "n_done": len(self.done),
                "n_failed": len(self.failed),
                "n_pending": len(self.pending),
                "failed": failed,
                "pending": self.pending,
                "done": self.done,
            },
            indent=1,
        )


def ledger_of(jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> Ledger:
    """Sort jobs by what is known of them."""
    keys = [job.key for job in jobs]
    finished = [outcomes[key] for key in keys if key in outcomes]
    return Ledger(
        done=tuple(outcome.job.key for outcome in finished if outcome.is_done),
        failed=tuple(outcome for outcome in finished if not outcome.is_done),
        pending=tuple(key for key in keys if key not in outcomes),
    )


def scan(out: str | Path, jobs: Sequence[Job]) -> Ledger:
    """Read the state of a run off the files of its jobs, also while it goes on.

    Parameters
    ----------
    out
        Folder of the run.
    jobs
        The jobs that the run is of.

    Raises
    ------
    JobError
        A file cannot be read.
    """
    return ledger_of(jobs, read_outcomes(Path(out) / "jobs", jobs))


def write_ledger(out: Path, ledger: Ledger) -> None:
    """Write `ledger.json`, for people and other programs: no run ever reads it.

    Raises
    ------
    JobError
        It cannot be written.
    """
    path = out / LEDGER
    try:
        write_text_atomic(path, ledger.to_json() + "\n")
    except OSError as err:
        raise JobError(
            f"{path}: cannot be written: {err.strerror or err}; finished jobs are kept: mend that, "
            "and go on with --resume"
        ) from err
