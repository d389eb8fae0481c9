"""Ways to a posterior: all at once, cut in two stages, or by PyMC's own samplers."""

import importlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import arviz as az
import numpy as np
import pymc as pm
import xarray as xr

from bayesdense.build import build_from_observations
from bayesdense.engine.coordinates import Coordinates, coordinates
from bayesdense.engine.interrupts import Interrupted, never_interrupted
from bayesdense.engine.sample import Draws, Progress, find_whitening, sample_nuts
from bayesdense.engine.target import Target, compile_target
from bayesdense.engine.whiten import Whitening
from bayesdense.kernel import Floats
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.sizes import quadrature_error
from bayesdense.spec import ModelSpec

_LOG = logging.getLogger(__name__)

#: Observed variables of the reference data: what law and map learn from under a cut.
_REFERENCE_OBSERVED = ("loss", "loss_score", "loss_score_count")
_REFERENCE_COMPONENTS = ("loss_law", "loss_noise", "score_map")
#: Sd over draws of the quadrature's error (nats) below which the grid is fine enough, as the check
#: has it, and how often the spacing may be halved for it.
_FINE_ENOUGH, _MOST_HALVINGS = 0.01, 3
#: The pilot run, from whose draws the main run is whitened.
_PILOT_TUNE, _PILOT_DRAWS = 300, 300
#: Draws of law and map that the second stage of a cut is run for, and its length for each.
_CUT_POINTS, _CUT_TUNE, _CUT_DRAWS = 100, 250, 100


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user asks of a run."""

    draws: int
    tune: int
    chains: int
    cores: int | None
    seed: np.random.SeedSequence
    progress: Progress | None
    interrupted: Interrupted = never_interrupted

    def seeds(self, count: int) -> list[int]:
        """Independent seeds for the parts of a run."""
        return [int(child.generate_state(1)[0]) for child in self.seed.spawn(count)]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Draws in natural parameters, (chain, draw, *shape), and how they were made."""

    spec: ModelSpec
    values: Mapping[str, Floats]
    stats: xr.Dataset
    timings: Mapping[str, float]
    stages: xr.Dataset | None = field(default=None)


def _target(
    spec: ModelSpec,
    data: Observations,
    model: pm.Model,
    *,
    terms: Sequence[str] | None = None,
    given: Sequence[str] = (),
) -> Target:
    """Lay out the coordinates of (part of) the model and compile its density."""
    return compile_target(_coordinates(spec, data, model, terms=terms, given=given))


def _coordinates(
    spec: ModelSpec,
    data: Observations,
    model: pm.Model,
    *,
    terms: Sequence[str] | None,
    given: Sequence[str],
) -> Coordinates:
    scales = data.benchmarks.data_scales() if data.benchmarks else {}
    guesses = {"log_effective_params": data.llms.log_params} if data.scores else {}
    return coordinates(
        spec, model, scales, _informed(data), terms=terms, given=given, guesses=guesses
    )


def _informed(data: Observations) -> dict[str, Floats]:
    """Entries of the score noise that scores or reports pin: others are left to their mean."""
    if data.benchmarks is None or data.scores is None:
        return {}
    scored = np.zeros(len(data.benchmarks.names))
    scored[data.scores.benchmark_idx] = 1.0
    reported = np.zeros_like(scored)
    if data.reports is not None:
        reported[data.reports.benchmark_idx] = 1.0
    return {"discrepancy_sd": scored, "cell_sd": scored, "protocol_sd": reported}


def sample_joint(
    spec: ModelSpec, data: Observations, model: pm.Model, settings: Settings
) -> Posterior:
    """Sample everything at once: mode, pilot run, main run.

    If the pilot's draws show that the grid of sizes is too coarse for them, it is refined before
    the main run; `Posterior.spec` says what was used.
    """
    target = _target(spec, data, model)
    timings = {"compile": target.compile_seconds}
    began = time.perf_counter()
    pilot, main = settings.seeds(2)
    first = _pilot(target, settings, pilot)
    used = _refined(spec, data, model, target.natural(first.z))
    if used != spec:
        _LOG.info("grid of sizes refined to a spacing of %g", used.options.quadrature_spacing)
        target = _target(used, data, build_from_observations(used, data))
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


def as_dataset(model: pm.Model, values: Mapping[str, Floats]) -> xr.Dataset:
    """Draws with the model's dims and labels."""
    n_chains, n_draws = next(iter(values.values())).shape[:2]
    coords: dict[str, object] = {CHAIN: np.arange(n_chains), DRAW: np.arange(n_draws)}
    variables = {}
    for name, value in values.items():
        dims = model.named_vars_to_dims.get(name, ())
        coords |= {dim: [str(label) for label in model.coords[dim]] for dim in dims}
        variables[name] = ((CHAIN, DRAW, *dims), value)
    return xr.Dataset(variables, coords=coords)


def _pilot_and_main(target: Target, settings: Settings) -> Draws:
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
        progress=_within(settings, main=False),
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
        progress=_within(settings, main=True),
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


def _within(settings: Settings, *, main: bool) -> Progress | None:
    """Progress of the pilot or the main run, told as progress of the whole."""
    progress = settings.progress
    if progress is None:
        return None
    of_pilot = settings.chains * (_PILOT_TUNE + _PILOT_DRAWS)
    total = of_pilot + settings.chains * (settings.tune + settings.draws)
    before = of_pilot if main else 0

    def report(done: int, _: int, divergences: int) -> None:
        progress(before + done, total, divergences if main else 0)

    return report


def sample_cut(
    spec: ModelSpec, data: Observations, model: pm.Model, settings: Settings
) -> Posterior:
    """Sample law and map from the reference data alone, then the rest given each of their draws.

    The posterior of law and map gets no feedback from the scores of LLMs. Stage two runs once for
    each of `_CUT_POINTS` thinned draws, two chains each, and keeps their last draws; pooled in
    the order of the draws they are dealt out to `settings.chains` rows, which are no Markov
    chains (Plummer 2015).
    """
    first_names = _reference_names(spec, model)
    rest = [rv.name for rv in model.basic_RVs if rv.name not in first_names]
    given = [rv.name for rv in model.free_RVs if rv.name in first_names]
    first = _target(spec, data, model, terms=first_names)
    second = _target(spec, data, model, terms=rest, given=given)
    stage_seeds = settings.seed.spawn(2)
    began = time.perf_counter()
    drawn = _pilot_and_main(first, replace(settings, seed=stage_seeds[0]))
    law = first.natural(drawn.z)
    flat = {name: law[name].reshape(-1, *law[name].shape[2:]) for name in given}
    points = np.linspace(0, len(flat[given[0]]) - 1, _CUT_POINTS).astype(int)
    vectors = np.stack([_vector(flat, given, point) for point in points])
    kept = -(-settings.chains * settings.draws // (2 * _CUT_POINTS))
    later = replace(settings, seed=stage_seeds[1])
    runs = _second_stage(second, vectors, max(kept, 1), later)
    values = _pool(second, runs, vectors, flat, points, settings)
    timings = {
        "compile": first.compile_seconds + second.compile_seconds,
        "sample": time.perf_counter() - began,
    }
    return Posterior(
        spec, values, drawn.stats, timings, _stage_table(law, drawn, second, runs, vectors)
    )


def _reference_names(spec: ModelSpec, model: pm.Model) -> list[str]:
    """Variables of law, map and their noise, hyperparameters included, and what they explain."""
    stems = [name for part in _REFERENCE_COMPONENTS for name in spec.component(part).used_priors]
    return [
        rv.name
        for rv in model.basic_RVs
        if rv.name in _REFERENCE_OBSERVED
        or any(rv.name in (stem, f"{stem}_mean", f"{stem}_sd") for stem in stems)
    ]


def _vector(values: Mapping[str, Floats], names: Sequence[str], draw: int) -> Floats:
    return np.concatenate([values[name][draw].ravel() for name in names])


def _second_stage(target: Target, vectors: Floats, kept: int, settings: Settings) -> list[Draws]:
    """Run the second stage for each draw of law and map, whitened once at their mean."""
    whitening = find_whitening(target, vectors.mean(axis=0))
    return [
        sample_nuts(
            target,
            whitening,
            draws=max(_CUT_DRAWS, kept),
            tune=_CUT_TUNE,
            chains=2,
            seed=seed,
            given=vector,
            cores=settings.cores,
            interrupted=settings.interrupted,
        )
        for vector, seed in zip(vectors, settings.seeds(len(vectors)), strict=True)
    ]


def _pool(
    target: Target,
    runs: Sequence[Draws],
    vectors: Floats,
    law: Mapping[str, Floats],
    points: np.ndarray,
    settings: Settings,
) -> dict[str, Floats]:
    """Last draws of every run beside the draw of law and map that it was given."""
    total = settings.chains * settings.draws
    kept = -(-total // (2 * len(runs)))
    parts = [
        target.natural(run.z[:, -kept:], vector) for run, vector in zip(runs, vectors, strict=True)
    ]
    pooled = {
        name: np.concatenate([part[name].reshape(-1, *part[name].shape[2:]) for part in parts])
        for name in parts[0]
    }
    pooled |= {name: np.repeat(law[name][points], 2 * kept, axis=0) for name in law}
    take = np.linspace(0, 2 * kept * len(runs) - 1, total).astype(int)
    return {
        name: value[take].reshape(settings.chains, settings.draws, *value.shape[1:])
        for name, value in pooled.items()
    }


def _stage_table(
    law: Mapping[str, Floats],
    first: Draws,
    target: Target,
    runs: Sequence[Draws],
    vectors: Floats,
) -> xr.Dataset:
    """Diagnostics of each stage: of the second, the medians of its many short runs.

    A run of two short chains cannot show R-hat to 1.01: the largest over many parameters of many
    runs would speak of chance.
    """
    one = _diagnostics(law)
    many = np.median(
        [
            _diagnostics(
                {
                    name: value
                    for name, value in target.natural(run.z, vector).items()
                    if value.ndim == 2
                }
            )
            for run, vector in zip(runs, vectors, strict=True)
        ],
        axis=0,
    )
    diverging = [sum(int(run.stats["diverging"].sum()) for run in part) for part in ([first], runs)]
    lengths = [sum(run.stats["diverging"].size for run in part) for part in ([first], runs)]
    return xr.Dataset(
        {
            "max_rhat": ("stage", [one[0], many[0]]),
            "min_ess_bulk": ("stage", [one[1], many[1]]),
            "min_ess_tail": ("stage", [one[2], many[2]]),
            "divergences": ("stage", diverging),
            "n_draws": ("stage", lengths),
        },
        coords={"stage": ["reference", "trend"]},
    )


def _diagnostics(values: Mapping[str, Floats]) -> tuple[float, float, float]:
    """Largest R-hat and least bulk and tail ESS."""
    data = xr.Dataset(
        {
            name: ((CHAIN, DRAW, *(f"{name}_{k}" for k in range(value.ndim - 2))), value)
            for name, value in values.items()
        }
    )

    def extreme(result: xr.Dataset, how: str) -> float:
        return float(getattr(np, how)([getattr(v, how)().item() for v in result.values()]))

    return (
        extreme(az.rhat(data), "max"),
        extreme(az.ess(data, method="bulk"), "min"),
        extreme(az.ess(data, method="tail"), "min"),
    )


def sample_pymc(spec: ModelSpec, model: pm.Model, sampler: str, settings: Settings) -> Posterior:
    """Sample the model as it stands with `pm.sample`."""
    if sampler == "numpyro":
        importlib.import_module("bayesdense.components.marginal_jax")
    began = time.perf_counter()
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
        {"compile": 0.0, "sample": time.perf_counter() - began},
    )
