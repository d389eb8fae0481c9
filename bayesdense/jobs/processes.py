"""Processes of this machine that run jobs, each its own: one that dies takes no other with it.

The pool of `concurrent.futures` ends all of its processes when one of them dies, and cannot tell
whose job it was; its idle workers outlive a parent that is killed.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Final

from bayesdense.errors import JobError
from bayesdense.jobs.crews import MANY, Crew, CrewGone, WorkerLost
from bayesdense.jobs.execution import execute
from bayesdense.jobs.setup import set_up_worker

#: Spawned, never forked: threads and locks of compiled code do not survive a fork.
_CONTEXT: Final = multiprocessing.get_context("spawn")
_READY: Final = b"ready"
#: How often in a row a worker may end before it is ready.
_STARTS: Final = 3
#: Seconds that an idle worker has to end by itself.
_GRACE: Final = 10.0


def serve(connection: Connection) -> None:
    """Run jobs until the connection is closed: what a worker process does.

    Parameters
    ----------
    connection
        Texts of jobs come in, reports go out.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent sees to us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up_worker()
    with contextlib.suppress(EOFError, OSError):  # the parent is through, or gone
        connection.send_bytes(_READY)
        while True:
            text = connection.recv_bytes().decode()
            connection.send_bytes(execute(text).encode())


def _end_with_parent() -> None:
    """End this process, also in mid-job, when its parent has died: nobody would read the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Worker:
    """A process that runs one job at a time."""

    def __init__(self) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=serve, args=(theirs,))
        with _ctrl_c_blocked():
            self._process.start()
        theirs.close()  # so that this end hears when the process ends
        self._ready = False

    def ask(self, text: str) -> str:
        """Run a job.

        Raises
        ------
        WorkerLost
            The process has ended in mid-job.
        EOFError, OSError
            It had ended before: the job was not begun.
        """
        if not self._ready:
            self._connection.recv_bytes()
            self._ready = True
        self._connection.send_bytes(text.encode())
        try:
            return self._connection.recv_bytes().decode()
        except (EOFError, OSError) as err:
            raise WorkerLost(f"the worker process {self.fate()} in mid-job") from err

    def fate(self) -> str:
        """Say how the process ended."""
        self._process.join(_GRACE)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"ended with status {code}"

    def dismiss(self) -> None:
        """Let an idle process end by itself."""
        self._connection.close()
        self._process.join(_GRACE)
        self.kill()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.join(_GRACE)


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Start processes that do not hear of Ctrl-C, also while they load: they inherit the mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which unblocks Ctrl-C when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Team:
    """Workers, and a thread for each that waits for it."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._workers = [_Worker() for _ in range(count)]
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(count):
            self._free.put(slot)
        self._threads = ThreadPoolExecutor(count)

    def submit(self, text: str) -> Future[str]:
        """Run a job on the next free worker."""
        return self._threads.submit(self._run, text)

    def _run(self, text: str) -> str:
        """Run a job on a free worker, and replace the worker if it does not survive that."""
        slot = self._free.get()
        try:
            for _ in range(_STARTS):
                worker = self._workers[slot]
                try:
                    return worker.ask(text)
                except WorkerLost:
                    self._replace(slot)
                    raise
                except (EOFError, OSError):
                    fate = worker.fate()
                    self._replace(slot)
        finally:
            self._free.put(slot)
        raise CrewGone(
            f"a worker process {fate} before it was ready; a script that runs jobs has to do so "
            'under `if __name__ == "__main__":`, as workers import it'
        )

    def _replace(self, slot: int) -> None:
        """Put a new worker in the place of one that has ended."""
        with self._lock:
            if not self._ended:
                self._workers[slot] = _Worker()

    def end(self, *, at_once: bool) -> None:
        """End all workers; `at_once`: also in mid-job."""
        with self._lock:
            self._ended = True
        for worker in self._workers:
            worker.kill() if at_once else worker.dismiss()
        self._threads.shutdown(cancel_futures=True)


@contextmanager
def processes(count: int) -> Iterator[Crew]:
    """Run jobs in spawned processes, each of one thread, that live as long as the run.

    Parameters
    ----------
    count
        Number of processes.

    Raises
    ------
    JobError
        The system starts no (more) processes.
    """
    try:
        team = _Team(count)
    except OSError as err:
        raise JobError(
            f"{count} worker processes cannot be started: {err.strerror or err}; try fewer (--jobs)"
        ) from err
    try:
        yield Crew(team.submit, at_once=MANY)
    except BaseException:
        team.end(at_once=True)
        raise
    team.end(at_once=False)
