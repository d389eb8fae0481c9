"""All at once: mode, pilot run, main run."""

import logging
import time
from collections.abc import Mapping

import numpy as np
import pymc as pm

from bayesdense.arrays import Floats
from bayesdense.build import build_from_observations
from bayesdense.engine.runs import Posterior, Settings, as_dataset, part_of, target_of
from bayesdense.engine.sample import Draws, Progress, find_whitening, sample_nuts
from bayesdense.engine.target import Target
from bayesdense.engine.whiten import Whitening
from bayesdense.observations import Observations
from bayesdense.sizes import quadrature_error
from bayesdense.spec import ModelSpec

_LOG = logging.getLogger(__name__)

#: Sd over draws of the quadrature's error (nats) below which the grid is fine enough, as the check
#: has it, and how often the spacing may be halved for it.
_FINE_ENOUGH, _MOST_HALVINGS = 0.01, 3
#: The pilot run, from whose draws the main run is whitened.
_PILOT_TUNE, _PILOT_DRAWS = 300, 300


def sample_joint(
    spec: ModelSpec, data: Observations, model: pm.Model, settings: Settings
) -> Posterior:
    """Sample everything at once: mode, pilot run, main run; models of densities only as well.

    If the pilot's draws show that a joint model's grid of sizes is too coarse for them, it is
    refined before the main run; `Posterior.spec` says what was used.
    """
    target = target_of(spec, data, model)
    timings = {"compile": target.compile_seconds}
    began = time.perf_counter()
    pilot, main = settings.seeds(2)
    first = _pilot(target, settings, pilot)
    used = _refined(spec, data, model, target.natural(first.z))
    if used != spec:
        _LOG.info("grid of sizes refined to a spacing of %g", used.options.quadrature_spacing)
        target = target_of(used, data, build_from_observations(used, data))
        timings["compile"] += target.compile_seconds
    drawn = _main(target, whitening_of(first.z), settings, main)
    timings["sample"] = time.perf_counter() - began
    return Posterior(used, target.natural(drawn.z), drawn.stats, timings)


def _refined(
    spec: ModelSpec, data: Observations, model: pm.Model, values: Mapping[str, Floats]
) -> ModelSpec:
    """Return the model with the coarsest grid, of halved spacings, that is fine enough."""
    if not spec.is_joint or spec.options.implementation == "latent":
        return spec
    draws = as_dataset(model, values)
    for _ in range(_MOST_HALVINGS):
        if quadrature_error(draws, spec, data.joint)["sd"] < _FINE_ENOUGH:
            return spec
        spec = spec.with_options(quadrature_spacing=spec.options.quadrature_spacing / 2)
    return spec


def pilot_and_main(target: Target, settings: Settings) -> Draws:
    """Run a pilot and a main run of one target."""
    pilot, main = settings.seeds(2)
    return _main(target, whitening_of(_pilot(target, settings, pilot).z), settings, main)


def _pilot(target: Target, settings: Settings, seed: int) -> Draws:
    """Run from the mode, to learn the posterior's shape; its draws are thrown away.

    The mode is found with standard deviations held at their priors' guesses; where data say
    otherwise its scales are off by several times, which the pilot's covariance mends.
    """
    return sample_nuts(
        target,
        find_whitening(target),
        draws=_PILOT_DRAWS,
        tune=_PILOT_TUNE,
        chains=settings.chains,
        seed=seed,
        cores=settings.cores,
        progress=_before_main(settings),
        interrupted=settings.interrupted,
    )


def _main(target: Target, whitening: Whitening, settings: Settings, seed: int) -> Draws:
    """Run for the draws that are kept."""
    return sample_nuts(
        target,
        whitening,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=seed,
        cores=settings.cores,
        progress=part_of(
            settings.progress, before=_pilot_length(settings), total=run_length(settings)
        ),
        interrupted=settings.interrupted,
    )


def whitening_of(z: Floats) -> Whitening:
    """Whiten by the covariance of draws, shrunk towards its diagonal as far as they are few."""
    points = z.reshape(-1, z.shape[-1])
    sd = points.std(axis=0)
    correlation = np.corrcoef(points.T)
    weight = len(points) / (len(points) + points.shape[1])
    shrunk = weight * correlation + (1 - weight) * np.eye(len(sd))
    return Whitening(points.mean(axis=0), sd[:, None] * np.linalg.cholesky(shrunk))


def run_length(settings: Settings) -> int:
    """Steps of a pilot and a main run, all chains together."""
    return _pilot_length(settings) + settings.chains * (settings.tune + settings.draws)


def _pilot_length(settings: Settings) -> int:
    return settings.chains * (_PILOT_TUNE + _PILOT_DRAWS)


def _before_main(settings: Settings) -> Progress | None:
    """Progress of the pilot run, whose divergences count as little as its draws."""
    told = part_of(settings.progress, before=0, total=run_length(settings))
    return None if told is None else lambda done, total, _: told(done, total, 0)
