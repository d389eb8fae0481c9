"""Loss law of every benchmark with the runs that it is learnt from, and what it leaves over."""

from collections.abc import Callable
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from bayesdense.arrays import Floats
from bayesdense.laws import chinchilla_loss
from bayesdense.names import BENCHMARK, LAW_PARAMETERS
from bayesdense.plots.benchmarks import entries, loss_units, one_panel, require_benchmarks
from bayesdense.plots.labels import short
from bayesdense.plots.style import (
    INK,
    INNER,
    MUTED,
    OUTER,
    SEQUENCE,
    log_axis,
    spread,
    styled,
)
from bayesdense.plots.summaries import band_columns, layer, layers
from bayesdense.results import Fit
from bayesdense.statements import format_count, format_number
from bayesdense.wording import listing

_POINTS: Final = 25
#: Sizes whose curves are drawn, at most; by how much a curve goes beyond its runs.
_MOST_SIZES, _BEYOND = 6, 1.25
#: Shares of the axes that two names keep apart, across or along.
_APART: Final = (0.2, 0.07)
#: Part of the sequence of colours that print and screens show on white.
_SHADES: Final = (0.0, 0.85)


def loss_law_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_loss_law` draws, of every benchmark.

    Returns
    -------
    pandas.DataFrame
        `benchmark`; `layer`: "run" (`run`, `n_params`, `n_tokens`, `loss`) and "law", the law's
        mean loss (`median`, `eti50_lower` ... `eti95_upper`) by `n_tokens` at `n_params`, for at
        most six sizes. Losses in `loss_unit`.

    Raises
    ------
    BayesdenseError
        The fit is of densities only.
    """
    names = require_benchmarks(fit, "loss laws")
    runs = run_rows(fit)
    laws = pd.concat([_law_rows(fit, name, runs) for name in names], ignore_index=True)
    table = layers({"law": laws, "run": runs})
    return table.assign(loss_unit=loss_units(fit, table[BENCHMARK]))


def loss_residuals_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_loss_residuals` draws, of every benchmark.

    A residual is log loss minus the log of the law, draw by draw, in percent of the loss.

    Returns
    -------
    pandas.DataFrame
        `benchmark`, `run`, `n_params`, `n_tokens`; `median`, `eti50_lower` ... `eti95_upper`
        of the residual; `replicate_lower`, `replicate_upper`: between what 95 % of the residuals
        of replicated runs lie.

    Raises
    ------
    BayesdenseError
        The fit is of densities only.
    """
    require_benchmarks(fit, "losses")
    law = fit.group("predictive_mean")["loss"]
    found, replicated = (
        band_columns(100.0 * xr.ufuncs.expm1(logs - law))
        for logs in (fit.group("observed_data")["loss"], fit.group("posterior_predictive")["loss"])
    )
    return run_rows(fit).assign(
        **found,
        replicate_lower=replicated["eti95_lower"],
        replicate_upper=replicated["eti95_upper"],
    )


def plot_loss_law(fit: Fit, benchmark: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the loss of reference runs by tokens, and the law's mean for each size.

    Parameters
    ----------
    fit
        A fit of a joint model.
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
        return one_panel(draw_loss_law, loss_law_table(fit), benchmark, ax)


def plot_loss_residuals(fit: Fit, benchmark: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw by how much the loss of each reference run deviates from the law.

    Parameters
    ----------
    fit
        A fit of a joint model.
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
        return one_panel(draw_loss_residuals, loss_residuals_table(fit), benchmark, ax)


def describe_loss_law(table: pd.DataFrame) -> str:
    """Say in words what the figure of the laws shows."""
    runs = layer(table, "run")
    low, high = runs["n_params"].min(), runs["n_params"].max()
    return (
        f"Loss against training tokens on {_listed(table)}: {runs['run'].nunique()} reference runs "
        f"of {format_count(low)} to {format_count(high)} parameters, and the mean of the loss law "
        "for their sizes with 50 % and 95 % bands."
    )


def describe_loss_residuals(table: pd.DataFrame) -> str:
    """Say in words what the figure of residuals shows."""
    inside = table["median"].between(table["replicate_lower"], table["replicate_upper"])
    largest = table.iloc[int(np.argmax(table["median"].abs()))]
    return (
        f"Deviation of reference losses from their laws on {_listed(table)}: "
        f"{int(inside.sum())} of {len(table)} lie where 95 % of replicated runs do; the largest is "
        f"{format_number(largest['median'], digits=2)} % ({largest['run']}, {largest[BENCHMARK]})."
    )


def _listed(table: pd.DataFrame) -> str:
    """Benchmarks of a table in words."""
    return listing(dict.fromkeys(table[BENCHMARK]), limit=8)


def run_rows(fit: Fit) -> pd.DataFrame:
    """Size, tokens and loss of every run on every benchmark."""
    constant = fit.group("constant_data")
    sizes, tokens = (
        np.exp((constant[f"loss_log_{what}_ratio"] + constant[f"log_{what}_centre"]).values)
        for what in ("params", "tokens")
    )
    runs = constant["run"].values[constant["loss_run_idx"].values]
    return pd.DataFrame(
        {
            BENCHMARK: np.asarray(require_benchmarks(fit, "losses"))[
                entries(fit, "loss_benchmark_idx")
            ],
            "run": [str(run) for run in runs],
            "n_params": sizes,
            "n_tokens": tokens,
            "loss": np.exp(fit.group("observed_data")["loss"].values),
        }
    )


def mean_loss(fit: Fit, benchmark: str, log_params: Floats, log_tokens: Floats) -> xr.DataArray:
    """Loss of the law of a benchmark at logs of N and D, dims (chain, draw, at)."""
    draws, constant = fit.posterior, fit.group("constant_data")
    # a law without a floor has the floor 0
    law = [draws[name].sel({BENCHMARK: benchmark}) if name in draws else 0.0
           for name in LAW_PARAMETERS]  # fmt: skip
    size, data = (
        xr.DataArray(logs, dims="at") - float(constant[f"log_{what}_centre"])
        for what, logs in (("params", log_params), ("tokens", log_tokens))
    )
    loss: xr.DataArray = chinchilla_loss(size, data, *law)
    return loss.transpose("chain", "draw", "at")


def _law_rows(fit: Fit, benchmark: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Mean of a benchmark's law along the tokens of its runs, for some of their sizes."""
    own = runs[runs[BENCHMARK] == benchmark]
    sizes = np.unique(own["n_params"].round(6))
    picked = np.unique(np.linspace(0, len(sizes) - 1, min(len(sizes), _MOST_SIZES)).round())
    pieces = []
    for size in sizes[picked.astype(int)]:
        tokens = own.loc[np.isclose(own["n_params"], size), "n_tokens"]
        grid = np.geomspace(tokens.min() / _BEYOND, tokens.max() * _BEYOND, _POINTS)
        pieces.append(pd.DataFrame({"n_params": size, "n_tokens": grid}))
    curve = pd.concat(pieces, ignore_index=True)
    columns = band_columns(
        mean_loss(fit, benchmark, np.log(curve["n_params"]), np.log(curve["n_tokens"]))
    )
    return curve.assign(**{BENCHMARK: benchmark}, **columns)


def draw_loss_law(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `loss_law_table` of one benchmark."""
    law, runs = layer(table, "law"), layer(table, "run")
    shade = _shades(runs["n_params"])
    ax.set_xlim(law["n_tokens"].min() / 1.3, law["n_tokens"].max() * 2.4)
    log_axis(ax, "x", counts=True)
    for size, curve in law.groupby("n_params"):
        colour = shade(float(str(size)))
        ax.fill_between(curve["n_tokens"], curve["eti95_lower"], curve["eti95_upper"],
                        color=colour, alpha=OUTER + 0.1, linewidth=0.0)  # fmt: skip
        ax.plot(curve["n_tokens"], curve["median"], color=colour, linewidth=1.1)
    ax.scatter(runs["n_tokens"], runs["loss"], c=[shade(size) for size in runs["n_params"]],
               s=14, zorder=3, edgecolors=INK, linewidths=0.4, label="reference run")  # fmt: skip
    ax.plot([], [], color=INK, linewidth=1.1, label="law, median (named by size)")
    ax.fill_between([], [], [], color=INK, alpha=OUTER + 0.1, label="law, 95 %")
    ax.set_xlabel("training tokens")
    ax.set_ylabel(f"loss ({short(table['loss_unit'].iloc[0])})")
    _name_sizes(ax, law)
    return ax


def _name_sizes(ax: Axes, law: pd.DataFrame) -> None:
    """Write the sizes at the ends of their curves, from both ends on, while they keep apart."""
    ends = law.groupby("n_params").tail(1)
    places = ax.transAxes.inverted().transform(
        ax.transData.transform(ends[["n_tokens", "median"]].to_numpy())
    )
    kept: list[Floats] = []
    for k in sorted(range(len(ends)), key=lambda k: (min(k, len(ends) - 1 - k), -k)):
        if any((np.abs(places[k] - other) < _APART).all() for other in kept):
            continue
        kept.append(places[k])
        row = ends.iloc[k]
        ax.annotate(format_count(row["n_params"]), (row["n_tokens"], row["median"]),
                    xytext=(3, 0), textcoords="offset points", va="center",
                    fontsize=7.0)  # fmt: skip


def draw_loss_residuals(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `loss_residuals_table` of one benchmark."""
    shade = _shades(table["n_params"])
    tokens = table["n_tokens"]
    ax.set_xlim(tokens.min() / 1.6, tokens.max() * 1.6)
    log_axis(ax, "x", counts=True)
    ends = table[["replicate_lower", "replicate_upper", "eti95_lower", "eti95_upper"]].to_numpy()
    ax.set_ylim(*spread(float(ends.min()), float(ends.max())))
    ax.axhline(0.0, color=INK, linewidth=0.8)
    ax.vlines(tokens, table["replicate_lower"], table["replicate_upper"], colors=MUTED,
              linewidth=4.0, alpha=INNER, label="replicated runs, 95 %")  # fmt: skip
    ax.vlines(tokens, table["eti95_lower"], table["eti95_upper"], colors=INK, linewidth=0.8,
              label="residual, 95 %")  # fmt: skip
    ax.scatter(tokens, table["median"], c=[shade(size) for size in table["n_params"]], s=14,
               zorder=3, edgecolors=INK, linewidths=0.4,
               label="residual, median (lighter: larger)")  # fmt: skip
    ax.set_xlabel("training tokens")
    ax.set_ylabel("loss above law (%)")
    return ax


def _shades(sizes: "pd.Series[float]") -> Callable[[float], tuple[float, ...]]:
    """Colour of a size: the darker, the smaller."""
    low, high = float(sizes.min()), float(sizes.max())
    scale = LogNorm(low, high if high > low else 2.0 * low)
    colours = mpl.colormaps[SEQUENCE]
    first, last = _SHADES
    return lambda size: colours(first + (last - first) * float(scale(size)))
