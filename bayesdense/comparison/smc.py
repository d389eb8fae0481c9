"""Sequential Monte Carlo as a second opinion on log marginal likelihoods of trends alone."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesdense.components.density import residual
from bayesdense.components.priors import random_variable, variables
from bayesdense.components.tensor import Tensor
from bayesdense.errors import SpecError
from bayesdense.logs import quietened
from bayesdense.names import LLM
from bayesdense.observations import Observations, trend_on
from bayesdense.spec import ModelSpec
from bayesdense.trends import trend_named
from bayesdense.trends.base import element

#: With more parameters chains disagree by nats (a hierarchical toy of 56: -137.1 and -139.4).
MOST_PARAMETERS: Final = 9
LEAST_CHAINS: Final = 4
#: Chains whose estimates are further apart (nats) have failed.
MOST_SPREAD: Final = 0.5
_LOG_2PI: Final = float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True)
class Smc:
    """A log marginal likelihood by sequential Monte Carlo.

    Attributes
    ----------
    log_ml
        Mean over the chains, nats; None where they disagree by more than `MOST_SPREAD`.
    se
        Standard error by their spread.
    spread
        Largest difference between two chains.
    """

    log_ml: float | None
    se: float
    spread: float


def smc(
    spec: ModelSpec,
    data: Observations,
    *,
    seed: int,
    draws: int = 2000,
    chains: int = LEAST_CHAINS,
) -> Smc:
    """Estimate log p(densities | model) with `pymc.sample_smc`, family effects integrated out.

    Parameters
    ----------
    spec, data
        A model of given densities with a normal residual, and what it sees.
    seed
        Of all chains.
    draws, chains
        Particles of a chain, and chains, at least 4.

    Returns
    -------
    Smc
        Failed, with no value, where the chains disagree.

    Raises
    ------
    SpecError
        A model that has too many parameters, or family effects that no formula integrates out.

    References
    ----------
    Ching and Chen 2007, J. Eng. Mech. 133:816; Minson et al. 2013, Geophys. J. Int. 194:1701.
    """
    if chains < LEAST_CHAINS:
        raise SpecError(f"chains = {chains}, allowed for sequential Monte Carlo: {LEAST_CHAINS}+")
    model = trend_model(spec, data)
    with quietened("pymc.smc", logging.WARNING):  # which announces what it does
        tree = pm.sample_smc(
            draws=draws,
            chains=chains,
            cores=1,
            model=model,
            random_seed=np.random.default_rng([seed, 1]),
            compute_convergence_checks=False,
            progressbar=False,
        )
    stages = tree["sample_stats"]["log_marginal_likelihood"].to_numpy()
    found = np.array([_last(chain) for chain in stages])
    spread = float(np.ptp(found))
    se = float(found.std(ddof=1) / np.sqrt(len(found)))
    agree = np.isfinite(found).all() and spread <= MOST_SPREAD
    return Smc(float(found.mean()) if agree else None, se, spread)


def _last(stages: Iterable[Any]) -> float:
    """Estimate after the last stage of a chain; stages of other chains' length are no numbers."""
    values = np.concatenate([np.atleast_1d(np.asarray(stage, dtype=float)) for stage in stages])
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else math.nan


def can_run(spec: ModelSpec) -> bool:
    """Whether sequential Monte Carlo is offered for this model.

    A trend that is a mixture, or has parameters without number, is left to bridge sampling.
    """
    trend = trend_named(spec.trend)
    plain = trend.mixture is None and not trend.dims
    return not spec.is_joint and spec.residual == "symmetric" and plain


def trend_model(spec: ModelSpec, data: Observations) -> pm.Model:
    """Model of given densities whose family effects are integrated out by formula."""
    if data.densities is None or not can_run(spec):
        raise SpecError(
            "sequential Monte Carlo is for models of given densities with a symmetric residual and "
            f"a plain trend; model {spec.name!r} is another"
        )
    llms, trend = data.llms, trend_on(spec, data.llms)
    member = np.eye(len(llms.families))[llms.family_idx]
    with pm.Model(coords={LLM: llms.names}) as model:
        theta = variables(spec, "trend", {}, *trend.trend.parameters)
        has_families = spec.component("family").kind != "none"
        family_sd = (
            random_variable("family_sd", spec.prior("family", "family_sd"), {})
            if has_families
            else pt.as_tensor(0.0)
        )
        pm.CustomDist(
            "log_density",
            trend.eta(llms.years, theta, element) + np.zeros(len(llms.names)),
            residual(spec, llms).sd ** 2 + data.densities.known_var,
            family_sd,
            member,
            logp=family_log_density,
            signature="(n),(n),(),(n,k)->(n)",
            observed=data.densities.log_density,
            dims=LLM,
        )
    n = sum(int(np.prod(rv.shape.eval())) for rv in model.free_RVs)
    if n > MOST_PARAMETERS:
        raise SpecError(
            f"sequential Monte Carlo is reliable for {MOST_PARAMETERS} parameters at most; "
            f"model {spec.name!r} with trend {spec.trend!r} has {n}"
        )
    return model


def family_log_density(
    value: Tensor, mean: Tensor, var: Tensor, family_sd: Tensor, member: Tensor
) -> Tensor:
    """Log density of normal values that share an effect within families.

    With w = 1 / var, e = value - mean, and per family s0 = sum w, s1 = sum w e, by Woodbury:
    -1/2 sum(w e^2 + log var + log 2 pi) + 1/2 sum_k [s^2 s1^2 / (1 + s^2 s0) - log(1 + s^2 s0)].
    """
    error, weight = value - mean, 1 / var
    of_family = family_sd**2 * (weight @ member)
    shared = family_sd**2 * ((weight * error) @ member) ** 2 / (1 + of_family)
    alone = weight * error**2 + pt.log(var) + _LOG_2PI
    return 0.5 * (pt.sum(shared - pt.log1p(of_family)) - pt.sum(alone))
