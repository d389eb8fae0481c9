"""What happens in a worker: a job's text comes in, the text of a report goes out."""

import os
import platform
import shlex
import time
import traceback
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from threadpoolctl import threadpool_limits

from bayesdense._version import __version__
from bayesdense.jobs.canonical import canonical
from bayesdense.jobs.job import Job, function_named

#: Libraries of which another version may give other last digits.
_PACKAGES: Final = ("arviz-stats", "numba", "numpy", "nutpie", "pymc", "pytensor", "scipy")
#: How the libraries that count are told the number of their threads before they are loaded.
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
#: Characters kept of an error's message and of its traceback, from the end.
_MOST: Final = 20_000


def execute(text: str) -> str:
    """Run a job, and report whatever comes of it.

    Parameters
    ----------
    text
        `Job.text`.

    Returns
    -------
    str
        JSON object with `result`; or `type`, `message` and `traceback` of what was raised, if only
        that the result is no JSON. With both: `seconds` (wall) and `versions` of this process.

    Raises
    ------
    KeyboardInterrupt
        An interrupted job has no outcome. Everything else is one: a panic of compiled code
        (`BaseException`), too, and `sys.exit`.
    """
    began = time.perf_counter()
    job = Job(text)
    try:
        result = canonical(function_named(job.function)(job), "result")
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        return canonical({**_report(problem), **_circumstances(began)})
    # the result is put in as text: it may hold a million numbers, and is JSON already
    return f'{{"result":{result},{canonical(_circumstances(began))[1:]}'


def _report(problem: BaseException) -> dict[str, str]:
    """What went wrong, as text that is always Unicode."""
    trace = traceback.format_exception(problem)
    return {
        "type": type(problem).__name__,
        "message": _told(str(problem)),
        "traceback": _told("".join(trace)),
    }


def _told(text: str) -> str:
    """End of a text, halves of characters as escapes."""
    return text[-_MOST:].encode(errors="backslashreplace").decode()


def _circumstances(began: float) -> dict[str, object]:
    """What the result must not depend on, but may have."""
    return {"seconds": round(time.perf_counter() - began, 3), "versions": dict(versions())}


@cache
def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of those libraries that make the numbers."""
    found = {"bayesdense": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def set_up_worker(scratch: Path) -> None:
    """Make this process a worker: one thread in every library, a compile folder of its own.

    To be called before the libraries are imported. PyTensor's compile folder is not safe to share
    between processes that compile at once; Numba's is, and stays shared.

    Parameters
    ----------
    scratch
        Folder of this worker alone.
    """
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    threadpool_limits(limits=1)  # of libraries that are loaded already: not all are asked twice
    scratch.mkdir(parents=True, exist_ok=True)
    given = os.environ.get("PYTENSOR_FLAGS")
    own = f"base_compiledir={shlex.quote(str(scratch.resolve()))}"
    os.environ["PYTENSOR_FLAGS"] = f"{given},{own}" if given else own
