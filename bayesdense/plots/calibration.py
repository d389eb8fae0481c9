"""Ranks against their bands, and coverage world by world: what a study of calibration found."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdense.errors import BayesdenseError
from bayesdense.plots.style import (
    BLUE,
    DASHED,
    INK,
    MUTED,
    OUTER,
    VERMILLION,
    WIDTH,
    axes_or_new,
    legend_below,
    new_figure,
    styled,
)
from bayesdense.wording import told

RANKS: Final = "ranks"
COVERAGE: Final = "coverage"
_GROWTH: Final = ("growth_rate", "growth at the last release")
_WIDEST, _PERCENT = "eti95", 100.0
#: Names of quantities outside of the band of all that are written into the figure.
_NAMED: Final = 6
#: Inches: the figure of ranks, a line of the one of coverage, and those about all of them.
_RANKS_HEIGHT, _LINE, _ABOUT = 4.2, 0.3, 1.4


def plot_calibration(
    found: Mapping[str, Any], *, kind: str = RANKS, ax: Axes | None = None
) -> Axes:
    """Draw ranks of all quantities against their bands, or coverage of growth by world.

    Parameters
    ----------
    found
        What a study of calibration found: `Calibration.to_dict()`, or the content of its
        `calibrate.json`.
    kind
        `ranks`: ECDF of every quantity's ranks less that of a uniform, with the simultaneous band
        of one quantity (inner) and of all (outer); growth is drawn in blue, what leaves the band
        of all in red, by name. `coverage`: share of 95 % intervals of growth that hold the truth,
        with its own 95 % interval, of the model and of the point pipeline.
    ax
        Axes to draw on; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    BayesdenseError
        Another kind, or ranks that were not judged.
    """
    if kind not in (RANKS, COVERAGE):
        raise BayesdenseError(f"kind = {told(kind)}, allowed: {RANKS}, {COVERAGE}")
    with styled():
        ax = axes_or_new(ax, _size(found, kind))
        (_draw_ranks if kind == RANKS else _draw_coverage)(found, ax)
    return ax


def calibration_figure(found: Mapping[str, Any], kind: str) -> Figure:
    """Draw `plot_calibration` on a figure that pyplot does not keep."""
    with styled():
        drawn, ax = new_figure(_size(found, kind))
    plot_calibration(found, kind=kind, ax=ax)
    return drawn


def rank_differences(found: Mapping[str, Any]) -> pd.DataFrame:
    """ECDF of ranks less that of a uniform: one column per quantity, one row per hundredth.

    Raises
    ------
    BayesdenseError
        Ranks were not judged.
    """
    ranks = found["ranks"]
    if ranks is None:
        raise BayesdenseError(
            "no ranks to draw: they need 20 fits in the world well_specified, truths from the prior"
        )
    columns = {
        name: np.cumsum(one["counts"])[:-1] / one["n"] for name, one in ranks["quantities"].items()
    }
    bins = len(next(iter(ranks["quantities"].values()))["counts"])
    at = np.arange(1, bins) / bins
    return pd.DataFrame(columns, index=pd.Index(at, name="rank")).sub(at, axis=0)


def coverage_rows(found: Mapping[str, Any]) -> pd.DataFrame:
    """Coverage of 95 % intervals of growth in percent: one row per world and estimator."""
    return pd.DataFrame(
        [
            {
                "world": world["name"],
                "estimator": name,
                "coverage": _PERCENT * held["share"],
                "low": _PERCENT * held["eti95"][0],
                "high": _PERCENT * held["eti95"][1],
            }
            for world in found["worlds"]
            for name in ("model", "point")
            for held in (world[name]["coverage"][_WIDEST],)
        ]
    )


def _size(found: Mapping[str, Any], kind: str) -> tuple[float, float]:
    """Width and height, inches."""
    return WIDTH, _RANKS_HEIGHT if kind == RANKS else _LINE * len(found["worlds"]) + _ABOUT


def _draw_ranks(found: Mapping[str, Any], ax: Axes) -> None:
    """Draw all ECDFs less the uniform one."""
    apart, ranks = rank_differences(found), found["ranks"]
    for name, opacity in (("all", OUTER / 2), ("single", OUTER)):
        limits = {side: np.array(ranks["bands"][name][side]) for side in ("at", "lower", "upper")}
        at = limits["at"]
        label = "band of one quantity" if name == "single" else "band of all"
        low, high = limits["lower"] - at, limits["upper"] - at
        ax.fill_between(at, low, high, color=MUTED, alpha=opacity, linewidth=0.0, label=label)
    ax.axhline(0.0, color=MUTED, linewidth=0.8, linestyle=DASHED)
    outside = list(ranks["outside_all"])
    plain = [name for name in apart if name not in outside and name not in _GROWTH]
    _lines(ax, apart, plain, colour=INK, width=0.5, opacity=0.4)
    growth = [name for name in _GROWTH if name in apart and name not in outside]
    _lines(ax, apart, growth, colour=BLUE, width=1.6, opacity=1.0, label="growth")
    _lines(ax, apart, outside, colour=VERMILLION, width=1.2, opacity=1.0, label="outside of it")
    for name in outside[:_NAMED]:
        column = apart[name]
        furthest = column.abs().idxmax()
        ax.annotate(str(name), (float(furthest), float(column[furthest])), color=VERMILLION)
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("rank of the truth among draws of the posterior, as a share")
    ax.set_ylabel("ECDF less that of a uniform")
    legend_below(ax, 4)


def _lines(
    ax: Axes,
    apart: pd.DataFrame,
    names: Sequence[Hashable],
    *,
    colour: str,
    width: float,
    opacity: float,
    label: str | None = None,
) -> None:
    """Draw some quantities alike, told once in the legend."""
    for k, name in enumerate(names):
        ax.plot(
            apart.index,
            apart[name],
            color=colour,
            linewidth=width,
            alpha=opacity,
            label=label if k == 0 else None,
        )


def _draw_coverage(found: Mapping[str, Any], ax: Axes) -> None:
    """Draw coverage of either estimator, a line per world."""
    rows = coverage_rows(found)
    names = [world["name"] for world in found["worlds"]]
    marks = (("model", 0.0, BLUE, "o"), ("point", 0.28, VERMILLION, "s"))
    for estimator, below, colour, mark in marks:
        mine = rows[rows["estimator"] == estimator]
        y = np.arange(len(names)) + below
        ax.hlines(y, mine["low"], mine["high"], colors=colour, linewidth=1.1)
        said = "the model" if estimator == "model" else "line through records"
        ax.plot(mine["coverage"], y, mark, color=colour, markersize=4.0, label=said)
    ax.axvline(95.0, color=MUTED, linewidth=0.8, linestyle=DASHED)
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(0.0, 100.0)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("95 % intervals of growth that hold the truth (%)")
    legend_below(ax, 2)
