"""The folder of a run: one run at a time, begun anew or gone on with, never mixed up."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bayesdense.errors import JobError
from bayesdense.files import TEMPORARY, probe_writable, write_text_atomic
from bayesdense.locks import LOCK, sole_use

LEDGER: Final = "ledger.json"
_JOBS: Final = "jobs"


@contextmanager
def run_folder(out: Path, *, resume: bool) -> Iterator[Path]:
    """Open the folder of a run for this process alone.

    Parameters
    ----------
    out
        Made if it is not there.
    resume
        Whether it may hold finished jobs.

    Yields
    ------
    pathlib.Path
        The folder of the jobs' files, free of what a killed run may have left half-written.

    Raises
    ------
    JobError
        Something is there and not `resume`, or is not of a run; another run is using it; it
        cannot be written.
    """
    _refuse_foreign(out, resume=resume)
    with _writing(out):
        probe_writable(out)
        out.mkdir(parents=True, exist_ok=True)
    with sole_use(out, JobError):
        _refuse_foreign(out, resume=resume)  # by now another run may have come and gone
        folder = out / _JOBS
        with _writing(folder):
            folder.mkdir(exist_ok=True)
            for left in (*out.glob(TEMPORARY), *folder.glob(TEMPORARY)):
                left.unlink(missing_ok=True)
        yield folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what to do where a folder cannot be written."""
    try:
        yield
    except (OSError, ValueError) as err:  # ValueError: a name that no file system can spell
        raise JobError(
            f"{folder}: cannot be written: {_reason(err)}; give another folder with --out"
        ) from err


def _reason(error: Exception) -> str:
    """What the system says, without a number and the path, which the message has already."""
    return str(getattr(error, "strerror", None) or error)


def _refuse_foreign(out: Path, *, resume: bool) -> None:
    """Raise where a run would be mixed up with what is there."""
    try:
        left = {path.name for path in out.glob(TEMPORARY)}
        present = {path.name for path in out.iterdir()} - left - {LOCK}
    except FileNotFoundError:
        return
    except (OSError, ValueError) as err:
        raise JobError(f"{out}: no usable folder: {_reason(err)}; give another with --out") from err
    if not present:
        return
    if not resume:
        raise JobError(
            f"{out}: not empty; go on with what is there with --resume (resume=True in Python), or "
            "write to another folder with --out"
        )
    if _JOBS not in present:
        raise JobError(f"{out}: holds no jobs to go on with; give another folder with --out")


def write_result(out: Path, name: str, text: str) -> None:
    """Write what a study found beside its jobs.

    Raises
    ------
    JobError
        It cannot be written: disk full, folder read-only, ...
    """
    path = out / name
    try:
        write_text_atomic(path, text)
    except OSError as err:
        raise JobError(
            f"{path}: cannot be written: {_reason(err)}; all jobs are finished and kept: mend that "
            "and run it again with --resume (resume=True in Python)"
        ) from err
