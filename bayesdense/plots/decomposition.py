"""Where the width of the headline's interval comes from, one source at a time."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.errors import BayesdenseError
from bayesdense.plots.style import (
    BLUE,
    INK,
    MUTED,
    VERMILLION,
    WIDTH,
    axes_or_new,
    legend_below,
    new_figure,
    styled,
)
from bayesdense.plots.summaries import StudyResult, content_of
from bayesdense.statements import format_number
from bayesdense.wording import counted

#: Inches that a source takes, and those about all of them.
_LINE, _ABOUT = 0.34, 1.3
_MARKS: Final = {
    "off": (BLUE, "o", "switched off: held, not inferred"),
    "on": (VERMILLION, "s", "switched on: a definition left open"),
}
_WORDS_PER_LINE: Final = 44  # letters


def decomposition_table(found: StudyResult | Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate what `plot_decomposition` draws.

    Returns
    -------
    pandas.DataFrame
        One row per source: `source`, `what`, `change` ("off" or "on"), `width_per_year` of the
        95 % interval of growth then, `ratio` to `headline_width_per_year`, `max_rhat`, and `error`
        where there is no width.

    Raises
    ------
    BayesdenseError
        The sweep was not asked for a decomposition, or its headline failed.
    """
    part = content_of(found)["decomposition"]
    if part is None:
        raise BayesdenseError(
            "sweep: the width was not decomposed; ask for the axis decomposition (--resume goes on)"
        )
    if part["headline_width_per_year"] is None:
        raise BayesdenseError("sweep: the headline's fit failed, so that there is nothing to draw")
    return pd.DataFrame(part["sources"]).assign(
        headline_width_per_year=part["headline_width_per_year"]
    )


def plot_decomposition(found: StudyResult | Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """Draw the width of the 95 % interval of growth with one source at a time switched off or on.

    Widths do not add: sources share data, and what one no longer explains another takes over.

    Parameters
    ----------
    found
        A `Sweep`, what `read_study` returned, or the content of `sweep.json`.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.

    Raises
    ------
    BayesdenseError
        As `decomposition_table`.
    """
    table = decomposition_table(found)
    with styled():
        return draw_decomposition(table, axes_or_new(ax, _size(table)))


def decomposition_figure(table: pd.DataFrame) -> Figure:
    """Draw a `decomposition_table` on a figure that pyplot does not keep."""
    drawn, ax = new_figure(_size(table))
    draw_decomposition(table, ax)
    return drawn


def draw_decomposition(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `decomposition_table`."""
    whole = float(table["headline_width_per_year"].iloc[0])
    y = np.arange(len(table))
    wide = table["width_per_year"].to_numpy(float)
    ax.axvline(whole, color=INK, linewidth=1.0, label="the headline's width")
    for change, (colour, mark, label) in _MARKS.items():
        mine = (table["change"] == change).to_numpy() & np.isfinite(wide)
        if not mine.any():
            continue
        ax.hlines(y[mine], whole, wide[mine], colors=colour, linewidth=1.6)
        ax.plot(wide[mine], y[mine], mark, color=colour, markersize=5.5, label=label)
    for k in np.flatnonzero(~np.isfinite(wide)):
        ax.annotate("not to be had", (whole, float(y[k])), xytext=(5, 0), color=MUTED,
                    textcoords="offset points", va="center", fontsize=7.5)  # fmt: skip
    ax.set_yticks(y, [_wrapped(what) for what in table["what"]])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlim(0.0, 1.08 * float(np.nanmax([whole, *wide])))
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("width of the 95 % interval of growth (1/year)")
    legend_below(ax, 2)
    return ax


def describe_decomposition(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    there = table[table["width_per_year"].notna()]
    parts = [
        f"{format_number(row['width_per_year'])} ({row['ratio']:.2f} of it) with {row['what']}"
        for _, row in there.iterrows()
    ]
    lacking = len(table) - len(there)
    beside = f" {counted(lacking, 'source')} could not be switched." if lacking else ""
    return (
        "Width of the headline's 95 % interval of growth: "
        f"{format_number(table['headline_width_per_year'].iloc[0])} per year; it is "
        f"{'; '.join(parts) or 'not known otherwise'}. Widths do not add.{beside}"
    )


def _wrapped(what: str) -> str:
    """What is done, on as many lines as it takes."""
    lines = [""]
    for word in what.split():
        if len(lines[-1]) + len(word) >= _WORDS_PER_LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _size(table: pd.DataFrame) -> tuple[float, float]:
    """Width and height, inches."""
    return WIDTH, _LINE * len(table) + _ABOUT
