"""A process becomes a worker: one thread in every library, and a compile folder of its own."""

import atexit
import itertools
import os
import shlex
import shutil
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from threadpoolctl import threadpool_limits

#: How the libraries that count are told the number of their threads before they are loaded.
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@cache
def set_up_worker() -> FileLock | None:
    """Make this process a worker, once; best before the libraries are imported.

    PyTensor's compile folder is not safe to share between processes that compile at once. Each
    worker takes the first folder of its machine that no other worker holds, so that what was
    compiled is there for the next run. Numba's own cache is safe, and stays shared.

    Returns
    -------
    filelock.FileLock or None
        What makes the folder this process's own, kept here until it ends; None where there is no
        cache to be had (no home, read-only) and the folder is a temporary one.
    """
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    threadpool_limits(limits=1)  # of libraries that are loaded already: not all are asked twice
    folder, lock = _compile_folder()
    given = os.environ.get("PYTENSOR_FLAGS")
    own = f"base_compiledir={shlex.quote(str(folder))}"
    os.environ["PYTENSOR_FLAGS"] = f"{given},{own}" if given else own
    return lock


def _compile_folder() -> tuple[Path, FileLock | None]:
    """Take a compile folder that no other process uses."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        base = Path(home).resolve() / "bayesdense" / "workers" / socket.gethostname()
        base.mkdir(parents=True, exist_ok=True)
        for slot in itertools.count():
            lock = FileLock(base / f"{slot}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            (base / str(slot)).mkdir(exist_ok=True)
            return base / str(slot), lock
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        pass
    folder = Path(tempfile.mkdtemp(prefix="bayesdense-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, None
