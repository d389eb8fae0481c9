"""The unit of work of a sweep: one fit of one model to one part of a dataset, and its growth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.catalog import resolve_dataset
from bayesdense.checks import check
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.estimates import DoublingTime, Estimate
from bayesdense.inference import counts_of, fit_observations
from bayesdense.jobs import Job, job_function
from bayesdense.jobs.seeds import seeds_of
from bayesdense.names import CI_PROB, DEFAULT_CHAINS, DEFAULT_TUNE, INNER_CI_PROB, STUDY_DRAWS
from bayesdense.observations import Observations, observe
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec, spec_from_dict
from bayesdense.studies.selection import Selection, dataset_of, select, where_of


@dataclass(frozen=True, slots=True)
class Length:
    """Draws kept of each chain, tuning steps and chains of every fit of a study."""

    draws: int = STUDY_DRAWS
    tune: int = DEFAULT_TUNE
    chains: int = DEFAULT_CHAINS

    def to_dict(self) -> dict[str, int]:
        """Return it as JSON, and as `fit` takes it."""
        return {"draws": self.draws, "tune": self.tune, "chains": self.chains}


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What the jobs of a study share: a dataset that workers find again, a length and a seed."""

    where: str
    dataset: Dataset
    length: Length
    seed: int

    def job(
        self,
        function: Any,  # noqa: ANN401 - any job function
        spec: ModelSpec,
        selection: Selection,
        **params: object,
    ) -> Job:
        """Describe a job on this dataset."""
        every = {
            "selection": selection.to_dict(),
            "length": self.length.to_dict(),
            **params,
        }
        return Job.of(
            function,
            every,
            spec=spec.to_dict(),
            dataset=self.dataset.digest,
            where=self.where,
            seed=self.seed,
        )


def study_of(dataset: str | Path, length: Length, seed: int) -> Study:
    """Load the dataset of a study."""
    where = where_of(dataset)
    return Study(where, load_dataset(where), length, seed)


def default_folder(verb: str, dataset: str | Path) -> Path:
    """Folder of a study where none is named: `studies/<verb>-<dataset>`."""
    return Path("studies") / f"{verb}-{resolve_dataset(dataset).resolve().name}"


@job_function
def refit(job: Job) -> dict[str, object]:
    """Fit, and return growth and doubling time with intervals, the checks' verdict, and draws."""
    fitted = fit_of(job)
    growth = derive.growth_rate(fitted)
    return {
        **counts(fitted),
        **growth_of(growth),
        "draws": sorted_draws(growth),
        **verdict(fitted),
    }


def observed_by(job: Job) -> tuple[ModelSpec, Dataset, Observations]:
    """Model of a job, its part of the dataset, and what the model sees of that."""
    spec = spec_from_dict(job.spec, where="the job's specification")
    whole = dataset_of(job)
    dataset = select(whole, Selection.of(job.params["selection"]))
    return spec, dataset, observe(spec, dataset)


def fit_of(job: Job) -> Fit:
    """Fit the model of a job to its part of the dataset, without what growth does not need."""
    spec, dataset, data = observed_by(job)
    about = dataset.summary() | counts_of(data)
    about["reference_params"] = dataset.card.get("reference_params")
    return fit_observations(
        spec,
        data,
        about=about,
        warnings=dataset.warnings,
        seed=seed_of(job),
        cores=1,
        depth="without_likelihoods",
        **job.params["length"],
    )


def seed_of(job: Job) -> int:
    """Seed of a fit."""
    return int(seeds_of(job).generate_state(1)[0])


def growth_of(growth: Estimate) -> dict[str, object]:
    """Summaries of growth and doubling time (null: unbounded)."""
    time = DoublingTime(growth)
    return {
        "at": growth.at,
        "growth_rate_per_year": {
            "median": growth.median,
            "sd": growth.sd,
            "eti50": list(growth.interval(INNER_CI_PROB)),
            "eti95": list(growth.interval(CI_PROB)),
            "p_positive": growth.probability_above(0.0).value,
        },
        "doubling_time_days": {
            "median": _finite(time.median),
            "eti50": [_finite(end) for end in time.interval(INNER_CI_PROB)],
            "eti95": [_finite(end) for end in time.interval(CI_PROB)],
            "unbounded": time.is_unbounded(),
        },
    }


def sorted_draws(growth: Estimate) -> list[float]:
    """Draws of growth, sorted, to as many digits as a study reads."""
    return [float(f"{value:.7g}") for value in np.sort(np.ravel(growth.draws.values))]


def counts(fitted: Fit) -> dict[str, object]:
    """What was fitted."""
    info = fitted.dataset_info
    names = ("n_llms", "n_families", "n_runs", "n_scores", "window")
    convention = derive.params_convention(fitted) if fitted.spec.is_joint else None
    return {name: info.get(name) for name in names} | {"params": convention}


def verdict(fitted: Fit) -> dict[str, object]:
    """What the checks of the fit say."""
    checks = check(fitted)
    return {
        "checks": {
            "status": checks.status,
            "max_rhat": checks.max_rhat,
            "min_ess_bulk": checks.min_ess_bulk,
            "divergences": checks.divergences,
            "failed": [item.name for item in checks.items if item.status == "fail"],
        }
    }


def draws_of(result: Mapping[str, Any]) -> Floats:
    """Draws of growth in the result of a job, sorted."""
    return np.asarray(result["draws"], dtype=float)


def _finite(days: float) -> float | None:
    """Days, None where there is no end."""
    return None if np.isinf(days) else days
