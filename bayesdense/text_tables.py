"""Tables of a fit for people: growth in every unit, size and density of every LLM."""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from bayesdense import derive
from bayesdense.estimates import quantile_mcse, tails
from bayesdense.names import CI_PROB, LLM
from bayesdense.results import Fit
from bayesdense.statements import FAR, format_count, format_number
from bayesdense.summary import count_not_finite
from bayesdense.wording import printable

_GROWTH_COLUMNS: Final = ["quantity", "median", "eti95_lower", "eti95_upper", "unit"]
_COLUMNS: Final = ["llm", "released", "parameters", "effective size", "density", "note"]


def llm_table(fit: Fit) -> pd.DataFrame:
    """Tabulate every LLM's size and density, as numbers.

    Returns
    -------
    pandas.DataFrame
        A row per LLM; the columns of `derive.llm_estimates`: medians, 95 % equal-tailed
        intervals, bounds and extrapolation, nan where a fit does not know.
    """
    table = derive.llm_estimates(fit)
    first = [LLM, "release_date", "n_params"]
    frame = table.to_dataframe().reset_index()
    return frame[[*first, *(str(name) for name in table.data_vars if name not in first)]]


def llm_text_table(fit: Fit) -> pd.DataFrame:
    """Tabulate every LLM for people: digits limited by Monte Carlo error, bounds in words."""
    table = derive.llm_estimates(fit)
    errors, bounds = _relative_errors(fit), derive.bounds(table)
    rows = [
        {
            "llm": printable(str(row[LLM].item())),
            "released": str(row["release_date"].item()),
            "parameters": _count(row["n_params"].item()),
            "effective size": _cell(row, "effective_params", errors[k], format_count),
            "density": _cell(row, "density", errors[k], format_number),
            "note": _note(row, bounds[k]),
        }
        for k, row in enumerate(table.isel({LLM: k}) for k in range(table.sizes[LLM]))
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def growth_text_table(fit: Fit) -> pd.DataFrame:
    """Tabulate growth in every unit for people: median and 95 % interval, digits that hold.

    Without rows where the draws are not finite: there is no growth to tell of.
    """
    if count_not_finite(fit):
        return pd.DataFrame(columns=_GROWTH_COLUMNS)
    numbers = [derive.growth_rate(fit), derive.growth_factor(fit), derive.orders_of_magnitude(fit)]
    low, high = tails(CI_PROB)
    times = [derive.doubling_time(fit), derive.halving_time(fit)]
    rows = [(e.name, *(e.text(p) for p in (0.5, low, high)), e.units) for e in numbers]
    rows += [
        (t.name, *(t.months(p) or "unbounded" for p in (0.5, low, high)), "months")
        for t in times
        if math.isfinite(t.interval(CI_PROB)[0])
    ]
    chances = {
        "P(growing)": derive.growth_rate(fit).probability_above(0.0),
        "P(faster than the paper)": derive.p_faster_than_paper(fit),
    }
    rows += [(name, str(chance), "", "", "") for name, chance in chances.items()]
    return pd.DataFrame(rows, columns=_GROWTH_COLUMNS)


def _relative_errors(fit: Fit) -> list[list[float]]:
    """Relative Monte Carlo errors of median, lower and upper end by LLM, from the log draws.

    Those of a size and of its density are one: they differ by the actual size, which is known.
    """
    draws = fit.posterior["log_density"]
    errors = [quantile_mcse(draws, prob).values for prob in (0.5, *tails(CI_PROB))]
    result: list[list[float]] = np.stack(errors, axis=1).tolist()
    return result


def _cell(
    row: xr.Dataset,
    stem: str,
    errors: Sequence[float],
    write: "Writer",
) -> str:
    """Write `median (lower to upper)`; blank where unknown."""
    values = [row[name].item() for name in derive.column_names(stem)]
    if math.isnan(values[0]):
        return ""
    median, lower, upper = (
        write(value, value * error) if math.isfinite(value) else "inf"
        for value, error in zip(values, errors, strict=True)
    )
    return f"{median} ({lower} to {upper})"


class Writer(Protocol):
    """A function that writes a number with the digits that its error supports."""

    def __call__(self, value: float, mcse: float = 0.0) -> str:
        """Write the number."""
        ...


def _count(value: float) -> str:
    """Write a number of parameters; blank where unknown."""
    return "" if math.isnan(value) else format_count(value)


def _note(row: xr.Dataset, bound: str) -> str:
    """Say in words what bounds an LLM's size and how far it lies beyond the reference runs."""
    notes = []
    if bound == "neither":
        notes.append("no bound: its scores fit any size")
    elif bound == "lower":
        least = _count(row["data_lower_bound"].item())
        notes.append(f"lower bound only{f', at least {least}' if least else ''}")
    elif bound == "upper":
        notes.append("upper bound only")
    beyond = row["extrapolation"].item()
    if beyond > FAR and math.isfinite(beyond):
        notes.append(f"{format_number(beyond, digits=2)}x beyond the reference runs")
    return "; ".join(notes)
