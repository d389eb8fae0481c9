"""Doubling time under other definitions, side by side, and what makes the headline's width."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from bayesdense.arrays import Floats
from bayesdense.jobs import Job, Outcome, Progress, Results, run_jobs, write_result
from bayesdense.jobs.crews import Submits
from bayesdense.names import (
    DEFAULT_CHAINS,
    DEFAULT_SEED,
    DEFAULT_TUNE,
    SCHEMA_VERSION,
    STUDY_DRAWS,
)
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.axes import AXES, Case, cases_of, refuse_unknown
from bayesdense.studies.decomposition import (
    NOTE,
    SOURCES,
    Source,
    held,
    measured,
    mixed,
)
from bayesdense.studies.refits import (
    Length,
    Study,
    default_folder,
    draws_of,
    refit,
    study_of,
)
from bayesdense.studies.selection import WHOLE
from bayesdense.study_files import sweep_table
from bayesdense.wording import json_text

DECOMPOSITION: Final = "decomposition"
#: What `axes` may name.
AXIS_NAMES: Final = (*AXES, DECOMPOSITION)
RESULT_NAME: Final = "sweep.json"
#: Definitions that a decomposition leaves open, and what it says of them.
_DEFINITIONS: Final[Mapping[str, str]] = {
    "reference_tokens": "D0 of 1T, 2T, 5T, 10T or 20T, equally likely",
    "params": "parameters counted in every way that the dataset has, equally likely",
    "trend": "exponential growth, a break at any date or a quadratic, equally likely",
}


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Growth and doubling time under every definition; what `sweep` returns.

    Attributes
    ----------
    dataset
        Name, digest and counts.
    model, model_digest, seed, length
        The headline's model with its `posterior_digest`, the study's seed, and the length of each
        fit.
    rows
        One per case, the headline first; see `sweep.schema.json`. `status` is `done`, `failed`
        (the fit raised: `message`) or `not_available` (`message` says why).
    decomposition
        Widths with one source at a time switched off or on; empty if not asked for.
    """

    dataset: Mapping[str, Any]
    model: str
    model_digest: str
    seed: int
    length: Length
    rows: tuple[Mapping[str, Any], ...]
    decomposition: tuple[Source, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as `sweep.schema.json` describes it."""
        headline = self.rows[0]
        wide = None
        if headline["status"] == "done":
            low, high = headline["growth_rate_per_year"]["eti95"]
            wide = high - low
        return {
            "schema": SCHEMA_VERSION,
            "dataset": dict(self.dataset),
            "model": self.model,
            "model_digest": self.model_digest,
            "seed": self.seed,
            **self.length.to_dict(),
            "rows": [dict(row) for row in self.rows],
            "decomposition": {
                "headline_width_per_year": wide,
                "note": NOTE,
                "sources": [source.to_dict() for source in self.decomposition],
            }
            if self.decomposition
            else None,
        }

    def table(self) -> pd.DataFrame:
        """Return the cases, one row each, intervals in two columns (infinite: unbounded)."""
        return sweep_table({"rows": self.rows})

    def __repr__(self) -> str:
        """Count the cases."""
        counts = pd.Series([row["status"] for row in self.rows]).value_counts()
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"Sweep(dataset {self.dataset['name']!r}, {said})"


def sweep(
    dataset: str | Path,
    spec: ModelSpec | None = None,
    *,
    axes: Sequence[str] | None = None,
    out: str | Path | None = None,
    draws: int = STUDY_DRAWS,
    tune: int = DEFAULT_TUNE,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    executor: str | Submits = "processes",
    workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Sweep:
    """Fit once under every definition, and once with each source of width switched off.

    Parameters
    ----------
    dataset
        Name of a shipped dataset, or folder: workers find it again by that.
    spec
        The headline's model; None: that of the dataset.
    axes
        Out of `AXIS_NAMES`; None: all of these. Also `width@` and the path of a prior in the
        model's file: that prior at half and at double width.
    out
        Folder of the jobs; None: `studies/sweep-<dataset>`. `sweep.json` is written there.
    draws, tune, chains
        Of each fit, as in `fit`.
    seed
        Of the study; each fit takes its own from its job.
    executor, workers, resume, progress
        As in `bayesdense.jobs.run_jobs`.

    Returns
    -------
    Sweep
        A fit that failed is a row with its message.

    Raises
    ------
    BayesdenseError
        An axis that is not there, a dataset or model that cannot be read, a folder in the way.
    """
    study = study_of(dataset, Length(draws, tune, chains), seed)
    model = spec or load_spec(study.dataset.default_model)
    plan = _planned(study, model, AXIS_NAMES if axes is None else axes)
    folder = default_folder("sweep", dataset) if out is None else Path(out)
    results = run_jobs(
        plan.jobs, folder, executor=executor, workers=workers, resume=resume, progress=progress
    )
    found = Sweep(
        dataset=study.dataset.summary(),
        model=model.name,
        model_digest=model.posterior_digest,
        seed=seed,
        length=study.length,
        rows=_with_shifts([_row(case, job, results) for case, job in plan.told]),
        decomposition=_decomposition(plan, results),
    )
    write_result(folder, RESULT_NAME, json_text(found.to_dict()) + "\n")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Cases with their jobs, those that are told, and the jobs of the decomposition."""

    cases: tuple[tuple[Case, Job | None], ...]
    told: tuple[tuple[Case, Job | None], ...]
    sources: Mapping[str, Job]
    decomposes: bool

    @property
    def jobs(self) -> list[Job]:
        """Every job once: several cases may be one fit."""
        every = [job for _, job in self.cases if job is not None]
        return list({job.key: job for job in [*every, *self.sources.values()]}.values())


def _planned(study: Study, spec: ModelSpec, axes: Sequence[str]) -> _Plan:
    """List what is to be fitted."""
    refuse_unknown(axes, AXIS_NAMES)
    asked = [axis for axis in axes if axis != DECOMPOSITION]
    decomposes = DECOMPOSITION in axes
    extra = [axis for axis in (*_DEFINITIONS, "family") if decomposes and axis not in asked]
    cases = [
        (case, None if case.missing else study.job(refit, case.spec, case.selection))
        for case in cases_of(spec, study.dataset, [*asked, *extra])
    ]
    sources = {}
    if decomposes and spec.is_joint:
        sources = {
            name: study.job(held, spec, WHOLE, source=name) for name in SOURCES if name != "family"
        }
    return _Plan(
        cases=tuple(cases),
        told=tuple(pair for pair in cases if pair[0].axis not in extra),
        sources=sources,
        decomposes=decomposes,
    )


def _row(case: Case, job: Job | None, results: Results) -> dict[str, Any]:
    """One case with what its fit gave, or why there is nothing."""
    row: dict[str, Any] = {"axis": case.axis, "value": case.value, "note": case.note}
    if job is None:
        return {**row, "status": "not_available", "message": case.missing}
    outcome = results[job.key]
    if outcome.failure is not None:
        return {**row, "status": "failed", "message": _said(outcome)}
    found = {key: value for key, value in outcome.result.items() if key != "draws"}
    return {**row, "status": "done", "message": "", **found, "seconds": outcome.seconds}


def _with_shifts(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Add to every fitted case how far its growth lies from the headline's."""
    base = rows[0].get("growth_rate_per_year")
    return tuple(
        row | {"shift": None if base is None else _shift(row["growth_rate_per_year"], base)}
        if row["status"] == "done"
        else row
        for row in rows
    )


def _shift(growth: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, float | None]:
    """Shift of the median: per year, and in the headline's sds."""
    apart = growth["median"] - base["median"]
    return {"per_year": apart, "in_sd": apart / base["sd"] if base["sd"] > 0.0 else None}


def _said(outcome: Outcome) -> str:
    """Kind and message of a failure."""
    failure = outcome.failure
    return "" if failure is None else f"{failure.type}: {failure.message}"


def _decomposition(plan: _Plan, results: Results) -> tuple[Source, ...]:
    """Widths with one source at a time off, then those with one definition at a time open."""
    if not plan.decomposes:
        return ()
    headline = _outcome(plan.cases[0][1], results)
    if headline is None or not headline.is_done:
        why = "the headline's fit failed"
        return tuple(Source(name, what, "off", error=why) for name, what in SOURCES.items())
    draws = draws_of(headline.result)
    without = [
        _without(Source(name, what, "off"), plan, results, draws) for name, what in SOURCES.items()
    ]
    return (*without, *_open_definitions(plan, results, draws))


def _without(source: Source, plan: _Plan, results: Results, draws: Floats) -> Source:
    """Width with one source off."""
    name = source.source
    of_family = (job for case, job in plan.cases if (case.axis, case.value) == ("family", "none"))
    outcome = _outcome(next(of_family) if name == "family" else plan.sources.get(name), results)
    if outcome is None:
        return replace(source, error="the model has no such part")
    if not outcome.is_done:
        return replace(source, error=_said(outcome), failed=True)
    rhat = outcome.result["checks"]["max_rhat"]
    return measured(source, draws_of(outcome.result), draws, rhat)


def _open_definitions(plan: _Plan, results: Results, draws: Floats) -> Iterator[Source]:
    """Widths with one definition at a time left open."""
    for axis, what in _DEFINITIONS.items():
        source = Source(axis, what, "on")
        outcomes = {
            case.value: _outcome(job, results) for case, job in plan.cases if case.axis == axis
        }
        parts = [draws_of(o.result) for o in outcomes.values() if o is not None and o.is_done]
        failed = [name for name, o in outcomes.items() if o is not None and not o.is_done]
        if failed:  # a mixture of those that are left would be of another question
            yield replace(source, error=f"the fits of {', '.join(failed)} failed", failed=True)
        elif len(parts) < 2:
            yield replace(source, error="fewer than two of its definitions can be fitted")
        else:
            yield measured(source, mixed(parts), draws, None)


def _outcome(job: Job | None, results: Results) -> Outcome | None:
    """Outcome of a job, if there is one."""
    return None if job is None else results[job.key]
