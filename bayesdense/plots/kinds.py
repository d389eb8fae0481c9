"""Every kind of figure: its table, how it is drawn from it, and what it shows in words.

A new figure is a file beside this one with these three functions, an entry here, and its name in
`names.PLOT_KINDS`. Figures of studies have theirs in `studies`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.names import PLOT_KINDS
from bayesdense.plots import (
    growth,
    loss_law,
    predictive,
    readings,
    sampling,
    score_map,
    sizes,
    trend,
)
from bayesdense.plots.benchmarks import panels
from bayesdense.plots.style import HEIGHT, WIDTH, new_figure, styled
from bayesdense.results import Fit
from bayesdense.summary import strict
from bayesdense.wording import nearest_of, printable, told


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of figure.

    Attributes
    ----------
    table
        From a fit, and the dataset that was fitted where it is at hand, to the figure's data.
    draw
        From the fit and its table to the figure.
    describe
        From the table to a sentence, for who cannot see the figure.
    """

    table: Callable[[Fit, Dataset | None], pd.DataFrame]
    draw: Callable[[Fit, pd.DataFrame], Figure]
    describe: Callable[[pd.DataFrame], str]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure with its data and its description."""

    kind: str
    title: str
    figure: Figure
    table: pd.DataFrame
    description: str


def figure(fit: Fit, kind: str, *, dataset: Dataset | None = None) -> Figure:
    """Draw a whole figure of a fit, with a panel for every benchmark where it is of benchmarks.

    Parameters
    ----------
    fit
        A fit.
    kind
        One of `names.PLOT_KINDS`, as ``bayesdense plot`` takes them.
    dataset
        The dataset that was fitted, for the records beside the trend; shipped ones are found by
        themselves.

    Returns
    -------
    matplotlib.figure.Figure
        Not kept by pyplot.

    Raises
    ------
    BayesdenseError
        No such kind, or the fit does not hold what it takes.

    Examples
    --------
    ``figure(fit, "loss_law").savefig("loss-law.pdf")``
    """
    return draw(fit, kind, dataset=dataset).figure


def figure_table(fit: Fit, kind: str, *, dataset: Dataset | None = None) -> pd.DataFrame:
    """Tabulate the data of a figure of a fit.

    Parameters
    ----------
    fit, kind, dataset
        As for `figure`.

    Returns
    -------
    pandas.DataFrame
        What the figure is drawn from; the function named `<kind>_table` of its module says what
        the columns are.
    """
    return _kind(kind).table(fit, dataset)


def draw(
    fit: Fit, kind: str, *, dataset: Dataset | None = None, table: pd.DataFrame | None = None
) -> Drawn:
    """Draw a figure of a fit, and say what it shows; a table that is at hand saves computing it."""
    chosen = _kind(kind)
    table = chosen.table(fit, dataset) if table is None else table
    with styled():
        drawn = chosen.draw(fit, table)
    title = f"{printable(str(fit.dataset_info['name']))}: {PLOT_KINDS[kind]}"
    return Drawn(kind, title, drawn, table, chosen.describe(table))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a figure's table as plain JSON values; what is no number or has no end is None."""
    dates = table.select_dtypes("datetime")
    plain = table.assign(**{str(name): dates[name].dt.strftime("%Y-%m-%d") for name in dates})
    rows: list[dict[str, Any]] = strict(plain.to_dict("records"))
    return rows


def _kind(name: str) -> Kind:
    """Kind of a name, or an error with the nearest one."""
    if name not in KINDS:
        raise BayesdenseError(f"kind = {told(name)}: no such figure{nearest_of(name, KINDS)}")
    return KINDS[name]


def _alone(
    table: Callable[[Fit], pd.DataFrame],
    draw_on: Callable[[Fit, pd.DataFrame, Axes], Axes],
    describe: Callable[[pd.DataFrame], str],
    size: tuple[float, float] = (WIDTH, HEIGHT),
    *,
    has_names: bool = False,
) -> Kind:
    """A figure of one panel, with names placed in it or none."""

    def draw_figure(fit: Fit, rows: pd.DataFrame) -> Figure:
        made, ax = new_figure(size)
        draw_on(fit, rows, ax)
        if has_names:
            made.set_layout_engine("none")  # names have been placed for the layout that there is
        return made

    return Kind(lambda fit, _: table(fit), draw_figure, describe)


def _by_benchmark(
    table: Callable[[Fit], pd.DataFrame],
    draw_on: Callable[[pd.DataFrame, Axes], Axes],
    describe: Callable[[pd.DataFrame], str],
) -> Kind:
    """A figure with a panel per benchmark."""
    return Kind(lambda fit, _: table(fit), lambda _, rows: panels(rows, draw_on), describe)


def _arviz(
    table: Callable[[Fit], pd.DataFrame],
    plot: Callable[[Fit], sampling.PlotCollection],
    describe: Callable[[pd.DataFrame], str],
) -> Kind:
    """A figure of ArviZ."""
    return Kind(lambda fit, _: table(fit), lambda fit, _: sampling.figure_of(plot(fit)), describe)


def _trend(scale: trend.Scale) -> Kind:
    """The trend on an axis of density."""

    def draw_figure(fit: Fit, rows: pd.DataFrame) -> Figure:
        made, ax = new_figure((WIDTH, HEIGHT + 0.5))
        trend.draw_trend(rows, ax, scale=scale, title=trend.trend_title(fit))
        made.set_layout_engine("none")  # names have been placed for the layout that there is
        return made

    return Kind(
        lambda fit, dataset: trend.trend_table(fit, dataset=dataset),
        draw_figure,
        trend.describe_trend,
    )


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "trend": _trend("log"),
        "trend_linear": _trend("linear"),
        "growth_rate": _alone(
            growth.growth_table,
            lambda fit, rows, ax: growth.draw_growth(rows, ax, title=growth.growth_title(fit)),
            growth.describe_growth,
            growth.SIZE,
        ),
        "doubling_time": _alone(
            growth.doubling_time_table,
            lambda fit, rows, ax: growth.draw_doubling_time(rows, ax, title=trend.trend_title(fit)),
            growth.describe_doubling_time,
            growth.SIZE,
        ),
        "sizes": _alone(
            sizes.sizes_table,
            lambda _, rows, ax: sizes.draw_sizes(rows, ax),
            sizes.describe_sizes,
            sizes.SIZE,
            has_names=True,
        ),
        "densities": Kind(
            lambda fit, _: sizes.densities_table(fit),
            lambda _, rows: sizes.forest_figure(rows),
            sizes.describe_densities,
        ),
        "loss_law": _by_benchmark(
            loss_law.loss_law_table, loss_law.draw_loss_law, loss_law.describe_loss_law
        ),
        "loss_residuals": _by_benchmark(
            loss_law.loss_residuals_table,
            loss_law.draw_loss_residuals,
            loss_law.describe_loss_residuals,
        ),
        "score_map": _by_benchmark(
            score_map.score_map_table, score_map.draw_score_map, score_map.describe_score_map
        ),
        "predictive": _by_benchmark(
            predictive.predictive_table, predictive.draw_predictive, predictive.describe_predictive
        ),
        "readings": Kind(
            lambda fit, dataset: readings.readings_table(fit, dataset=dataset),
            lambda _, rows: readings.readings_figure(rows),
            readings.describe_readings,
        ),
        "prior_posterior": _arviz(
            sampling.prior_posterior_table,
            sampling.plot_prior_posterior,
            sampling.describe_prior_posterior,
        ),
        "rank": _arviz(sampling.rank_table, sampling.plot_rank, sampling.describe_rank),
        "ess": _arviz(sampling.ess_table, sampling.plot_ess, sampling.describe_ess),
        "energy": _arviz(sampling.energy_table, sampling.plot_energy, sampling.describe_energy),
    }
)
