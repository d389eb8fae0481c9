"""Growth under other definitions, one line each, beside the headline's interval."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.errors import BayesdenseError
from bayesdense.plots.side_by_side import draw_side_by_side, size_of
from bayesdense.plots.style import axes_or_new, new_figure, styled
from bayesdense.plots.summaries import StudyResult, content_of
from bayesdense.statements import format_number
from bayesdense.study_files import sweep_table
from bayesdense.wording import counted


def plot_sweep(
    found: pd.DataFrame | StudyResult | Mapping[str, Any], *, ax: Axes | None = None
) -> Axes:
    """Draw growth under every definition that could be fitted: medians and 95 % intervals.

    Growth and not its doubling time is on the axis, as its intervals always have two ends; the
    axis above reads doubling times off it. The band is the headline's interval.

    Parameters
    ----------
    found
        What a sweep found: a `Sweep`, what `read_study` returned, the content of `sweep.json`, or
        `Sweep.table()`, whose first row is the headline.
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
    done = fitted_cases(
        found if isinstance(found, pd.DataFrame) else sweep_table(content_of(found))
    )
    with styled():
        ax = axes_or_new(ax, size_of(len(done)))
        labels = [
            f"{axis}: {value}" for axis, value in zip(done["axis"], done["value"], strict=True)
        ]
        draw_side_by_side(ax, done, labels, (done["checks"] == "fail").tolist())
        ax.set_xlabel(f"{ax.get_xlabel()}; hollow: a check of the fit failed")
    return ax


def sweep_figure(table: pd.DataFrame) -> Figure:
    """Draw `plot_sweep` on a figure that pyplot does not keep."""
    with styled():
        drawn, ax = new_figure(size_of(len(fitted_cases(table))))
    plot_sweep(table, ax=ax)
    return drawn


def fitted_cases(table: pd.DataFrame) -> pd.DataFrame:
    """Definitions that were fitted, the headline first."""
    if table["status"].iloc[0] != "done":
        raise BayesdenseError("sweep: the headline's fit failed, so that there is nothing to draw")
    return table[table["status"] == "done"].reset_index(drop=True)


def describe_sweep(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    done = fitted_cases(table)
    first, others = done.iloc[0], done.iloc[1:]
    said = (
        f"Growth rate of log density under {counted(len(done), 'definition')}: the headline is "
        f"{format_number(first['growth_median'])} per year (95 % "
        f"{format_number(first['growth_low'])} to {format_number(first['growth_high'])})"
    )
    if len(others):
        medians = others["growth_median"].to_numpy(float)
        ends = [others.iloc[int(where)] for where in (medians.argmin(), medians.argmax())]
        low, high = (
            f"{format_number(row['growth_median'])} ({row['axis']}: {row['value']})" for row in ends
        )
        said += f"; medians of the others go from {low} to {high}"
    failed = int((done["checks"] == "fail").sum())
    lacking = len(table) - len(done)
    notes = [
        f"{counted(failed, 'fit')} with a failed check" if failed else "",
        f"{counted(lacking, 'definition')} without a fit" if lacking else "",
    ]
    beside = ", ".join(note for note in notes if note)
    return f"{said}{f' ({beside})' if beside else ''}."
