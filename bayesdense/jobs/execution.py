"""What happens in a worker: a job comes in as text, and goes out as the text of a report."""

import hashlib
import platform
import time
import traceback
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from bayesdense._version import __version__
from bayesdense.cores import at_most
from bayesdense.jobs.canonical import canonical
from bayesdense.jobs.job import Job, function_named

#: Libraries of which another version may give other last digits.
_PACKAGES: Final = ("arviz-stats", "numba", "numpy", "nutpie", "pymc", "pytensor", "scipy")
#: Characters kept of an error's message and of its traceback, from the end.
_MOST: Final = 20_000


def execute(message: str) -> str:
    """Run a job, and report whatever comes of it.

    Parameters
    ----------
    message
        `Job.message`.

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
    job = Job.received(message)
    try:
        with at_most(1):  # others may be running beside it, one for each core
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
    found = {
        "bayesdense": __version__,
        "code": _code(),
        "python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _code() -> str:
    """Digest of this package's source: between two versions it changes from commit to commit."""
    folder, found = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
