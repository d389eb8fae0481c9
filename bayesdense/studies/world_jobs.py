"""Jobs of the study of made-up worlds: one world under one hypothesis."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.comparison import lfo
from bayesdense.comparison.evidence import log_marginal_likelihood
from bayesdense.comparison.hiding import without_scores
from bayesdense.comparison.pointwise import leave_one_out
from bayesdense.comparison.tasks import agreeing, as_json, sampling, seeds, told_of_blocks
from bayesdense.errors import BayesdenseError
from bayesdense.fit_tree import Depth
from bayesdense.inference import counts_of, fit_observations
from bayesdense.jobs import Job, job_function
from bayesdense.observations import Observations
from bayesdense.results import Fit
from bayesdense.studies.normal_trends import examine, sds_about
from bayesdense.studies.power_jobs import CHANGES, EXPONENTIAL, change_of, told, world_trend
from bayesdense.studies.readings import densities_of, from_json, sds_of, world
from bayesdense.studies.refits import observed_by
from bayesdense.summary import strict
from bayesdense.trends import form_of
from bayesdense.trends.grids import break_dates

#: The spacing of sizes that the pilot of nearly every world asks for: asked for at once, one
#: compilation is spared.
_SPACING: Final = 0.125
#: Of the interval of a break's date.
DATE_PROB: Final = 0.9


@job_function
def hypothesis_in_world(job: Job) -> dict[str, object]:
    """Make a world's observations, and fit a hypothesis to them."""
    params = job.params
    made = _made(job)
    seed, of_bridge = seeds(job, 2)
    fitted = _fit(job, made, seed)
    try:
        bridge = log_marginal_likelihood(fitted, made, seed=of_bridge)
        log_ml: dict[str, Any] = {"value": bridge.log_ml, "se": bridge.se, "failed": None}
    except BayesdenseError as error:
        log_ml = {"value": None, "se": None, "failed": str(error)}
    found: dict[str, object] = strict(
        {
            "family": as_json(leave_one_out(fitted, "family")),
            "log_ml": log_ml,
            "change": _change(fitted),
            "break_year": _break_year(fitted.posterior),
            **sampling(fitted),
        }
    )
    if fitted.spec.trend == EXPONENTIAL:
        found |= _in_closed_form(fitted, made, params["rivals"], params["n_before"])
    return found


@job_function
def foretold_in_world(job: Job) -> dict[str, object]:
    """Fit a hypothesis to what was known of a world at a date; the blocks before and after it."""
    made, k = _made(job), job.params["k"]
    laid = lfo.blocks(made.llms, **job.params["blocks"])

    def seen(date: str) -> Observations:
        return without_scores(made, lfo.released_from(made.llms, date))

    fitted = _fit(job, seen(lfo.edges(laid)[k]), *seeds(job, 1), depth="posterior")
    found: dict[str, object] = strict(sampling(fitted) | told_of_blocks(fitted, laid, k, seen))
    return found


def _made(job: Job) -> Observations:
    """Observations of a job's world, from the world's seed: all hypotheses see the same."""
    params = job.params
    spec, _, data = observed_by(job)
    made_by = spec.with_options(trend=params["world"])
    rng = np.random.default_rng(params["world_seed"])
    return world(params["truth"], made_by, data, params["trend"], rng)


def _fit(job: Job, seen: Observations, seed: int, *, depth: Depth = "all") -> Fit:
    """Fit a job's hypothesis to (part of) its world."""
    spec, dataset, _ = observed_by(job)
    make = partial(
        fit_observations,
        spec.with_options(quadrature_spacing=_SPACING) if spec.is_joint else spec,
        seen,
        about=dataset.summary() | counts_of(seen),
        seed=seed,
        cores=1,
        depth=depth,
    )
    return agreeing(make, job.params["length"])


def _in_closed_form(
    fitted: Fit, made: Observations, rivals: Sequence[str], n_before: int
) -> dict[str, object]:
    """What rivals say of readings of the exponential fit, and when a break was."""
    spec, densities = fitted.spec, densities_of(fitted, made)
    sds, mean = sds_about(spec, *sds_of(fitted)), densities.mean[:, None]
    free = examine(
        spec, "break_free", densities, mean, sds, parameter="growth_change", n_before=n_before
    )
    data = densities.trend_data
    return {
        "closed": {
            rival: {
                name: float(values[0])
                for name, values in told(spec, rival, densities, mean, sds, n_before).items()
            }
            for rival in rivals
        },
        "closed_break_year": _interval(
            break_dates(data.first, data.last, data.n_breaks), free.p_value[:, 0]
        ),
    }


def _interval(middles: Floats, chances: Floats) -> list[float]:
    """Ends of the 90 % interval of a date that is uniform in each of these equal parts."""
    half = 0.5 * (middles[1] - middles[0])
    edges = np.append(middles - half, middles[-1] + half)
    below = np.append(0.0, np.cumsum(chances))
    return [float(np.interp(p, below, edges)) for p in (0.5 - DATE_PROB / 2, 0.5 + DATE_PROB / 2)]


def _change(fitted: Fit) -> dict[str, float] | None:
    """Posterior of the change of growth; None for a trend that has none."""
    if form_of(fitted.spec.trend) not in CHANGES:
        return None
    draws = fitted.posterior[change_of(fitted.spec.trend)].to_numpy()
    return {
        "p_change": float((draws > 0).mean()),
        "mean": float(draws.mean()),
        "sd": float(draws.std()),
    }


def _break_year(posterior: xr.Dataset) -> list[float] | None:
    """Ends of the 90 % interval of a break's date, years since the origin."""
    if "break_year" not in posterior:
        return None
    ends = np.quantile(
        posterior["break_year"].to_numpy(), [0.5 - DATE_PROB / 2, 0.5 + DATE_PROB / 2]
    )
    return [float(end) for end in ends]


def trend_of_world(
    densities: dict[str, Any], kind: str, growth: float, change: float
) -> dict[str, float]:
    """Growth parameters of a world, its average growth over the window given."""
    if kind == "flat":
        return {}
    if kind == EXPONENTIAL:
        return {"growth_rate": growth}
    return world_trend(from_json(densities), kind, growth, change)
