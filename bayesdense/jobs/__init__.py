"""The engine that studies run on: many jobs, each once and each to a file. It knows no statistics.

Seeds are in `bayesdense.jobs.seeds`, apart, as a worker is set up before NumPy is imported.
"""

from bayesdense.jobs.canonical import canonical
from bayesdense.jobs.folder import write_result
from bayesdense.jobs.job import Job, JobFunction, job_function
from bayesdense.jobs.ledger import Ledger, scan
from bayesdense.jobs.outcomes import Failure, Outcome
from bayesdense.jobs.run import Results, run_jobs
from bayesdense.jobs.work import Progress

__all__ = [
    "Failure",
    "Job",
    "JobFunction",
    "Ledger",
    "Outcome",
    "Progress",
    "Results",
    "canonical",
    "job_function",
    "run_jobs",
    "scan",
    "write_result",
]
