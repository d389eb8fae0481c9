"""PyMC's own samplers, on the model as it stands: for comparison."""

import importlib
import time

import pymc as pm

from bayesdense.build import build_from_observations
from bayesdense.engine.runs import Posterior, Settings
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec


def sample_pymc(spec: ModelSpec, data: Observations, sampler: str, settings: Settings) -> Posterior:
    """Sample the model as it stands with `pm.sample`."""
    if sampler == "numpyro":
        importlib.import_module("bayesdense.components.marginal_jax")
    began = time.perf_counter()
    model = build_from_observations(spec, data)
    built = time.perf_counter()
    asked = {} if settings.target_accept is None else {"target_accept": settings.target_accept}
    tree = pm.sample(
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        cores=settings.cores,
        random_seed=settings.seeds(1)[0],
        nuts_sampler=sampler,
        progressbar=False,
        compute_convergence_checks=False,
        model=model,
        **asked,
    )
    posterior = tree["posterior"].to_dataset()
    if dict(posterior.sizes) | {CHAIN: settings.chains, DRAW: settings.draws} != dict(
        posterior.sizes
    ):
        raise KeyboardInterrupt
    stats = tree["sample_stats"].to_dataset()
    return Posterior(
        spec,
        {str(name): value.to_numpy() for name, value in posterior.items()},
        stats,
        {"build": built - began, "compile": 0.0, "sample": time.perf_counter() - built},
    )
