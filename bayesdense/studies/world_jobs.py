"""Jobs of the study of made-up worlds: one world under one hypothesis."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.comparison.evidence import log_marginal_likelihood
from bayesdense.comparison.pointwise import leave_one_out
from bayesdense.comparison.tasks import as_json, sampling
from bayesdense.errors import BayesdenseError
from bayesdense.inference import counts_of, fit_observations
from bayesdense.jobs import Job, job_function
from bayesdense.jobs.seeds import seeds_of
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
    """Make a world's observations, and fit a hypothesis to them.

    All hypotheses about a world see the same observations: they come from the world's seed.
    """
    params = job.params
    spec, dataset, data = observed_by(job)
    made_by = spec.with_options(trend=params["world"])
    rng = np.random.default_rng(params["world_seed"])
    made = world(params["truth"], made_by, data, params["trend"], rng)
    seed, of_bridge = (int(child.generate_state(1)[0]) for child in seeds_of(job).spawn(2))
    fitted = fit_observations(
        spec.with_options(quadrature_spacing=_SPACING) if spec.is_joint else spec,
        made,
        about=dataset.summary() | counts_of(made),
        seed=seed,
        cores=1,
        **params["length"],
    )
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
