"""Growth rates of several fits or readings, one line each, with doubling times named above."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bayesdense.conversions import growth_rate_per_year
from bayesdense.names import DAYS_PER_MONTH
from bayesdense.plots.style import BLUE, INK, MUTED, OUTER, WIDTH

#: Inches that a line takes, and those about all of them.
_LINE, _ABOUT = 0.19, 1.1
#: Doubling times that the axis above names, months.
_MONTHS: Final = (2, 3, 4, 6, 12, 24)


def size_of(lines: int) -> tuple[float, float]:
    """Width and height of a figure, inches."""
    return WIDTH, _LINE * lines + _ABOUT


def draw_side_by_side(
    ax: Axes, rows: pd.DataFrame, labels: Sequence[str], hollow: Sequence[bool]
) -> None:
    """Draw medians and 95 % intervals of growth; the band is the first line's interval.

    Parameters
    ----------
    rows
        With the columns `growth_median`, `growth_low`, `growth_high`; a line may have no interval.
    labels
        Beside each line.
    hollow
        Which medians have hollow marks.
    """
    y, empty = np.arange(len(rows)), np.array(hollow, dtype=bool)
    middle, low, high = (
        rows[f"growth_{name}"].to_numpy(float) for name in ("median", "low", "high")
    )
    ax.axvspan(low[0], high[0], color=BLUE, alpha=OUTER, linewidth=0.0)
    ax.axvline(middle[0], color=BLUE, linewidth=0.8)
    ax.axvline(0.0, color=MUTED, linewidth=0.8)
    ax.hlines(y, low, high, colors=INK, linewidth=1.1)
    for chosen, face in ((~empty, INK), (empty, "none")):
        ax.plot(middle[chosen], y[chosen], "o", color=INK, markerfacecolor=face, markersize=4.0)
    ax.set_yticks(y, list(labels))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("growth rate of log density (1/year)")
    _months_above(ax)


def _months_above(ax: Axes) -> None:
    """Name doubling times on the upper side."""
    left, right = ax.get_xlim()
    rates = [float(growth_rate_per_year(months * DAYS_PER_MONTH)) for months in _MONTHS]
    shown = [(r, m) for r, m in zip(rates, _MONTHS, strict=True) if left <= r <= right]
    above = ax.secondary_xaxis("top")
    above.set_xticks([rate for rate, _ in shown], [str(months) for _, months in shown])
    above.set_xlabel("doubling time (months)")
