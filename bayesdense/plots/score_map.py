"""Map from loss to score of every benchmark, with its points and with what D0 tokens can reach."""

import math
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from bayesdense.arrays import Floats
from bayesdense.elementary import expit
from bayesdense.names import BENCHMARK, MAP_PARAMETERS
from bayesdense.plots.benchmarks import entries, loss_units, one_panel, require_benchmarks
from bayesdense.plots.labels import short
from bayesdense.plots.loss_law import mean_loss
from bayesdense.plots.style import BLUE, GREEN, INK, PAPER, VERMILLION, fill_bands, styled
from bayesdense.plots.summaries import band_columns, layer, layers
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_score
from bayesdense.statements import format_count, format_number
from bayesdense.wording import listing

_POINTS: Final = 61
#: Marks of calibration points: those of the fit, and those that it has not seen.
_ROLES: Final = {
    "fit": ("o", INK, "calibration point"),
    "heldout": ("s", PAPER, "calibration point, held out"),
}


def score_map_table(fit: Fit) -> pd.DataFrame:
    """Tabulate what `plot_score_map` draws, of every benchmark.

    Returns
    -------
    pandas.DataFrame
        `benchmark`; `layer`: "map" (the score at a `loss`: `median`, `eti50_lower` ...
        `eti95_upper`), "point" (`loss`, `score` and `role`: "fit" or "heldout"), "reachable" (the
        loss of an endless LLM on D0 tokens: `loss`, `loss_lower`, `loss_upper`, and the score
        there: `median` and its intervals), "llm" (`score` of every LLM). Scores are fractions;
        one of 0 or of all items is moved by half an item, as in the model.

    Raises
    ------
    BayesdenseError
        The fit is of densities only.
    """
    names = require_benchmarks(fit, "score maps")
    points = pd.concat([_point_rows(fit, names), _heldout_rows(fit, names)], ignore_index=True)
    scores = pd.DataFrame(
        {
            BENCHMARK: np.asarray(names)[entries(fit, "score_benchmark_idx")],
            "score": expit(fit.group("observed_data")["score"].values),
        }
    )
    reachable = pd.concat([_reachable_row(fit, name) for name in names], ignore_index=True)
    maps = pd.concat([_map_rows(fit, name, points, reachable) for name in names], ignore_index=True)
    table = layers({"map": maps, "point": points, "reachable": reachable, "llm": scores})
    return table.assign(
        loss_unit=loss_units(fit, table[BENCHMARK]),
        reference_tokens=fit.spec.options.reference_tokens,
    )


def plot_score_map(fit: Fit, benchmark: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the map from loss to score, its points, and what D0 tokens can reach.

    Scores of LLMs stand as ticks at the right edge: those above the reachable one bound a size
    from below only.

    Parameters
    ----------
    fit
        A fit of a joint model.
    benchmark
        Its benchmark; by default the dataset's first.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    with styled():
        return one_panel(draw_score_map, score_map_table(fit), benchmark, ax)


def describe_score_map(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    reach = layer(table, "reachable").set_index(BENCHMARK)["median"]
    said = listing(
        [f"{name} {format_number(value, digits=2)}" for name, value in reach.items()], limit=8
    )
    held = int((layer(table, "point")["role"] == "heldout").sum())
    return (
        f"Score against loss: {int((table['layer'] == 'point').sum())} calibration points "
        f"({held} held out) and the score map with 50 % and 95 % bands. Score of an endless "
        f"reference LLM on {format_count(table['reference_tokens'].iloc[0])} tokens: {said}."
    )


def _point_rows(fit: Fit, names: list[str]) -> pd.DataFrame:
    """Calibration points of the fit."""
    return pd.DataFrame(
        {
            BENCHMARK: np.asarray(names)[entries(fit, "point_benchmark_idx")],
            "loss": fit.group("constant_data")["point_loss"].values,
            "score": expit(fit.group("observed_data")["loss_score"].values),
            "role": "fit",
        }
    )


def _heldout_rows(fit: Fit, names: list[str]) -> pd.DataFrame:
    """Calibration points that were held out, where there are any."""
    group = fit.group("heldout")
    if "loss" not in group:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            BENCHMARK: np.asarray(names)[group["benchmark_idx"].values],
            "loss": group["loss"].values,
            "score": expit(group["logit_score"].values),
            "role": "heldout",
        }
    )


def _score(fit: Fit, benchmark: str, loss: xr.DataArray) -> xr.DataArray:
    """Score of a benchmark's map at a loss, draw by draw."""
    curve = (fit.posterior[name].sel({BENCHMARK: benchmark}) for name in MAP_PARAMETERS)
    score: xr.DataArray = logistic_score(loss, *curve)
    return score.transpose("chain", "draw", "at")


def _reachable_row(fit: Fit, benchmark: str) -> pd.DataFrame:
    """Loss and score of a reference LLM of endless size on D0 tokens."""
    log_tokens = math.log(fit.spec.options.reference_tokens)
    loss = mean_loss(fit, benchmark, np.array([math.inf]), np.array([log_tokens]))
    ends = band_columns(loss)
    return pd.DataFrame(
        {
            BENCHMARK: benchmark,
            "loss": ends["median"],
            "loss_lower": ends["eti95_lower"],
            "loss_upper": ends["eti95_upper"],
            **band_columns(_score(fit, benchmark, loss)),
        }
    )


def _map_rows(
    fit: Fit, benchmark: str, points: pd.DataFrame, reachable: pd.DataFrame
) -> pd.DataFrame:
    """Map of a benchmark over the losses of its points and down to what can be reached."""
    seen = pd.concat(
        [part.loc[part[BENCHMARK] == benchmark, "loss"] for part in (points, reachable)]
    )
    low, high = float(seen.min()), float(seen.max())
    room = 0.06 * (high - low)
    loss = np.linspace(max(low - room, 0.0), high + room, _POINTS)
    columns = band_columns(_score(fit, benchmark, xr.DataArray(loss, dims="at")))
    return pd.DataFrame({BENCHMARK: benchmark, "loss": loss, **columns})


def draw_score_map(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a `score_map_table` of one benchmark."""
    curve, points = layer(table, "map"), layer(table, "point")
    fill_bands(ax, "loss", curve, "map")
    ax.plot(curve["loss"], curve["median"], color=BLUE, label="map, median")
    for role, (mark, fill, label) in _ROLES.items():
        part = points[points["role"] == role]
        if len(part):
            ax.plot(part["loss"], part["score"], mark, color=INK, markerfacecolor=fill,
                    markersize=3.5, linestyle="none", label=label)  # fmt: skip
    _draw_reachable(ax, layer(table, "reachable").iloc[0])
    _draw_scores(ax, layer(table, "llm")["score"].to_numpy())
    ax.set_ylim(0.0, 1.0)
    ax.set_xlim(float(curve["loss"].min()), float(curve["loss"].max()))
    ax.set_xlabel(f"loss ({short(table['loss_unit'].iloc[0])})")
    ax.set_ylabel("score")
    return ax


def _draw_reachable(ax: Axes, row: "pd.Series[float]") -> None:
    """Loss and score of an endless reference LLM."""
    ax.axvspan(row["loss_lower"], row["loss_upper"], color=GREEN, alpha=0.15, linewidth=0.0)
    ax.axvline(row["loss"], color=GREEN, linestyle=":", label="endless LLM on D0 tokens")
    ax.axhline(row["median"], color=GREEN, linestyle=":")


def _draw_scores(ax: Axes, scores: Floats) -> None:
    """Scores of LLMs as ticks at the right edge."""
    ax.plot(np.full(scores.size, 0.985), scores, "_", color=VERMILLION, alpha=0.6, markersize=7.0,
            markeredgewidth=0.8, transform=ax.get_yaxis_transform(),
            label="scores of LLMs")  # fmt: skip
