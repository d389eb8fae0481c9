"""The fits that a comparison consists of: independent tasks, JSON in and JSON out.

A task says all that its result depends on. Who runs it needs the dataset, whose digest it names,
and nothing else: any order, any process, any machine.
"""

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from bayesdense.arrays import Floats
from bayesdense.checks import Checks, check
from bayesdense.checks.sampling import convergence, group_draws
from bayesdense.comparison import hiding, lfo
from bayesdense.comparison.evidence import log_marginal_likelihood
from bayesdense.comparison.pointwise import Pointwise, leave_one_out
from bayesdense.comparison.savage_dickey import nested_factor, nested_in
from bayesdense.comparison.widths import WIDTHS, reweighted, widened
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.inference import counts_of, fit, fit_observations
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations, observe
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec
from bayesdense.summary import strict, summarize

type Result = dict[str, Any]
#: Digits of log densities at draws: far below their Monte Carlo error.
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Task:
    """One fit with a question.

    Attributes
    ----------
    function
        A key of `FUNCTIONS`.
    spec
        Canonical JSON of the model.
    dataset
        Digest of the dataset.
    params
        Canonical JSON of what else the function needs.
    seed
        Root of the comparison's random numbers.
    """

    function: str
    spec: str
    dataset: str
    params: str
    seed: int

    @staticmethod
    def of(function: str, spec: ModelSpec, dataset: Dataset, seed: int, **params: object) -> "Task":
        """Describe a task."""
        text = json.dumps(params, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return Task(function, spec.to_json(), dataset.digest, text, seed)

    @property
    def key(self) -> str:
        """SHA-256 of all that the task says, in hex."""
        parts = [self.function, self.spec, self.dataset, self.params, self.seed]
        return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()

    @property
    def model(self) -> ModelSpec:
        """The model."""
        return ModelSpec.from_json(self.spec)

    @property
    def arguments(self) -> dict[str, Any]:
        """What else the function needs."""
        return dict(json.loads(self.params))

    def seeds(self, count: int) -> list[int]:
        """Seeds of this task alone, whatever else is run."""
        root = np.random.SeedSequence(int(self.key, 16))
        return [int(child.generate_state(1)[0]) for child in root.spawn(count)]


def run(task: Task, dataset: Dataset) -> Result:
    """Run a task.

    Parameters
    ----------
    task
        What is asked.
    dataset
        That of the task's digest.

    Returns
    -------
    dict
        What JSON can hold. A task that cannot be done has the one entry `failed`, which says why.
    """
    if dataset.digest != task.dataset:
        raise ValueError("the task is about another dataset")
    try:
        result: Result = strict(FUNCTIONS[task.function](task, dataset))
    except BayesdenseError as error:
        return {"failed": str(error)}
    return result


def hypothesis(task: Task, dataset: Dataset) -> Result:
    """Fit a hypothesis to everything; its evidence, and what it says of what it was not told."""
    spec, arguments = task.model, task.arguments
    seeds = task.seeds(3)
    fitted = fit(spec, dataset, seed=seeds[0], **arguments["size"])
    data, checks = observe(fitted.spec, dataset), check(fitted)
    summary = summarize(fitted, checks)
    family, llm = leave_one_out(fitted, "family"), leave_one_out(fitted, "llm")
    draws = fitted.group("log_likelihood")["family"].transpose(CHAIN, DRAW, ...)
    return {
        "dataset": summary["dataset"],
        "growth_rate_per_year": summary["growth_rate_per_year"],
        "doubling_time_days": summary["doubling_time_days"],
        "checks": _verdict(checks),
        "family": as_json(family),
        "llm": as_json(llm),
        "failed_families": {
            name: _rounded(draws.sel(family_obs=[name]).to_numpy()) for name in family.failed
        },
        "log_ml": _evidence(fitted, data, seeds[1]),
        "widths": {str(factor): _reweighted(fitted, data, factor) for factor in WIDTHS},
        "smc": _smc(spec, data, seeds[2]) if arguments["check"] else None,
        "nested": _nested(fitted, data) if arguments["check"] else None,
    }


def at_width(task: Task, dataset: Dataset) -> Result:
    """Log marginal likelihood under wider or narrower priors of the trend."""
    spec, arguments = widened(task.model, task.arguments["factor"]), task.arguments
    seeds = task.seeds(2)
    fitted = _fit(spec, observe(spec, dataset), dataset, seeds[0], arguments["size"])
    found = _evidence(fitted, observe(fitted.spec, dataset), seeds[1])
    return {"log_ml": found} | _sampling(fitted)


def without_family(task: Task, dataset: Dataset) -> Result:
    """Log densities of a family's scores at draws of a fit that has not seen them."""
    spec, arguments = task.model, task.arguments
    whole = observe(spec, dataset)
    members = [
        name
        for name, k in zip(whole.llms.names, whole.llms.family_idx, strict=True)
        if whole.llms.families[k] == arguments["family"]
    ]
    part = hiding.hide(spec, dataset, members)
    fitted = _fit(spec, part, dataset, task.seeds(1)[0], arguments["size"])
    gains = hiding.log_gains(fitted.posterior, spec, part, whole)
    told = gains.sel(family_obs=[arguments["family"]]).to_numpy()
    return {"gains": _rounded(told)} | _sampling(fitted)


def until(task: Task, dataset: Dataset) -> Result:
    """Fit to what was known at a date: log densities of the block that follows, and of the last."""
    spec, arguments = task.model, task.arguments
    laid = lfo.blocks(observe(spec, dataset).llms, **arguments["blocks"])
    k = arguments["k"]
    date = [*(block.start for block in laid), laid[-1].end][k]
    part = lfo.seen_before(spec, dataset, date, laid[0].origin)
    fitted = _fit(spec, part, dataset, task.seeds(1)[0], arguments["size"])
    sides = {"ahead": laid[k : k + 1], "behind": laid[k - 1 : k] if k else ()}
    return _sampling(fitted) | {
        side: [
            _rounded(lfo.block_gains(fitted.posterior, spec, dataset, block)) for block in blocks
        ]
        for side, blocks in sides.items()
    }


FUNCTIONS: Final[Mapping[str, Callable[[Task, Dataset], Result]]] = MappingProxyType(
    {
        "hypothesis": hypothesis,
        "at_width": at_width,
        "without_family": without_family,
        "until": until,
    }
)


def _fit(
    spec: ModelSpec, data: Observations, dataset: Dataset, seed: int, size: Mapping[str, Any]
) -> Fit:
    """Fit without what a refit is not asked for."""
    about = dataset.summary() | counts_of(data)
    return fit_observations(spec, data, about=about, seed=seed, log_likelihood=False, **size)


def _evidence(fitted: Fit, data: Observations, seed: int) -> Result:
    """Log marginal likelihood, or why there is none."""
    try:
        found = log_marginal_likelihood(fitted, data, seed=seed)
    except BayesdenseError as error:
        return {"value": None, "se": None, "failed": str(error)}
    return {"value": found.log_ml, "se": found.se, "failed": None}


def _reweighted(fitted: Fit, data: Observations, factor: float) -> Result:
    """Change of the log marginal likelihood with the width of the priors."""
    found = reweighted(fitted, data, factor)
    return {"value": found.value, "se": found.se, "reliable": found.reliable}


def _smc(spec: ModelSpec, data: Observations, seed: int) -> Result | None:
    """Log marginal likelihood by sequential Monte Carlo; None where it is not offered."""
    # PyMC takes seconds to import, and all else here does without
    module = importlib.import_module("bayesdense.comparison.smc")
    if not module.can_run(spec):
        return None
    found = module.smc(spec, data, seed=seed)
    return {"value": found.log_ml, "se": found.se, "spread": found.spread}


def _nested(fitted: Fit, data: Observations) -> Result | None:
    """Log Bayes factor over the hypothesis nested in this one, or why there is none."""
    inner = nested_in(fitted.spec.trend)
    if inner is None:
        return None
    try:
        found = nested_factor(fitted, data, inner.variable, inner.value)
    except BayesdenseError as error:
        return {"name": inner.kind, "reliable": False, "problem": str(error)}
    return {
        "name": inner.kind,
        "value": found.log_bayes_factor,
        "se": found.se,
        "reliable": found.reliable,
        "problem": None if found.reliable else f"k-hat {found.pareto_k:.1f}",
    }


def _verdict(checks: Checks) -> Result:
    """Convergence of a fit, and the checks that it did not pass."""
    return {
        "status": checks.status,
        "max_rhat": checks.max_rhat,
        "min_ess_bulk": checks.min_ess_bulk,
        "divergences": checks.divergences,
        "not_passed": [item.name for item in checks.items if item.status != "pass"],
    }


def _sampling(fitted: Fit) -> Result:
    """Convergence of a refit."""
    found = convergence(group_draws(fitted).globals_)
    stats = fitted.group("sample_stats")
    return {
        "max_rhat": found.r_hat.value if found.r_hat else None,
        "divergences": int(stats["diverging"].sum()) if "diverging" in stats else None,
    }


def as_json(found: Pointwise) -> Result:
    """Predictive densities as JSON."""
    return {
        "labels": list(found.labels),
        "families": list(found.families),
        "elpd": found.elpd.tolist(),
        "pareto_k": [float(k) if np.isfinite(k) else None for k in found.pareto_k],
        "good_k": found.good_k,
    }


def from_json(raw: Mapping[str, Any]) -> Pointwise:
    """Predictive densities from JSON; a k that is no number comes back as one."""
    return Pointwise(
        tuple(raw["labels"]),
        tuple(raw["families"]),
        np.array(raw["elpd"], dtype=float),
        np.array(raw["pareto_k"], dtype=float),
        float(raw["good_k"]),
    )


def _rounded(values: Floats) -> list[Any]:
    """Nested lists of log densities."""
    return list(np.round(values, _DIGITS).tolist())
