"""Density from sizes, doubling times and factors from growth rates, and back."""

import numpy as np

from bayesdense.elementary import LOG_2, Array
from bayesdense.names import DAYS_PER_YEAR

LOG_10 = float(np.log(10.0))


def log_density(log_effective_params: Array, log_params: Array) -> Array:
    """Log density of an LLM, log rho = log Nhat - log N; infinite where Nhat is.

    Parameters
    ----------
    log_effective_params
        Natural log of the effective size Nhat: the parameters of the reference LLM of equal score.
    log_params
        Natural log of the LLM's own parameters, counted by the convention of the reference runs.

    References
    ----------
    Xiao et al. 2025, eq. 1.
    """
    return log_effective_params - log_params


def density(log_effective_params: Array, log_params: Array) -> Array:
    """Capability density rho = Nhat / N, from the logs of both; dimensionless."""
    return np.exp(log_density(log_effective_params, log_params))


def doubling_time_days(growth_rate: Array) -> Array:
    """Days in which a density with this growth rate (1/year) doubles: T2 = 365.25 ln 2 / g.

    Negative where the density halves, infinite at zero growth: summarise growth, then transform.
    Keeps the dims of a `DataArray`.
    """
    with np.errstate(divide="ignore"):
        return np.divide(DAYS_PER_YEAR * LOG_2, growth_rate)


def growth_rate_per_year(doubling_time: Array) -> Array:
    """Growth rate (1/year) of a density that doubles in so many days: g = 365.25 ln 2 / T2."""
    with np.errstate(divide="ignore"):
        return np.divide(DAYS_PER_YEAR * LOG_2, doubling_time)


def growth_factor_per_year(growth_rate: Array) -> Array:
    """Factor by which a density with this growth rate (1/year) grows in a year: exp(g)."""
    return np.exp(growth_rate)


def orders_of_magnitude_per_year(growth_rate: Array) -> Array:
    """Powers of ten by which a density of this growth rate (1/year) grows a year: g / ln 10."""
    return growth_rate / LOG_10
