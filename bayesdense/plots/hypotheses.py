"""Rival trends of one dataset over one another, with what speaks for each."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.arrays import Floats
from bayesdense.errors import BayesdenseError
from bayesdense.names import INNER_CI_PROB
from bayesdense.plots.style import (
    CYCLE,
    HEIGHT,
    MUTED,
    WIDTH,
    axes_or_new,
    date_axis,
    legend_below,
    log_axis,
    new_figure,
    styled,
)
from bayesdense.plots.summaries import StudyResult, content_of, exponentials, layer, layers
from bayesdense.plots.trend import llm_rows
from bayesdense.results import Fit
from bayesdense.statements import format_number, format_probability

#: Told apart without colours, too.
_DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (9, 3)))
#: Points of print of a line without weight, and of one with all of it.
_THIN, _THICK = 0.9, 2.8
_BAND: Final = 0.10
_LEGEND_LINE: Final = 0.17  # inches
#: Where an LLM lies further from all curves than so many orders of magnitude it is cut.
_ROOM: Final = 10.0


def hypotheses_table(
    found: StudyResult | Mapping[str, Any], *, fit: Fit | None = None
) -> pd.DataFrame:
    """Tabulate what `plot_hypotheses` draws.

    Returns
    -------
    pandas.DataFrame
        `layer`: "trend", or "llm" where a fit is given. Of trends: `trend`, `date`, density of a
        typical new LLM (`median`, `eti50_lower` ... `eti95_upper`), `weight` (stacking, on the
        future left out where that was done for all, else on families left out), `weight_on`
        ("future" or "families") and `posterior_probability`.
    """
    content = content_of(found)
    rows = {"trend": pd.concat([_curve(one, content) for one in content["hypotheses"]])}
    return layers(rows if fit is None else rows | {"llm": llm_rows(fit)})


def plot_hypotheses(
    found: StudyResult | Mapping[str, Any], *, fit: Fit | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the trend of every hypothesis of a comparison, with its weight and its probability.

    The wider a line, the larger its stacking weight; bands hold 50 % of each posterior.

    Parameters
    ----------
    found
        A `Comparison`, what `read_study` returned, or the content of `compare.json`.
    fit
        A fit to the same dataset, whose LLMs are drawn behind; None: none.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.

    Raises
    ------
    BayesdenseError
        The fit is of another dataset.
    """
    content = content_of(found)
    if fit is not None and fit.dataset_info["digest"] != content["dataset"]["digest"]:
        raise BayesdenseError("plot_hypotheses: the fit is of another dataset than the comparison")
    table = hypotheses_table(content, fit=fit)
    with styled():
        return draw_hypotheses(table, axes_or_new(ax, _size(table)))


def hypotheses_figure(table: pd.DataFrame) -> Figure:
    """Draw a `hypotheses_table` on a figure that pyplot does not keep."""
    drawn, ax = new_figure(_size(table))
    draw_hypotheses(table, ax)
    return drawn


def draw_hypotheses(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `hypotheses_table`."""
    curves, llms = layer(table, "trend"), layer(table, "llm")
    log_axis_for(ax, curves, llms)
    if len(llms):
        ax.plot(llms["date"], llms["median"], "o", color=MUTED, markersize=3.0, alpha=0.55,
                linestyle="none", label="LLM, median")  # fmt: skip
    for (name, rows), colour, dashes in zip(
        curves.groupby("trend", sort=False), cycle(CYCLE), cycle(_DASHES), strict=False
    ):
        first = rows.iloc[0]
        ax.fill_between(rows["date"], rows["eti50_lower"], rows["eti50_upper"], color=colour,
                        alpha=_BAND, linewidth=0.0)  # fmt: skip
        ax.plot(
            rows["date"],
            rows["median"],
            color=colour,
            linestyle=dashes,
            linewidth=_THIN + (_THICK - _THIN) * first["weight"],
            label=f"{name} ({_said(first)})",
        )
    ax.set_xlabel("release date")
    ax.set_ylabel("density of a typical new LLM")
    ax.set_title(f"trends: medians and {INNER_CI_PROB:.0%} bands".replace("%", " %"))
    date_axis(ax)
    legend_below(ax, 2)
    return ax


def describe_hypotheses(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    curves = layer(table, "trend")
    last = curves.groupby("trend", sort=False).tail(1)
    parts = [
        f"{row['trend']} ({_said(row)}) {format_number(row['median'])} (95 % "
        f"{format_number(row['eti95_lower'])} to {format_number(row['eti95_upper'])})"
        for _, row in last.iterrows()
    ]
    on = curves["weight_on"].iloc[0]
    return (
        f"Density of a typical new LLM in time under {len(parts)} trends, on "
        f"{last['date'].iloc[0]:%Y-%m-%d}: {'; '.join(parts)}. Stacking weights are of "
        f"{_UNSEEN[on]}; those of trends that foretell alike are arbitrary."
    )


_UNSEEN: Final[Mapping[str, str]] = {
    "future": "the future left out",
    "families": "families left out",
}


def log_axis_for(ax: Axes, curves: pd.DataFrame, llms: pd.DataFrame) -> None:
    """Make room for every curve; LLMs that lie much further off are cut."""
    low, high = float(curves["eti50_lower"].min()), float(curves["eti50_upper"].max())
    if len(llms):
        low = max(min(low, float(llms["median"].min())), low / _ROOM)
        high = min(max(high, float(llms["median"].max())), high * _ROOM)
    ax.set_ylim(low / 1.3, high * 1.3)
    log_axis(ax, "y")


def _curve(one: Mapping[str, Any], among: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of one hypothesis."""
    curve = one["trend_log_density"]
    columns = {"median": _floats(curve["median"])}
    for name in ("eti50", "eti95"):
        ends = _floats(curve[name])
        columns |= {f"{name}_lower": ends[:, 0], f"{name}_upper": ends[:, 1]}
    later = all(other["weight_lfo"] is not None for other in among["hypotheses"])
    return pd.DataFrame(
        {
            "trend": one["name"],
            "date": pd.to_datetime(curve["dates"]),
            **exponentials(columns),
            "weight": one["weight_lfo"] if later else one["weight_loo"],
            "weight_on": "future" if later else "families",
            "posterior_probability": one["posterior_probability"],
        }
    )


def _floats(values: object) -> Floats:
    """Numbers of JSON; null is none."""
    return np.array(values, dtype=float)


def _said(row: "pd.Series[Any]") -> str:
    """Weight and probability of a hypothesis."""
    probability = row["posterior_probability"]
    known = "" if pd.isna(probability) else f", P {format_probability(float(probability))}"
    return f"weight {row['weight']:.2f}{known}"


def _size(table: pd.DataFrame) -> tuple[float, float]:
    """Width and height with room for the legend, inches."""
    entries = layer(table, "trend")["trend"].nunique() + 1
    return WIDTH, HEIGHT + _LEGEND_LINE * (entries / 2)
