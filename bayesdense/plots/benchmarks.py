"""What figures of benchmarks share: their names, their entries, one panel for each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.arrays import Ints
from bayesdense.errors import BayesdenseError
from bayesdense.names import BENCHMARK
from bayesdense.plots.labels import short
from bayesdense.plots.style import axes_or_new, legend_below, new_panels
from bayesdense.results import Fit
from bayesdense.wording import nearest_of, told


def benchmarks(fit: Fit) -> list[str]:
    """Names of a fit's benchmarks; none in a fit of densities."""
    posterior = fit.posterior
    return [str(name) for name in posterior[BENCHMARK].values] if BENCHMARK in posterior else []


def require_benchmarks(fit: Fit, what: str) -> list[str]:
    """Names of a fit's benchmarks, or an error saying that it has none."""
    names = benchmarks(fit)
    if not names:
        raise BayesdenseError(f"a fit of densities only has no {what} to draw")
    return names


def loss_units(fit: Fit, names: "pd.Series[str]") -> "pd.Series[str]":
    """Loss unit of the benchmark of every row."""
    units = fit.group("constant_data")["loss_unit"].values
    return names.map(dict(zip(benchmarks(fit), map(str, units), strict=True)))


def entries(fit: Fit, index: str) -> Ints:
    """Position of the benchmark of every entry of a ragged table."""
    return np.asarray(fit.group("constant_data")[index].values, dtype=np.int64)


def chosen(table: pd.DataFrame, name: str | None, by: str = BENCHMARK) -> pd.DataFrame:
    """Rows of one benchmark, or value of another column, by default the first."""
    names = list(dict.fromkeys(table[by]))
    if name is None:
        name = names[0]
    if name not in names:
        raise BayesdenseError(f"{by} = {told(name)}: none of them{nearest_of(name, names)}")
    return table[table[by] == name]


def one_panel(
    draw: Callable[[pd.DataFrame, Axes], Axes],
    table: pd.DataFrame,
    name: str | None,
    ax: Axes | None,
    by: str = BENCHMARK,
) -> Axes:
    """Draw one benchmark, or value of another column, on axes of its own."""
    rows = chosen(table, name, by)
    drawn = draw(rows, axes_or_new(ax))
    drawn.set_title(short(rows[by].iloc[0]))
    legend_below(drawn, columns=2)
    return drawn


def panels(
    table: pd.DataFrame, draw: Callable[[pd.DataFrame, Axes], Axes], by: str = BENCHMARK
) -> Figure:
    """Draw one panel per benchmark, or value of another column, with one legend for all."""
    names = list(dict.fromkeys(table[by]))
    figure, axes = new_panels(len(names))
    for name, ax in zip(names, axes, strict=True):
        draw(table[table[by] == name], ax)
        ax.set_title(short(name))
    shared_legend(figure, axes)
    return figure


def shared_legend(figure: Figure, axes: list[Axes]) -> None:
    """Explain the marks of all panels once, below them."""
    found = {
        name: handle
        for ax in axes
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    # a layout engine makes room for it, else the figure has
    place: Any = "lower center" if figure.get_layout_engine() is None else "outside lower center"
    columns = 3 if len(axes) < 3 else 4
    figure.legend(list(found.values()), list(found), loc=place, ncols=columns, frameon=False)
