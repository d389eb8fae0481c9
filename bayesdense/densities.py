"""Given densities after sampling: log likelihoods with family effects integrated out."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.names import CHAIN, DRAW, LLM, UNITS
from bayesdense.observations import Observations, trend_on
from bayesdense.prior_draws import residual_parameters
from bayesdense.residuals import LOG_DENSITY, NUMPY
from bayesdense.spec import ModelSpec
from bayesdense.trends.base import draws_as_columns

#: Nodes per posterior sd of a family effect, and half width in its prior sds.
_NODES_PER_SD = 2.5
_HALF_WIDTH = 7.0
_LEAST_NODES, _MOST_NODES = 41, 2001
#: Gauss-Hermite nodes for a known error of measurement where no formula integrates it out.
_ERROR_NODES = 21


def log_likelihoods(posterior: xr.Dataset, spec: ModelSpec, data: Observations) -> xr.Dataset:
    """Log likelihood of each LLM given all others, and of each family.

    Per draw and family k, with m_i(f) = p(y_i | f, parameters): M_k = integral of
    prod m_i(f) Normal(f; 0, family_sd) df and M_(k without i) the same without i.

    Returns
    -------
    xarray.Dataset
        `llm` [llm_obs] = log M_k - log M_(k without i); `family` [family_obs] = log M_k; nats.
    """
    error, sd, shape = _deviations(posterior, spec, data)
    known_sd = np.sqrt(data.given.known_var)
    family_sd = _rows(posterior, "family_sd") if "family_sd" in posterior else None
    idx = data.llms.family_idx
    n_draws, n_families = len(error), len(data.llms.families)
    of_llm, of_family = np.empty(error.shape), np.empty((n_draws, n_families))
    for k in range(n_families):
        members = np.flatnonzero(idx == k)
        log_density = partial(_log_density, spec.residual, known_sd[members])
        whole, without = _family(error[:, members], sd[:, members], shape, family_sd, log_density)
        of_family[:, k] = whole
        of_llm[:, members] = whole[:, None] - without
    sample = (posterior.sizes[CHAIN], posterior.sizes[DRAW])
    return xr.Dataset(
        {
            "llm": ((CHAIN, DRAW, "llm_obs"), of_llm.reshape(*sample, -1)),
            "family": ((CHAIN, DRAW, "family_obs"), of_family.reshape(*sample, -1)),
        },
        coords={"llm_obs": list(data.llms.names), "family_obs": list(data.llms.families)},
    )


def with_densities(posterior: xr.Dataset, data: Observations) -> xr.Dataset:
    """Add the given densities, the same in every draw, for all that reads `log_density`."""
    given = xr.DataArray(data.given.log_density, dims=LLM)
    draws = given.expand_dims(
        {CHAIN: posterior[CHAIN].to_numpy(), DRAW: posterior[DRAW].to_numpy()}
    )
    return posterior.assign(log_density=draws.assign_attrs(units=UNITS["log_density"]))


def _rows(posterior: xr.Dataset, name: str) -> Floats:
    """Draws of a scalar or a vector, chains one after another."""
    values = posterior[name].transpose(CHAIN, DRAW, ...).to_numpy()
    return np.asarray(values.reshape(-1, *values.shape[2:]))


def _deviations(
    posterior: xr.Dataset, spec: ModelSpec, data: Observations
) -> tuple[Floats, Floats, Floats | None]:
    """Deviation from the trend and sd of every LLM, per draw, and the residual's shape."""
    years, trend = data.llms.years, trend_on(spec, data.llms)
    theta = {name: _rows(posterior, name) for name in trend.trend.drawn}
    error = data.given.log_density - trend.eta(years, draws_as_columns(theta))
    scalars = {
        str(name): drawn.to_numpy().reshape(-1)
        for name, drawn in posterior.data_vars.items()
        if set(drawn.dims) == {CHAIN, DRAW}
    }
    sd, shape = residual_parameters(spec, scalars, years)
    return error, sd * np.ones_like(error), shape


def _family(
    error: Floats,
    sd: Floats,
    shape: Floats | None,
    family_sd: Floats | None,
    log_density: Callable[[Floats, Floats, Floats | None], Floats],
) -> tuple[Floats, Floats]:
    """Log M of a family (draws,), and of the family without each member (draws, members)."""
    if family_sd is None:
        one = None if shape is None else shape[:, :, None]
        each = log_density(error[:, :, None], sd[:, :, None], one)[:, :, 0]
        return each.sum(axis=1), each.sum(axis=1, keepdims=True) - each
    width = sd.min(axis=1) / np.sqrt(error.shape[1])
    needed = 2 * _HALF_WIDTH * _NODES_PER_SD * np.max(family_sd / np.minimum(width, family_sd))
    n_nodes = int(np.clip(needed, _LEAST_NODES, _MOST_NODES))
    u = np.linspace(-_HALF_WIDTH, _HALF_WIDTH, n_nodes)
    effect = family_sd[:, None] * u
    inner = None if shape is None else shape[:, :, None]
    each = log_density(error[:, :, None] - effect[:, None, :], sd[:, :, None], inner)
    log_weight = -0.5 * u**2 - 0.5 * np.log(2 * np.pi) + np.log(u[1] - u[0])
    together = each.sum(axis=1) + log_weight
    apart = together[:, None, :] - each
    return _log_sum(together), _log_sum(apart)


def _log_density(
    kind: str, known_sd: Floats, deviation: Floats, sd: Floats, shape: Floats | None
) -> Floats:
    """Log density (draws, members, nodes) of the residual plus a known error, integrated out."""
    if kind == "symmetric":
        sd = np.sqrt(sd**2 + known_sd[:, None] ** 2)
        return np.asarray(LOG_DENSITY[kind](deviation, sd, shape, NUMPY))
    if not known_sd.any():
        return np.asarray(LOG_DENSITY[kind](deviation, sd, shape, NUMPY))
    points, weights = np.polynomial.hermite_e.hermegauss(_ERROR_NODES)
    terms = [
        LOG_DENSITY[kind](deviation - point * known_sd[:, None], sd, shape, NUMPY) + np.log(weight)
        for point, weight in zip(points, weights, strict=True)
    ]
    return np.asarray(_log_sum(np.stack(terms, axis=-1)) - 0.5 * np.log(2 * np.pi))


def _log_sum(terms: Floats) -> Floats:
    """Log of the sum of exponentials over the last axis."""
    top = terms.max(axis=-1)
    return np.asarray(top + np.log(np.exp(terms - top[..., None]).sum(axis=-1)))
