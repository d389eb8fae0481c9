"""Growth of log density, its trend, and the times in which density doubles or halves."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from bayesdense.conversions import growth_factor_per_year, orders_of_magnitude_per_year
from bayesdense.derive.draws import SAMPLE_DIMS, variable_of, with_units
from bayesdense.derive.facts import iso_date, last_release, window, years_since_origin
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, Estimate, Probability, probability
from bayesdense.names import DAYS_PER_YEAR, GROUP, PAPER_SLOPE_PER_DAY
from bayesdense.prior_draws import lengthened
from bayesdense.priors import Prior
from bayesdense.results import Fit
from bayesdense.trends import TrendData, TrendOn, trend_named
from bayesdense.trends.base import labelled
from bayesdense.wording import told


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
    date = iso_date(at) if at else last_release(fit)
    draws = _growth(fit, fit.posterior, years_since_origin(fit, [date])[0], group)
    name = "growth rate" if group is None else f"growth rate of {group}"
    chance = p_singular(fit, date)
    if chance is not None and chance.value > 0.0:
        raise BayesdenseError(
            f"{name} at {date}: density is infinite by then with probability {chance} under the "
            f"trend {fit.spec.trend}; allowed an earlier date"
        )
    return Estimate(name, with_units(draws, "1/year"), date)


def average_growth(fit: Fit) -> Estimate:
    """Growth rate averaged over the dataset's window: (eta(last) - eta(first)) / years."""
    first, last = window(fit)
    if first == last:
        return growth_rate(fit)
    line = trend(fit, [first, last])
    years = years_since_origin(fit, [first, last])
    draws = (line.isel(date=1, drop=True) - line.isel(date=0, drop=True)) / (years[1] - years[0])
    return Estimate("average growth rate", with_units(draws, "1/year"))


def growth_changes(fit: Fit) -> bool:
    """Whether growth at the first release is another than at the last, in any draw."""
    first, last = (growth_rate(fit, date).draws.to_numpy() for date in window(fit))
    return not np.allclose(first, last, rtol=1e-9, atol=0.0)


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
    decline = Estimate("rate of decline", with_units(-growth.draws, "1/year"), growth.at)
    return DoublingTime(decline, name="halving time")


def p_faster_than_paper(fit: Fit, at: str | None = None) -> Probability:
    """Posterior probability of faster growth than in Xiao et al. 2025 (.006529 per day)."""
    return growth_rate(fit, at).probability_above(PAPER_SLOPE_PER_DAY * DAYS_PER_YEAR)


def prior_p_growing(fit: Fit, at: str | None = None) -> float | None:
    """Probability before the data that density grows; None where it cannot be known.

    Exact where growth is linear in parameters with normal priors, else the share of the prior
    draws.
    """
    exact = _prior_p_growing(fit, years_since_origin(fit, [at or last_release(fit)])[0])
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
    draws = fit.group("prior")
    if not set(trend_named(fit.spec.trend).drawn) <= set(draws.data_vars):
        return None
    years = years_since_origin(fit, [at or last_release(fit)])[0]
    return with_units(_growth(fit, draws, years), "1/year")


def _prior_p_growing(fit: Fit, years: float) -> float | None:
    """P(growing) by the normal distribution; None where growth is not normal a priori.

    Given hyperparameters that are sds only, its mean is as it is without them: where that is 0,
    so is the median.
    """
    whole, priors = _trend_of(fit).until(years), fit.spec.used_priors("trend")
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

    Where a trend has an entry for each quarter (`random_walk`, `staircase`), quarters after the
    window are drawn from their prior given each draw: its spread grows with the distance.

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
    times = years_since_origin(fit, dates)
    years = xr.DataArray(times, dims="date", coords={"date": [iso_date(d) for d in dates]})
    hypothesis = _trend_of(fit, group).until(float(times.max(initial=-np.inf)))
    _need(hypothesis, fit.posterior)
    known = lengthened(fit.posterior, fit.spec, hypothesis, fit.seed)
    line = hypothesis.eta(years, known, labelled)
    named = line.transpose(*SAMPLE_DIMS, "date").assign_coords(years=years).rename("trend")
    return with_units(named, "log density")


def group_shares(fit: Fit) -> dict[str, float]:
    """Share of each group in the families, by which the trend `groups` is averaged at mere dates.

    An LLM counts by the inverse size of its family; empty under other trends.
    """
    data = _trend_of(fit).data
    shares = [float(weight) for weight in data.weights]  # numbers, as it is read at dates
    return dict(zip(data.groups, shares, strict=True))


def trend_window(fit: Fit, until: float) -> tuple[float, float]:
    """First and last time of the window that the form of the trend hangs on.

    Parameters
    ----------
    until
        Years since the fit's time origin: trends with an entry for each quarter have a window that
        reaches as far; that of others ends at the last release.
    """
    data = _trend_of(fit).until(until).data
    return data.first, data.last


def p_singular(fit: Fit, at: str) -> Probability | None:
    """Posterior probability that the trend is infinite at a date; None where it never is."""
    hypothesis = _trend_of(fit)
    _need(hypothesis, fit.posterior)
    singular = hypothesis.singular(fit.posterior, labelled)
    if singular is None:
        return None
    return probability(singular.transpose(*SAMPLE_DIMS) <= years_since_origin(fit, [at])[0])


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
        window=None if "trend_window" not in constant else _pair(constant["trend_window"]),
    )
    return TrendOn(hypothesis, data).at_dates(group)


def _pair(values: xr.DataArray) -> tuple[float, float]:
    """Both ends of a window."""
    first, last = values.to_numpy().tolist()
    return first, last


def _need(hypothesis: TrendOn, draws: xr.Dataset) -> None:
    """Raise naming a parameter that draws lack."""
    for name in hypothesis.trend.drawn:
        variable_of(draws, name)


def _growth(fit: Fit, draws: xr.Dataset, years: float, group: str | None = None) -> xr.DataArray:
    """Growth rate at a time, by draw of the prior or the posterior."""
    hypothesis = _trend_of(fit, group).until(years)
    _need(hypothesis, draws)
    known = lengthened(draws, fit.spec, hypothesis, fit.seed)
    result: xr.DataArray = hypothesis.growth_rate(years, known, labelled)
    return result.transpose(*SAMPLE_DIMS)


def _of_growth(
    fit: Fit,
    at: str | None,
    name: str,
    transform: Callable[[xr.DataArray], xr.DataArray],
    units: str,
) -> Estimate:
    """Transform the growth rate draw by draw."""
    growth = growth_rate(fit, at)
    return Estimate(name, with_units(transform(growth.draws), units), growth.at)
