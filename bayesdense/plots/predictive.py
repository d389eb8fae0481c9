"""Posterior predictive check to look at: data against replicated data, benchmark by benchmark."""

from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from bayesdense.arrays import Floats
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError
from bayesdense.names import BENCHMARK, CHAIN, DRAW
from bayesdense.plots.benchmarks import benchmarks, entries, one_panel
from bayesdense.plots.style import BLUE, INK, fill_bands, styled
from bayesdense.plots.summaries import band_columns
from bayesdense.results import Fit
from bayesdense.wording import listing

_POINTS: Final = 101
_DENSITIES: Final = "log density"


def predictive_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_predictive` draws: shares of LLMs at or below a value.

    Replicates are of new LLMs with the dates of those of the dataset: sizes and family effects
    drawn anew, as in the predictive checks.

    Returns
    -------
    pandas.DataFrame
        `benchmark` ("log density" in a fit of densities), `value` (score as a fraction, or log
        density), `observed` (share of the data at or below it), and the same of replicates:
        `median`, `eti50_lower` ... `eti95_upper`.
    """
    replicated = fit.group("posterior_predictive")
    observed = fit.group("observed_data")
    if "score_new" in replicated:
        index, grid = entries(fit, "score_benchmark_idx"), np.linspace(0.0, 1.0, _POINTS)
        scores, drawn = expit(observed["score"].values), expit(replicated["score_new"])
        parts = []
        for k, name in enumerate(benchmarks(fit)):
            rows = np.flatnonzero(index == k)
            if rows.size:
                parts.append(_shares(name, scores[rows], drawn.isel(score_obs=rows), grid))
        return pd.concat(parts, ignore_index=True)
    if "log_density_new" not in replicated:
        raise BayesdenseError("this fit holds no replicates of its data: fit again")
    drawn = replicated["log_density_new"]
    values = observed["log_density"].values
    low, high = np.quantile(drawn, [0.001, 0.999])
    grid = np.linspace(min(low, values.min()), max(high, values.max()), _POINTS)
    return _shares(_DENSITIES, values, drawn, grid)


def plot_predictive(fit: Fit, benchmark: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of scores against that of replicated scores (ECDFs).

    Parameters
    ----------
    fit
        A fit; of densities only, their logs are drawn.
    benchmark
        Its benchmark; by default the dataset's first.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    with styled():
        return one_panel(draw_predictive, predictive_table(fit), benchmark, ax)


def describe_predictive(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    outside = (table["observed"] < table["eti95_lower"] - _TINY) | (
        table["observed"] > table["eti95_upper"] + _TINY
    )
    where = list(dict.fromkeys(table.loc[outside, BENCHMARK]))
    found = (
        f"leaves the 95 % band somewhere on {listing(where, limit=8)}"
        if where
        else ("stays within the 95 % band of replicates everywhere")
    )
    return (
        "Share of LLMs at or below a value, of the data and of replicates with sizes and families "
        f"drawn anew: the data {found}."
    )


_TINY: Final = 1e-9


def _shares(name: str, values: Floats, drawn: xr.DataArray, grid: Floats) -> pd.DataFrame:
    """Empirical distribution functions of data and of replicates on a grid."""
    dim = next(str(dim) for dim in drawn.dims if dim not in (CHAIN, DRAW))
    ordered = np.sort(drawn.transpose(CHAIN, DRAW, dim).values, axis=-1)
    flat = ordered.reshape(-1, ordered.shape[-1])
    counts = np.stack([np.searchsorted(row, grid, side="right") for row in flat])
    shares = xr.DataArray(counts[None] / flat.shape[1], dims=(CHAIN, DRAW, "at"))
    observed = np.searchsorted(np.sort(values), grid, side="right") / len(values)
    return pd.DataFrame(
        {BENCHMARK: name, "value": grid, "observed": observed, **band_columns(shares)}
    )


def draw_predictive(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `predictive_table` of one benchmark."""
    fill_bands(ax, "value", table, "replicates")
    ax.plot(table["value"], table["median"], color=BLUE, linewidth=1.0, label="replicates, median")
    ax.step(table["value"], table["observed"], where="post", color=INK, linewidth=1.3,
            label="data")  # fmt: skip
    ax.set_ylim(0.0, 1.02)
    is_score = table[BENCHMARK].iloc[0] != _DENSITIES
    ax.set_xlabel("score" if is_score else "log density")
    ax.set_ylabel("share of LLMs at or below")
    return ax
