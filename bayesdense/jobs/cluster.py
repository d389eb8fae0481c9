"""Jobs on a Dask cluster: behind a scheduler's address, or of this machine."""

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from bayesdense.errors import JobError
from bayesdense.jobs.crews import MANY, Crew, CrewGone
from bayesdense.jobs.execution import execute
from bayesdense.jobs.setup import set_up_worker
from bayesdense.logs import quietened

_LOG = logging.getLogger(__name__)
#: Seconds to wait for a scheduler to answer.
_PATIENCE: Final = 20


def _distributed() -> ModuleType:
    """Import Dask, which is an extra, and takes a second."""
    try:
        return importlib.import_module("distributed")
    except ModuleNotFoundError as err:
        raise JobError(
            "Dask is not installed; install bayesdense with the extra `cluster`, or choose the "
            "executor `processes`"
        ) from err


@dataclass(frozen=True, slots=True)
class _Reply:
    """Future of a job, that tells a lost scheduler from a lost worker."""

    future: Any

    def result(self) -> str:
        """Return the report; without a scheduler there will be none of any job."""
        try:
            report: str = self.future.result()
        except _distributed().client.CancelledError as err:
            reason = getattr(err, "reason", None) or type(err).__name__
            raise CrewGone(f"the Dask scheduler was lost ({reason})") from err
        return report

    def done(self) -> bool:
        """Whether there is nothing to wait for."""
        return bool(self.future.done())

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Call a function when it is done."""
        self.future.add_done_callback(fn)


@contextmanager
def dask(address: str | None, count: int) -> Iterator[Crew]:
    """Run jobs on a Dask cluster.

    Parameters
    ----------
    address
        Of a scheduler, as `tcp://host:8786`; None: start `count` workers on this machine.
    count
        Number of workers of a cluster of this machine; elsewhere it is the cluster's.

    Raises
    ------
    JobError
        Dask is not installed, no scheduler answers, or a worker has several threads.
    """
    distributed = _distributed()
    # Tracebacks of lost connections are left out: what is lost is raised here
    quiet = quietened("distributed.client", logging.CRITICAL)
    with _client(distributed, address, count) as client, quiet:
        _check_threads(address, client)

        def submit(text: str) -> _Reply:
            try:
                return _Reply(client.submit(run_on_worker, text, pure=False))
            except Exception as err:  # closed, cannot be reached: Dask has many ways to say so
                raise CrewGone(f"{type(err).__name__}: {err}") from err

        yield Crew(submit, at_once=MANY)


@contextmanager
def _client(distributed: ModuleType, address: str | None, count: int) -> Iterator[Any]:
    """Connect to a cluster; one that was started here ends here, one that was there stays."""
    if address is not None:
        try:
            client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as err:
            raise JobError(f"{address}: no Dask scheduler answers there ({err})") from err
        with client:
            yield client
        return
    with (
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # Dask takes a fixed port otherwise, and warns
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _check_threads(address: str | None, client: Any) -> None:  # noqa: ANN401 - Dask's own
    """Refuse workers that would run several jobs in one process: libraries count on one."""
    threads = client.nthreads()
    if not threads:
        _LOG.warning("%s: no workers yet; jobs begin when there are some", address)
    several = sorted(worker for worker, number in threads.items() if number != 1)
    if several:
        raise JobError(
            f"{address}: {len(several)} of {len(threads)} workers have several threads "
            f"({several[0]}); start them with --nthreads 1, and more of them with --nworkers"
        )


def run_on_worker(text: str) -> str:
    """Run a job on a worker of Dask: what the scheduler hands out."""
    set_up_worker()
    return execute(text)
