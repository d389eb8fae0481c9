"""Loss law and score map of every benchmark."""

import math

import pandas as pd
import xarray as xr

from bayesdense.derive.draws import posterior_of, quantiles, variable_of, with_units
from bayesdense.derive.facts import scalar
from bayesdense.estimates import tails
from bayesdense.names import BENCHMARK, CI_PROB, LAW_PARAMETERS, MAP_PARAMETERS, UNITS
from bayesdense.results import Fit

#: How `UNITS` names the unit of a benchmark's losses, which the data alone know.
_A_LOSS_UNIT = UNITS["loss_floor"]


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
        name: posterior_of(fit, name, reason)
        for name in wanted
        if name != "loss_floor" or name in fit.posterior
    }
    units = _loss_units(fit)
    shared = units[0] if len(set(units)) == 1 else _A_LOSS_UNIT
    table = xr.Dataset(
        {name: with_units(values, _unit_of(name, shared)) for name, values in draws.items()}
    )
    return table.assign_coords(
        loss_unit=(BENCHMARK, units),
        params_centre=math.exp(scalar(fit, "log_params_centre")),
        tokens_centre=math.exp(scalar(fit, "log_tokens_centre")),
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
    units = variable_of(fit.group("constant_data"), "loss_unit")
    return [str(unit) for unit in units.values]


def _unit_of(parameter: str, loss_unit: str) -> str:
    """Unit of a parameter where losses have this unit."""
    unit = UNITS[parameter]
    inverse = f"1/({loss_unit})" if "/" in loss_unit else f"1/{loss_unit}"
    return {_A_LOSS_UNIT: loss_unit, "1/loss unit": inverse}.get(unit, unit)
