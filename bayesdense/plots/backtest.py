"""What earlier fits said of later LLMs' scores: coverage, and distance beside baselines."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from bayesdense.errors import BayesdenseError
from bayesdense.names import BENCHMARK
from bayesdense.plots.benchmarks import one_panel, panels
from bayesdense.plots.style import (
    BLUE,
    CYCLE,
    DASHED,
    MUTED,
    VERMILLION,
    WIDTH,
    axes_or_new,
    new_figure,
    styled,
)
from bayesdense.plots.summaries import StudyResult, content_of
from bayesdense.wording import told

COVERAGE: Final = "coverage"
CRPS: Final = "crps"
_ALL: Final = "all"
_PERCENT: Final = 100.0
_MARKS: Final = "os^Dv<>P"
#: By which origins stand apart at one probability, percent.
_APART: Final = 2.2
#: Standard errors within which a difference is none.
_ERRORS: Final = 2.0
#: Inches that a line takes, and those about all of them.
_LINE, _ABOUT = 0.24, 0.9


def coverage_table(found: StudyResult | Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate coverage of later scores, in percent.

    Returns
    -------
    pandas.DataFrame
        One row per benchmark ("all" first), origin and band: `predicted`, `observed`, the range
        `lower` to `upper` in which 95 % of the model's own worlds lie, `as_expected`, and `n`
        scores.

    Raises
    ------
    BayesdenseError
        No origin could be fitted.
    """
    rows = [
        {
            BENCHMARK: row["benchmark"],
            "origin": origin["origin"],
            "predicted": _PERCENT * row["prob"],
            "observed": _PERCENT * row["coverage"],
            "lower": _PERCENT * row["expected_eti95"][0],
            "upper": _PERCENT * row["expected_eti95"][1],
            "as_expected": row["as_expected"],
            "n": row["n"],
        }
        for origin in _done(found)
        for row in origin["coverage"]
    ]
    table = pd.DataFrame(rows)
    first = table[BENCHMARK] == _ALL
    return pd.concat([table[first], table[~first]], ignore_index=True)


def crps_table(found: StudyResult | Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate differences of the CRPS, model less baseline.

    Returns
    -------
    pandas.DataFrame
        One row per baseline and origin ("all origins" last): `difference` in units of the score,
        negative where the model is better, `se` clustered by family, `lower` and `upper` (two
        errors; none where there is no error), `n` scores, `n_families`, and `verdict`.

    Raises
    ------
    BayesdenseError
        No origin could be fitted, or no baseline be made.
    """
    _done(found)
    rows = [
        {
            "baseline": row["baseline"],
            "origin": row["origin"] or "all origins",
            "difference": row["difference"],
            "se": row["se"],
            "lower": None if row["se"] is None else row["difference"] - _ERRORS * row["se"],
            "upper": None if row["se"] is None else row["difference"] + _ERRORS * row["se"],
            "n": row["n"],
            "n_families": row["n_families"],
            "verdict": row["verdict"],
        }
        for row in content_of(found)["comparisons"]
        if row["score"] == CRPS
    ]
    if not rows:
        raise BayesdenseError("backtest: no baseline could be made, so that nothing is compared")
    return pd.DataFrame(rows).sort_values("baseline", kind="stable", ignore_index=True)


def plot_backtest(
    found: StudyResult | Mapping[str, Any],
    *,
    kind: str = COVERAGE,
    benchmark: str = _ALL,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often later scores lay in their bands, or how far off they were beside baselines.

    Parameters
    ----------
    found
        A `Backtest`, what `read_study` returned, or the content of `backtest.json`.
    kind
        `coverage`: share of later scores in the 50, 80 and 95 % bands against these, with the
        range in which 95 % of the model's own worlds lie, at each origin. `crps`: continuous
        ranked probability score of the model less that of each baseline, with two standard errors
        clustered by family.
    benchmark
        Of which coverage is drawn; all of them by default.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.

    Raises
    ------
    BayesdenseError
        Another kind, no such benchmark, or nothing that was fitted.
    """
    if kind not in (COVERAGE, CRPS):
        raise BayesdenseError(f"kind = {told(kind)}, allowed: {COVERAGE}, {CRPS}")
    with styled():
        if kind == COVERAGE:
            return one_panel(draw_coverage, coverage_table(found), benchmark, ax)
        table = crps_table(found)
        return draw_crps(table, axes_or_new(ax, _size(table)))


def coverage_figure(table: pd.DataFrame) -> Figure:
    """Draw a `coverage_table`, a panel for all scores and for every benchmark."""
    return panels(table, draw_coverage)


def crps_figure(table: pd.DataFrame) -> Figure:
    """Draw a `crps_table` on a figure that pyplot does not keep."""
    drawn, ax = new_figure(_size(table))
    draw_crps(table, ax)
    return drawn


def draw_coverage(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Draw coverage of one benchmark."""
    probs = sorted(rows["predicted"].unique())
    ax.plot([0, 100], [0, 100], color=MUTED, linestyle=DASHED, linewidth=0.8, label="as predicted")
    origins = list(dict.fromkeys(rows["origin"]))
    for k, origin in enumerate(origins):
        mine = rows[rows["origin"] == origin]
        x = mine["predicted"] + _APART * (k - (len(origins) - 1) / 2)
        colour, mark = CYCLE[k % len(CYCLE)], _MARKS[k % len(_MARKS)]
        ax.vlines(x, mine["lower"], mine["upper"], colors=colour, linewidth=4.0, alpha=0.3)
        ax.plot(x, mine["observed"], mark, color=colour, markersize=4.5, linestyle="none",
                label=f"LLMs from {origin} on")  # fmt: skip
    ax.xaxis.set_major_locator(FixedLocator(probs))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlim(min(probs) - 8, 103)
    ax.set_ylim(-3, 103)
    ax.set_xlabel("predicted (%)")
    ax.set_ylabel("observed (%)")
    return ax


def draw_crps(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `crps_table`."""
    whole = (table["origin"] == "all origins").to_numpy()
    y = np.arange(len(table))
    ax.axvline(0.0, color=MUTED, linewidth=0.8)
    for chosen, colour, mark in ((~whole, BLUE, "o"), (whole, VERMILLION, "D")):
        mine = table[chosen]
        low, high = (mine[name].to_numpy(float) for name in ("lower", "upper"))
        ax.hlines(y[chosen], low, high, colors=colour, linewidth=1.2)
        ax.plot(mine["difference"], y[chosen], mark, color=colour, markersize=4.5)
    ax.set_yticks(y, [f"{b}: {o}" for b, o in zip(table["baseline"], table["origin"], strict=True)])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("CRPS of the model less the baseline's, 2 errors; left of 0 the model is better")
    return ax


def describe_coverage(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    whole = table[table[BENCHMARK] == _ALL]
    parts = []
    for origin, rows in whole.groupby("origin", sort=False):
        said = ", ".join(
            f"{row['observed']:.0f} % in the {row['predicted']:.0f} % band "
            f"({row['lower']:.0f} to {row['upper']:.0f} expected)"
            for _, row in rows.iterrows()
        )
        parts.append(f"of LLMs from {origin} on {said}")
    apart = int((~table["as_expected"].astype(bool)).sum())
    return (
        "Share of later LLMs' scores in the bands that earlier fits gave them: "
        f"{'; '.join(parts)}. "
        f"Of {len(table)} shares, those of single benchmarks included, {apart} lie outside of the "
        "model's own range."
    )


def describe_crps(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    whole = table[table["origin"] == "all origins"]
    parts = [
        f"{row['difference']:+.4f}"
        + ("" if pd.isna(row["se"]) else f" \N{PLUS-MINUS SIGN} {row['se']:.4f}")
        + f" beside {row['baseline']} ({row['verdict']})"
        for _, row in whole.iterrows()
    ]
    return (
        "CRPS of the model's predictions of later scores less that of a baseline, over all origins "
        f"with standard errors: {'; '.join(parts)}. Negative is better."
    )


def _done(found: StudyResult | Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Origins that were fitted."""
    done = [one for one in content_of(found)["origins"] if one["status"] == "done"]
    if not done:
        raise BayesdenseError("backtest: no origin could be fitted; there is nothing to draw")
    return done


def _size(table: pd.DataFrame) -> tuple[float, float]:
    """Width and height, inches."""
    return WIDTH, _LINE * len(table) + _ABOUT
