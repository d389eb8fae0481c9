"""Draws from a model's priors in NumPy: top-level and hierarchical ones, effects and sizes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from bayesdense.arrays import Floats
from bayesdense.errors import SpecError
from bayesdense.names import BENCHMARK, CHAIN, DRAW, FAMILY, KNOT, LLM, QUARTER, RUN, UNITS
from bayesdense.observations import JointObservations, LLMData, Observations, trend_on
from bayesdense.priors import Prior, hyper_name
from bayesdense.residuals import SHAPES, sd_at
from bayesdense.spec import ModelSpec
from bayesdense.trends.base import TrendOn, draws_as_columns

#: Keeps quarters to come apart from other uses of a fit's seed.
_TO_COME: Final = 0x0C0E


def draw_priors(
    spec: ModelSpec,
    data: Observations | JointObservations,
    rng: np.random.Generator,
    n: int,
    *,
    fixed: Mapping[str, ArrayLike] | None = None,
) -> xr.Dataset:
    """Draw everything that the data do not show: parameters, effects and sizes.

    The order is that of the generative story, so that what is fixed acts on all that depends on
    it: hyperparameters, parameters, `run_effect`, `family_effect`, and, for a joint model,
    `log_effective_params` = log N + trend + family effect + residual.

    Parameters
    ----------
    spec
        The model; its priors on a data scale are in units of this dataset's.
    data
        What the model sees of a dataset: benchmarks, runs, LLMs. No score or loss is used, other
        than for the data scales.
    rng
        Source of the random numbers.
    n
        Number of draws, > 0.
    fixed
        Values by variable, shape () or (n_benchmarks,), (n_runs,), (n_families,), (n_llms,): not
        drawn, the same in every draw.

    Returns
    -------
    xarray.Dataset
        Dims `chain` (1), `draw` (n) and each variable's own; natural parameters and their names
        as in a posterior; `attrs["units"]` on each.

    Raises
    ------
    SpecError
        A name in `fixed` that the model does not have, or values of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from bayesdense.dataset import load_dataset
    >>> from bayesdense.observations import observe
    >>> from bayesdense.spec import load_spec
    >>> spec = load_spec("joint")
    >>> data = observe(spec, load_dataset("densing"))
    >>> draw_priors(spec, data, np.random.default_rng(1), 3)["loss_floor"].shape
    (1, 3, 5)
    """
    coords = _coords(spec, data)
    story = _Story(rng, n, data.benchmarks.data_scales() if data.benchmarks else {}, coords, {})
    values = _fixed_values(fixed or {}, coords)
    for name, prior in used_priors(spec, data):
        _add_prior(story, values, name, prior)
    if data.losses is not None and data.losses.clustered:
        _add(story, values, "run_effect", rng.normal(size=(n, len(data.losses.runs))), RUN)
    _add_llms(story, values, spec, data.llms, joint=data.scores is not None)
    _refuse_unknown(values, story.draws)
    return _as_dataset(story)


def draw_trend(
    spec: ModelSpec, llms: LLMData, rng: np.random.Generator, n: int
) -> dict[str, Floats]:
    """Draw a trend's parameters from their priors.

    Returns
    -------
    dict
        Name -> (n,), of vectors (n, entries), as `TrendOn` reads them.
    """
    story = _Story(rng, n, {}, trend_on(spec, llms).labels, {})
    for name, prior in spec.used_priors("trend").items():
        _add_prior(story, {}, name, prior)
    _add_mixture(story, {}, trend_on(spec, llms))
    return {name: drawn for name, (drawn, _) in story.draws.items()}


def lengthened(draws: xr.Dataset, spec: ModelSpec, trend: TrendOn, seed: int) -> xr.Dataset:
    """Draws with an entry of the trend's vectors for each quarter of its window.

    Quarters to come are drawn from their prior given the hyperparameters of each draw: a walk goes
    on walking. Each has a stream of its own, so that a draw has one future however far one looks.

    Parameters
    ----------
    draws
        Dims chain and draw, with the vectors of the trend as far as the data reach.
    spec
        The model.
    trend
        Its trend, with a window as long as is wanted (`TrendOn.until`).
    seed
        Of the fit.

    Returns
    -------
    xarray.Dataset
        The draws themselves where nothing is to come.
    """
    grown = {}
    for name, dim in trend.trend.dims.items():
        labels, known = trend.data.labels(dim), draws[name].transpose(CHAIN, DRAW, dim).to_numpy()
        if dim in (QUARTER, KNOT) and len(labels) > known.shape[-1]:
            prior = spec.prior("trend", name)
            given = {
                key: draws[hyper_name(name, key)].transpose(CHAIN, DRAW).to_numpy()
                if isinstance(value, Prior)
                else np.asarray(value)
                for key, value in prior.kwargs.items()
            }
            to_come = [
                _draw(
                    np.random.default_rng([seed, _TO_COME, k]), prior.dist, given, known.shape[:2]
                )
                for k in range(known.shape[-1], len(labels))
            ]
            values = np.concatenate([known, np.stack(to_come, axis=-1)], axis=-1)
            grown[name] = ((CHAIN, DRAW, dim), values)
    if not grown:
        return draws
    stale = {dim for dims, _ in grown.values() for dim in dims[2:]} & set(draws.coords)
    return draws.drop_vars([*grown, *stale]).assign(grown)


def used_priors(
    spec: ModelSpec, data: Observations | JointObservations
) -> Iterator[tuple[str, Prior]]:
    """Yield (variable, prior) of what the model has as parameters on this dataset.

    Clustered loss noise needs a ladder with replication, protocol noise replicated reports, an
    offset scores under another protocol: without them the model has fewer parameters.
    """
    for component in spec.components.values():
        used = spec.used_priors(component.name)
        if component.name == "loss_noise" and not (data.losses and data.losses.clustered):
            used = {"loss_noise_sd": used["loss_noise_sd"]}
        elif component.name == "score_noise":
            names = ("cell_sd",) if data.reports is None else ("discrepancy_sd", "protocol_sd")
            if _has_offset(data):
                names = (*names, "protocol_offset")
            used = {name: spec.prior("score_noise", name) for name in names}
        yield from used.items()


def _has_offset(data: Observations | JointObservations) -> bool:
    return data.scores is not None and bool(data.scores.other_protocol.any())


@dataclass(frozen=True, slots=True)
class _Story:
    """What draws are made from, and those made so far: shape (n,) or (n, size of their dim)."""

    rng: np.random.Generator
    n: int
    scales: Mapping[str, Floats]
    coords: Mapping[str, tuple[str, ...]]
    draws: dict[str, tuple[Floats, str | None]]

    def value(self, name: str) -> Floats:
        """Draws of a variable."""
        return self.draws[name][0]


def _coords(spec: ModelSpec, data: Observations | JointObservations) -> dict[str, tuple[str, ...]]:
    """Labels of every dim."""
    return {
        BENCHMARK: data.benchmarks.names if data.benchmarks else (),
        RUN: data.losses.runs if data.losses else (),
        FAMILY: data.llms.families,
        LLM: data.llms.names,
        **trend_on(spec, data.llms).labels,
    }


def _fixed_values(
    fixed: Mapping[str, ArrayLike], coords: Mapping[str, tuple[str, ...]]
) -> dict[str, Floats]:
    """Return fixed values as arrays; a DataArray is put in the order of the labels here."""
    values = {}
    for name, value in fixed.items():
        if isinstance(value, xr.DataArray):
            own = {str(dim): list(coords[str(dim)]) for dim in value.dims if dim in value.coords}
            value = value.sel(own)
        values[name] = np.asarray(value, dtype=float)
    return values


def _add(
    story: _Story, fixed: Mapping[str, Floats], name: str, drawn: Floats, dim: str | None
) -> None:
    """Keep a variable's draws, or in their place its fixed values."""
    if name in fixed:
        try:
            drawn = np.broadcast_to(fixed[name], drawn.shape).copy()
        except ValueError as error:
            raise SpecError(
                f"truth {name!r}: shape {fixed[name].shape}, allowed: {drawn.shape[1:]}"
                + (f", one per {dim}" if dim else "")
            ) from error
    story.draws[name] = (drawn, dim)


def _add_prior(story: _Story, fixed: Mapping[str, Floats], name: str, prior: Prior) -> None:
    """Draw a variable, and before it those of the priors within its prior.

    All distributions with a `scale` are scale families: the draw is made without it and multiplied.
    """
    kwargs = {}
    for key, value in prior.kwargs.items():
        if isinstance(value, Prior):
            hyper = hyper_name(name, key)
            _add_prior(story, fixed, hyper, value)
            drawn = story.value(hyper)
            kwargs[key] = drawn[:, None] if prior.dims and drawn.ndim == 1 else drawn
        else:
            kwargs[key] = story.scales[value] if isinstance(value, str) else np.asarray(value)
    shape = (story.n, len(story.coords[prior.dims])) if prior.dims else (story.n,)
    drawn = _draw(story.rng, prior.dist, kwargs, shape)
    if prior.scale:
        drawn = drawn * story.scales[prior.scale]
    _add(story, fixed, name, drawn, prior.dims)


def _add_mixture(story: _Story, fixed: Mapping[str, Floats], trend: TrendOn) -> None:
    """Draw a parameter of few equally likely values, if the trend has one."""
    mixture = trend.trend.mixture
    if mixture is not None:
        drawn = story.rng.choice(mixture.values(trend.data), story.n)
        _add(story, fixed, mixture.name, drawn, None)


def _draw(
    rng: np.random.Generator, dist: str, kwargs: Mapping[str, Floats], shape: tuple[int, ...]
) -> Floats:
    """Draw from one of `priors.DISTRIBUTIONS`, in PyMC's parameters (Gamma's beta is a rate)."""
    if dist == "Beta":
        return rng.beta(kwargs["alpha"], kwargs["beta"], shape)
    if dist == "Gamma":
        return rng.gamma(kwargs["alpha"], 1 / kwargs["beta"], shape)
    normal = kwargs.get("mu", 0.0) + kwargs["sigma"] * rng.normal(size=shape)
    if dist == "LogNormal":
        return np.exp(normal)
    return np.abs(normal) if dist == "HalfNormal" else np.asarray(normal)


def _add_llms(
    story: _Story, fixed: Mapping[str, Floats], spec: ModelSpec, llms: LLMData, *, joint: bool
) -> None:
    """Draw family effects and log densities, and of a joint model the sizes that follow."""
    trend = trend_on(spec, llms)
    _add_mixture(story, fixed, trend)
    theta = {name: story.value(name) for name in trend.trend.drawn}
    location = np.asarray(trend.eta(llms.years, draws_as_columns(theta)))
    if spec.component("family").kind != "none":
        sd = story.value("family_sd")[:, None]
        effect = sd * story.rng.normal(size=(story.n, len(llms.families)))
        _add(story, fixed, "family_effect", effect, FAMILY)
        location = location + story.value("family_effect")[:, llms.family_idx]
    scalars = {name: drawn for name, (drawn, dim) in story.draws.items() if dim is None}
    sd, shape = residual_parameters(spec, scalars, llms.years)
    drawn = location + draw_residuals(spec.residual, sd, shape, location.shape, story.rng)
    if not joint:
        _add(story, fixed, "log_density", drawn, LLM)
        return
    _add(story, fixed, "log_effective_params", llms.log_params + drawn, LLM)
    log_density = story.value("log_effective_params") - llms.log_params
    _add(story, fixed, "log_density", log_density, LLM)


def residual_parameters(
    spec: ModelSpec, draws: Mapping[str, Floats], years: Floats
) -> tuple[Floats, Floats | None]:
    """Return the residual's sd and its shape (degrees of freedom, or the one-sided sd).

    Parameters
    ----------
    draws
        `residual_sd`, and where the model has them `residual_log_sd_slope`, `residual_df`,
        `one_sided_sd`, all of one shape.
    years
        (n_llms,): times since the origin.

    Returns
    -------
    tuple
        Arrays with an axis for the LLMs behind those of the draws; the shape is None for a normal.
    """
    theta = {name: np.asarray(drawn)[..., None] for name, drawn in draws.items()}
    sd = sd_at(theta, years, scale_trend=spec.options.scale_trend)
    return sd, theta.get(SHAPES.get(spec.residual, ""))


def draw_residuals(
    kind: str,
    sd: Floats,
    shape: Floats | None,
    size: tuple[int, ...],
    rng: np.random.Generator,
) -> Floats:
    """Draw deviations of log density from trend and family, as `residuals.LOG_DENSITY` has them.

    Parameters
    ----------
    kind
        `symmetric` (normal), `student_t` (`shape`: degrees of freedom) or `composed` (normal minus
        an exponential of mean `shape`).
    sd, shape, size
        Arrays that broadcast to `size`.
    """
    if kind == "student_t":
        return np.asarray(sd * rng.standard_t(np.broadcast_to(np.asarray(shape), size)))
    normal = sd * rng.normal(size=size)
    if kind == "composed":
        return np.asarray(normal - np.asarray(shape) * rng.exponential(size=size))
    return np.asarray(normal)


def _refuse_unknown(fixed: Mapping[str, Floats], draws: Mapping[str, object]) -> None:
    """Refuse values of what is no variable of the model."""
    for name in fixed:
        if name not in draws:
            close = get_close_matches(name, draws, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(draws)}"
            raise SpecError(f"truth {name!r}: no variable of this model on this dataset; {hint}")


def _as_dataset(story: _Story) -> xr.Dataset:
    """Draws with their dims, labels and units."""
    used = {dim for _, dim in story.draws.values() if dim}
    return xr.Dataset(
        {
            name: (
                (CHAIN, DRAW, dim) if dim else (CHAIN, DRAW),
                drawn[None],
                {"units": UNITS.get(name, "1")},
            )
            for name, (drawn, dim) in story.draws.items()
        },
        coords={
            CHAIN: [0],
            DRAW: np.arange(story.n),
            **{dim: list(labels) for dim, labels in story.coords.items() if dim in used},
        },
    )
