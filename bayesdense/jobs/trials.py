"""Jobs that try the engine, or a cluster, before a long study does: quick, and of known results."""

import os
import signal
import time

import numpy as np

from bayesdense.cores import usable_cores
from bayesdense.jobs.job import Job, job_function
from bayesdense.jobs.seeds import seeds_of


@job_function
def normals(job: Job) -> dict[str, object]:
    """Draw `n` standard normal numbers after `seconds` (0 if not given) of sleep."""
    time.sleep(job.params.get("seconds", 0))
    draws = np.random.default_rng(seeds_of(job)).normal(size=job.params["n"])
    return {"draws": draws.tolist(), "mean": float(draws.mean())}


@job_function
def echo(job: Job) -> object:
    """Return the parameter `value`."""
    return job.params["value"]


@job_function
def fail(job: Job) -> object:
    """Raise an error with the parameter `message`."""
    raise RuntimeError(job.params["message"])


@job_function
def perish(job: Job) -> None:
    """Kill the process that runs this, as a system does that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@job_function
def cores_of_a_job(job: Job) -> int:
    """Return how many cores this job may use."""
    return usable_cores()
