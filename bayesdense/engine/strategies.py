"""Ways to a posterior: all at once, cut in two stages, or by PyMC's own samplers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import arviz as az
import numpy as np
import pymc as pm
import xarray as xr

from bayesdense.engine.coordinates import Coordinates, coordinates
from bayesdense.engine.sample import Draws, Progress, find_whitening, sample_nuts
from bayesdense.engine.target import Target, compile_target
from bayesdense.engine.whiten import Whitening
from bayesdense.kernel import Floats
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec

#: Observed variables of the reference data: what law and map learn from under a cut.
_REFERENCE_OBSERVED = ("loss", "loss_score")
_REFERENCE_COMPONENTS = ("loss_law", "loss_noise", "score_map")
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

    def seeds(self, count: int) -> list[int]:
        """Independent seeds for the parts of a run."""
        return [int(child.generate_state(1)[0]) for child in self.seed.spawn(count)]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Draws in natural parameters, (chain, draw, *shape), and how they were made."""

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
    """Sample everything at once: mode, pilot run, main run."""
    target = _target(spec, data, model)
    began = time.perf_counter()
    drawn = _pilot_and_main(target, settings)
    timings = {"compile": target.compile_seconds, "sample": time.perf_counter() - began}
    return Posterior(target.natural(drawn.z), drawn.stats, timings)


def _pilot_and_main(target: Target, settings: Settings) -> Draws:
    """Whiten at the mode, run a pilot there, whiten by its draws, and run.

    The mode is found with standard deviations held at their priors' guesses; where data say
    otherwise its scales are off by several times, which the pilot's covariance mends. The pilot's
    draws are thrown away: it is tuning.
    """
    pilot_seed, seed = settings.seeds(2)
    total = settings.chains * (_PILOT_TUNE + _PILOT_DRAWS + settings.tune + settings.draws)
    done_by_pilot = settings.chains * (_PILOT_TUNE + _PILOT_DRAWS)
    pilot = sample_nuts(
        target,
        find_whitening(target),
        draws=_PILOT_DRAWS,
        tune=_PILOT_TUNE,
        chains=settings.chains,
        seed=pilot_seed,
        cores=settings.cores,
        progress=_within(settings.progress, 0, total, count_divergences=False),
    )
    return sample_nuts(
        target,
        whitening_of(pilot.z),
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=seed,
        cores=settings.cores,
        progress=_within(settings.progress, done_by_pilot, total, count_divergences=True),
    )


def whitening_of(z: Floats) -> Whitening:
    """Whiten by the covariance of draws, shrunk towards its diagonal as far as they are few."""
    points = z.reshape(-1, z.shape[-1])
    sd = points.std(axis=0)
    correlation = np.corrcoef(points.T)
    weight = len(points) / (len(points) + points.shape[1])
    shrunk = weight * correlation + (1 - weight) * np.eye(len(sd))
    return Whitening(points.mean(axis=0), sd[:, None] * np.linalg.cholesky(shrunk))


def _within(
    progress: Progress | None, before: int, total: int, *, count_divergences: bool
) -> Progress | None:
    """Progress of one part of a run, told as progress of the whole."""
    if progress is None:
        return None

    def report(done: int, _: int, divergences: int) -> None:
        progress(before + done, total, divergences if count_divergences else 0)

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
    drawn = _pilot_and_main(first, _with_seed(settings, stage_seeds[0]))
    law = first.natural(drawn.z)
    flat = {name: law[name].reshape(-1, *law[name].shape[2:]) for name in given}
    points = np.linspace(0, len(flat[given[0]]) - 1, _CUT_POINTS).astype(int)
    vectors = np.stack([_vector(flat, given, point) for point in points])
    kept = -(-settings.chains * settings.draws // (2 * _CUT_POINTS))
    runs = _second_stage(second, vectors, max(kept, 1), stage_seeds[1], settings.cores)
    values = _pool(second, runs, vectors, flat, points, settings)
    timings = {
        "compile": first.compile_seconds + second.compile_seconds,
        "sample": time.perf_counter() - began,
    }
    return Posterior(values, drawn.stats, timings, _stage_table(law, drawn, second, runs, vectors))


def _with_seed(settings: Settings, seed: np.random.SeedSequence) -> Settings:
    return Settings(
        settings.draws, settings.tune, settings.chains, settings.cores, seed, settings.progress
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


def _second_stage(
    target: Target,
    vectors: Floats,
    kept: int,
    seed: np.random.SeedSequence,
    cores: int | None,
) -> list[Draws]:
    """Run the second stage for each draw of law and map, whitened once at their mean."""
    whitening = find_whitening(target, vectors.mean(axis=0))
    draws = max(_CUT_DRAWS, kept)
    return [
        sample_nuts(
            target,
            whitening,
            draws=draws,
            tune=_CUT_TUNE,
            chains=2,
            seed=int(child.generate_state(1)[0]),
            given=vector,
            cores=cores,
        )
        for vector, child in zip(vectors, seed.spawn(len(vectors)), strict=True)
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


def sample_pymc(model: pm.Model, sampler: str, settings: Settings) -> Posterior:
    """Sample the model as it stands with `pm.sample`."""
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
        {str(name): value.to_numpy() for name, value in posterior.items()},
        stats,
        {"compile": 0.0, "sample": time.perf_counter() - began},
    )
