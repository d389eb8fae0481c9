"""Growth of the frontier in several readings, side by side: they answer different questions."""

from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.dataset import Dataset
from bayesdense.frontier import frontier_readings
from bayesdense.plots.baseline import fitted_dataset
from bayesdense.plots.side_by_side import draw_side_by_side, size_of
from bayesdense.plots.style import axes_or_new, new_figure, styled
from bayesdense.results import Fit
from bayesdense.statements import format_number

#: Share of an interval's width below which a growth rate is told as 0.
_NOTHING: Final = 1e-4
#: What each reading is of, beside its line.
_LABELS: Final = {
    "mean": "mean: a typical new LLM",
    "quantile": "quantile of new LLMs",
    "industry_frontier": "industry frontier: densest family so far",
    "records": "records of these LLMs",
    "attempts": "attempts: maximum of simulated LLMs",
    "attempts_from_eta": "   of that, from the trend",
    "attempts_from_entrants": "   of that, from the number of entrants",
    "paper": "paper: records of point densities",
}


def readings_table(fit: Fit, *, dataset: Dataset | None = None) -> pd.DataFrame:
    """Tabulate what `plot_readings` draws.

    Parameters
    ----------
    fit
        A fit.
    dataset
        The dataset that was fitted, for the paper's reading; shipped ones are found by themselves.

    Returns
    -------
    pandas.DataFrame
        One row per reading of `frontier_readings`: `reading`, `about`, `growth_median` with its
        95 % interval `growth_low`, `growth_high` (1/year; none for the paper's), and `absent`, why
        there are no numbers.
    """
    found = frontier_readings(fit, dataset=fitted_dataset(fit, dataset))
    return pd.DataFrame([_row(one) for one in found["readings"]])


def plot_readings(fit: Fit, *, dataset: Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Draw growth of the frontier in every reading that the fit allows, never ranked.

    The band is the interval of the first reading, growth of a typical new LLM. The paper's reading
    is hollow: it has no interval.

    Parameters
    ----------
    fit, dataset
        As in `readings_table`.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    table = readings_table(fit, dataset=dataset)
    with styled():
        return draw_readings(table, axes_or_new(ax, size_of(len(_there(table)))))


def readings_figure(table: pd.DataFrame) -> Figure:
    """Draw a `readings_table` on a figure that pyplot does not keep."""
    drawn, ax = new_figure(size_of(len(_there(table))))
    draw_readings(table, ax)
    return drawn


def draw_readings(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `readings_table`."""
    there = _there(table)
    draw_side_by_side(
        ax, there, [_LABELS[name] for name in there["reading"]], there["growth_low"].isna().tolist()
    )
    if there["growth_low"].isna().any():
        ax.set_xlabel(f"{ax.get_xlabel()}; hollow: without an interval")
    return ax


def describe_readings(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    there = _there(table)
    parts = [f"{row['reading']} {_said(row)}" for _, row in there.iterrows()]
    absent = table.loc[table["absent"].notna(), "reading"].tolist()
    beside = f" Without numbers: {', '.join(absent)}." if absent else ""
    return (
        f"Growth rate of the frontier (1/year) in different readings: {'; '.join(parts)}.{beside}"
    )


def _row(one: dict[str, Any]) -> dict[str, object]:
    """Row of a reading."""
    growth = one["growth_rate_per_year"] or {"median": None, "eti95": None}
    low, high = growth["eti95"] or (None, None)
    return {
        "reading": one["reading"],
        "about": one["about"],
        "growth_median": growth["median"],
        "growth_low": low,
        "growth_high": high,
        "absent": one["absent"],
    }


def _there(table: pd.DataFrame) -> pd.DataFrame:
    """Readings that have numbers."""
    return table[table["growth_median"].notna()].reset_index(drop=True)


def _said(row: "pd.Series[Any]") -> str:
    """Median and interval of a reading."""
    if pd.isna(row["growth_low"]):
        return f"{format_number(row['growth_median'])} (no interval)"
    nothing = _NOTHING * (row["growth_high"] - row["growth_low"])
    ends = (row[f"growth_{end}"] for end in ("median", "low", "high"))
    median, low, high = (format_number(x if abs(x) > nothing else 0.0) for x in ends)
    return f"{median} (95 % {low} to {high})"
