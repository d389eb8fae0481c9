"""From a prior as data to a random variable."""

from collections.abc import Mapping

import numpy as np
import pymc as pm

from bayesdense.arrays import Floats
from bayesdense.components.tensor import Tensor
from bayesdense.priors import Prior, hyper_name
from bayesdense.spec import ModelSpec

_DISTRIBUTIONS = {
    "Normal": pm.Normal,
    "LogNormal": pm.LogNormal,
    "HalfNormal": pm.HalfNormal,
    "Beta": pm.Beta,
    "Gamma": pm.Gamma,
}


def random_variable(name: str, prior: Prior, scales: Mapping[str, Floats]) -> Tensor:
    """Add the variable of a prior, and those of the priors within it, to the open model."""
    kwargs = {
        key: random_variable(hyper_name(name, key), value, scales)
        if isinstance(value, Prior)
        else scales[value]
        if isinstance(value, str)
        else np.float64(value)  # a Python float may become a float32 constant, with its digits
        for key, value in prior.kwargs.items()
    }
    if prior.scale:
        kwargs = _scaled(prior.dist, kwargs, scales[prior.scale])
    return _DISTRIBUTIONS[prior.dist](name, **kwargs, dims=prior.dims)


def _scaled(dist: str, kwargs: dict[str, Tensor], unit: Floats) -> dict[str, Tensor]:
    """Kwargs of the distribution of the variable times `unit`."""
    if dist == "LogNormal":
        return {**kwargs, "mu": kwargs["mu"] + np.log(unit)}
    if dist == "Gamma":
        return {**kwargs, "beta": kwargs["beta"] / unit}
    return {key: value * unit for key, value in kwargs.items()}


def variables(
    spec: ModelSpec, component: str, scales: Mapping[str, Floats], *names: str
) -> dict[str, Tensor]:
    """Add these variables of a component to the open model, with the priors of its TOML."""
    return {name: random_variable(name, spec.prior(component, name), scales) for name in names}
