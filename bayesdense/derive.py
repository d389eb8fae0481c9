"""Quantities derived from a fit, draw by draw: growth, doubling time, trend, sizes, densities.

Every function transforms draws and leaves summarising to the end; arrays carry `attrs["units"]`.
"""

import datetime as dt
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, Estimate, Probability, probability, tails
from bayesdense.laws import growth_factor_per_year, orders_of_magnitude_per_year
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    CI_PROB,
    DAYS_PER_YEAR,
    DRAW,
    GROUP,
    INNER_CI_PROB,
    LAW_PARAMETERS,
    LLM,
    MAP_PARAMETERS,
    PAPER_SLOPE_PER_DAY,
    UNITS,
)
from bayesdense.priors import Prior
from bayesdense.results import Fit
from bayesdense.trends import TrendData, TrendOn, trend_named
from bayesdense.trends.base import labelled
from bayesdense.wording import told

_SAMPLE_DIMS = (CHAIN, DRAW)
#: How `UNITS` names the unit of a benchmark's losses, which the data alone know.
_A_LOSS_UNIT = UNITS["loss_floor"]


def growth_rate(fit: Fit, at: str | None = None, *, group: str | None = None) -> Estimate:
    """Growth rate g of the trend of log density (1/year).

    Under the trend `groups`, the mean over groups by their shares of the families, these shares
    held; under `covariate`, the growth at a given covariate.

    Parameters
    ----------
    fit
        A fit.
    at
        ISO date at which it is read; by default the last release of the dataset.
    group
        Under the trend `groups`: the group of which it is read.

    Returns
    -------
    Estimate
        All draws, in 1/year.

    Raises
    ------
    BayesdenseError
        Density may be infinite by that date (trend `hyperbolic`), or there is no such group.

    Examples
    --------
    ``growth_rate(fit).interval(0.95)``
    """
    date = _date(at) if at else last_release(fit)
    trend_there = _trend_of(fit, group)
    draws = _growth(trend_there, fit.posterior, years_since_origin(fit, [date])[0])
    name = "growth rate" if group is None else f"growth rate of {group}"
    chance = p_singular(fit, date)
    if chance is not None and chance.value > 0.0:
        raise BayesdenseError(
            f"{name} at {date}: density is infinite by then with probability {chance} under the "
            f"trend {fit.spec.trend}; allowed an earlier date"
        )
    return Estimate(name, _with_units(draws, "1/year"), date)


def average_growth(fit: Fit) -> Estimate:
    """Growth rate averaged over the dataset's window: (eta(last) - eta(first)) / years."""
    first, last = window(fit)
    if first == last:
        return growth_rate(fit)
    line = trend(fit, [first, last])
    years = years_since_origin(fit, [first, last])
    draws = (line.isel(date=1, drop=True) - line.isel(date=0, drop=True)) / (years[1] - years[0])
    return Estimate("average growth rate", _with_units(draws, "1/year"))


def growth_factor(fit: Fit, at: str | None = None) -> Estimate:
    """Factor exp(g) by which density grows in a year."""
    return _of_growth(fit, at, "growth factor per year", growth_factor_per_year, "1")


def orders_of_magnitude(fit: Fit, at: str | None = None) -> Estimate:
    """Orders of magnitude g / ln 10 by which density grows in a year."""
    name = "orders of magnitude per year"
    return _of_growth(fit, at, name, orders_of_magnitude_per_year, "1/year")


def doubling_time(fit: Fit, at: str | None = None, *, group: str | None = None) -> DoublingTime:
    """Time ln 2 / g in which density doubles, safe where growth may be zero or negative.

    Parameters
    ----------
    fit
        A fit.
    at
        ISO date at which it is read; by default the last release of the dataset.
    group
        Under the trend `groups`: the group of which it is read.

    Returns
    -------
    DoublingTime
        All draws; its interval has an infinite end where that of growth holds zero.

    Raises
    ------
    BayesdenseError
        As `growth_rate`.

    Examples
    --------
    ``doubling_time(fit).interval(0.95)`` gives days, ``repr`` a sentence in months.
    """
    return DoublingTime(growth_rate(fit, at, group=group))


def halving_time(fit: Fit, at: str | None = None) -> DoublingTime:
    """Time in which density halves: the doubling time of its inverse."""
    growth = growth_rate(fit, at)
    decline = Estimate("rate of decline", _with_units(-growth.draws, "1/year"), growth.at)
    return DoublingTime(decline, name="halving time")


def p_faster_than_paper(fit: Fit, at: str | None = None) -> Probability:
    """Posterior probability of faster growth than in Xiao et al. 2025 (.006529 per day)."""
    return growth_rate(fit, at).probability_above(PAPER_SLOPE_PER_DAY * DAYS_PER_YEAR)


def prior_p_growing(fit: Fit, at: str | None = None) -> float | None:
    """Probability before the data that density grows; None where it cannot be known.

    Exact where growth is linear in parameters with normal priors, else the share of the prior
    draws.
    """
    years, whole = years_since_origin(fit, [at or last_release(fit)])[0], _trend_of(fit)
    exact = _prior_p_growing(fit, whole, years)
    if exact is not None:
        return exact
    growth = prior_growth_rate(fit, at)
    return None if growth is None else float((growth > 0.0).mean())


def prior_growth_rate(fit: Fit, at: str | None = None) -> xr.DataArray | None:
    """Growth rate (1/year) by draw of the prior; None where the fit kept none of its parameters.

    Parameters
    ----------
    at
        ISO date at which it is read; by default the last release of the dataset.
    """
    whole, draws = _trend_of(fit), fit.group("prior")
    if not set(whole.trend.drawn) <= set(draws.data_vars):
        return None
    years = years_since_origin(fit, [at or last_release(fit)])[0]
    return _with_units(_growth(whole, draws, years), "1/year")


def _prior_p_growing(fit: Fit, whole: TrendOn, years: float) -> float | None:
    """P(growing) by the normal distribution; None where growth is not normal a priori.

    Given hyperparameters that are sds only, its mean is as it is without them: where that is 0,
    so is the median.
    """
    priors = fit.spec.used_priors("trend")
    is_plain = whole.trend.is_linear and whole.trend.mixture is None
    if not is_plain or any(prior.dist != "Normal" for prior in priors.values()):
        return None
    weights = whole.basis(np.array([years]), growth=True)[0]
    mean = var = 0.0
    is_known = True
    for weight, (name, _) in zip(weights, whole.entries, strict=True):
        mu, sigma = (priors[name].kwargs[key] for key in ("mu", "sigma"))
        if isinstance(mu, Prior):
            return None
        mean += weight * float(mu)
        if isinstance(sigma, Prior):
            is_known &= weight == 0.0
        else:
            var += (weight * float(sigma)) ** 2
    if mean == 0.0:
        return 0.5 if whole.trend.grows else 0.0
    return 0.5 * math.erfc(-mean / math.sqrt(2.0 * var)) if is_known and var > 0.0 else None


def trend(fit: Fit, dates: Sequence[str], *, group: str | None = None) -> xr.DataArray:
    """Trend eta(t) of log density at dates.

    Parameters
    ----------
    dates
        ISO dates.
    group
        Under the trend `groups`: the group of which it is read, by default their mean.

    Returns
    -------
    xarray.DataArray
        Natural log of density, dims (chain, draw, date), with the coordinates `date` (ISO) and
        `years` (years of 365.25 days since the fit's time origin).
    """
    years = xr.DataArray(
        years_since_origin(fit, dates), dims="date", coords={"date": [_date(d) for d in dates]}
    )
    hypothesis = _trend_of(fit, group)
    _need(hypothesis, fit.posterior)
    line = hypothesis.eta(years, fit.posterior, labelled)
    named = line.transpose(*_SAMPLE_DIMS, "date").assign_coords(years=years).rename("trend")
    return _with_units(named, "log density")


def p_singular(fit: Fit, at: str) -> Probability | None:
    """Posterior probability that the trend is infinite at a date; None where it never is."""
    hypothesis = _trend_of(fit)
    _need(hypothesis, fit.posterior)
    singular = hypothesis.singular(fit.posterior, labelled)
    if singular is None:
        return None
    return probability(singular.transpose(*_SAMPLE_DIMS) <= years_since_origin(fit, [at])[0])


def bands(draws: xr.DataArray, probs: Sequence[float] = (INNER_CI_PROB, CI_PROB)) -> xr.Dataset:
    """Median and equal-tailed intervals of draws, for the other dims of an array.

    Returns
    -------
    xarray.Dataset
        `median` without the sample dims; `lower` and `upper` with the dim `prob` besides.
        `attrs["ci_kind"]` is "eti".
    """
    ends = [quantiles(draws, tails(prob)) for prob in probs]
    both = xr.concat(ends, dim="prob").assign_coords(prob=list(probs))
    result = xr.Dataset(
        {
            "median": quantiles(draws, [0.5]).isel(level=0, drop=True),
            "lower": both.isel(level=0, drop=True),
            "upper": both.isel(level=1, drop=True),
        }
    )
    return result.assign_attrs(ci_kind="eti", units=draws.attrs.get("units", ""))


def quantiles(draws: xr.DataArray, levels: Sequence[float]) -> xr.DataArray:
    """Quantiles over the sample dims, in a new first dim `level`."""
    result: xr.DataArray = draws.quantile(levels, _SAMPLE_DIMS, keep_attrs=True, skipna=False)
    return result.rename(quantile="level").drop_vars("level")


def log_effective_params(fit: Fit) -> xr.DataArray:
    """Natural log of the effective size of each LLM, dims (chain, draw, llm).

    Raises
    ------
    BayesdenseError
        The fit is of densities only, and so knows no sizes.
    """
    draws = _posterior(fit, "log_effective_params", "a fit of densities only has no sizes")
    return _with_units(_with_dates(fit, draws), "log parameters")


def effective_params(fit: Fit) -> xr.DataArray:
    """Effective size of each LLM (parameters), dims (chain, draw, llm).

    The size of the reference LLM which, trained on D0 tokens, scores as this LLM does. To be
    summarised by quantiles: its mean can be infinite.

    Parameters
    ----------
    fit
        A fit of a joint model.

    Returns
    -------
    xarray.DataArray
        With `release_date` on `llm` and ``attrs["units"]``.

    Raises
    ------
    BayesdenseError
        The fit is of densities only, and so knows no sizes.

    Examples
    --------
    ``effective_params(fit).quantile([0.025, 0.5, 0.975], ["chain", "draw"])``
    """
    return _exp(log_effective_params(fit), "effective_params", "parameters")


def log_density(fit: Fit) -> xr.DataArray:
    """Natural log of the density of each LLM, dims (chain, draw, llm)."""
    return _with_units(_with_dates(fit, _posterior(fit, "log_density")), "log density")


def density(fit: Fit) -> xr.DataArray:
    """Density of each LLM (effective size over parameters), dims (chain, draw, llm).

    To be summarised by quantiles: its mean can be infinite.

    Parameters
    ----------
    fit
        A fit.

    Returns
    -------
    xarray.DataArray
        With `release_date` on `llm`.

    Examples
    --------
    ``density(fit).sel(llm="Qwen2.5-7B").quantile(0.5)``
    """
    return _exp(log_density(fit), "density", "1")


def llm_estimates(fit: Fit) -> xr.Dataset:
    """Everything a fit says of each LLM, dims (llm).

    Returns
    -------
    xarray.Dataset
        Coordinates `llm`, `release_date` (ISO). Variables `n_params`; `effective_params` and
        `density` (posterior medians), each with `_eti95_lower` and `_eti95_upper`;
        `lower_bound_only`, `upper_bound_only`; `data_lower_bound` (parameters);
        `extrapolation` (median effective size over the largest reference run). What a fit does
        not know is nan.
    """
    density_columns = _columns("density", log_density(fit))
    unknown = xr.full_like(density_columns["density"], np.nan)
    if "log_effective_params" in fit.posterior:
        size_columns = _columns("effective_params", log_effective_params(fit))
    else:
        size_columns = dict.fromkeys(column_names("effective_params"), unknown)
    table = xr.Dataset({**size_columns, **density_columns, **_bounds(fit, unknown)})
    constant = fit.group("constant_data")
    return table.assign(
        n_params=constant.get("n_params", unknown),
        extrapolation=table["effective_params"] / largest_reference(fit),
    )


def benchmark_parameters(fit: Fit) -> xr.Dataset:
    """Read the parameters of every benchmark's loss law and score map, draw by draw.

    Parameters
    ----------
    fit
        A fit of a joint model.

    Returns
    -------
    xarray.Dataset
        Dims (chain, draw, benchmark); the arguments of `laws.chinchilla_loss` (`loss_floor` only
        where the model has a floor) and of `laws.logistic_score`, each with ``attrs["units"]``:
        in the data's loss unit where all benchmarks share one. Coordinates: `loss_unit`
        (benchmark); `params_centre` and `tokens_centre`, the parameters and tokens at which
        `param_coef` and `token_coef` are losses.

    Raises
    ------
    BayesdenseError
        The fit is of densities only, and so knows no laws.
    """
    wanted = (*LAW_PARAMETERS, *MAP_PARAMETERS)
    reason = "a fit of densities only has no laws"
    draws = {
        name: _posterior(fit, name, reason)
        for name in wanted
        if name != "loss_floor" or name in fit.posterior
    }
    units = _loss_units(fit)
    shared = units[0] if len(set(units)) == 1 else _A_LOSS_UNIT
    table = xr.Dataset(
        {name: _with_units(values, _unit_of(name, shared)) for name, values in draws.items()}
    )
    return table.assign_coords(
        loss_unit=(BENCHMARK, units),
        params_centre=math.exp(_scalar(fit, "log_params_centre")),
        tokens_centre=math.exp(_scalar(fit, "log_tokens_centre")),
    )


def benchmark_table(fit: Fit) -> pd.DataFrame:
    """Tabulate medians and 95 % intervals of `benchmark_parameters`.

    Parameters
    ----------
    fit
        A fit of a joint model.

    Returns
    -------
    pandas.DataFrame
        One row per benchmark and parameter, with the columns benchmark, parameter, unit (the
        benchmark's own), median, eti95_lower, eti95_upper.
    """
    draws = benchmark_parameters(fit)
    units = dict(zip(draws[BENCHMARK].values.tolist(), draws["loss_unit"].values, strict=True))
    rows = [
        {
            "benchmark": name,
            "parameter": parameter,
            "unit": _unit_of(str(parameter), str(unit)),
            **dict(zip(("median", "eti95_lower", "eti95_upper"), values, strict=True)),
        }
        for name, unit in units.items()
        for parameter, drawn in draws.data_vars.items()
        for values in [quantiles(drawn.sel({BENCHMARK: name}), [0.5, *tails(CI_PROB)]).values]
    ]
    return pd.DataFrame(rows)


def _loss_units(fit: Fit) -> list[str]:
    """Loss unit of each benchmark."""
    units = _variable(fit.group("constant_data"), "loss_unit")
    return [str(unit) for unit in units.values]


def _unit_of(parameter: str, loss_unit: str) -> str:
    """Unit of a parameter where losses have this unit."""
    unit = UNITS[parameter]
    inverse = f"1/({loss_unit})" if "/" in loss_unit else f"1/{loss_unit}"
    return {_A_LOSS_UNIT: loss_unit, "1/loss unit": inverse}.get(unit, unit)


def column_names(stem: str) -> tuple[str, str, str]:
    """Names of a quantity's median, lower and upper end in `llm_estimates`."""
    return stem, f"{stem}_eti95_lower", f"{stem}_eti95_upper"


def params_convention(fit: Fit) -> str:
    """How the parameters of the LLMs were counted: total, active or non_embedding.

    The fit's `n_params` says it where the dataset did not have what the model asked for.
    """
    constant = fit.group("constant_data")
    asked = fit.spec.options.params
    return (
        str(constant["n_params"].attrs.get("convention", asked))
        if "n_params" in constant
        else asked
    )


def largest_reference(fit: Fit) -> float:
    """Parameters of the largest reference run; nan without any."""
    return _scalar(fit, "reference_max_params")


def release_dates(fit: Fit) -> xr.DataArray:
    """ISO release date of each LLM, dims (llm)."""
    constant = fit.group("constant_data")
    if "release_date" not in constant.coords:
        raise BayesdenseError("this fit has no release dates; was its tree replaced?")
    return constant["release_date"]


def tokens_beyond(fit: Fit) -> float:
    """How many times D0 is the longest training among the reference runs; nan without any."""
    return fit.spec.options.reference_tokens / _scalar(fit, "reference_max_tokens")


def window(fit: Fit) -> tuple[str, str]:
    """ISO dates of the first and last release in the dataset."""
    first, last = fit.dataset_info["window"]
    return str(first), str(last)


def last_release(fit: Fit) -> str:
    """ISO date of the last release in the dataset, at which growth is read unless said."""
    return window(fit)[1]


def years_since_origin(fit: Fit, dates: Sequence[str]) -> np.ndarray:
    """Years of 365.25 days from the fit's time origin to ISO dates."""
    origin = dt.date.fromisoformat(fit.time_origin)
    days = [(dt.date.fromisoformat(_date(date)) - origin).days for date in dates]
    return np.asarray(days, dtype=float) / DAYS_PER_YEAR


def date_at(fit: Fit, years: float) -> str:
    """ISO date, to the nearest day, of years of 365.25 days since the fit's time origin."""
    origin = dt.date.fromisoformat(fit.time_origin)
    return (origin + dt.timedelta(days=round(years * DAYS_PER_YEAR))).isoformat()


def _trend_of(fit: Fit, group: str | None = None) -> TrendOn:
    """Return the trend of a fit's model, to be read at dates, of all groups or of one."""
    constant, hypothesis = fit.group("constant_data"), trend_named(fit.spec.trend)
    groups = tuple(str(name) for name in constant[GROUP].values) if GROUP in constant else ()
    if group is not None and group not in groups:
        known = f"allowed {', '.join(groups)}" if groups else "its trend has no groups"
        raise BayesdenseError(f"this fit has no group {told(group)}: {known}")
    of_llm = constant.get("group_idx", xr.DataArray(0)).to_numpy()
    ends = xr.DataArray(years_since_origin(fit, window(fit)))
    years = constant.get("release_year", ends).to_numpy()
    data = TrendData(
        origin=fit.time_origin,
        years=years,
        family_idx=constant.get("family_idx", xr.DataArray(np.arange(len(years)))).to_numpy(),
        groups=groups,
        weights=tuple((of_llm == k).astype(float) for k in range(len(groups))),
    )
    return TrendOn(hypothesis, data).at_dates(group)


def _need(hypothesis: TrendOn, draws: xr.Dataset) -> None:
    """Raise naming a parameter that draws lack."""
    for name in hypothesis.trend.drawn:
        _variable(draws, name)


def _growth(hypothesis: TrendOn, draws: xr.Dataset, years: float) -> xr.DataArray:
    """Growth rate at a time, by draw."""
    _need(hypothesis, draws)
    result: xr.DataArray = hypothesis.growth_rate(years, draws, labelled)
    return result.transpose(*_SAMPLE_DIMS)


def _of_growth(
    fit: Fit,
    at: str | None,
    name: str,
    transform: Callable[[xr.DataArray], xr.DataArray],
    units: str,
) -> Estimate:
    """Transform the growth rate draw by draw."""
    growth = growth_rate(fit, at)
    return Estimate(name, _with_units(transform(growth.draws), units), growth.at)


def _columns(stem: str, log_draws: xr.DataArray) -> dict[str, xr.DataArray]:
    """Median and interval of exp(draws); quantiles commute with exp, and logs do not overflow."""
    with np.errstate(over="ignore"):
        found = xr.ufuncs.exp(quantiles(log_draws, [0.5, *tails(CI_PROB)]))
    return {name: found.isel(level=k, drop=True) for k, name in enumerate(column_names(stem))}


def _bounds(fit: Fit, unknown: xr.DataArray) -> dict[str, xr.DataArray]:
    """Which LLMs' scores bound their size on one side only; no LLM where densities were given."""
    group = fit.group("llm_bounds")
    default = {
        "lower_bound_only": xr.zeros_like(unknown, dtype=bool),
        "upper_bound_only": xr.zeros_like(unknown, dtype=bool),
        "data_lower_bound": unknown,
    }
    return {name: group.get(name, value) for name, value in default.items()}


def _scalar(fit: Fit, name: str) -> float:
    """Return a scalar of the constant data; nan where there is none."""
    constant = fit.group("constant_data")
    return float(constant[name]) if name in constant else math.nan


def _posterior(fit: Fit, name: str, reason: str = "was its tree replaced?") -> xr.DataArray:
    """Return a variable of the posterior, or raise naming it."""
    return _variable(fit.posterior, name, reason)


def _variable(draws: xr.Dataset, name: str, reason: str = "was its tree replaced?") -> xr.DataArray:
    """Return a variable of a group, or raise naming it."""
    if name not in draws:
        raise BayesdenseError(f"this fit has no {name!r}: {reason}")
    return draws[name]


def _exp(log_draws: xr.DataArray, name: str, units: str) -> xr.DataArray:
    """Exponentiate draws; beyond the largest float they are infinite, without a warning."""
    with np.errstate(over="ignore"):
        return _with_units(xr.ufuncs.exp(log_draws).rename(name), units)


def _with_dates(fit: Fit, draws: xr.DataArray) -> xr.DataArray:
    """Return draws of LLMs with the LLMs' release dates beside their names."""
    dates = release_dates(fit).sel({LLM: draws[LLM]}).values
    return draws.assign_coords(release_date=(LLM, dates))


def _with_units(draws: xr.DataArray, units: str) -> xr.DataArray:
    """Return the draws with their unit (and no attributes of what they were made from)."""
    return draws.drop_attrs(deep=False).assign_attrs(units=units)


def _date(text: str) -> str:
    """Return an ISO date, or raise saying how it is written."""
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError as err:
        raise BayesdenseError(f"{text!r} is not a date; write it as 2025-08-05") from err
