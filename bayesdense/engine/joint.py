"""All at once: mode, pilot run, main run."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from threadpoolctl import threadpool_limits

from bayesdense.arrays import Floats
from bayesdense.engine.runs import Posterior, Settings, as_dataset, part_of, target_of
from bayesdense.engine.sample import Draws, Progress, find_whitening, sample_nuts
from bayesdense.engine.target import LogDensity, Target
from bayesdense.engine.whiten import (
    Whitening,
    turned_by_gradients,
    turned_by_hessians,
    whiten_by_draws,
)
from bayesdense.errors import SpecError
from bayesdense.mixtures import with_mixture
from bayesdense.observations import Observations
from bayesdense.sizes import fine_spacing
from bayesdense.spec import ModelSpec

_LOG = logging.getLogger(__name__)

#: Sd over the pilot's draws of the quadrature's error (nats) below which the grid is fine enough:
#: half of what the check allows the main run's. What the spacing is multiplied by until then (a
#: gradient costs as much as the grid has nodes), and how often.
_FINE_ENOUGH, _FINER, _MOST_REFINEMENTS = 0.005, 0.8, 9
#: The pilot run, from whose draws the main run is whitened.
_PILOT_TUNE, _PILOT_DRAWS = 100, 150


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a pilot run learnt of a model on one dataset, good for others of its shape.

    Attributes
    ----------
    spec
        The model, its grid of sizes as fine as the pilot's draws asked for.
    target
        The density on the dataset that it was learnt from.
    whitening
        Map under which the posterior was nearly a standard normal.
    build_seconds, pilot_seconds
        What it took.
    """

    spec: ModelSpec
    target: Target
    whitening: Whitening
    build_seconds: float
    pilot_seconds: float


def sample_joint(spec: ModelSpec, data: Observations, settings: Settings) -> Posterior:
    """Sample everything at once: mode, pilot run, main run; models of densities only as well.

    If the pilot's draws show that a joint model's grid of sizes is too coarse for them, it is
    refined before the main run; `Posterior.spec` says what was used.
    """
    pilot, main = settings.seeds(2)
    prepared = prepare_on(spec, data, settings, pilot)
    return _sample(prepared, settings, main, before=_pilot_length(settings))


def prepare_on(spec: ModelSpec, data: Observations, settings: Settings, seed: int) -> Prepared:
    """Learn the posterior's shape from a pilot run, and how fine a grid it needs."""
    began = time.perf_counter()
    target = target_of(spec, data)
    ready = time.perf_counter()
    first = _pilot(target, settings, seed)
    used = _refined(spec, data, target.coordinates.natural(first.z), seed)
    if used != spec:
        _LOG.info("grid of sizes refined to a spacing of %g", used.options.quadrature_spacing)
        target = target_of(used, data)
    target, whitening = learnt(target, first)
    built = ready - began - target.compile_seconds
    return Prepared(used, target, whitening, built, time.perf_counter() - ready)


def sample_prepared(prepared: Prepared, data: Observations, settings: Settings) -> Posterior:
    """Sample the posterior on other data of the same shape, without a pilot run.

    Raises
    ------
    SpecError
        Where the data have another shape: other numbers of benchmarks, families or parameters.
    """
    began = time.perf_counter()
    target = target_of(prepared.spec, data)
    if target.coordinates.shapes != prepared.target.coordinates.shapes:
        raise SpecError(
            "the dataset has another shape than the one that was prepared (benchmarks, families "
            "or what the model needs for them); prepare the model on it"
        )
    built = time.perf_counter() - began - target.compile_seconds
    target = target.in_units_of(prepared.target)
    again = replace(prepared, target=target, build_seconds=built, pilot_seconds=0.0)
    return _sample(again, settings, settings.seeds(1)[0])


def _sample(prepared: Prepared, settings: Settings, seed: int, *, before: int = 0) -> Posterior:
    """Run for the draws that are kept, after so many steps of a pilot run."""
    began, target = time.perf_counter(), prepared.target
    drawn = _main(target, prepared.whitening, settings, seed, before=before)
    timings = {
        "build": prepared.build_seconds,
        "compile": target.compile_seconds,
        "sample": prepared.pilot_seconds + time.perf_counter() - began,
    }
    return Posterior(prepared.spec, target.coordinates.natural(drawn.z), drawn.stats, timings)


def _refined(
    spec: ModelSpec, data: Observations, values: Mapping[str, Floats], seed: int
) -> ModelSpec:
    """Return the model with the coarsest grid, of those tried, that is fine enough."""
    if not spec.is_joint or spec.options.implementation == "latent":
        return spec
    spacing = fine_spacing(
        with_mixture(as_dataset(spec, data, values), spec, data, seed=seed),
        spec,
        data.joint,
        largest_sd=_FINE_ENOUGH,
        factor=_FINER,
        most=_MOST_REFINEMENTS,
    )
    return spec.with_options(quadrature_spacing=spacing)


def pilot_and_main(target: Target, settings: Settings) -> Draws:
    """Run a pilot and a main run of one target."""
    pilot, main = settings.seeds(2)
    used = learnt(target, _pilot(target, settings, pilot))
    return _main(*used, settings, main, before=_pilot_length(settings))


def learnt(target: Target, pilot: Draws) -> tuple[Target, Whitening]:
    """Choose units of effects and whiten by the draws of a pilot run.

    Effects of families are whitened by Hessians at draws, all else by draws and their gradients.
    """
    where, z = target.coordinates.suited_to(pilot.z)
    used = replace(target, coordinates=where)

    def density(whitening: Whitening) -> LogDensity:
        return used.whitened(whitening, used.nothing_given)

    # Draws are the parallel part: BLAS threads within them would only wait for each other.
    with threadpool_limits(limits=1):
        by_draws = whiten_by_draws(z, where.local)
        turned = turned_by_hessians(by_draws, density(by_draws), z, where.local)
        return used, turned_by_gradients(turned, density(turned), z)


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


def _main(
    target: Target, whitening: Whitening, settings: Settings, seed: int, *, before: int
) -> Draws:
    """Run for the draws that are kept, after so many steps of a pilot run."""
    main = settings.chains * (settings.tune + settings.draws)
    return sample_nuts(
        target,
        whitening,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=seed,
        cores=settings.cores,
        progress=part_of(settings.progress, before=before, total=before + main),
        interrupted=settings.interrupted,
        target_accept=settings.target_accept,
    )


def run_length(settings: Settings) -> int:
    """Steps of a pilot and a main run, all chains together."""
    return _pilot_length(settings) + settings.chains * (settings.tune + settings.draws)


def _pilot_length(settings: Settings) -> int:
    return settings.chains * (_PILOT_TUNE + _PILOT_DRAWS)


def _before_main(settings: Settings) -> Progress | None:
    """Progress of the pilot run, whose divergences count as little as its draws."""
    told = part_of(settings.progress, before=0, total=run_length(settings))
    return None if told is None else lambda done, total, _: told(done, total, 0)
