"""Draws of a trend's parameter that was summed over, from what is known given everything else."""

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.names import CHAIN, DRAW, FAMILY, LLM, UNITS
from bayesdense.observations import Observations, trend_on
from bayesdense.prior_draws import residual_parameters
from bayesdense.residuals import LOG_DENSITY, NUMPY
from bayesdense.sizes.mixing import log_likelihoods_at
from bayesdense.sizes.terms import read_posterior
from bayesdense.spec import ModelSpec
from bayesdense.trends.base import draws_as_columns


def with_mixture(
    posterior: xr.Dataset, spec: ModelSpec, data: Observations, *, seed: int
) -> xr.Dataset:
    """Add to each draw the trend's parameter that the density was summed over.

    Its values are few and equally likely a priori, so that given all other parameters of a draw it
    has the probabilities p(data | value, others) / sum over values: an exact draw of the joint
    posterior. What is computed from the draws afterwards takes it as any parameter.

    Parameters
    ----------
    posterior
        Natural parameters as sampled; dims chain, draw and their own.
    spec, data
        The model and what it saw.
    seed
        Of the draws.

    Returns
    -------
    xarray.Dataset
        The posterior, with the parameter if the trend has one.
    """
    trend = trend_on(spec, data.llms)
    mixture = trend.trend.mixture
    if mixture is None:
        return posterior
    values = mixture.values(trend.data)
    any_of_them = xr.full_like(posterior[trend.trend.parameters[0]], values[0])
    draws = posterior.assign({mixture.name: any_of_them})
    if spec.is_joint and "log_effective_params" not in posterior:
        found = log_likelihoods_at(read_posterior(draws, spec, data.joint), mixture.name, values)
    else:
        found = _log_densities(draws, spec, data, mixture.name, values)
    rng = np.random.default_rng([seed, 5])
    chosen = np.argmax(found + rng.gumbel(size=found.shape), axis=1)
    drawn = any_of_them.copy(data=values[chosen].reshape(any_of_them.shape))
    return posterior.assign({mixture.name: drawn.assign_attrs(units=UNITS.get(mixture.name, "1"))})


def _log_densities(
    posterior: xr.Dataset, spec: ModelSpec, data: Observations, name: str, values: Floats
) -> Floats:
    """Log density of all log densities, given or sampled, under each value, (draws, values)."""
    flat = {
        str(key): drawn.transpose(CHAIN, DRAW, ...).to_numpy().reshape(-1, *drawn.shape[2:])
        for key, drawn in posterior.data_vars.items()
        if set(drawn.dims) - {CHAIN, DRAW} <= {FAMILY, LLM, *trend_on(spec, data.llms).labels}
    }
    if data.densities is not None:
        known_sd = np.sqrt(data.densities.known_var)
        log_density = data.densities.log_density - flat.get("density_error", 0.0) * known_sd
    else:
        log_density = flat["log_effective_params"] - data.llms.log_params
    if "family_effect" in flat:
        log_density = log_density - flat["family_effect"][:, data.llms.family_idx]
    scalars = {key: drawn for key, drawn in flat.items() if drawn.ndim == 1}
    sd, shape = residual_parameters(spec, scalars, data.llms.years)
    theta, trend = draws_as_columns(flat), trend_on(spec, data.llms)
    out = np.empty((len(sd), len(values)))
    for k, value in enumerate(values):
        error = log_density - trend.eta(data.llms.years, {**theta, name: value})
        out[:, k] = LOG_DENSITY[spec.residual](error, sd, shape, NUMPY).sum(axis=1)
    return out
