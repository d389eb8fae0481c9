"""From a specification and a dataset to a `pm.Model`; this module only wires the components."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesdense.components import density, latent, loss_law, marginal, score_map, score_noise
from bayesdense.dataset import Dataset
from bayesdense.names import (
    BENCHMARK,
    COUNT_OBS,
    FAMILY,
    LLM,
    LOSS_OBS,
    POINT_OBS,
    RUN,
    SCORE_OBS,
)
from bayesdense.observations import JointObservations, Observations, observe, trend_on
from bayesdense.spec import ModelSpec


def build_model(spec: ModelSpec, dataset: Dataset) -> pm.Model:
    """Build the model of a specification for a dataset, in natural parameters.

    Parameters
    ----------
    spec
        From `load_spec`; `options.implementation` decides whether the LLMs' sizes are parameters
        (`latent`) or integrated out (`marginal`): the same model either way.
    dataset
        From `load_dataset`.

    Returns
    -------
    pymc.Model
        Ready for PyMC's own functions, and for terms of your own.

    Raises
    ------
    SpecError
        Where model and dataset do not fit each other.
    """
    return build_from_observations(spec, observe(spec, dataset))


def build_from_observations(spec: ModelSpec, data: Observations) -> pm.Model:
    """Build the model from what it sees."""
    if not spec.is_joint:
        return _density_model(spec, data)
    return _joint_model(spec, data.joint)


def _joint_model(spec: ModelSpec, data: JointObservations) -> pm.Model:
    """Loss law, score map, sizes and trend in one model."""
    scales = data.benchmarks.data_scales()
    with pm.Model(coords=_joint_coords(spec, data)) as model:
        law = loss_law.loss_law(spec, scales)
        loss_law.observe_losses(spec, law, data.losses, scales)
        curve = score_map.score_map(spec, scales)
        score_map.observe_calibration(spec, curve, data.calibration, scales)
        noise = score_noise.score_noise(spec, scales, data)
        if data.reports is not None:
            score_noise.observe_reports(noise, data.reports)
        log_density = density.location(spec, data.llms)
        residual = density.residual(spec, data.llms)
        tokens = spec.options.reference_tokens
        if spec.options.implementation == "latent":
            latent.observe_scores(
                law, curve, noise, residual, log_density, data, reference_tokens=tokens
            )
        else:
            marginal.observe_scores(
                law,
                curve,
                noise,
                residual,
                log_density,
                data,
                reference_tokens=tokens,
                spacing=spec.options.quadrature_spacing,
            )
    return model


def _density_model(spec: ModelSpec, data: Observations) -> pm.Model:
    """Trend, family and residual of published densities."""
    labels = trend_on(spec, data.llms).labels
    coords = {LLM: data.llms.names, FAMILY: data.llms.families, **labels}
    with pm.Model(coords=coords) as model:
        log_density = density.location(spec, data.llms)
        residual = density.residual(spec, data.llms)
        known = data.given.known_var
        if known.any():
            log_density = log_density + pm.Normal("density_error", dims=LLM) * np.sqrt(known)
        latent.add_deviating(
            "log_density",
            pt.as_tensor(log_density),
            residual,
            LLM,
            observed=data.given.log_density,
        )
    return model


def _joint_coords(spec: ModelSpec, data: JointObservations) -> dict[str, object]:
    """Labels of every dimension; ragged rows are labelled by what they observe."""
    names, llms, losses = data.benchmarks.names, data.llms, data.losses
    points, scores = data.calibration, data.scores
    labels = [f"{names[j]} {k}" for k, j in enumerate(points.benchmark_idx)]
    normal, counted = (points.is_fit & of_kind for of_kind in (~points.is_count, points.is_count))
    coords: dict[str, object] = {
        BENCHMARK: names,
        RUN: losses.runs,
        FAMILY: llms.families,
        LLM: llms.names,
        LOSS_OBS: [
            f"{losses.runs[r]} {names[j]}"
            for r, j in zip(losses.run_idx, losses.benchmark_idx, strict=True)
        ],
        POINT_OBS: [labels[k] for k in np.flatnonzero(normal)],
        COUNT_OBS: [labels[k] for k in np.flatnonzero(counted)],
        SCORE_OBS: [
            f"{llms.names[i]} {names[j]}"
            for i, j in zip(scores.llm_idx, scores.benchmark_idx, strict=True)
        ],
        **trend_on(spec, llms).labels,
    }
    if data.reports is not None:
        coords["report_benchmark"] = [names[j] for j in data.reports.benchmark_idx]
    return coords
