"""Files of finished jobs: whole or absent, and never believed without their checksum."""

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bayesdense.errors import JobError
from bayesdense.files import MOST_JSON, parse_json, read_regular, write_bytes_atomic
from bayesdense.jobs.canonical import canonical
from bayesdense.jobs.job import Job

_LOG = logging.getLogger(__name__)
_SCHEMA: Final = 1
#: Before the checksum, the last line of a file, which is of everything before this.
_MARK: Final = b',\n"sha256":"'
_END: Final = b'"}\n'


@dataclass(frozen=True, slots=True)
class Failure:
    """What a job raised the last time it was tried.

    Attributes
    ----------
    type, message
        Of the exception; `WorkerLost` where the process died in mid-job.
    traceback
        As Python prints it; empty where the process died.
    """

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished job.

    Attributes
    ----------
    job
        What was asked.
    result
        What its function returned; None if it failed.
    failure
        What went wrong; None if it is done.
    attempts
        How often it was tried.
    seconds
        Wall seconds of the last attempt.
    versions
        Of Python and of the packages in the process that ran it.
    """

    job: Job
    result: Any
    failure: Failure | None
    attempts: int
    seconds: float
    versions: Mapping[str, str]

    @property
    def is_done(self) -> bool:
        """Whether there is a result."""
        return self.failure is None


def outcome_of(job: Job, report: str, attempts: int) -> Outcome:
    """Read the report of `execution.execute`."""
    told = json.loads(report)
    failure = None
    if "type" in told:
        failure = Failure(told["type"], told["message"], told["traceback"])
    return Outcome(job, told.get("result"), failure, attempts, told["seconds"], told["versions"])


def file_of(folder: Path, job: Job) -> Path:
    """Where the outcome of a job is written."""
    return folder / f"{job.key}.json"


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write the file of a finished job.

    One JSON object of a line per entry: `schema`; `record`, which is the same wherever and however
    often the job is run; `run`, which is not; `sha256` of all that stands before it.

    Raises
    ------
    JobError
        The file cannot be written: disk full, folder read-only, ...
    """
    failure = outcome.failure
    what = failure and {"type": failure.type, "message": failure.message}
    record = {"job": outcome.job.parts, "failure": what, "result": outcome.result}
    run = {
        "attempts": outcome.attempts,
        "seconds": outcome.seconds,
        "traceback": failure and failure.traceback,
        "versions": dict(outcome.versions),
    }
    lines = (f'"schema":{_SCHEMA}', f'"record":{canonical(record)}', f'"run":{canonical(run)}')
    body = ("{" + ",\n".join(lines)).encode()
    path = file_of(folder, outcome.job)
    try:
        write_bytes_atomic(path, body + _MARK + _digest(body) + _END)
    except OSError as err:
        raise JobError(
            f"{path}: cannot be written: {err.strerror or err}; what was finished before is kept: "
            "mend that and go on with --resume (resume=True in Python)"
        ) from err


def read_outcomes(folder: Path, jobs: Iterable[Job]) -> dict[str, Outcome]:
    """Read the files of those jobs that have one, by key; a damaged one counts as none.

    Raises
    ------
    JobError
        A file cannot be read, or is of another schema.
    """
    found = ((job.key, _read(file_of(folder, job), job)) for job in jobs)
    return {key: outcome for key, outcome in found if outcome is not None}


def _read(path: Path, job: Job) -> Outcome | None:
    """Outcome in a file; None if there is no file, or a damaged one, which is told."""
    try:
        content = read_regular(path, MOST_JSON)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise JobError(f"{path}: cannot be read: {err.strerror or err}") from err
    body, _, checksum = content.rpartition(_MARK)
    if checksum != _digest(body) + _END:
        _LOG.warning("%s: cut short or altered since it was written; the job is run again", path)
        return None
    return _parsed(path, body + b"}", job)


def _parsed(path: Path, content: bytes, job: Job) -> Outcome | None:
    """Outcome in a file's content, whose checksum is right."""
    try:
        entries = parse_json(content)
    except ValueError:
        entries = None
    if not isinstance(entries, dict) or entries.get("schema") != _SCHEMA:
        raise JobError(
            f"{path}: not of schema {_SCHEMA}, which this version of bayesdense reads; go on with "
            "the version that wrote it, or begin anew in another folder with --out"
        )
    try:
        found = _outcome(entries["record"], entries["run"], job)
    except (
        KeyError,
        TypeError,
        ValueError,
        JobError,
    ):  # right checksum, wrong content: somebody's own
        found = None
    if found is None:
        _LOG.warning("%s: not the outcome of the job of that name; the job is run again", path)
    return found


def _outcome(record: dict[str, Any], run: dict[str, Any], job: Job) -> Outcome | None:
    """Outcome in a file's entries; None if they are another job's."""
    if canonical(record["job"]) != job.text:
        return None
    what, result = record["failure"], record["result"]
    attempts, seconds, versions = run["attempts"], float(run["seconds"]), dict(run["versions"])
    texts = [*versions, *versions.values()]
    if what is not None:
        texts += [what["type"], what["message"], run["traceback"]]
    if type(attempts) is not int or attempts < 1 or not 0 <= seconds < math.inf:
        return None
    if not all(isinstance(text, str) for text in texts) or None not in (what, result):
        return None
    failure = None if what is None else Failure(what["type"], what["message"], run["traceback"])
    return Outcome(job, result, failure, attempts, seconds, versions)


def _digest(body: bytes) -> bytes:
    """SHA-256 in hex."""
    return hashlib.sha256(body).hexdigest().encode()
