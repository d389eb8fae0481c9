"""Draws of a fit by name, with units, and their medians and intervals."""

from collections.abc import Sequence

import xarray as xr

from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.names import CHAIN, CI_PROB, DRAW, INNER_CI_PROB
from bayesdense.results import Fit

SAMPLE_DIMS = (CHAIN, DRAW)


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
    result: xr.DataArray = draws.quantile(levels, SAMPLE_DIMS, keep_attrs=True, skipna=False)
    return result.rename(quantile="level").drop_vars("level")


def posterior_of(fit: Fit, name: str, reason: str = "was its tree replaced?") -> xr.DataArray:
    """Return a variable of the posterior, or raise naming it."""
    return variable_of(fit.posterior, name, reason)


def variable_of(
    draws: xr.Dataset, name: str, reason: str = "was its tree replaced?"
) -> xr.DataArray:
    """Return a variable of a group, or raise naming it."""
    if name not in draws:
        raise BayesdenseError(f"this fit has no {name!r}: {reason}")
    return draws[name]


def with_units(draws: xr.DataArray, units: str) -> xr.DataArray:
    """Return the draws with their unit (and no attributes of what they were made from)."""
    return draws.drop_attrs(deep=False).assign_attrs(units=units)
