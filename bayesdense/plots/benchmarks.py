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


def chosen(table: pd.DataFrame, benchmark: str | None) -> pd.DataFrame:
    """Rows of one benchmark, by default the first of the dataset."""
    names = list(dict.fromkeys(table[BENCHMARK]))
    if benchmark is None:
        benchmark = names[0]
    if benchmark not in names:
        raise BayesdenseError(
            f"benchmark = {told(benchmark)}: not of this fit{nearest_of(benchmark, names)}"
        )
    return table[table[BENCHMARK] == benchmark]


def one_panel(
    draw: Callable[[pd.DataFrame, Axes], Axes],
    table: pd.DataFrame,
    benchmark: str | None,
    ax: Axes | None,
) -> Axes:
    """Draw one benchmark on axes of its own."""
    rows = chosen(table, benchmark)
    drawn = draw(rows, axes_or_new(ax))
    drawn.set_title(short(rows[BENCHMARK].iloc[0]))
    legend_below(drawn, columns=2)
    return drawn


def panels(table: pd.DataFrame, draw: Callable[[pd.DataFrame, Axes], Axes]) -> Figure:
    """Draw one panel per benchmark, with one legend for all of them."""
    names = list(dict.fromkeys(table[BENCHMARK]))
    figure, axes = new_panels(len(names))
    for name, ax in zip(names, axes, strict=True):
        draw(table[table[BENCHMARK] == name], ax)
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
