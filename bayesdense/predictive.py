"""Predictive groups of a fit's tree: data that the prior, or the posterior, would give."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesdense.observations import Observations
from bayesdense.prior_draws import draw_priors
from bayesdense.simulate.story import (
    expected,
    expected_densities,
    replicate,
    replicate_densities,
)
from bayesdense.spec import ModelSpec

#: Variables of the groups, named and scaled as the model's observed variables, from `replicate`'s;
#: calibration points that the model reads as counts stand among the others, as logits.
_NAMES = {
    "loss": "log_loss",
    "loss_score": "logit_loss_score",
    "heldout_loss_score": "logit_heldout_loss_score",
    "score": "logit_score",
    "score_reports": "score_reports",
    "log_density": "log_density",
}
_UNITS = {
    "loss": "log loss",
    "score_reports": "squared logit score",
    "log_density": "log density",
}


class PriorPredictive(NamedTuple):
    """Draws of the priors, and data drawn from each; the names of the tree's groups."""

    prior: xr.Dataset
    prior_predictive: xr.Dataset


def prior_predictive(
    spec: ModelSpec,
    data: Observations,
    rng: np.random.Generator,
    n: int = 500,
) -> PriorPredictive:
    """Draw parameters, effects and sizes from the priors, and data from each draw.

    Parameters
    ----------
    spec, data
        The model and what it sees.
    rng
        Source of the random numbers.
    n
        Number of draws, > 0.

    Returns
    -------
    PriorPredictive
        Two datasets with dims `chain` (1), `draw` (n); the data as in
        `posterior_predictive`, without `score_new`.
    """
    prior = draw_priors(spec, data, rng, n)
    return PriorPredictive(prior, _replicated(prior, spec, data, rng))


def posterior_predictive(
    posterior: xr.Dataset,
    spec: ModelSpec,
    data: Observations,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Draw the observed data anew from each posterior draw.

    Run and size effects of the ladder are new (they are integrated out), as is all noise.

    Parameters
    ----------
    posterior
        Natural parameters with `log_effective_params` [llm]; dims `chain`, `draw`.
    spec, data
        The model and what it sees.
    rng
        Source of the random numbers.

    Returns
    -------
    xarray.Dataset
        On the scale of the model's observed variables: `loss` [loss_obs] (log loss), `loss_score`
        [point_obs], `heldout_loss_score` [heldout_obs] where points are held out (logits),
        `score` (logit; the LLMs' own drawn sizes) and `score_new` (sizes and family effects drawn
        anew) [score_obs], `score_reports` [report_benchmark] (sums of squares on the logit). Of a
        dataset of densities: `log_density` [llm] and `log_density_new` (families drawn anew).
    """
    drawn = _replicated(posterior, spec, data, rng)
    if not spec.is_joint:
        given = replicate_densities(posterior, spec, data, rng, new_families=True)["log_density"]
        return drawn.assign(log_density_new=_with_units("log_density", given))
    anew = replicate(posterior, spec, data.joint, rng, new_sizes=True, new_families=True)
    return drawn.assign(score_new=_with_units("score", anew["logit_score"]))


def predictive_mean(posterior: xr.Dataset, spec: ModelSpec, data: Observations) -> xr.Dataset:
    """What each posterior draw expects of the data, every LLM at its trend.

    The centre about which data and replicates with new sizes and families (`score_new`,
    `log_density_new`) are alike given a draw. Residuals about the mean over draws are not: data
    have been fitted, replicates have not.

    Parameters
    ----------
    posterior, spec, data
        As in `posterior_predictive`.

    Returns
    -------
    xarray.Dataset
        `loss` (log loss), `loss_score` and `score` (logits), or `log_density`, with the dims of
        the posterior predictive.
    """
    means = (
        expected(posterior, spec, data.joint)
        if spec.is_joint
        else expected_densities(posterior, spec, data)
    )
    return xr.Dataset({str(name): _with_units(str(name), values) for name, values in means.items()})


def _replicated(
    parameters: xr.Dataset,
    spec: ModelSpec,
    data: Observations,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Draw data from each draw, given its sizes and families."""
    if spec.is_joint:
        drawn = replicate(parameters, spec, data.joint, rng, new_sizes=False, new_families=False)
    else:
        drawn = replicate_densities(parameters, spec, data, rng, new_families=False)
    return xr.Dataset(
        {
            name: _with_units(name, drawn[source])
            for name, source in _NAMES.items()
            if source in drawn
        }
    )


def _with_units(name: str, values: xr.DataArray) -> xr.DataArray:
    return values.assign_attrs(units=_UNITS.get(name, "logit score"))
