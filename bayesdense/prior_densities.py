"""Log densities of the priors at draws: the `log_prior` group that sensitivity checks read."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import xarray as xr
from scipy import stats

from bayesdense.arrays import Floats
from bayesdense.observations import Observations
from bayesdense.prior_draws import used_priors
from bayesdense.priors import DISTRIBUTIONS, Prior
from bayesdense.spec import ModelSpec

#: distribution -> (value, scale, parameters) -> log density.
_LOG_DENSITY: Mapping[str, Callable[[Floats, Floats, list[Floats]], Floats]] = MappingProxyType(
    {
        "Normal": lambda x, unit, p: stats.norm.logpdf(x, unit * p[0], unit * p[1]),
        "LogNormal": lambda x, unit, p: stats.lognorm.logpdf(x, p[1], scale=unit * np.exp(p[0])),
        "HalfNormal": lambda x, unit, p: stats.halfnorm.logpdf(x, scale=unit * p[0]),
        "Beta": lambda x, unit, p: stats.beta.logpdf(x, p[0], p[1]),
        "Gamma": lambda x, unit, p: stats.gamma.logpdf(x, p[0], scale=unit / p[1]),
    }
)


def log_prior(spec: ModelSpec, data: Observations, posterior: xr.Dataset) -> xr.Dataset:
    """Log density of every top-level prior at every draw, in natural parameters.

    One variable per entry of the TOML that depends on no other variable; hierarchical terms (the
    benchmarks' exponents given their mean and sd, effects of families) are model, not prior.

    Parameters
    ----------
    spec, data
        The model and what it saw.
    posterior
        Draws with natural parameters; dims chain, draw and each variable's own.

    Returns
    -------
    xarray.Dataset
        Log densities, without Jacobians, of each variable's shape.
    """
    scales = data.benchmarks.data_scales() if data.benchmarks else {}
    entries = (entry for name, prior in used_priors(spec, data) for entry in prior.top_level(name))
    return xr.Dataset(
        {
            name: posterior[name].copy(data=log_density(prior, posterior[name].to_numpy(), scales))
            for name, prior in entries
        }
    )


def log_density(prior: Prior, value: Floats, scales: Mapping[str, Floats]) -> Floats:
    """Log density of one top-level prior."""
    unit = scales[prior.scale] if prior.scale else np.float64(1.0)
    parameters = [
        np.asarray(scales[kwarg] if isinstance(kwarg, str) else kwarg, dtype=float)
        for kwarg in (prior.kwargs[name] for name in DISTRIBUTIONS[prior.dist])
    ]
    return np.asarray(_LOG_DENSITY[prior.dist](value, np.asarray(unit), parameters))
