"""Effective size and density of every LLM."""

import numpy as np
import xarray as xr

from bayesdense.derive.draws import posterior_of, quantiles, with_units
from bayesdense.derive.facts import largest_reference, release_dates
from bayesdense.estimates import tails
from bayesdense.names import CI_PROB, LLM
from bayesdense.results import Fit


def log_effective_params(fit: Fit) -> xr.DataArray:
    """Natural log of the effective size of each LLM, dims (chain, draw, llm).

    Raises
    ------
    BayesdenseError
        The fit is of densities only, and so knows no sizes.
    """
    draws = posterior_of(fit, "log_effective_params", "a fit of densities only has no sizes")
    return with_units(_with_dates(fit, draws), "log parameters")


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
    return with_units(_with_dates(fit, posterior_of(fit, "log_density")), "log density")


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


def bounds(table: xr.Dataset) -> list[str]:
    """Say of each LLM on which side alone its scores bound its size.

    Parameters
    ----------
    table
        What `llm_estimates` returns.

    Returns
    -------
    list of str
        "lower" or "upper": on that side only; "neither": any size fits; "": on both.
    """
    sides = {(False, False): "", (True, False): "lower", (False, True): "upper"}
    flags = (table[f"{side}_bound_only"].values.tolist() for side in ("lower", "upper"))
    return [sides.get(pair, "neither") for pair in zip(*flags, strict=True)]


def column_names(stem: str) -> tuple[str, str, str]:
    """Names of a quantity's median, lower and upper end in `llm_estimates`."""
    return stem, f"{stem}_eti95_lower", f"{stem}_eti95_upper"


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


def _exp(log_draws: xr.DataArray, name: str, units: str) -> xr.DataArray:
    """Exponentiate draws; beyond the largest float they are infinite, without a warning."""
    with np.errstate(over="ignore"):
        return with_units(xr.ufuncs.exp(log_draws).rename(name), units)


def _with_dates(fit: Fit, draws: xr.DataArray) -> xr.DataArray:
    """Return draws of LLMs with the LLMs' release dates beside their names."""
    dates = release_dates(fit).sel({LLM: draws[LLM]}).values
    return draws.assign_coords(release_date=(LLM, dates))
