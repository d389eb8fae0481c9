"""Quantities derived from a fit, draw by draw: growth, doubling time, trend, sizes, densities.

Every function transforms draws and leaves summarising to the end; arrays carry `attrs["units"]`.
"""

from bayesdense.derive.benchmarks import benchmark_parameters, benchmark_table
from bayesdense.derive.draws import bands
from bayesdense.derive.facts import (
    date_at,
    dates_over_window,
    largest_reference,
    last_release,
    params_convention,
    release_dates,
    tokens_beyond,
    window,
    years_since_origin,
)
from bayesdense.derive.growth import (
    average_growth,
    doubling_time,
    group_shares,
    growth_changes,
    growth_factor,
    growth_rate,
    halving_time,
    orders_of_magnitude,
    p_faster_than_paper,
    p_singular,
    prior_growth_rate,
    prior_p_growing,
    trend,
    trend_window,
)
from bayesdense.derive.llms import (
    bounds,
    column_names,
    density,
    effective_params,
    llm_estimates,
    log_density,
    log_effective_params,
)

__all__ = [
    "average_growth",
    "bands",
    "benchmark_parameters",
    "benchmark_table",
    "bounds",
    "column_names",
    "date_at",
    "dates_over_window",
    "density",
    "doubling_time",
    "effective_params",
    "group_shares",
    "growth_changes",
    "growth_factor",
    "growth_rate",
    "halving_time",
    "largest_reference",
    "last_release",
    "llm_estimates",
    "log_density",
    "log_effective_params",
    "orders_of_magnitude",
    "p_faster_than_paper",
    "p_singular",
    "params_convention",
    "prior_growth_rate",
    "prior_p_growing",
    "release_dates",
    "tokens_beyond",
    "trend",
    "trend_window",
    "window",
    "years_since_origin",
]
