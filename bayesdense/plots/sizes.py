"""Effective against actual size of every LLM, and the forest of their densities."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure

from bayesdense import derive
from bayesdense.errors import BayesdenseError
from bayesdense.names import LLM
from bayesdense.plots.benchmarks import shared_legend
from bayesdense.plots.labels import label_points, short
from bayesdense.plots.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    SEQUENCE,
    axes_or_new,
    bars,
    legend_below,
    log_axis,
    number_tick,
    styled,
)
from bayesdense.plots.trend import BOUND_WORDS, MARKS, llm_rows
from bayesdense.results import Fit
from bayesdense.statements import format_count, format_number
from bayesdense.wording import counted

#: Densities whose lines are drawn beside the diagonal.
_GUIDES: Final = (0.01, 0.1, 1.0, 10.0, 100.0)
SIZE: Final = (7.2, 5.2)
#: Rows of a forest in one column of a figure, inches of a row, and columns at most.
_ROWS, _ROW, _MOST_COLUMNS = 60, 0.155, 4
_ROOM: Final = 30.0


def sizes_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_sizes` draws.

    Returns
    -------
    pandas.DataFrame
        One row per LLM: `llm`, `date`, `n_params` (parameters), `median` effective size
        (parameters) with `eti95_lower`, `eti95_upper`, `bound` ("lower", "upper", "neither" or "")
        and `largest_reference` (parameters of the largest reference run).

    Raises
    ------
    BayesdenseError
        The fit is of densities only, and so knows no effective sizes.
    """
    if "log_effective_params" not in fit.posterior:
        raise BayesdenseError("a fit of densities only has no effective sizes to draw")
    found = derive.llm_estimates(fit)
    median, lower, upper = (found[name].values for name in derive.column_names("effective_params"))
    return pd.DataFrame(
        {
            "llm": [str(name) for name in found[LLM].values],
            "date": pd.to_datetime(derive.release_dates(fit).values),
            "n_params": found["n_params"].values,
            "median": median,
            "eti95_lower": lower,
            "eti95_upper": upper,
            "bound": derive.bounds(found),
            "largest_reference": derive.largest_reference(fit),
        }
    )


def densities_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_densities` draws: every LLM, the latest first.

    Returns
    -------
    pandas.DataFrame
        `llm`, `date`, `median` density with `eti95_lower`, `eti95_upper`, and `bound`.
    """
    rows = llm_rows(fit).drop(columns="inside")
    order = np.lexsort((-rows["median"].to_numpy(), -rows["date"].astype("int64").to_numpy()))
    return rows.iloc[order].reset_index(drop=True)


def plot_sizes(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Draw effective against actual size: on the diagonal density is 1.

    Parameters
    ----------
    fit
        A fit of a joint model.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    with styled():
        return draw_sizes(sizes_table(fit), axes_or_new(ax, SIZE))


def plot_densities(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Draw a forest: the density of every LLM with its 95 % interval, the latest on top.

    Parameters
    ----------
    fit
        A fit.
    ax
        Where to draw; by default a new figure, as high as it takes.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    with styled():
        table = densities_table(fit)
        drawn = draw_forest(table, axes_or_new(ax, (7.2, 1.2 + _ROW * len(table))))
        legend_below(drawn)
        return drawn


def forest_figure(table: pd.DataFrame) -> Figure:
    """Draw a forest in as many columns as it takes to be looked at."""
    columns = min(-(-len(table) // _ROWS), _MOST_COLUMNS) or 1
    rows = -(-len(table) // columns)
    figure = Figure(
        figsize=(max(7.2, 4.4 * columns), 1.3 + _ROW * max(rows, 4)), layout="constrained"
    )
    axes = figure.subplots(1, columns, squeeze=False, sharex=True)[0]
    limits = _limits(table)
    for k, ax in enumerate(axes):
        draw_forest(table.iloc[k * rows : (k + 1) * rows], ax, limits=limits, rows=rows)
    shared_legend(figure, list(axes))
    return figure


def describe_sizes(table: pd.DataFrame) -> str:
    """Say in words what the figure of sizes shows."""
    above = int((table["median"] > table["n_params"]).sum())
    low, high = table["n_params"].min(), table["n_params"].max()
    return (
        f"Effective against actual size of {counted(len(table), 'LLM')} of {format_count(low)} to "
        f"{format_count(high)} parameters; {above} above the diagonal, where density is 1."
    )


def describe_densities(table: pd.DataFrame) -> str:
    """Say in words what the forest shows."""
    best, worst = (table.iloc[int(pick(table["median"]))] for pick in (np.argmax, np.argmin))
    return (
        f"Density of {counted(len(table), 'LLM')} with 95 % intervals, the latest first; medians "
        "from "
        f"{format_number(worst['median'])} ({short(worst['llm'])}) to "
        f"{format_number(best['median'])} ({short(best['llm'])})."
    )


def draw_sizes(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `sizes_table`."""
    known = table["n_params"].to_numpy()
    ax.set_xlim(known.min() / 1.6, known.max() * 1.6)
    bottom, top = _limits(table)
    ax.set_ylim(min(bottom, known.min()), max(top, known.max()))  # the diagonal is always seen
    log_axis(ax, "x", counts=True)
    log_axis(ax, "y", counts=True)
    _draw_guides(ax)
    largest = float(table["largest_reference"].iloc[0])
    if np.isfinite(largest):
        ax.axhline(largest, color=GREEN, linestyle=":", label="largest reference run")
    bars(ax, table, "n_params")
    _draw_points(ax, table)
    ax.set_xlabel("parameters as counted")
    ax.set_ylabel("effective parameters")
    legend_below(ax, columns=2)
    extreme = np.abs(np.log(table["median"].to_numpy() / known))
    label_points(ax, list(known), table["median"].to_numpy(), list(table["llm"]),
                 order=[int(k) for k in np.argsort(-extreme)], most=12)  # fmt: skip
    return ax


def _draw_points(ax: Axes, table: pd.DataFrame) -> None:
    """Medians, coloured by release date."""
    dates = date2num(table["date"])
    low, high = float(dates.min()), float(dates.max())
    shown = None
    for bound, mark in MARKS.items():
        part = table["bound"] == bound
        if not part.any():
            continue
        rows = table[part]
        shown = ax.scatter(
            rows["n_params"], rows["median"], c=dates[part.to_numpy()], cmap=SEQUENCE,
            vmin=low, vmax=high if high > low else low + 1.0, marker=mark, s=22, zorder=3,
            edgecolors=INK, linewidths=0.4, label=BOUND_WORDS[bound],
        )  # fmt: skip
    if shown is not None and high > low:
        locator = AutoDateLocator(maxticks=6)
        bar = ax.figure.colorbar(shown, ax=ax, label="release date", ticks=locator)
        bar.ax.yaxis.set_major_formatter(DateFormatter("%Y-%m"))


def _draw_guides(ax: Axes) -> None:
    """Lines of equal density, named where they leave the axes."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for density in _GUIDES:
        ends = np.array([left, right])
        ax.plot(ends, density * ends, color=INK if density == 1.0 else MUTED,
                linewidth=1.2 if density == 1.0 else 0.6, linestyle="-" if density == 1.0 else ":",
                scalex=False, scaley=False,
                label="density 1" if density == 1.0 else None)  # fmt: skip
        x = min(right, top / density) / 1.05
        if density != 1.0 and left < x and 2.0 * bottom < density * x < top:
            text = ax.annotate(
                f"density {number_tick(density)}", (x, density * x),
                xytext=(-2, -2), textcoords="offset points", ha="right", va="top", fontsize=7.0,
                color=MUTED,
            )  # fmt: skip
            text.set_in_layout(False)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Room for the medians, and for intervals up to a factor."""
    middle = table["median"]
    low = max(float(table["eti95_lower"].min()), float(middle.min()) / _ROOM)
    high = min(float(table["eti95_upper"].max()), float(middle.max()) * _ROOM)
    return low / 1.5, high * 1.5


def draw_forest(
    table: pd.DataFrame,
    ax: Axes,
    *,
    limits: tuple[float, float] | None = None,
    rows: int | None = None,
) -> Axes:
    """Draw a `densities_table` as a forest, its first row on top."""
    ax.set_xlim(*(limits or _limits(table)))
    log_axis(ax, "x")
    place = np.arange(len(table))
    low, high = (np.clip(table[f"eti95_{side}"], *ax.get_xlim()) for side in ("lower", "upper"))
    ax.hlines(place, low, high, colors=BLUE, linewidth=1.0)
    for bound, mark in MARKS.items():
        part = (table["bound"] == bound).to_numpy()
        ax.plot(
            table["median"].to_numpy()[part], place[part], mark, linestyle="none", color=BLUE,
            markersize=3.5 if bound == "" else 5.5,
            markerfacecolor=BLUE if bound == "" else "none",
            label=BOUND_WORDS[bound] if part.any() else None,
        )  # fmt: skip
    ax.axvline(1.0, color=INK, linewidth=1.0, label="density 1")
    ax.set_ylim((rows or len(table)) - 0.3, -0.7)
    ax.set_yticks(place, [short(name) for name in table["llm"]], fontsize=7.0)
    ax.tick_params("y", length=0.0)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("density, median and 95 % interval")
    return ax
