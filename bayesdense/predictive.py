"""Predictive groups of a fit's tree: data that the prior, or the posterior, would give."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesdense.observations import JointObservations, Observations
from bayesdense.prior_draws import draw_priors
from bayesdense.simulate.story import replicate, replicate_densities
from bayesdense.spec import ModelSpec

#: What the groups hold, on natural scales: logs and logits are a line away and double the file.
_KEPT = ("loss", "loss_score", "heldout_loss_score", "score_reports", "score", "density")


class PriorPredictive(NamedTuple):
    """Draws of the priors, and data drawn from each; the names of the tree's groups."""

    prior: xr.Dataset
    prior_predictive: xr.Dataset


def prior_predictive(
    spec: ModelSpec,
    data: Observations | JointObservations,
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
        Two datasets with dims `chain` (1), `draw` (n); variables as in `posterior_predictive`.
    """
    prior = draw_priors(spec, data, rng, n)
    return PriorPredictive(prior, _replicated(prior, spec, data, rng))


def posterior_predictive(
    posterior: xr.Dataset,
    spec: ModelSpec,
    data: Observations | JointObservations,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Draw the observed data anew from each posterior draw.

    The same LLMs with their drawn sizes (of a dataset of densities: the same families), the same
    runs' sizes, new run and size effects (they are integrated out), new noise.

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
        `loss` [loss_obs] (loss unit), `loss_score` [point_obs], `heldout_loss_score`
        [heldout_obs] where points are held out, `score` [score_obs] (fractions), `score_reports`
        [report_benchmark] (sums of squares on the logit); or `density` [llm].
    """
    return _replicated(posterior, spec, data, rng)


def _replicated(
    parameters: xr.Dataset,
    spec: ModelSpec,
    data: Observations | JointObservations,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Draw data from each draw, given its sizes and families."""
    if spec.is_joint:
        joint = data.joint if isinstance(data, Observations) else data
        drawn = replicate(parameters, spec, joint, rng, new_sizes=False, new_families=False)
    elif isinstance(data, Observations):
        drawn = replicate_densities(parameters, spec, data, rng, new_families=False)
    else:
        raise TypeError("a model of densities needs observations of densities")
    return drawn[[name for name in _KEPT if name in drawn]]
