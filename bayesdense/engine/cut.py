"""Cut in two: law and map from the reference data alone, then the rest given their draws."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import arviz as az
import numpy as np
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.engine.joint import pilot_and_main, run_length
from bayesdense.engine.runs import Posterior, Settings, part_of, target_of
from bayesdense.engine.sample import Draws, find_whitening, sample_nuts
from bayesdense.engine.target import Target
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec
from bayesdense.variables import sampled_variables

#: Observed variables of the reference data: what law and map learn from under a cut.
_REFERENCE_OBSERVED = ("loss", "loss_score", "loss_score_count")
_REST_OBSERVED = ("score_reports", "score")
_REFERENCE_COMPONENTS = ("loss_law", "loss_noise", "score_map")
#: Draws of law and map that the second stage is run for, and chains and length of each run.
_POINTS, _CHAINS, _TUNE, _DRAWS = 100, 2, 250, 250
#: Quantiles over refits of their largest R-hat and least bulk and tail ESS.
_NINE_IN_TEN = (0.9, 0.1, 0.1)


def sample_cut(spec: ModelSpec, data: Observations, settings: Settings) -> Posterior:
    """Sample law and map from the reference data alone, then the rest given each of their draws.

    The posterior of law and map gets no feedback from the scores of LLMs. Stage two runs once for
    each of `_POINTS` thinned draws and keeps the last draws of its chains. Pooled, in the order of
    the draws of law and map, they are no Markov chains (Plummer 2015): they make one row, so that
    no R-hat can be taken over them, and the statistics of the first stage, whose draws are others,
    have dims of their own.
    """
    sampled = list(sampled_variables(spec, data))
    given = [name for name in sampled if name in _reference_names(spec)]
    others = [name for name in sampled if name not in given]
    first = target_of(spec, data, terms=[*given, *_REFERENCE_OBSERVED], given=others)
    second = target_of(spec, data, terms=[*others, *_REST_OBSERVED], given=given)
    seeds = settings.seed.spawn(2)
    before, total = run_length(settings), run_length(settings) + _POINTS * _length(settings)
    began = time.perf_counter()
    told = part_of(settings.progress, before=0, total=total)
    drawn = pilot_and_main(first, replace(settings, seed=seeds[0], progress=told))
    law = first.coordinates.natural(drawn.z)
    flat = {name: law[name].reshape(-1, *law[name].shape[2:]) for name in given}
    points = np.linspace(0, len(flat[given[0]]) - 1, _POINTS).astype(int)
    where = second.coordinates
    vectors = np.stack([where.theta({n: flat[n][point] for n in given}) for point in points])
    told = part_of(settings.progress, before=before, total=total, divergences=_divergences([drawn]))
    runs = _second_stage(second, vectors, replace(settings, seed=seeds[1], progress=told))
    values = _pool(second, runs, vectors, flat, points, settings)
    timings = {
        "compile": first.compile_seconds + second.compile_seconds,
        "sample": time.perf_counter() - began,
    }
    stats = drawn.stats.rename({CHAIN: f"reference_{CHAIN}", DRAW: f"reference_{DRAW}"})
    stages = _stage_table(law, drawn, second, runs, vectors)
    return Posterior(spec, values, stats, timings, stages)


def _kept(settings: Settings) -> int:
    """Draws kept of each chain of the second stage, which make up what was asked for."""
    return -(-settings.chains * settings.draws // (_CHAINS * _POINTS))


def _draws(settings: Settings) -> int:
    """Draws of each chain of the second stage: too few would leave no diagnostics."""
    return max(_DRAWS, _kept(settings))


def _length(settings: Settings) -> int:
    """Steps of one run of the second stage, all chains together."""
    return _CHAINS * (_TUNE + _draws(settings))


def _divergences(runs: Sequence[Draws]) -> int:
    """Divergences of runs after tuning."""
    return sum(int(run.stats["diverging"].sum()) for run in runs)


def _reference_names(spec: ModelSpec) -> set[str]:
    """Variables of law, map and their noise, hyperparameters included."""
    stems = {name for part in _REFERENCE_COMPONENTS for name in spec.used_priors(part)}
    return {stem + suffix for stem in stems for suffix in ("", "_mean", "_sd")}


def _second_stage(target: Target, vectors: Floats, settings: Settings) -> list[Draws]:
    """Run the second stage for each draw of law and map, whitened once at their mean."""
    whitening = find_whitening(target, vectors.mean(axis=0))
    length = _length(settings)
    runs: list[Draws] = []
    for k, (vector, seed) in enumerate(zip(vectors, settings.seeds(len(vectors)), strict=True)):
        told = part_of(
            settings.progress,
            before=k * length,
            total=len(vectors) * length,
            divergences=_divergences(runs),
        )
        run = sample_nuts(
            target,
            whitening,
            draws=_draws(settings),
            tune=_TUNE,
            chains=_CHAINS,
            seed=seed,
            given=vector,
            cores=settings.cores,
            progress=told,
            interrupted=settings.interrupted,
            target_accept=settings.target_accept,
        )
        runs.append(run)
    return runs


def _pool(
    target: Target,
    runs: Sequence[Draws],
    vectors: Floats,
    law: Mapping[str, Floats],
    points: np.ndarray,
    settings: Settings,
) -> dict[str, Floats]:
    """Last draws of every run beside the draw of law and map that it was given, in one row."""
    kept = _kept(settings)
    parts = [
        target.coordinates.natural(run.z[:, -kept:], vector)
        for run, vector in zip(runs, vectors, strict=True)
    ]
    pooled = {
        name: np.concatenate([part[name].reshape(-1, *part[name].shape[2:]) for part in parts])
        for name in parts[0]
    }
    pooled |= {name: np.repeat(law[name][points], _CHAINS * kept, axis=0) for name in law}
    total = settings.chains * settings.draws
    take = np.linspace(0, _CHAINS * kept * len(runs) - 1, total).astype(int)
    return {name: value[take][None] for name, value in pooled.items()}


def _stage_table(
    law: Mapping[str, Floats],
    first: Draws,
    target: Target,
    runs: Sequence[Draws],
    vectors: Floats,
) -> xr.Dataset:
    """Diagnostics of each stage: of the second, what nine in ten of its short runs keep.

    A run of two short chains cannot show R-hat to 1.01: the largest over many parameters of many
    runs would speak of chance, their median of nothing that half of the runs may hide.
    """
    one = _diagnostics(law)
    found = np.array(
        [
            _diagnostics(target.coordinates.natural(run.z, vector))
            for run, vector in zip(runs, vectors, strict=True)
        ]
    )
    many = [np.quantile(of_runs, at) for of_runs, at in zip(found.T, _NINE_IN_TEN, strict=True)]
    lengths = [sum(run.stats["diverging"].size for run in part) for part in ([first], runs)]
    return xr.Dataset(
        {
            "max_rhat": ("stage", [one[0], many[0]]),
            "min_ess_bulk": ("stage", [one[1], many[1]]),
            "min_ess_tail": ("stage", [one[2], many[2]]),
            "divergences": ("stage", [_divergences([first]), _divergences(runs)]),
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
