"""A job: what shall be run, as text that says all of it, and the functions that jobs may name."""

import hashlib
import json
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from bayesdense.errors import JobError
from bayesdense.jobs.canonical import canonical
from bayesdense.wording import told

#: `bayesdense.studies.sweep:fit_one`: nothing outside the package can be named.
_NAME: Final = re.compile(r"bayesdense(\.[a-z][a-z0-9_]*)+:[a-z][a-z0-9_]*", re.ASCII)
_WHERE: Final = "where"
_UNREGISTERED: Final = "no job function; decorate it with bayesdense.jobs.job_function"

#: What a job does: takes the job, returns what JSON can hold.
type JobFunction = Callable[[Job], object]


@dataclass(frozen=True, slots=True)
class Job:
    """A unit of work whose result depends on nothing but what is written here.

    Made by `Job.of`. Two jobs that say the same are equal and have one key.

    Attributes
    ----------
    text
        Canonical JSON of an object with `dataset`, `function`, `params`, `seed` and `spec`.
    where
        Where the dataset lies: no part of what the job says, so that a study whose data have moved,
        or that another repeats elsewhere, has the same jobs with the same results.
    """

    text: str
    where: str | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        function: JobFunction,
        params: Mapping[str, object] | None = None,
        *,
        spec: object = None,
        dataset: str | None = None,
        where: str | None = None,
        seed: int = 0,
    ) -> Self:
        """Describe a job.

        Parameters
        ----------
        function
            Registered by `job_function`.
        params
            Whatever the function reads from `job.params`: what JSON can hold.
        spec
            A model specification as JSON, where the function reads one.
        dataset
            Digest of the dataset. It makes jobs on other data other jobs; finding the data, and
            refusing data with another digest, is up to the function.
        where
            Where a worker finds the dataset.
        seed
            Root of the study's random numbers, at least 0 (`bayesdense.jobs.seeds`).

        Raises
        ------
        JobError
            The function is not registered, or a part of the job is no JSON: which, and where.
        """
        name = name_of(function)
        if _FUNCTIONS.get(name) is not function:
            raise JobError(
                f"{name}: no job function; decorate it with bayesdense.jobs.job_function"
            )
        if type(seed) is not int or seed < 0:
            raise JobError(f"seed = {told(seed)}, allowed: a whole number from 0 on")
        parts = {
            "dataset": dataset,
            "function": name,
            "params": dict(params or {}),
            "seed": seed,
            "spec": spec,
        }
        return cls(canonical(parts, "job"), where)

    @classmethod
    def received(cls, message: str) -> Self:
        """Read `message`."""
        parts = json.loads(message)
        where = parts.pop(_WHERE, None)
        return cls(canonical(parts), where)

    @property
    def message(self) -> str:
        """What a worker is sent: the text, and where the dataset lies."""
        return self.text if self.where is None else canonical({**self.parts, _WHERE: self.where})

    @property
    def key(self) -> str:
        """SHA-256 of the text, in hex: the job's name, and its file's."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def parts(self) -> dict[str, Any]:
        """The text, parsed; a copy that may be changed."""
        parts: dict[str, Any] = json.loads(self.text)
        return parts

    @property
    def function(self) -> str:
        """Name of the function, `module:function`."""
        return str(self.parts["function"])

    @property
    def params(self) -> dict[str, Any]:
        """What the function works with; a copy."""
        return dict(self.parts["params"])

    @property
    def spec(self) -> Any:  # noqa: ANN401 - whatever JSON the study put there
        """The model specification; a copy."""
        return self.parts["spec"]

    @property
    def dataset(self) -> str | None:
        """Digest of the dataset."""
        digest: str | None = self.parts["dataset"]
        return digest

    @property
    def seed(self) -> int:
        """Root of the study's random numbers."""
        return int(self.parts["seed"])


_FUNCTIONS: Final[dict[str, JobFunction]] = {}


def job_function[F: Callable[..., object]](function: F) -> F:
    """Register a function of a module of this package, so that jobs may name it.

    Parameters
    ----------
    function
        Takes a `Job`, returns what JSON can hold, and keeps to what the job says: no other state,
        no random numbers but those of `bayesdense.jobs.seeds`, one core (`cores=1` where it
        fits), nothing on stdout.

    Raises
    ------
    JobError
        The function lies outside of the package, inside of another function, or in a module that
        is run rather than imported, in which workers would not find it.
    """
    name = name_of(function)
    if not _NAME.fullmatch(name):
        raise JobError(
            f"{told(name)}: a job's function is a plain one of a module of bayesdense that is "
            "imported, not run"
        )
    _FUNCTIONS[name] = function
    return function


def name_of(function: Callable[..., object]) -> str:
    """Name of a function as jobs write it: `module:function`."""
    module, name = (
        getattr(function, attribute, "?") for attribute in ("__module__", "__qualname__")
    )
    return f"{module}:{name}"


def function_named(name: str) -> JobFunction:
    """Import the function that a job names.

    Only modules of this package are imported, and only what they register can be had: a name from
    a file cannot reach other code.

    Raises
    ------
    JobError
        No such module of this package, or no job function of that name in it.
    """
    if not _NAME.fullmatch(name):
        raise JobError(f"{told(name)}: no function of bayesdense, which is all that jobs can name")
    try:
        pkgutil.resolve_name(name)
    except (ModuleNotFoundError, AttributeError) as err:
        raise JobError(f"{name}: there is no such function ({err})") from err
    if name not in _FUNCTIONS:
        raise JobError(f"{name}: {_UNREGISTERED}")
    return _FUNCTIONS[name]
