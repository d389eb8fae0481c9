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
from bayesdense.plots.summaries import StudyResult, content_of, layer, layers
from bayesdense.wording import listing, told

RANKS: Final = "ranks"
COVERAGE: Final = "coverage"
_GROWTH: Final = ("growth_rate", "growth at the last release")
_WIDEST, _PERCENT = "eti95", 100.0
#: Names of quantities outside of the band of all that are written into the figure.
_NAMED: Final = 6
#: Inches: the figure of ranks, a line of the one of coverage, and those about all of them.
_RANKS_SIZE, _LINE, _ABOUT = (WIDTH, 4.2), 0.3, 1.4
_BANDS: Final = ("all", "single")


def plot_calibration(
    found: StudyResult | Mapping[str, Any], *, kind: str = RANKS, ax: Axes | None = None
) -> Axes:
    """Draw ranks of all quantities against their bands, or coverage of growth by world.

    Parameters
    ----------
    found
        A `Calibration`, what `read_study` returned, or the content of `calibrate.json`.
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
    content = content_of(found)
    with styled():
        if kind == RANKS:
            return draw_ranks(ranks_table(content), axes_or_new(ax, _RANKS_SIZE))
        rows = coverage_rows(content)
        return draw_coverage(rows, axes_or_new(ax, _coverage_size(rows)))


def ranks_figure(table: pd.DataFrame) -> Figure:
    """Draw a `ranks_table` on a figure that pyplot does not keep."""
    drawn, ax = new_figure(_RANKS_SIZE)
    draw_ranks(table, ax)
    return drawn


def coverage_figure(rows: pd.DataFrame) -> Figure:
    """Draw `coverage_rows` on a figure that pyplot does not keep."""
    drawn, ax = new_figure(_coverage_size(rows))
    draw_coverage(rows, ax)
    return drawn


def ranks_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate what is drawn of ranks.

    Returns
    -------
    pandas.DataFrame
        `layer`: "band_all" and "band_single" (`rank` as a share, `lower`, `upper`), and "quantity"
        (`quantity`, `rank`, `difference` of the ECDF from a uniform one, and `is_outside`, whether
        it leaves the band of all).

    Raises
    ------
    BayesdenseError
        Ranks were not judged.
    """
    apart = rank_differences(found)
    ranks = found["ranks"]
    bands = {name: {k: np.array(v) for k, v in ranks["bands"][name].items()} for name in _BANDS}
    long = apart.rename_axis(columns="quantity").reset_index().melt("rank", value_name="difference")
    return layers(
        {
            **{
                f"band_{name}": pd.DataFrame(
                    {
                        "rank": band["at"],
                        "lower": band["lower"] - band["at"],
                        "upper": band["upper"] - band["at"],
                    }
                )
                for name, band in bands.items()
            },
            "quantity": long.assign(is_outside=long["quantity"].isin(ranks["outside_all"])),
        }
    )


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


def describe_ranks(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    quantities = layer(table, "quantity")
    outside = quantities.loc[quantities["is_outside"].astype(bool), "quantity"].unique().tolist()
    furthest = quantities.iloc[int(quantities["difference"].abs().to_numpy(float).argmax())]
    said = f"leave it: {listing(outside, _NAMED)}" if outside else "leave it: none"
    return (
        f"ECDFs of ranks of {quantities['quantity'].nunique()} quantities less that of a uniform, "
        f"with the band that holds all of them in 95 % of studies; quantities that {said}. "
        f"Furthest off is {furthest['quantity']}, by {furthest['difference']:+.3f}."
    )


def describe_coverage(rows: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    parts = [
        f"{row['world']} {row['coverage']:.0f} % ({row['low']:.0f} to {row['high']:.0f})"
        for _, row in rows[rows["estimator"] == "model"].iterrows()
    ]
    return (
        "Share of the model's 95 % intervals of growth that hold the truth, by world: "
        f"{'; '.join(parts)}."
    )


def _coverage_size(rows: pd.DataFrame) -> tuple[float, float]:
    """Width and height of the figure of coverage, inches."""
    return WIDTH, _LINE * rows["world"].nunique() + _ABOUT


def draw_ranks(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw all ECDFs less the uniform one."""
    for name, label, opacity in (
        ("all", "band of all", OUTER / 2),
        ("single", "band of one quantity", OUTER),
    ):
        band = layer(table, f"band_{name}")
        ax.fill_between(band["rank"], band["lower"], band["upper"], color=MUTED, alpha=opacity,
                        linewidth=0.0, label=label)  # fmt: skip
    ax.axhline(0.0, color=MUTED, linewidth=0.8, linestyle=DASHED)
    long = layer(table, "quantity")
    apart = long.pivot(index="rank", columns="quantity", values="difference")
    left = set(long.loc[long["is_outside"].astype(bool), "quantity"])
    outside = [str(name) for name in apart if name in left]
    plain = [str(name) for name in apart if name not in left and name not in _GROWTH]
    _lines(ax, apart, plain, colour=INK, width=0.5, opacity=0.4)
    growth = [name for name in _GROWTH if name in apart and name not in left]
    _lines(ax, apart, growth, colour=BLUE, width=1.6, opacity=1.0, label="growth")
    _lines(ax, apart, outside, colour=VERMILLION, width=1.2, opacity=1.0, label="outside of it")
    for name in outside[:_NAMED]:
        column = apart[name]
        furthest = int(column.abs().to_numpy(float).argmax())
        place = (float(column.index[furthest]), float(column.iloc[furthest]))
        ax.annotate(str(name), place, color=VERMILLION)
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("rank of the truth among draws of the posterior, as a share")
    ax.set_ylabel("ECDF less that of a uniform")
    legend_below(ax, 4)
    return ax


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


def draw_coverage(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Draw coverage of either estimator, a line per world."""
    names = list(dict.fromkeys(rows["world"]))
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
    return ax
