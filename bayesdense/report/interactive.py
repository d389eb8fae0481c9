"""The interactive figure: densities with their trend, and what is known of an LLM under the mouse.

Drawn by Bokeh, whose script stands in the page.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import (
    ColumnDataSource,
    DatetimeTickFormatter,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

from bayesdense.plots.style import BLUE, GRID, INK, MUTED
from bayesdense.plots.summaries import layer

TARGET: Final = "interactive"
_HEIGHT: Final = 420
#: Dates at the axis, so that a narrow screen has room for them.
_MOST_TICKS: Final = 5
_MARKS: Final = {
    "": "circle",
    "lower": "triangle",
    "upper": "inverted_triangle",
    "neither": "square",
}
#: Orders of magnitude beyond the medians that the axis makes room for.
_ROOM: Final = 10.0
_TOOLTIP: Final = [
    ("LLM", "@llm"),
    ("released", "@released"),
    ("size", "@parameters"),
    ("effective size", "@size_text"),
    ("density", "@density_text"),
    ("note", "@note"),
]


def library() -> str:
    """BokehJS, as one script."""
    return "\n".join(Resources(mode="inline", components=["bokeh"], log_level="error").js_raw)


def interactive_item(table: pd.DataFrame, texts: pd.DataFrame) -> dict[str, Any]:
    """Describe the figure as BokehJS embeds it.

    Parameters
    ----------
    table
        Of `plots.trend.trend_table`.
    texts
        Of `text_tables.llm_text_table`, the same LLMs in the same order.

    Returns
    -------
    dict
        Plain JSON. Names are shown as text: Bokeh escapes what stands in a column.
    """
    llms, line = layer(table, "llm"), layer(table, "trend")
    middles = np.concatenate([llms["median"], line["median"]])
    limits = float(middles.min()) / _ROOM, float(middles.max()) * _ROOM
    make: Any = figure  # what mypy reads of its arguments hangs on what else is installed
    plot = make(
        x_axis_type="datetime",
        y_axis_type="log",
        y_range=Range1d(start=limits[0], end=limits[1]),
        height=_HEIGHT,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset",
        active_drag=None,
        x_axis_label="release date",
        y_axis_label="density",
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=None,
    )
    _draw_trend(plot, line)
    shown = _draw_llms(plot, llms, texts, limits)
    plot.add_tools(HoverTool(renderers=shown, tooltips=_TOOLTIP))
    _dress(plot)
    return dict(json_item(plot, target=ID(TARGET)))


def _draw_trend(plot: Any, line: pd.DataFrame) -> None:  # noqa: ANN401  (Bokeh's figure)
    """The trend with its bands."""
    source = ColumnDataSource(
        {
            "date": line["date"],
            **{name: line[name] for name in ("median", *_ENDS)},
        }
    )
    for prob, alpha in ((95, 0.16), (50, 0.25)):
        plot.varea(
            x="date", y1=f"eti{prob}_lower", y2=f"eti{prob}_upper", source=source,
            fill_color=BLUE, fill_alpha=alpha,
        )  # fmt: skip
    plot.line(x="date", y="median", source=source, line_color=BLUE, line_width=2)


_ENDS: Final = ("eti50_lower", "eti50_upper", "eti95_lower", "eti95_upper")


def _draw_llms(
    plot: Any,  # noqa: ANN401
    llms: pd.DataFrame,
    texts: pd.DataFrame,
    limits: tuple[float, float],
) -> list[Any]:
    """Every LLM with its interval, those of bounds with marks of their own."""
    rows = pd.DataFrame(
        {
            "date": llms["date"].to_numpy(),
            "median": llms["median"].to_numpy(),
            "lower": np.clip(llms["eti95_lower"].to_numpy(), *limits),
            "upper": np.clip(llms["eti95_upper"].to_numpy(), *limits),
            "bound": llms["bound"].to_numpy(),
            "llm": texts["llm"].to_numpy(),
            "released": texts["released"].to_numpy(),
            "parameters": texts["parameters"].to_numpy(),
            "size_text": texts["effective size"].to_numpy(),
            "density_text": texts["density"].to_numpy(),
            "note": texts["note"].to_numpy(),
        }
    )
    shown = []
    for bound, mark in _MARKS.items():
        source = ColumnDataSource(rows[rows["bound"] == bound])
        plot.segment(
            x0="date", x1="date", y0="lower", y1="upper", source=source, line_color=MUTED,
            line_alpha=0.5,
        )  # fmt: skip
        shown.append(
            plot.scatter(
                x="date",
                y="median",
                source=source,
                marker=mark,
                size=7 if bound == "" else 10,
                line_color=INK,
                fill_color=MUTED,
                fill_alpha=0.9 if bound == "" else 0.0,
            )
        )
    return shown


def _dress(plot: Any) -> None:  # noqa: ANN401
    """Colours and numbers of the axes; a page on a dark ground exchanges the colours."""
    plot.toolbar.logo = None
    plot.xaxis.ticker.desired_num_ticks = _MOST_TICKS
    plot.xaxis.formatter = DatetimeTickFormatter(months="%Y-%m", years="%Y", days="%Y-%m-%d")
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[0000]")
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = MUTED
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
    for grid in (*plot.xgrid, *plot.ygrid):
        grid.grid_line_color = GRID
