"""Posterior of growth and of doubling time, beside their priors and the paper's value."""

import math
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import gaussian_kde

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.elementary import LOG_2
from bayesdense.names import (
    CI_PROB,
    DAYS_PER_MONTH,
    DAYS_PER_YEAR,
    INNER_CI_PROB,
    PAPER_SLOPE_PER_DAY,
)
from bayesdense.plots.style import (
    BLUE,
    INK,
    INNER,
    MUTED,
    VERMILLION,
    axes_or_new,
    legend_below,
    spread,
    styled,
)
from bayesdense.plots.summaries import layer, layers
from bayesdense.results import Fit
from bayesdense.statements import format_number

SIZE: Final = (7.2, 3.4)
_POINTS: Final = 400
_MONTHS_PER_YEAR: Final = DAYS_PER_YEAR / DAYS_PER_MONTH
#: Doubling times are drawn up to the largest end of an interval times this (the second where there
#: is no upper end), and to ten years at most.
_BEYOND, _BEYOND_OPEN, _MOST_MONTHS = 1.5, 4.0, 120.0
PAPER_GROWTH: Final = PAPER_SLOPE_PER_DAY * DAYS_PER_YEAR
PAPER_MONTHS: Final = LOG_2 / PAPER_SLOPE_PER_DAY / DAYS_PER_MONTH


def growth_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_growth_rate` draws.

    Returns
    -------
    pandas.DataFrame
        `layer`: "posterior" and "prior" (`growth_rate` in 1/year, `density` in years; kernel
        density estimates of the draws), "interval" (`prob` and the ends `lower`, `upper` of the
        equal-tailed interval), "median" and "paper" (a value in `growth_rate`). Where growth is
        the same in every draw it has no density.
    """
    growth = derive.growth_rate(fit)
    draws = growth.draws.values
    grid = np.linspace(*spread(*_range([draws.min(), draws.max(), 0.0, PAPER_GROWTH])), _POINTS)
    return layers(
        {
            "posterior": _growth_rows(draws, grid),
            "prior": _growth_rows(_prior_growth(fit), grid),
            "interval": _interval_rows(growth.interval),
            "median": pd.DataFrame({"growth_rate": [growth.median]}),
            "paper": pd.DataFrame({"growth_rate": [PAPER_GROWTH]}),
        }
    )


def doubling_time_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_doubling_time` draws.

    The density of T = ln 2 / g follows from that of the growth rate by the change of variable,
    p(T) = p(g) ln 2 / T^2; what part of it lies at no positive T stands in `p_none`.

    Returns
    -------
    pandas.DataFrame
        `layer`: "posterior" and "prior" (`months`, `density` in 1/month), "interval" (`prob`,
        `lower`, `upper` in months; infinite where growth may be zero), "median" and "paper"
        (`months`), "chance" (`p_none`: posterior probability that density does not grow).
    """
    growth, doubling = derive.growth_rate(fit), derive.doubling_time(fit)
    ends = {prob: doubling.interval(prob) for prob in (INNER_CI_PROB, CI_PROB)}
    finite = [end for pair in ends.values() for end in pair if math.isfinite(end)]
    beyond = _BEYOND if len(finite) == 2 * len(ends) else _BEYOND_OPEN
    reach = beyond * max([*finite, PAPER_MONTHS * DAYS_PER_MONTH]) / DAYS_PER_MONTH
    months = np.linspace(0.0, min(reach, _MOST_MONTHS), _POINTS + 1)[1:]
    return layers(
        {
            "posterior": _time_rows(growth.draws.values, months),
            "prior": _time_rows(_prior_growth(fit), months),
            "interval": _interval_rows(
                lambda prob: tuple(end / DAYS_PER_MONTH for end in doubling.interval(prob))
            ),
            "median": pd.DataFrame({"months": [doubling.median / DAYS_PER_MONTH]}),
            "paper": pd.DataFrame({"months": [PAPER_MONTHS]}),
            "chance": pd.DataFrame({"p_none": [1.0 - growth.probability_above(0.0).value]}),
        }
    )


def plot_growth_rate(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Draw the posterior of the growth rate, with its prior and the paper's value.

    Parameters
    ----------
    fit
        A fit.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    with styled():
        drawn = axes_or_new(ax, SIZE)
        return draw_growth(growth_table(fit), drawn, title=growth_title(fit))


def growth_title(fit: Fit) -> str:
    """The growth rate with its interval, as the title of a figure."""
    return repr(derive.growth_rate(fit))


def plot_doubling_time(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Draw the posterior of the doubling time, with its prior and the paper's value.

    Parameters
    ----------
    fit
        A fit.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    with styled():
        title = repr(derive.doubling_time(fit))
        return draw_doubling_time(doubling_time_table(fit), axes_or_new(ax, SIZE), title=title)


def describe_growth(table: pd.DataFrame) -> str:
    """Say in words what the figure of the growth rate shows."""
    return _describe(table, "growth_rate", "Growth rate of log density", "per year")


def describe_doubling_time(table: pd.DataFrame) -> str:
    """Say in words what the figure of the doubling time shows."""
    return _describe(table, "months", "Time in which density doubles", "months")


def _describe(table: pd.DataFrame, column: str, what: str, unit: str) -> str:
    """Median, interval and the paper's value."""
    low, high = _ends(table, CI_PROB)
    paper, middle = (float(layer(table, name)[column].iloc[0]) for name in ("paper", "median"))
    if not math.isfinite(low):
        found = "posterior without any finite value in its 95 % interval"
    else:
        upper = format_number(high) if math.isfinite(high) else "no upper end"
        median = f"median {format_number(middle)}" if math.isfinite(middle) else "infinite median"
        found = f"posterior with {median} {unit}, 95 % interval {format_number(low)} to {upper}"
    return (
        f"{what}: {found}, beside its prior and the paper's value, {format_number(paper)} {unit}."
    )


def _ends(table: pd.DataFrame, prob: float) -> tuple[float, float]:
    """Ends of an interval of a table."""
    row = layer(table, "interval").query("prob == @prob").iloc[0]
    return float(row["lower"]), float(row["upper"])


def _range(values: Iterable[float]) -> tuple[float, float]:
    """Least and largest of values."""
    kept = list(values)
    return min(kept), max(kept)


def _prior_growth(fit: Fit) -> Floats:
    """Growth rate at the last release by draw of the prior; none where the fit kept no draws."""
    growth = derive.prior_growth_rate(fit)
    return np.empty(0) if growth is None else growth.to_numpy()


def density_of(draws: Floats) -> Callable[[Floats], Floats] | None:
    """Gaussian kernel density estimate of draws (SciPy's); None where all are one value."""
    values = np.ravel(draws)
    if values.size < 2 or np.ptp(values) == 0.0:
        return None
    estimate = gaussian_kde(values)
    return lambda x: np.asarray(estimate(x))


def _growth_rows(draws: Floats, grid: Floats) -> pd.DataFrame:
    """Density of growth rates on a grid."""
    density = density_of(draws)
    if density is None:
        return pd.DataFrame()
    return pd.DataFrame({"growth_rate": grid, "density": density(grid)})


def _time_rows(growth: Floats, months: Floats) -> pd.DataFrame:
    """Density of the doubling time on a grid of months, from that of the growth rate."""
    density = density_of(growth)
    if density is None:
        return pd.DataFrame()
    rate = LOG_2 * _MONTHS_PER_YEAR / months
    return pd.DataFrame({"months": months, "density": density(rate) * rate / months})


def _interval_rows(interval: Callable[[float], tuple[float, ...]]) -> pd.DataFrame:
    """Both equal-tailed intervals."""
    probs = (INNER_CI_PROB, CI_PROB)
    ends = [interval(prob) for prob in probs]
    return pd.DataFrame(
        {"prob": probs, "lower": [pair[0] for pair in ends], "upper": [pair[1] for pair in ends]}
    )


def draw_growth(table: pd.DataFrame, ax: Axes, *, title: str = "") -> Axes:
    """Draw a `growth_table`."""
    ax.set_xlim(*_range(table["growth_rate"].dropna()))
    _draw(ax, table, "growth_rate", f"the paper: {PAPER_GROWTH:.2f} per year")
    ax.axvline(0.0, color=MUTED, linewidth=0.8)
    ax.set_xlabel("growth rate of log density (1/year)")
    ax.set_title(title)
    return ax


def draw_doubling_time(table: pd.DataFrame, ax: Axes, *, title: str = "") -> Axes:
    """Draw a `doubling_time_table`."""
    # A median far out, where growth is hardly told from none, would leave the densities no room.
    shown = table[table["layer"] != "median"]["months"].to_numpy()
    ax.set_xlim(0.0, float(shown[np.isfinite(shown)].max()) * 1.02)
    _draw(ax, table, "months", f"the paper: {PAPER_MONTHS:.1f} months")
    none = float(layer(table, "chance")["p_none"].iloc[0])
    if none > 0.0:
        ax.text(
            0.99, 0.94, f"P(density does not grow) = {format_number(none)}: not drawn",
            transform=ax.transAxes, ha="right", va="top", fontsize=8.0,
        )  # fmt: skip
    ax.set_xlabel("doubling time (months of 30.4375 days)")
    ax.set_title(title)
    return ax


def _draw(ax: Axes, table: pd.DataFrame, column: str, paper_label: str) -> None:
    """Draw densities, the interval below them, and the paper's value."""
    posterior, prior = layer(table, "posterior"), layer(table, "prior")
    drawn = [*posterior.get("density", ()), 0.0] if len(posterior) else [*prior.get("density", ())]
    top = max([*drawn, 0.0]) or 1.0
    ax.set_ylim(-0.12 * top, 1.08 * top)
    if len(posterior):
        ax.fill_between(
            posterior[column], posterior["density"], color=BLUE, alpha=INNER, linewidth=0.0
        )
        ax.plot(posterior[column], posterior["density"], color=BLUE, label="posterior")
    if len(prior):
        ax.plot(prior[column], prior["density"], color=INK, linestyle="--", linewidth=1.1,
                label="prior")  # fmt: skip
    for width, prob in ((1.4, CI_PROB), (4.5, INNER_CI_PROB)):
        ends = np.clip(_ends(table, prob), *ax.get_xlim())
        ax.plot(ends, [-0.06 * top] * 2, color=BLUE, linewidth=width, solid_capstyle="butt",
                label=f"{prob:.0%} interval".replace("%", " %"))  # fmt: skip
    median = float(layer(table, "median")[column].iloc[0])
    if ax.get_xlim()[0] <= median <= ax.get_xlim()[1]:
        ax.plot(median, -0.06 * top, "o", color=INK, markersize=4.5, label="median")
    paper = float(layer(table, "paper")[column].iloc[0])
    ax.axvline(paper, color=VERMILLION, linestyle="-.", linewidth=1.2, label=paper_label)
    ax.set_yticks([])
    ax.set_ylabel("probability density")
    legend_below(ax)
