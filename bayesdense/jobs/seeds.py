"""Random numbers of a job: they depend on the job alone, so on no executor and on no order."""

import numpy as np

from bayesdense.jobs.job import Job


def seeds_of(job: Job) -> np.random.SeedSequence:
    """Seed everything random in a job.

    The entropy is the job's key, the SHA-256 of all that the job says, its root `seed` included:
    jobs that differ in anything have independent streams (O'Neill's hash in NumPy's SeedSequence),
    and the same job has the same stream everywhere.

    Examples
    --------
    ``rng = np.random.default_rng(seeds_of(job))``; several streams: ``seeds_of(job).spawn(3)``; a
    function that takes a whole number as its seed: ``int(seeds_of(job).generate_state(1)[0])``.
    """
    return np.random.SeedSequence(int(job.key, 16))
