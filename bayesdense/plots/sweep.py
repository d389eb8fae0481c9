"""Growth under other definitions, one line each, beside the headline's interval."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.conversions import growth_rate_per_year
from bayesdense.errors import BayesdenseError
from bayesdense.names import DAYS_PER_MONTH
from bayesdense.plots.style import BLUE, INK, MUTED, OUTER, WIDTH, axes_or_new, new_figure, styled

#: Inches that a definition takes, and those about all of them.
_LINE, _ABOUT = 0.19, 1.1
#: Doubling times that the axis above names, months.
_MONTHS = (2, 3, 4, 6, 12, 24)


def plot_sweep(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw growth under every definition that could be fitted: medians and 95 % intervals.

    Growth and not its doubling time is on the axis, as its intervals always have two ends; the
    axis above reads doubling times off it. The band is the headline's interval.

    Parameters
    ----------
    table
        Of a sweep (`Sweep.table()`): its first row is the headline.
    ax
        Axes to draw on; new ones, as high as there are definitions, by default.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    BayesdenseError
        The headline could not be fitted.
    """
    done = _fitted(table)
    with styled():
        ax = axes_or_new(ax, _size(done))
        y = np.arange(len(done))
        low, high = (done[f"growth_{end}"].to_numpy(float) for end in ("low", "high"))
        ax.axvspan(low[0], high[0], color=BLUE, alpha=OUTER, linewidth=0.0)
        ax.axvline(done["growth_median"][0], color=BLUE, linewidth=0.8)
        ax.axvline(0.0, color=MUTED, linewidth=0.8)
        ax.hlines(y, low, high, colors=INK, linewidth=1.1)
        failed = (done["checks"] == "fail").to_numpy()
        for chosen, face in ((~failed, INK), (failed, "none")):
            ax.plot(done["growth_median"][chosen], y[chosen], "o", color=INK, markerfacecolor=face,
                    markersize=4.0)  # fmt: skip
        ax.set_yticks(y, [_label(row) for row in done.itertuples()])
        ax.set_ylim(len(done) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("growth rate of log density (1/year); hollow: a check of the fit failed")
        _months_above(ax)
    return ax


def sweep_figure(table: pd.DataFrame) -> Figure:
    """Draw `plot_sweep` on a figure that pyplot does not keep."""
    with styled():
        drawn, ax = new_figure(_size(_fitted(table)))
    plot_sweep(table, ax=ax)
    return drawn


def _fitted(table: pd.DataFrame) -> pd.DataFrame:
    """Definitions that were fitted, the headline first."""
    if table["status"].iloc[0] != "done":
        raise BayesdenseError("sweep: the headline's fit failed, so that there is nothing to draw")
    return table[table["status"] == "done"].reset_index(drop=True)


def _size(done: pd.DataFrame) -> tuple[float, float]:
    """Width and height of a figure, inches."""
    return WIDTH, _LINE * len(done) + _ABOUT


def _label(row: object) -> str:
    """Axis and definition of a case."""
    return f"{getattr(row, 'axis', '')}: {getattr(row, 'value', '')}"


def _months_above(ax: Axes) -> None:
    """Name doubling times on the upper side."""
    left, right = ax.get_xlim()
    rates = [float(growth_rate_per_year(months * DAYS_PER_MONTH)) for months in _MONTHS]
    shown = [(r, m) for r, m in zip(rates, _MONTHS, strict=True) if left <= r <= right]
    above = ax.secondary_xaxis("top")
    above.set_xticks([rate for rate, _ in shown], [str(months) for _, months in shown])
    above.set_xlabel("doubling time (months)")
