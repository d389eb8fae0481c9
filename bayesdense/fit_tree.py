"""The DataTree of a fit: posterior, and every group that ArviZ, the checks and the report read."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr

from bayesdense import densities, sizes
from bayesdense._version import __version__
from bayesdense.engine.runs import Posterior, as_dataset
from bayesdense.mixtures import with_mixture
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    DRAW,
    GROUP,
    LLM,
    LOSS_OBS,
    POINT_OBS,
    RUN,
    SCHEMA_VERSION,
    SCORE_OBS,
    UNITS,
)
from bayesdense.observations import JointObservations, Observations
from bayesdense.predictive import posterior_predictive, predictive_mean, prior_predictive
from bayesdense.prior_densities import log_prior
from bayesdense.size_slope import size_covariate, slope_derivatives
from bayesdense.smoothing import can_smooth
from bayesdense.spec import ModelSpec
from bayesdense.trends import trend_named

#: What is derived from draws: every group; all but the pointwise log likelihoods of a joint model,
#: which take longest, and what rests on them; or the posterior, its sampling and its quadrature.
type Depth = Literal["all", "without_likelihoods", "posterior"]
_PRIOR_DRAWS = 500
#: Replicated data are kept for about this many draws: p-values need no more; and for fewer where
#: one variable would be larger than this many bytes.
_PREDICTIVE_DRAWS, _MOST_BYTES = 1000, 200e6


def assemble(
    spec: ModelSpec,
    data: Observations,
    drawn: Posterior,
    *,
    seed: int,
    depth: Depth = "all",
) -> xr.DataTree:
    """Derive the groups of a fit from the draws of its parameters."""
    posterior = posterior_dataset(spec, data, drawn.values)
    posterior = with_mixture(posterior, spec, data, seed=seed)
    if spec.is_joint:
        groups, posterior = _joint_groups(
            spec, data, posterior, seed=seed, likelihoods=depth == "all"
        )
    else:
        groups, posterior = _density_groups(spec, data, posterior)
    groups |= {
        "posterior": posterior,
        "sample_stats": drawn.stats,
        "constant_data": constant_data(data),
    }
    if depth != "posterior":
        groups |= _predictive_groups(spec, data, posterior, seed=seed)
        if spec.options.feedback != "cut":
            groups["log_prior"] = log_prior(spec, data, posterior)
    if drawn.stages is not None:
        groups["stages"] = drawn.stages
    return xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


def _predictive_groups(
    spec: ModelSpec, data: Observations, posterior: xr.Dataset, *, seed: int
) -> dict[str, xr.Dataset]:
    """Draws of the prior, and data as they would be under prior and posterior."""
    rng = np.random.default_rng([seed, 1])
    kept = _predictive_draws(data)
    every = max(1, posterior.sizes[CHAIN] * posterior.sizes[DRAW] // kept)
    thinned = posterior.isel({DRAW: slice(None, None, every)})
    before = prior_predictive(spec, data, rng, min(_PRIOR_DRAWS, kept))
    predictive = posterior_predictive(thinned, spec, data, rng)
    means = predictive_mean(thinned, spec, data)
    groups = {
        "prior": before.prior,
        "prior_predictive": before.prior_predictive,
        "posterior_predictive": predictive.assign_attrs(thinned_every=every),
        "predictive_mean": means.assign_attrs(thinned_every=every),
    }
    held_out = _held_out(data, groups["posterior_predictive"])
    return groups if held_out is None else groups | {"heldout": held_out}


def posterior_dataset(
    spec: ModelSpec, data: Observations, values: Mapping[str, np.ndarray]
) -> xr.Dataset:
    """Draws as a dataset with the model's dims, labels and units."""
    draws = as_dataset(spec, data, values)
    derived = trend_named(spec.trend).derived
    draws = draws.assign({name: follows(draws) for name, follows in derived.items()})
    for name in draws:
        draws[name].attrs.update(_units(str(name)))
    # Dates stand in constant_data: ArviZ's tables take no second coordinate of a dimension.
    return draws.assign_coords({LLM: list(data.llms.names)})


def _units(name: str) -> dict[str, str]:
    """Units of a variable; hyperparameters are on the log of their variable."""
    stem = name.removesuffix("_mean") if name.endswith("_mean") else name.removesuffix("_sd")
    known = UNITS.get(name)
    return {"units": known or (f"log of {stem}" if stem in UNITS else "1")}


def _predictive_draws(data: Observations) -> int:
    """Draws for which replicated data are kept."""
    entries = len(data.llms.names) if data.scores is None else len(data.scores.score)
    return max(1, min(_PREDICTIVE_DRAWS, int(_MOST_BYTES / (8 * entries))))


def _joint_groups(
    spec: ModelSpec,
    observations: Observations,
    posterior: xr.Dataset,
    *,
    seed: int,
    likelihoods: bool,
) -> tuple[dict[str, xr.Dataset], xr.Dataset]:
    """Groups of a joint model, and the posterior with sizes and densities."""
    data = observations.joint
    if "log_effective_params" not in posterior:
        drawn = sizes.draw_log_sizes(posterior, spec, data, seed=seed)
        posterior = posterior.assign(log_effective_params=drawn)
    posterior = _with_density(posterior, data.llms.log_params)
    groups = {
        "llm_bounds": sizes.llm_bounds(posterior, spec, data),
        "observed_data": _observed(data),
    }
    if likelihoods and spec.options.feedback != "cut":
        # Pooled draws of a cut are no posterior given all data: weights 1 / p(y_i | ...) would be
        # wrong, and so is every leave-one-out estimate that rests on them.
        pointwise, slopes = sizes.log_likelihoods_and_slopes(
            posterior, spec, data, None if _has_slope(spec) else size_covariate(observations)
        )
        groups["log_likelihood"] = pointwise
        groups |= _slope_group(spec, observations, posterior, pointwise["family"], slopes)
        if can_smooth(pointwise["llm"]):
            transform = sizes.loo_pit(posterior, spec, data, pointwise["llm"], seed=seed)
            groups["loo_pit"] = transform.to_dataset(name="loo_pit")
    if spec.options.implementation == "marginal":
        error = sizes.quadrature_error(posterior, spec, data)
        groups["quadrature"] = xr.Dataset(
            {
                "sd_difference": error["sd"],
                "growth_shift": error["growth_shift"],
                "tail_error": error["end_error"],
            }
        )
    return groups, posterior


def _density_groups(
    spec: ModelSpec, data: Observations, posterior: xr.Dataset
) -> tuple[dict[str, xr.Dataset], xr.Dataset]:
    """Groups of a model of given densities."""
    likelihoods = densities.log_likelihoods(posterior, spec, data)
    groups = {
        "log_likelihood": likelihoods,
        "observed_data": xr.Dataset(
            {"log_density": (LLM, data.given.log_density)},
            coords={LLM: list(data.llms.names)},
        ),
    }
    groups |= _slope_group(spec, data, posterior, likelihoods["family"])
    return groups, densities.with_densities(posterior, data)


def _slope_group(
    spec: ModelSpec,
    data: Observations,
    posterior: xr.Dataset,
    family: xr.DataArray,
    known: xr.Dataset | None = None,
) -> dict[str, xr.Dataset]:
    """Derivatives in a slope on size, where the data could tell one and the model has none."""
    if _has_slope(spec):
        return {}
    slope = slope_derivatives(posterior, spec, data, family, known)
    return {} if slope is None else {"size_slope": slope}


def _has_slope(spec: ModelSpec) -> bool:
    """Whether the trend has a covariate, all of which go with size."""
    return trend_named(spec.trend).covariate is not None


def _with_density(posterior: xr.Dataset, log_params: np.ndarray) -> xr.Dataset:
    """Add log density: the drawn size over the actual one."""
    size = posterior["log_effective_params"].assign_attrs(_units("log_effective_params"))
    density = (size - xr.DataArray(log_params, dims=LLM)).assign_attrs(_units("log_density"))
    return posterior.assign(log_effective_params=size, log_density=density)


def _observed(data: JointObservations) -> xr.Dataset:
    """Observed data on the scales of the model's variables."""
    used = data.calibration.is_fit
    observed = {
        "loss": (LOSS_OBS, data.losses.log_loss, {"units": "log loss"}),
        "loss_score": (POINT_OBS, data.calibration.logit_score[used], {"units": "logit score"}),
        "score": (SCORE_OBS, data.scores.logit_score, {"units": "logit score"}),
    }
    if data.reports is not None:
        observed["score_reports"] = (
            "report_benchmark",
            data.reports.sum_of_squares,
            {"units": "squared logit score"},
        )
    return xr.Dataset(observed)


def _held_out(data: Observations, predictive: xr.Dataset) -> xr.Dataset | None:
    """Held-out calibration points with what is predicted of them."""
    if data.calibration is None or "heldout_loss_score" not in predictive:
        return None
    out = ~data.calibration.is_fit
    return xr.Dataset(
        {
            "loss": ("heldout_obs", data.calibration.loss[out]),
            "logit_score": ("heldout_obs", data.calibration.logit_score[out]),
            "logit_score_rep": predictive["heldout_loss_score"],
            "benchmark_idx": ("heldout_obs", data.calibration.benchmark_idx[out]),
        }
    )


def constant_data(data: Observations) -> xr.Dataset:
    """What the model was given and does not explain: sizes, dates, indices, centres."""
    llms = data.llms
    constant: dict[str, object] = {
        "n_params": (
            LLM,
            np.round(np.exp(llms.log_params)),  # a count
            {"units": "parameters", "convention": llms.params_used},
        ),
        "release_year": (LLM, llms.years, {"units": "years", "since": llms.time_origin}),
        "family_idx": (LLM, llms.family_idx),
    }
    coords: dict[str, object] = {
        LLM: list(llms.names),
        "release_date": (LLM, list(llms.release_dates)),
        "family": list(llms.families),
    }
    if llms.group_idx is not None:
        constant["group_idx"] = (LLM, llms.group_idx)
        coords[GROUP] = list(llms.groups)
    if llms.window is not None:  # other than that of its own LLMs
        constant["trend_window"] = ("end", list(llms.window), {"units": "years"})
    if llms.covariate is not None:
        constant["covariate"] = (LLM, llms.covariate, {"of": "the trend, about its mean"})
    if any(llms.derived_from):
        constant["derived_from"] = (LLM, list(llms.derived_from))
    if data.scores is not None:
        joint = data.joint
        constant |= _joint_constants(joint)
        coords |= {BENCHMARK: list(joint.benchmarks.names), RUN: list(joint.losses.runs)}
    return xr.Dataset(constant, coords=coords)


def _joint_constants(data: JointObservations) -> dict[str, object]:
    """Constants of a joint model."""
    losses, points, scores, names = data.losses, data.calibration, data.scores, data.benchmarks
    used = points.is_fit
    return {
        "score_llm_idx": (SCORE_OBS, scores.llm_idx),
        "score_benchmark_idx": (SCORE_OBS, scores.benchmark_idx),
        "score_n_items": (SCORE_OBS, scores.n_items),
        "score_n_reports": (SCORE_OBS, scores.n_reports),
        "score_other_protocol": (SCORE_OBS, scores.other_protocol),
        "score_noise_idx": (SCORE_OBS, scores.kinds()[1]),
        "loss_benchmark_idx": (LOSS_OBS, losses.benchmark_idx),
        "loss_run_idx": (LOSS_OBS, losses.run_idx),
        "loss_cluster_idx": (LOSS_OBS, losses.cluster_idx),
        "loss_log_params_ratio": (LOSS_OBS, losses.log_params_ratio),
        "loss_log_tokens_ratio": (LOSS_OBS, losses.log_tokens_ratio),
        "point_benchmark_idx": (POINT_OBS, points.benchmark_idx[used]),
        "point_loss": (POINT_OBS, points.loss[used]),
        "point_n_items": (POINT_OBS, points.n_items[used]),
        "n_items": (BENCHMARK, names.n_items),
        "chance": (BENCHMARK, names.chance),
        "loss_centre": (BENCHMARK, names.loss_centre),
        "loss_unit": (BENCHMARK, list(names.loss_units)),
        "log_params_centre": losses.log_params_centre,
        "log_tokens_centre": losses.log_tokens_centre,
        "reference_max_params": losses.max_params,
        "reference_max_tokens": losses.max_tokens,
    }


def root_attributes(
    spec: ModelSpec,
    data: Observations,
    *,
    about: Mapping[str, object],
    warnings: Sequence[str],
    seed: int,
    sampler: str,
    timings: Mapping[str, float],
    versions: Mapping[str, str],
) -> dict[str, object]:
    """Attributes of the root: what was fitted, with what, from which seed."""
    return {
        "schema": SCHEMA_VERSION,
        "bayesdense_version": __version__,
        "dataset": json.dumps(dict(about), ensure_ascii=False),
        "dataset_warnings": json.dumps([*warnings, *data.warnings], ensure_ascii=False),
        "spec": spec.to_json(),
        "spec_digest": spec.digest,
        "time_origin": data.llms.time_origin,
        "seed": seed,
        "versions": json.dumps({"bayesdense": __version__, **versions}),
        "timings_s": json.dumps(dict(timings)),
        "sampler": sampler,
    }
