"""How figures look: colours that colour-blind people and printers tell apart, fonts, axes.

Colours are Okabe and Ito's; what they tell is told by marks, dashes or labels too.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from bayesdense.statements import format_count, format_number, plain

#: Text and lines; a page that shows figures on a dark ground exchanges these two.
INK: Final = "#1b1b1a"
MUTED: Final = "#6a6a66"
GRID: Final = "#dcdcd8"
BLUE: Final = "#0072b2"
VERMILLION: Final = "#d55e00"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
SKY: Final = "#56b4e9"
PURPLE: Final = "#cc79a7"
#: What figures are drawn on, and what keeps names apart from what they cross.
PAPER: Final = "#ffffff"
#: Of what lies outside the data.
DASHED: Final = (0, (4, 3))
#: Chains, and whatever else has no meaning of its own.
CYCLE: Final = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
#: A sequence that rises in lightness, in colour and in grey alike.
SEQUENCE: Final = "cividis"
#: Opacity of the outer and of the inner band of a posterior.
OUTER, INNER = 0.18, 0.32
WIDTH: Final = 7.2  # inches
HEIGHT: Final = 4.4
PANEL: Final = (3.2, 2.7)
MOST_COLUMNS: Final = 3
#: Inches about a panel for its numbers, labels and title: left, right, bottom, top.
_MARGINS: Final = (0.68, 0.14, 0.52, 0.28)
#: Inches below all panels for their legend, and the least width that a legend takes.
_LEGEND, _LEAST_WIDTH = 0.5, 5.6

#: Comes with matplotlib, and so is the same on every machine.
FONT: Final = "DejaVu Sans"
#: Points of print that an axis' numbers and label take.
_BELOW: Final = 38.0

_SETTINGS: Final[Mapping[Any, Any]] = MappingProxyType(
    {
        "font.family": FONT,
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "axes.titlelocation": "left",
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=CYCLE),
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "text.color": INK,
        "text.parse_math": False,  # a name with dollar signs is a name
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.fontsize": 8.0,
        "legend.framealpha": 0.85,
        "legend.edgecolor": GRID,
        "lines.linewidth": 1.5,
        "figure.dpi": 100.0,
        "savefig.dpi": 200.0,
        "savefig.transparent": False,
        "svg.fonttype": "path",  # looks the same where the font is absent
        "svg.hashsalt": "bayesdense",  # the same figure is the same file
    }
)


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this package's style, and leave the user's settings as they are."""
    with mpl.rc_context(dict(_SETTINGS)):
        yield


def axes_or_new(ax: Axes | None, size: tuple[float, float] = (WIDTH, HEIGHT)) -> Axes:
    """Return the axes given, or those of a new figure of pyplot, which notebooks show."""
    if ax is not None:
        return ax
    return plt.subplots(figsize=size, layout="constrained")[1]


def new_figure(size: tuple[float, float] = (WIDTH, HEIGHT)) -> tuple[Figure, Axes]:
    """Make a figure of one panel that pyplot does not keep."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def new_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Make a figure of several panels, at most three in a row, that pyplot does not keep.

    Places are computed here: panels are all alike, and a layout engine takes longer than drawing
    them.
    """
    columns = min(count, MOST_COLUMNS)
    rows = math.ceil(count / columns)
    (across, up), (left, right, bottom, top) = PANEL, _MARGINS
    width, height = max(across * columns, _LEAST_WIDTH), up * rows + _LEGEND
    figure = Figure(figsize=(width, height))
    across = width / columns
    axes = [
        figure.add_axes(
            (
                (across * (k % columns) + left) / width,
                (height - up * (k // columns + 1) + bottom) / height,
                (across - left - right) / width,
                (up - bottom - top) / height,
            )
        )
        for k in range(count)
    ]
    return figure, axes


def log_axis(ax: Axes, which: str, *, counts: bool = False) -> None:
    """Make an axis logarithmic, with labels that people read: 0.1, 7B.

    Parameters
    ----------
    which
        "x" or "y".
    counts
        Whether its numbers are parameters or tokens.
    """
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    decades = math.log10(high / low) if 0.0 < low < high else 1.0
    steps = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0, 3.0) if decades < 4 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=9))
    axis.set_minor_locator(NullLocator())
    write = count_tick if counts else number_tick
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def count_tick(value: float) -> str:
    """Write a number of parameters or tokens at an axis: 7B."""
    return format_count(value) if math.isfinite(value) and value > 0.0 else ""


def number_tick(value: float) -> str:
    """Write a number at an axis, without zeros that say nothing: 0.1."""
    if not (math.isfinite(value) and value > 0.0):
        return ""
    return plain(format_number(value))


def date_axis(ax: Axes) -> None:
    """Label an axis of dates with months and years, each said once."""
    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def spread(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """Widen limits by a share of their distance; equal ones by a share of themselves."""
    room = share * (high - low) or share * abs(high) or share
    return low - room, high + room


def bars(ax: Axes, rows: pd.DataFrame, x: str) -> None:
    """Draw upright 95 % intervals at a column, those without end up to the end of the axis."""
    low, high = (np.clip(rows[f"eti95_{side}"], *ax.get_ylim()) for side in ("lower", "upper"))
    ax.vlines(rows[x], low, high, colors=MUTED, linewidth=0.7, alpha=0.5)


def fill_bands(ax: Axes, x: str, rows: pd.DataFrame, what: str) -> None:
    """Fill the 95 % and the 50 % band of a curve over a column."""
    for prob, alpha in ((95, OUTER), (50, INNER)):
        ax.fill_between(
            rows[x],
            rows[f"eti{prob}_lower"],
            rows[f"eti{prob}_upper"],
            color=BLUE,
            alpha=alpha,
            linewidth=0.0,
            label=f"{what}, {prob} %",
        )


def legend_below(ax: Axes, columns: int = 3) -> None:
    """Explain the marks below the axes and their label, where they cover nothing."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("axes without a figure")
    down = ScaledTranslation(0.0, -_BELOW / 72.0, figure.dpi_scale_trans)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=ax.transAxes + down,
        ncols=columns,
        frameon=False,
        borderaxespad=0.0,
    )
