"""The folder of a run: one run at a time, begun anew or gone on with, never mixed up."""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from bayesdense.errors import JobError
from bayesdense.files import probe_writable

LEDGER: Final = "ledger.json"
_LOCK: Final = ".lock"
_JOBS: Final = "jobs"
#: What `files.temporary_beside` leaves where a run is killed while it writes.
_LEFT: Final = f".*.{'[0-9a-f]' * 12}.tmp"


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
    with _locked(out):
        _refuse_foreign(out, resume=resume)  # by now another run may have come and gone
        folder = out / _JOBS
        with _writing(folder):
            folder.mkdir(exist_ok=True)
            for left in (*out.glob(_LEFT), *folder.glob(_LEFT)):
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
        left = {path.name for path in out.glob(_LEFT)}
        present = {path.name for path in out.iterdir()} - left - {_LOCK}
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


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system takes back from a process that dies."""
    path = out / _LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise JobError(
            f"{out}: another run is using it{_holder(path)}; wait until that ends, or give "
            "another folder with --out"
        ) from None
    except OSError as err:
        raise JobError(f"{path}: cannot be locked: {_reason(err)}") from err
    try:
        with contextlib.suppress(OSError):  # a courtesy to whoever is refused
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """Who holds a lock, if its file says so."""
    with contextlib.suppress(OSError, ValueError):
        said = path.read_text(encoding="utf-8")[:100]
        return f" ({said})" if said.isprintable() and said else ""
    return ""
