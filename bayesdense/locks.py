"""A folder that one process writes at a time."""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from bayesdense.errors import BayesdenseError

LOCK: Final = ".lock"


@contextmanager
def sole_use(
    folder: Path, error: type[BayesdenseError], *, wait: float = 0.0, reentrant: bool = False
) -> Iterator[bool]:
    """Hold the lock of a folder, which the system takes back from a process that dies.

    Parameters
    ----------
    folder
        It is there. A file `.lock` stays in it, unless `reentrant`.
    error
        Kind of error to raise.
    wait
        Seconds to wait for another run.
    reentrant
        Whether the thread that holds it may take it again; whoever was first takes the file away.

    Yields
    ------
    bool
        Whether it was not held before: who was first also cleans up.

    Raises
    ------
    BayesdenseError
        Of the kind given: another run holds it, which is named; or it cannot be locked.
    """
    path = folder.absolute() / LOCK
    lock = FileLock(path, is_singleton=reentrant)
    is_first = not lock.is_locked
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise error(
            f"{folder}: another run is using it{_holder(path)}; wait until that ends, or "
            "write elsewhere with --out"
        ) from None
    except OSError as err:
        raise error(
            f"{path}: cannot be locked: {err.strerror or err}; make the folder writable, or write "
            "elsewhere with --out"
        ) from err
    try:
        with contextlib.suppress(OSError):  # a courtesy to whoever is refused
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield is_first
    finally:
        if reentrant and is_first:
            with contextlib.suppress(OSError):  # still held, so that nobody else can have it
                path.unlink()
        lock.release()


def _holder(path: Path) -> str:
    """Who holds a lock, if its file says so."""
    with contextlib.suppress(OSError, ValueError):
        said = path.read_text(encoding="utf-8")[:100]
        return f" ({said})" if said.isprintable() and said else ""
    return ""
