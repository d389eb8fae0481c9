"""How often a change of growth would be found, by its size."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.plots.benchmarks import one_panel, panels
from bayesdense.plots.style import BLUE, DASHED, MUTED, VERMILLION, styled
from bayesdense.plots.summaries import StudyResult, content_of
from bayesdense.statements import format_number

TREND: Final = "trend"
_PERCENT: Final = 100.0
_LOOKS: Final = {"verdict": (BLUE, "o", "-"), "probability": (VERMILLION, "s", (0, (5, 2)))}


def power_table(found: StudyResult | Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate how often each rule finds changes of growth.

    Returns
    -------
    pandas.DataFrame
        One row per rival (`trend`), rule and size of the change (`difference_per_year`, and
        `factor` by which growth is multiplied, where it is): percent of `n` simulated datasets in
        which it is found (`share`), with its 95 % interval, and `wanted` percent.
    """
    content = content_of(found)
    return pd.DataFrame(
        [
            {
                TREND: trend["trend"],
                "rule": rule,
                "difference_per_year": size["difference_per_year"],
                "factor": size["factor"],
                "share": _PERCENT * held["share"],
                "lower": _PERCENT * held["eti95"][0],
                "upper": _PERCENT * held["eti95"][1],
                "n": held["n"],
                "wanted": _PERCENT * content["power"],
            }
            for trend in content["trends"]
            for rule in content["rules"]
            for size in trend["sizes"]
            if (held := size["rules"][rule]) is not None
        ]
    )


def plot_power(
    found: StudyResult | Mapping[str, Any], trend: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw how often a change of growth is found against its size, by either rule.

    At no change that is the share of false alarms. Upright lines are 95 % intervals of the shares.

    Parameters
    ----------
    found
        A `Power`, what `read_study` returned, or the content of `power.json`.
    trend
        The rival; by default the first.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.

    Raises
    ------
    BayesdenseError
        No such rival.
    """
    with styled():
        return one_panel(draw_power, power_table(found), trend, ax, TREND)


def power_figure(table: pd.DataFrame) -> Figure:
    """Draw a `power_table`, a panel for every rival."""
    return panels(table, draw_power, TREND)


def draw_power(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the curves of one rival."""
    ax.axhline(rows["wanted"].iloc[0], color=MUTED, linestyle=DASHED, linewidth=0.8,
               label=f"{rows['wanted'].iloc[0]:g} %")  # fmt: skip
    for rule, mine in rows.groupby("rule", sort=False):
        colour, mark, dashes = _LOOKS[str(rule)]
        ax.vlines(mine["difference_per_year"], mine["lower"], mine["upper"], colors=colour,
                  linewidth=3.0, alpha=0.3)  # fmt: skip
        ax.plot(mine["difference_per_year"], mine["share"], color=colour, marker=mark,
                markersize=4.0, linestyle=dashes, linewidth=1.2, label=f"by {rule}")  # fmt: skip
    ax.set_ylim(-3, 103)
    ax.set_xlabel("change of growth (1/year)")
    ax.set_ylabel("found (%)")
    return ax


def describe_power(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    parts = []
    for (trend, rule), rows in table.groupby([TREND, "rule"], sort=False):
        last = rows.iloc[-1]
        parts.append(
            f"{trend} by {rule} {last['share']:.0f} % of changes of "
            f"{format_number(last['difference_per_year'])} per year"
        )
    return (
        "Share of simulated datasets in which a change of growth is found, against its size: "
        f"{'; '.join(parts)}."
    )
