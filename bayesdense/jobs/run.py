"""Run jobs: each once, each to a file, whatever happens on the way."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from bayesdense.cores import usable_cores
from bayesdense.errors import JobError
from bayesdense.jobs.cluster import dask
from bayesdense.jobs.crews import Crew, Submits, foreign, serial
from bayesdense.jobs.execution import versions
from bayesdense.jobs.folder import run_folder
from bayesdense.jobs.job import Job, function_named
from bayesdense.jobs.outcomes import (
    Outcome,
    read_outcomes,
)
from bayesdense.jobs.processes import processes
from bayesdense.jobs.work import Progress, Records, due, work_through
from bayesdense.wording import told

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Results(Mapping[str, Outcome]):
    """Outcomes of all jobs by key, in the order of the jobs.

    Attributes
    ----------
    outcomes : Mapping of str to Outcome
        Also those that failed.
    """

    outcomes: Mapping[str, Outcome]

    def __getitem__(self, key: str) -> Outcome:
        """Outcome of the job of this key."""
        return self.outcomes[key]

    def __iter__(self) -> Iterator[str]:
        """Keys in the order of the jobs."""
        return iter(self.outcomes)

    def __len__(self) -> int:
        """Count the jobs."""
        return len(self.outcomes)

    @property
    def done(self) -> tuple[Outcome, ...]:
        """Outcomes with a result."""
        return tuple(outcome for outcome in self.values() if outcome.is_done)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Outcomes without: no study may leave them out unsaid."""
        return tuple(outcome for outcome in self.values() if not outcome.is_done)


def run_jobs(
    jobs: Sequence[Job],
    out: str | Path,
    *,
    executor: str | Submits = "processes",
    workers: int | None = None,
    resume: bool = False,
    retries: int = 1,
    progress: Progress | None = None,
    more_follow: bool = False,
) -> Results:
    """Run jobs, or those of them that are not finished yet.

    Every job ends as a file `jobs/<key>.json` in `out`, written when it is finished, so that
    whatever ends this process (Ctrl-C, a crash, the machine) loses no finished job. Results depend
    on the jobs alone: not on the executor, on the order, or on the number of workers.

    Parameters
    ----------
    jobs
        All different.
    out
        Folder of the run. New or empty, unless `resume`. `ledger.json` in there says how far the
        run is.
    executor
        `serial` (in this process), `processes` (of this machine), `dask` (a Dask cluster of this
        machine), the address of a Dask scheduler (`tcp://host:8786`), or any object with `submit`
        as that of `concurrent.futures.Executor`, which is left open.
    workers
        Processes of this machine for `processes` and `dask`; None: one for each usable core.
    resume
        Go on with what is in `out`: finished jobs are not run again. A warning in the log tells of
        files that were cut short or altered, which count as none, of finished jobs that are not in
        `jobs`, which are left alone, and of results of other versions.
    retries
        How often a job that failed is tried again, over all runs on this folder. Then its failure
        is its outcome.
    progress
        Called with the numbers of done, failed and all jobs and the seconds left.
    more_follow
        Whether further jobs of the study follow in this folder, which hang on the results of
        these: finished ones that are not in `jobs` are then no surprise, and go unmentioned.

    Returns
    -------
    Results

    Raises
    ------
    JobError
        A job is there twice or names no function, the folder is in use or in the way or cannot be
        written, or the executor cannot run jobs (any more). What was finished is kept.
    KeyboardInterrupt
        After Ctrl-C, when what was finished is on disk and the workers have ended.

    Examples
    --------
    ``results = run_jobs([Job.of(normals, {"n": 3}, seed=k) for k in range(9)], "studies/trial")``,
    then ``[outcome.result for outcome in results.done]``.
    """
    _check(jobs, workers, retries)
    with (
        run_folder(Path(out), resume=resume) as folder,
        threadpool_limits(limits=1),  # here, where `serial` runs, as in every worker
    ):
        known = read_outcomes(folder, jobs)
        if not more_follow:
            _tell_of_others(folder, jobs)
        _tell_of_other_versions(known)
        with Records(jobs, folder, known, progress) as records:
            if todo := due(jobs, known, retries):
                count = min(workers or usable_cores(), len(todo))
                with _crew(executor, count) as crew:
                    work_through(todo, crew, records, retries)
    return Results({job.key: known[job.key] for job in jobs})


def _check(jobs: Sequence[Job], workers: int | None, retries: int) -> None:
    """Refuse what cannot be run, before any work."""
    if workers is not None and (type(workers) is not int or workers < 1):
        raise JobError(f"workers = {told(workers)}, allowed: a whole number from 1 on")
    if type(retries) is not int or retries < 0:
        raise JobError(f"retries = {told(retries)}, allowed: a whole number from 0 on")
    places: dict[str, int] = {}
    for place, job in enumerate(jobs):
        if (first := places.setdefault(job.text, place)) != place:
            raise JobError(
                f"jobs {first} and {place} are one: {told(job.text)}; give each a seed or a "
                "parameter of its own"
            )
    for name in {job.function for job in jobs}:
        function_named(name)


def _crew(executor: str | Submits, count: int) -> AbstractContextManager[Crew]:
    """Find whoever shall run the jobs."""
    if not isinstance(executor, str):
        if isinstance(executor, Submits):
            return foreign(executor)
        raise JobError(f"executor {told(executor)} has no `submit`")
    if executor == "serial":
        return serial()
    if executor == "processes":
        return processes(count)
    if executor == "dask":
        return dask(None, count)
    if "://" in executor:
        return dask(executor, count)
    raise JobError(
        f"executor {told(executor)}, allowed: serial, processes, dask, or the address of a Dask "
        "scheduler (tcp://host:8786)"
    )


def _tell_of_others(folder: Path, jobs: Sequence[Job]) -> None:
    """Say how many finished jobs are not asked for: perhaps an argument was meant to be another."""
    others = {path.stem for path in folder.glob("*.json")} - {job.key for job in jobs}
    if others:
        _LOG.warning(
            "%s: %d finished jobs are not among the %d of this run (other arguments, other data?); "
            "they are left alone",
            folder,
            len(others),
            len(jobs),
        )


def _tell_of_other_versions(known: Mapping[str, Outcome]) -> None:
    """Say which finished jobs were run with other versions: numbers may differ in last digits."""
    here = versions()
    others = [dict(outcome.versions) for outcome in known.values() if outcome.versions != here]
    if others:
        changed = sorted(
            f"{name} {others[0].get(name)} (now {here.get(name)})"
            for name in others[0].keys() | here.keys()
            if others[0].get(name) != here.get(name)
        )
        _LOG.warning(
            "%d of the finished jobs were run with other versions: %s; begin anew with another "
            "--out for results of one kind",
            len(others),
            ", ".join(changed),
        )
