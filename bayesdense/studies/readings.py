"""What a fit knows of each LLM's log density, as a normal reading; and worlds about a fit."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.jobs import Job, job_function
from bayesdense.names import CHAIN, DRAW, FAMILY, LLM
from bayesdense.observations import JointObservations, Observations
from bayesdense.results import Fit
from bayesdense.simulate.datasets import replicated_observations
from bayesdense.simulate.story import replicate, replicate_densities
from bayesdense.sizes.compiled import log_likelihood
from bayesdense.sizes.likelihoods import NODES_PER_SD
from bayesdense.sizes.terms import Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec
from bayesdense.studies.normal_trends import Densities, Sds, examine, sds_about
from bayesdense.studies.refits import counts, fit_of, growth_of, observed_by, verdict
from bayesdense.summary import strict
from bayesdense.trends import TrendData

#: Draws of which likelihoods are read, draws of sds and trend that are kept, and whole truths.
_READ, _KEPT, TRUTHS = 400, 1000, 40
#: Least precision of a reading, in that of what LLMs of the date scatter by.
_LEAST_PRECISION: Final = 1e-3
_FAMILY_SD, _RESIDUAL_SD = "family_sd", "residual_sd"


def densities_of(fit: Fit, data: Observations) -> Densities:
    """Read what a fit knows of log densities by itself, without the trend, as normal errors.

    Of published densities that is what the dataset says. Else, per draw of the posterior, the
    likelihood of an LLM's size is multiplied by Normal(trend, family_sd^2 + residual_sd^2), and
    mean and variance of the product are those of the same normal times a normal likelihood: the
    reading (as in expectation propagation). So also scores that bound a size from one side have
    one. Readings are averaged over draws by their precision; that laws and maps are not known
    exactly moves all LLMs together, level and stretch of the scale, and is not in them.

    Parameters
    ----------
    fit
        With a normal residual.
    data
        What it was fitted to.

    References
    ----------
    Minka 2001, Expectation propagation for approximate Bayesian inference, UAI.
    """
    if data.densities is not None:
        given = data.densities
        return Densities.of(data.llms.trend_data, given.log_density, given.known_var)
    return Densities.of(data.llms.trend_data, *readings_of(fit.posterior, fit.spec, data.joint))


def readings_of(
    posterior: xr.Dataset, spec: ModelSpec, data: JointObservations
) -> tuple[Floats, Floats]:
    """Mean and variance of each LLM's normal reading of log density, in the order of the data.

    Parameters
    ----------
    posterior
        Draws of laws, maps, noise, trend and sds.
    spec, data
        A model with a normal residual, and the scores that are read.
    """
    read = read_posterior(posterior, spec, data)
    grids = Grids(read)
    rows = [_reading(read, int(draw), grids) for draw in read.thinned(_READ)]
    means, precisions = (np.array(parts) for parts in zip(*rows, strict=True))
    precision = precisions.mean(axis=0)
    mean = (precisions * means).mean(axis=0) / precision
    return mean - data.llms.log_params, 1 / precision


def _reading(read: Posterior, draw: int, grids: Grids) -> tuple[Floats, Floats]:
    """Mean and precision of each LLM's normal reading of log size in a draw."""
    spacing = read.spec.options.quadrature_spacing
    grid = grids.resolving(read, draw, spacing, NODES_PER_SD)
    terms = read.terms(draw, grid.nodes)
    # the nodes at the ends stand for tails hundreds of log units away
    nodes = grid.nodes[1:-1]
    precision = 1 / (terms.family_sd**2 + terms.residual_sd**2)
    apart = nodes - terms.location[:, None]
    log_weight = log_likelihood(terms.mean, terms.var, read.cells)[:, 1:-1] + grid.log_widths
    log_weight = log_weight - 0.5 * apart**2 * precision[:, None]
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    shift = (weight * apart).sum(axis=1)
    var = (weight * (apart - shift[:, None]) ** 2).sum(axis=1)
    own = np.maximum(1 / var - precision, _LEAST_PRECISION * precision)
    return terms.location + shift / (var * own), own


def sds_of(fit: Fit) -> tuple[Floats | None, Floats]:
    """Draws of family and residual sd; None for a model without families."""
    family = np.ravel(fit.posterior[_FAMILY_SD].to_numpy()) if _FAMILY_SD in fit.posterior else None
    return family, np.ravel(fit.posterior[_RESIDUAL_SD].to_numpy())


@job_function
def reading(job: Job) -> dict[str, object]:
    """Fit the exponential trend; readings of densities, draws about which worlds are made."""
    _, _, data = observed_by(job)
    fitted = fit_of(job)
    family, residual = sds_of(fitted)
    sds = sds_about(fitted.spec, family, residual)
    densities = densities_of(fitted, data)
    closed = examine(
        fitted.spec,
        "exponential",
        densities,
        densities.mean[:, None],
        sds,
        parameter="growth_rate",
        n_before=0,
    )
    found: dict[str, object] = strict(
        {
            **counts(fitted),
            **growth_of(derive.growth_rate(fitted)),
            **verdict(fitted),
            "closed_form": {"mean": float(closed.mean[0]), "sd": float(closed.sd[0])},
            "densities": to_json(densities),
            "draws": _kept(fitted, family, residual),
            "truths": truths_of(fitted),
        }
    )
    return found


def _kept(fit: Fit, family: Floats | None, residual: Floats) -> dict[str, Any]:
    """Draws of sds and growth, side by side."""
    rows = ((np.arange(_KEPT) + 0.5) * len(residual) / _KEPT).astype(int)
    rows = rows[: len(np.unique(rows))] if len(residual) >= _KEPT else np.arange(len(residual))
    growth = np.ravel(fit.posterior["growth_rate"].to_numpy())
    return {
        _FAMILY_SD: None if family is None else _digits(family[rows]),
        _RESIDUAL_SD: _digits(residual[rows]),
        "growth_rate": _digits(growth[rows]),
    }


def _digits(values: Floats) -> list[float]:
    """Seven significant digits: a job's text is its name."""
    return [float(f"{value:.7g}") for value in values]


def to_json(densities: Densities) -> dict[str, Any]:
    """Densities as JSON can hold them."""
    data = densities.trend_data
    return {
        "origin": data.origin,
        "years": data.years.tolist(),
        "family_idx": data.family_idx.tolist(),
        "mean": _digits(densities.mean),
        "var": _digits(densities.var),
    }


def from_json(raw: dict[str, Any]) -> Densities:
    """Read what `to_json` wrote."""
    years, index = np.array(raw["years"]), np.array(raw["family_idx"])
    data = TrendData(raw["origin"], years, index)
    return Densities(data, np.array(raw["mean"]), np.array(raw["var"]))


def sds_from(spec: ModelSpec, draws: dict[str, Any]) -> Sds:
    """Lay the grid about the draws of `reading`."""
    family = draws[_FAMILY_SD]
    return sds_about(
        spec, None if family is None else np.array(family), np.array(draws[_RESIDUAL_SD])
    )


def truths_of(fit: Fit) -> list[dict[str, Any]]:
    """Parameters of the world at draws of a posterior, effects of families and runs left out."""
    kept = [
        name
        for name, drawn in fit.posterior.data_vars.items()
        if not {LLM, FAMILY, "run"} & {str(dim) for dim in drawn.dims}
    ]
    every = fit.posterior[kept].stack(sample=(CHAIN, DRAW), create_index=False)
    size = every.sizes["sample"]
    rows = ((np.arange(TRUTHS) + 0.5) * size / TRUTHS).astype(int)
    chosen = every.drop_vars([CHAIN, DRAW], errors="ignore")
    return [_plain(chosen.isel(sample=int(row))) for row in rows]


def _plain(truth: xr.Dataset) -> dict[str, Any]:
    """A truth as JSON: name -> number, or dims and numbers."""
    return {
        str(name): {"dims": [str(dim) for dim in value.dims], "values": value.to_numpy().tolist()}
        for name, value in truth.data_vars.items()
    }


def world(
    truth: dict[str, Any],
    spec: ModelSpec,
    data: Observations,
    trend: dict[str, float],
    rng: np.random.Generator,
) -> Observations:
    """Draw everything that is observed, in a world about a fit whose trend is another.

    Laws, maps, noise and sds are those of the truth; families, residuals, runs and all outcomes
    are new.

    Parameters
    ----------
    truth
        One of `truths_of`.
    spec
        The model, with the kind of the world's trend.
    data
        Shape: runs, LLMs, dates, cells.
    trend
        Its parameters, in place of those of the truth.
    rng
        Source of the random numbers.
    """
    known = {name: (raw["dims"], np.array(raw["values"])) for name, raw in truth.items()}
    theta = xr.Dataset({**known, **{name: ([], value) for name, value in trend.items()}})
    if spec.component("family").kind != "none":
        theta["family_effect"] = xr.DataArray(np.zeros(len(data.llms.families)), dims=FAMILY)
    if data.densities is not None:
        drawn = replicate_densities(theta, spec, data, rng, new_families=True)
        return replace(
            data,
            densities=replace(data.densities, log_density=drawn["log_density"].to_numpy()),
        )
    drawn = replicate(theta, spec, data.joint, rng, new_sizes=True, new_families=True)
    made = replicated_observations(data.joint, drawn)
    return _with(data, made)


def _with(data: Observations, made: JointObservations) -> Observations:
    """Observations with the outcomes of others."""
    return replace(
        data,
        losses=made.losses,
        calibration=made.calibration,
        reports=made.reports,
        scores=made.scores,
    )
