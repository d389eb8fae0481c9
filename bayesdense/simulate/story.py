"""The generative story in NumPy: what data parameters would give, draw by draw."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats, Ints
from bayesdense.elementary import expit
from bayesdense.items import draw_score, item_variance, logit_of_score
from bayesdense.laws import chinchilla_loss
from bayesdense.names import (
    BENCHMARK,
    FAMILY,
    LAW_PARAMETERS,
    LLM,
    LOSS_OBS,
    MAP_PARAMETERS,
    POINT_OBS,
    RUN,
    SCORE_OBS,
    TREND_DIMS,
)
from bayesdense.observations import JointObservations, LLMData, Observations, trend_on
from bayesdense.prior_draws import draw_residuals, residual_parameters
from bayesdense.score_maps import logistic_logit_score
from bayesdense.spec import ModelSpec
from bayesdense.trends.base import labelled

#: Dim of the replicated reports' sums of squares, and of calibration points held out of the fit.
REPORT_BENCHMARK = "report_benchmark"
HELDOUT_OBS = "heldout_obs"
#: Log size about the centre beyond which no law moves any more, and exp stays finite.
_FARTHEST = 300.0


def replicate(
    parameters: xr.Dataset,
    spec: ModelSpec,
    data: JointObservations,
    rng: np.random.Generator,
    *,
    new_sizes: bool,
    new_families: bool,
) -> xr.Dataset:
    """Draw one dataset per draw of the parameters, from the model's own formulas.

    Which effects are those of `parameters` and which are new:

    - family effects: taken, unless `new_families`;
    - LLMs' effective sizes: taken, unless `new_sizes`, which draws them from trend, family
      effects and residual;
    - run effects: taken where `parameters` has `run_effect`, else new (a posterior lacks them:
      they are integrated out);
    - size effects of the ladder, cells' discrepancies and all noise: always new.

    Parameters
    ----------
    parameters
        Natural parameters, any sample dims (`chain`, `draw`, or none): draws of a posterior, of
        `draw_priors`, or one truth.
    spec
        The model.
    data
        Sizes, tokens, calibration losses, items and cells; the observed outcomes are not used.
    rng
        Source of the random numbers.
    new_sizes, new_families
        Posterior predictive of these LLMs: False, False; of other LLMs of these families: True,
        False; of other families: True, True.

    Returns
    -------
    xarray.Dataset
        Beside the sample dims: `loss` (loss unit) and `log_loss` [loss_obs]; `loss_score`
        (fraction) and `logit_loss_score` [point_obs], the points that the model reads, and
        `heldout_loss_score`, `logit_heldout_loss_score` [heldout_obs], those it does not;
        `score_reports` [report_benchmark], sums of squares on the logit; `score` (fraction) and
        `logit_score` [score_obs]; `log_effective_params` [llm].

    Raises
    ------
    ValueError
        `new_families` without `new_sizes`: sizes that are given say nothing of new families.
    """
    theta = _aligned(parameters, _labels(data))
    sizes = _sizes(theta, spec, data.llms, rng, new_sizes=new_sizes, new_families=new_families)
    out = {"log_loss": _log_loss(theta, data, rng), "log_effective_params": sizes}
    out |= _points(theta, data, rng)
    if data.reports is not None:
        out["score_reports"] = _sums_of_squares(theta, data, rng)
    out["logit_score"] = _logit_scores(theta, spec, data, sizes, rng)
    return _with_natural_scales(xr.Dataset(out)).assign_coords(observation_labels(data))


def replicate_densities(
    parameters: xr.Dataset,
    spec: ModelSpec,
    data: Observations,
    rng: np.random.Generator,
    *,
    new_families: bool,
) -> xr.Dataset:
    """Draw published densities, one dataset per draw: trend, family, residual, known error.

    Parameters
    ----------
    parameters, spec, rng
        As in `replicate`.
    data
        Observations of a dataset of densities.
    new_families
        Whether family effects are drawn anew rather than taken.

    Returns
    -------
    xarray.Dataset
        `log_density` and `density` [llm], beside the sample dims.
    """
    theta = _aligned(parameters, {FAMILY: data.llms.families, LLM: data.llms.names})
    drawn = draw_log_density(theta, spec, data.llms, rng, new_families=new_families)
    error = np.sqrt(data.given.known_var) * rng.normal(size=drawn.shape)
    log_density = (drawn + error).assign_coords({LLM: list(data.llms.names)})
    with np.errstate(over="ignore"):  # a Student-t of few degrees of freedom knows no bounds
        return xr.Dataset({"log_density": log_density, "density": np.exp(log_density)})


def expected(parameters: xr.Dataset, spec: ModelSpec, data: JointObservations) -> xr.Dataset:
    """What each draw expects of the data, with every LLM's size at its trend.

    The centre about which residuals of data and of replicates (`replicate` with new sizes and
    families) are alike, given a draw.

    Parameters
    ----------
    parameters, spec, data
        As in `replicate`.

    Returns
    -------
    xarray.Dataset
        Beside the sample dims: `loss` [loss_obs], log of the law; `loss_score` [point_obs], logit
        of the map at the points that the model reads; `score` [score_obs], logit of the score of
        an LLM of its date and parameters without family effect and residual.
    """
    theta = _aligned(parameters, _labels(data))
    points, used = data.calibration, np.flatnonzero(data.calibration.is_fit)
    loss = xr.DataArray(points.loss[used], dims=POINT_OBS)
    sizes = trend_at(theta, spec, data.llms) + xr.DataArray(data.llms.log_params, dims=LLM)
    mean, _, _ = score_moments(theta, spec, data, sizes)
    out = {
        "loss": _log_law(theta, data),
        "loss_score": map_at(theta, _pick(points.benchmark_idx[used], POINT_OBS), loss),
        "score": mean,
    }
    labels = observation_labels(data)
    return xr.Dataset(out).assign_coords(
        {dim: labels[dim] for dim in (LOSS_OBS, POINT_OBS, SCORE_OBS)}
    )


def expected_densities(parameters: xr.Dataset, spec: ModelSpec, data: Observations) -> xr.Dataset:
    """Log density that each draw's trend expects of each LLM, `log_density` [llm]."""
    theta = _aligned(parameters, {FAMILY: data.llms.families, LLM: data.llms.names})
    trend = trend_at(theta, spec, data.llms).assign_coords({LLM: list(data.llms.names)})
    return xr.Dataset({"log_density": trend})


def trend_at(theta: xr.Dataset, spec: ModelSpec, llms: LLMData) -> xr.DataArray:
    """Log density that the trend gives each LLM's date, draw by draw [llm]."""

    def of_llms(values: Floats) -> xr.DataArray:
        return xr.DataArray(values, dims=LLM)

    trend = trend_on(spec, llms).along(of_llms)
    return xr.DataArray(trend.eta(of_llms(llms.years), theta, labelled))


def observation_labels(data: JointObservations) -> dict[str, list[str]]:
    """Labels of the ragged rows: what each of them observes."""
    names, losses, scores = data.benchmarks.names, data.losses, data.scores
    points = [f"{names[j]} {k}" for k, j in enumerate(data.calibration.benchmark_idx)]
    labels = {
        LLM: list(data.llms.names),
        LOSS_OBS: [
            f"{losses.runs[r]} {names[j]}"
            for r, j in zip(losses.run_idx, losses.benchmark_idx, strict=True)
        ],
        POINT_OBS: [points[k] for k in np.flatnonzero(data.calibration.is_fit)],
        SCORE_OBS: [
            f"{data.llms.names[i]} {names[j]}"
            for i, j in zip(scores.llm_idx, scores.benchmark_idx, strict=True)
        ],
    }
    if not data.calibration.is_fit.all():
        labels[HELDOUT_OBS] = [points[k] for k in np.flatnonzero(~data.calibration.is_fit)]
    if data.reports is not None:
        labels[REPORT_BENCHMARK] = [names[j] for j in data.reports.benchmark_idx]
    return labels


def law_at(
    theta: xr.Dataset, benchmark: xr.DataArray | slice, log_params_ratio: xr.DataArray | float,
    log_tokens_ratio: xr.DataArray | float,
) -> xr.DataArray:  # fmt: skip
    """Loss by the law for these entries of `benchmark`, draw by draw."""
    values = [
        theta[name].isel({BENCHMARK: benchmark}) if name in theta else xr.DataArray(0.0)
        for name in LAW_PARAMETERS
    ]
    return xr.DataArray(chinchilla_loss(log_params_ratio, log_tokens_ratio, *values))


def map_at(theta: xr.Dataset, benchmark: xr.DataArray | slice, loss: xr.DataArray) -> xr.DataArray:
    """Logit of the score by the map for these entries of `benchmark`, draw by draw."""
    values = (theta[name].isel({BENCHMARK: benchmark}) for name in MAP_PARAMETERS)
    return xr.DataArray(logistic_logit_score(loss, *values))


def _labels(data: JointObservations) -> dict[str, tuple[str, ...]]:
    """Labels of the parameters' dims."""
    return {
        BENCHMARK: data.benchmarks.names,
        RUN: data.losses.runs,
        FAMILY: data.llms.families,
        LLM: data.llms.names,
    }


def _aligned(parameters: xr.Dataset, labels: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    """Put parameters in the order of the data, sample dims first, without labels to collide."""
    own = {dim: list(names) for dim, names in labels.items() if dim in parameters.indexes}
    keep = [str(dim) for dim in parameters.dims if dim not in (*labels, *TREND_DIMS)]
    aligned = parameters.sel(own).transpose(*keep, ...)
    return aligned.drop_vars([name for name in aligned.coords if name not in keep])


def _pick(values: Ints, dim: str) -> xr.DataArray:
    """Put indices along a new dim, for `isel`."""
    return xr.DataArray(values, dims=dim)


def _noise(rng: np.random.Generator, sd: xr.DataArray) -> xr.DataArray:
    """Draw normal noise with these sds."""
    return sd * rng.normal(size=sd.shape)


def _log_loss(theta: xr.Dataset, data: JointObservations, rng: np.random.Generator) -> xr.DataArray:
    """Draw log L = log law + size effect + run effect + noise."""
    losses = data.losses
    j = _pick(losses.benchmark_idx, LOSS_OBS)
    mean = _log_law(theta, data)
    known = xr.DataArray(losses.known_var, dims=LOSS_OBS)
    mean = mean + _noise(rng, (theta["loss_noise_sd"].isel({BENCHMARK: j}) ** 2 + known) ** 0.5)
    if not losses.clustered:
        return mean
    run = _pick(losses.run_idx, LOSS_OBS)
    run_effect = _run_effect(theta, len(losses.runs), rng).isel({RUN: run})
    of_cluster = np.zeros(losses.n_clusters, dtype=np.int64)
    of_cluster[losses.cluster_idx] = losses.benchmark_idx
    sd = theta["size_effect_sd"].isel({BENCHMARK: _pick(of_cluster, "cluster")})
    size_effect = _noise(rng, sd).isel(cluster=_pick(losses.cluster_idx, LOSS_OBS))
    return mean + theta["run_effect_sd"].isel({BENCHMARK: j}) * run_effect + size_effect


def _log_law(theta: xr.Dataset, data: JointObservations) -> xr.DataArray:
    """Log of the law's loss at every reference run."""
    losses = data.losses
    sizes, tokens = (
        xr.DataArray(ratio, dims=LOSS_OBS)
        for ratio in (losses.log_params_ratio, losses.log_tokens_ratio)
    )
    return xr.DataArray(np.log(law_at(theta, _pick(losses.benchmark_idx, LOSS_OBS), sizes, tokens)))


def _run_effect(theta: xr.Dataset, n_runs: int, rng: np.random.Generator) -> xr.DataArray:
    """Return the standard normal effect of each run: the given one, else a new one."""
    if "run_effect" in theta:
        return theta["run_effect"]
    ones = xr.ones_like(theta["loss_noise_sd"].isel({BENCHMARK: 0}))
    return _noise(rng, ones * xr.DataArray(np.ones(n_runs), dims=RUN))


def _points(
    theta: xr.Dataset, data: JointObservations, rng: np.random.Generator
) -> dict[str, xr.DataArray]:
    """Scores of calibration points and their logits: map and point noise, then counts of items."""
    points = data.calibration
    j = _pick(points.benchmark_idx, POINT_OBS)
    mean = map_at(theta, j, xr.DataArray(points.loss, dims=POINT_OBS))
    noisy = mean + _noise(rng, theta["map_noise_sd"].isel({BENCHMARK: j}))
    noisy = noisy.transpose(..., POINT_OBS)
    score = noisy.copy(data=draw_score(noisy.to_numpy(), points.n_items, rng))
    both = {
        "loss_score": score,
        "logit_loss_score": score.copy(data=logit_of_score(score.to_numpy(), points.n_items)),
    }
    fit, held_out = np.flatnonzero(points.is_fit), np.flatnonzero(~points.is_fit)
    out = {name: values.isel({POINT_OBS: fit}) for name, values in both.items()}
    if held_out.size:
        for name, values in both.items():
            renamed = values.isel({POINT_OBS: held_out}).rename({POINT_OBS: HELDOUT_OBS})
            out[name.replace("loss_score", "heldout_loss_score")] = renamed
    return out


def _sums_of_squares(
    theta: xr.Dataset, data: JointObservations, rng: np.random.Generator
) -> xr.DataArray:
    """Sum of squares of reports about their cells' means: protocol_sd^2 chi-square(degrees)."""
    if data.reports is None:
        raise ValueError("no replicated reports")
    j = _pick(data.reports.benchmark_idx, REPORT_BENCHMARK)
    sd = theta["protocol_sd"].isel({BENCHMARK: j})
    return sd**2 * rng.chisquare(data.reports.degrees, size=sd.shape)


def _sizes(
    theta: xr.Dataset,
    spec: ModelSpec,
    llms: LLMData,
    rng: np.random.Generator,
    *,
    new_sizes: bool,
    new_families: bool,
) -> xr.DataArray:
    """Log effective size of each LLM, given or new."""
    if not new_sizes:
        if new_families:
            raise ValueError("new families without new sizes: sizes are given, families unused")
        return theta["log_effective_params"]
    log_density = draw_log_density(theta, spec, llms, rng, new_families=new_families)
    return log_density + xr.DataArray(llms.log_params, dims=LLM)


def draw_log_density(
    theta: xr.Dataset,
    spec: ModelSpec,
    llms: LLMData,
    rng: np.random.Generator,
    *,
    new_families: bool,
) -> xr.DataArray:
    """Draw the log density of each LLM: trend, family effect (taken or new), new residual [llm]."""
    location = trend_at(theta, spec, llms)
    if spec.component("family").kind != "none":
        effect = theta["family_effect"]
        if new_families:
            effect = _noise(rng, theta["family_sd"] * xr.ones_like(effect))
        location = location + effect.isel({FAMILY: _pick(llms.family_idx, LLM)})
    location = xr.DataArray(location).transpose(..., LLM).reset_coords(drop=True)
    lead = location.dims[:-1]
    scalars = {
        str(name): value.transpose(*lead).to_numpy()
        for name, value in theta.data_vars.items()
        if set(value.dims) == set(lead)
    }
    sd, shape = residual_parameters(spec, scalars, llms.years)
    return location + draw_residuals(spec.residual, sd, shape, location.shape, rng)


def score_moments(
    theta: xr.Dataset, spec: ModelSpec, data: JointObservations, sizes: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Mean logit of every cell given sizes, its variance, and the protocol's part of that.

    Parameters
    ----------
    theta
        Parameters, benchmarks in the order of the data's.
    spec, data
        The model and the cells.
    sizes
        Log effective sizes [llm].

    Returns
    -------
    tuple
        Mean, variance, protocol_sd^2 / reports (0 where `cell_sd` is one parameter) [score_obs].
    """
    scores, losses = data.scores, data.losses
    j, reports, items, other = (
        xr.DataArray(values, dims=SCORE_OBS)
        for values in (
            scores.benchmark_idx,
            scores.n_reports,
            scores.n_items,
            scores.other_protocol,
        )
    )
    log_size = sizes.isel({LLM: _pick(scores.llm_idx, SCORE_OBS)}) - losses.log_params_centre
    log_tokens = float(np.log(spec.options.reference_tokens)) - losses.log_tokens_centre
    mean = map_at(theta, j, law_at(theta, j, log_size.clip(-_FARTHEST, _FARTHEST), log_tokens))
    if "protocol_offset" in theta:
        mean = mean + theta["protocol_offset"].isel({BENCHMARK: j}) * other
    own = theta["discrepancy_sd" if data.reports is not None else "cell_sd"]
    beyond = own.isel({BENCHMARK: j}) ** 2
    protocol = xr.zeros_like(beyond)
    if data.reports is not None:
        protocol = theta["protocol_sd"].isel({BENCHMARK: j}) ** 2 / reports
    return mean, beyond + protocol + item_variance(mean, items), protocol


def _logit_scores(
    theta: xr.Dataset,
    spec: ModelSpec,
    data: JointObservations,
    sizes: xr.DataArray,
    rng: np.random.Generator,
) -> xr.DataArray:
    """Logit of every score: law and map at the LLM's size, then noise."""
    mean, var, _ = score_moments(theta, spec, data, sizes)
    return mean + _noise(rng, var**0.5)


def _with_natural_scales(drawn: xr.Dataset) -> xr.Dataset:
    """Add `loss` beside `log_loss` and fractions beside logits."""
    return drawn.assign(loss=np.exp(drawn["log_loss"]), score=expit(drawn["logit_score"]))
