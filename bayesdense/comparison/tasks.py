"""The fits that a comparison consists of, as jobs: each says all that its result depends on."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.checks import Checks, check
from bayesdense.checks.sampling import convergence, group_draws
from bayesdense.comparison import hiding, lfo
from bayesdense.comparison.evidence import log_marginal_likelihood
from bayesdense.comparison.pointwise import Pointwise, Unit, leave_one_out
from bayesdense.comparison.savage_dickey import nested_factor, nested_in
from bayesdense.comparison.widths import WIDTHS, reweighted, widened
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.inference import counts_of, fit, fit_observations
from bayesdense.jobs import Job, job_function
from bayesdense.jobs.seeds import seeds_of
from bayesdense.names import CHAIN, CI_PROB, DRAW, INNER_CI_PROB, STUDY_RHAT
from bayesdense.observations import Observations, observe
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec, spec_from_dict
from bayesdense.studies.selection import dataset_of
from bayesdense.summary import strict, summarize

type Result = dict[str, Any]
#: Digits of log densities at draws: far below their Monte Carlo error.
_DIGITS: Final = 6
#: How much longer a fit is made whose chains do not agree.
_LONGER: Final = 3
#: Dates at which trends are read to be drawn: about a week apart in a year, three in a few.
_DATES: Final = 49


def seeds(job: Job, count: int) -> list[int]:
    """Seeds of a job alone, whatever else is run."""
    return [int(child.generate_state(1)[0]) for child in seeds_of(job).spawn(count)]


def _about(job: Job) -> tuple[ModelSpec, Dataset]:
    """Model of a job, and its dataset."""
    spec = spec_from_dict(job.spec, where="the job's specification")
    return spec, dataset_of(job)


@job_function
def hypothesis(job: Job) -> Result:
    """Fit a hypothesis to everything; its evidence, and what it says of what it was not told."""
    spec, dataset = _about(job)
    check_evidence = job.params["check"]
    seed, of_bridge, of_smc = seeds(job, 3)
    fitted = agreeing(partial(fit, spec, dataset, seed=seed, cores=1), job.params["length"])
    data, checks = observe(fitted.spec, dataset), check(fitted)
    summary = summarize(fitted, checks)
    family, llm = leave_one_out(fitted, "family"), leave_one_out(fitted, "llm")
    found: Result = strict(
        {
            "growth_rate_per_year": summary["growth_rate_per_year"],
            "doubling_time_days": summary["doubling_time_days"],
            "trend_log_density": trend_curve(fitted),
            "checks": _verdict(checks) | {"draws": fitted.posterior.sizes[DRAW]},
            "family": as_json(family),
            "llm": as_json(llm),
            "failed_families": _at_draws(fitted, "family", family.failed),
            "failed_llms": _at_draws(fitted, "llm", llm.failed),
            "log_ml": _evidence(fitted, data, of_bridge),
            "widths": {str(factor): _reweighted(fitted, data, factor) for factor in WIDTHS},
            "smc": _smc(spec, data, of_smc) if check_evidence else None,
            "nested": _nested(fitted, data) if check_evidence else None,
        }
    )
    return found


@job_function
def at_width(job: Job) -> Result:
    """Log marginal likelihood under wider or narrower priors of the trend."""
    shared, dataset = _about(job)
    spec = widened(shared, job.params["factor"])
    seed, of_bridge = seeds(job, 2)
    fitted = _fit(job, spec, observe(spec, dataset), dataset, seed)
    found = _evidence(fitted, observe(fitted.spec, dataset), of_bridge)
    return {"log_ml": found} | sampling(fitted)


@job_function
def without_family(job: Job) -> Result:
    """Log densities of a family's scores at draws of a fit that has not seen them."""
    spec, dataset = _about(job)
    family, llms = job.params["family"], observe(spec, dataset).llms
    members = [
        name
        for name, k in zip(llms.names, llms.family_idx, strict=True)
        if llms.families[k] == family
    ]
    return _told_of(job, members, family)


@job_function
def without_llm(job: Job) -> Result:
    """Log densities of an LLM's scores, given its family's, at draws that have not seen them."""
    spec, dataset = _about(job)
    name, llms = job.params["llm"], observe(spec, dataset).llms
    family = llms.families[llms.family_idx[llms.names.index(name)]]
    return _told_of(job, [name], family)


def _told_of(job: Job, hidden: Sequence[str], family: str) -> Result:
    """Fit without some LLMs of a family: what their scores add to those of its others."""
    spec, dataset = _about(job)
    whole, part = observe(spec, dataset), hiding.hide(spec, dataset, hidden)
    fitted = _fit(job, spec, part, dataset, *seeds(job, 1))
    gains = hiding.log_gains(fitted.posterior, spec, part, whole)
    told = gains.sel(family_obs=[family]).to_numpy()
    return {"gains": _rounded(told)} | sampling(fitted)


def _at_draws(fitted: Fit, unit: Unit, labels: Sequence[str]) -> Result:
    """Log densities of some families or LLMs at the draws of the fit to everything."""
    dim = f"{unit}_obs"
    draws = fitted.group("log_likelihood")[unit].transpose(CHAIN, DRAW, dim)
    return {name: _rounded(draws.sel({dim: [name]}).to_numpy()) for name in labels}


@job_function
def until(job: Job) -> Result:
    """Fit to what was known at a date: log densities of the block that follows, and of the last."""
    spec, dataset = _about(job)
    laid, k = lfo.blocks(observe(spec, dataset).llms, **job.params["blocks"]), job.params["k"]

    def seen(date: str) -> Observations:
        return lfo.seen_before(spec, dataset, date, laid[0].origin)

    fitted = _fit(job, spec, seen(lfo.edges(laid)[k]), dataset, *seeds(job, 1))
    return sampling(fitted) | told_of_blocks(fitted, laid, k, seen)


def told_of_blocks(
    fitted: Fit, laid: Sequence[lfo.Block], k: int, seen: Callable[[str], Observations]
) -> Result:
    """Log densities of the blocks on both sides of the k-th edge, at draws of a fit up to it.

    Parameters
    ----------
    fitted
        Fit to what is seen at the k-th of `lfo.edges`.
    laid
        All blocks.
    k
        Number of the edge.
    seen
        From a date to what is seen there.
    """
    sides = {"ahead": laid[k : k + 1], "behind": laid[k - 1 : k] if k else ()}
    return {
        side: [
            _rounded(
                lfo.block_gains(
                    fitted.posterior, fitted.spec, seen(block.start), seen(block.end), block
                )
            )
            for block in blocks
        ]
        for side, blocks in sides.items()
    }


def _fit(job: Job, spec: ModelSpec, data: Observations, dataset: Dataset, seed: int) -> Fit:
    """Fit without what a refit is not asked for."""
    about = dataset.summary() | counts_of(data)
    make = partial(fit_observations, spec, data, about=about, seed=seed, cores=1, depth="posterior")
    return agreeing(make, job.params["length"])


def agreeing(make: Callable[..., Fit], length: Mapping[str, int]) -> Fit:
    """Fit, and three times as long if the chains do not agree; the second fit counts as it is.

    Parameters
    ----------
    make
        Makes a fit of `draws`, `tune` and `chains`.
    length
        These three.
    """
    fitted = make(**length)
    rhat = sampling(fitted)["max_rhat"]
    if rhat is None or rhat <= STUDY_RHAT:
        return fitted
    return make(**{**length, "draws": _LONGER * length["draws"], "tune": _LONGER * length["tune"]})


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
    """Log marginal likelihood by sequential Monte Carlo, or why there is none.

    None where it is not offered.
    """
    # PyMC takes seconds to import, and all else here does without
    module = importlib.import_module("bayesdense.comparison.smc")
    if not module.can_run(spec):
        return None
    try:
        found = module.smc(spec, data, seed=seed)
    except Exception as error:  # whatever ends a second opinion, the first one stands
        return {"value": None, "se": None, "failed": f"{type(error).__name__}: {error}"}
    return {"value": found.log_ml, "se": found.se, "spread": found.spread, "failed": None}


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


def trend_curve(fitted: Fit) -> Result:
    """Trend of log density at dates over the window: its median and intervals, in nats."""
    dates = derive.dates_over_window(fitted, _DATES)
    found = derive.bands(derive.trend(fitted, dates), (INNER_CI_PROB, CI_PROB))
    ends = xr.concat([found["lower"], found["upper"]], dim="end").transpose("prob", "date", "end")
    return {
        "dates": dates,
        "median": np.round(found["median"].values, _DIGITS).tolist(),
        **{
            name: np.round(ends.sel(prob=prob).values, _DIGITS).tolist()
            for name, prob in (("eti50", INNER_CI_PROB), ("eti95", CI_PROB))
        },
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


def sampling(fitted: Fit) -> Result:
    """Length and convergence of a refit."""
    found = convergence(group_draws(fitted).globals_)
    stats = fitted.group("sample_stats")
    return {
        "draws": fitted.posterior.sizes[DRAW],
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
