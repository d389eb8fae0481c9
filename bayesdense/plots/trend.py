"""Trend of density in time, with every LLM, and the paper's records and line beside it."""

import datetime as dt
from typing import Final, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bayesdense import derive
from bayesdense.dataset import Dataset
from bayesdense.elementary import LOG_2
from bayesdense.names import DAYS_PER_MONTH, LLM
from bayesdense.plots.baseline import PUBLISHED, paper_records
from bayesdense.plots.labels import label_points
from bayesdense.plots.style import (
    BLUE,
    DASHED,
    MUTED,
    VERMILLION,
    axes_or_new,
    bars,
    date_axis,
    fill_bands,
    legend_below,
    log_axis,
    styled,
)
from bayesdense.plots.summaries import band_columns, exponentials, layer, layers
from bayesdense.point import PointEstimate
from bayesdense.results import Fit
from bayesdense.statements import format_number
from bayesdense.wording import counted

type Scale = Literal["log", "linear"]

_POINTS: Final = 61  # dates at which the trend is read inside the data
_AHEAD, _BEFORE = 0.2, 0.04  # shares of the window by which it is continued
_LEAST_DAYS: Final = 90
#: Orders of magnitude of an LLM's interval that the axis makes room for.
_ROOM: Final = 30.0
#: Marks of LLMs, by what their scores bound.
MARKS: Final = {"": "o", "lower": "^", "upper": "v", "neither": "s"}
BOUND_WORDS: Final = {
    "": "LLM, median and 95 % interval",
    "lower": "LLM, scores give a lower bound only",
    "upper": "LLM, scores give an upper bound only",
    "neither": "LLM, scores fit any size",
}


def trend_table(fit: Fit, *, paper: bool = True, dataset: Dataset | None = None) -> pd.DataFrame:
    """Tabulate what `plot_trend` draws.

    Parameters
    ----------
    fit
        A fit.
    paper
        Whether the records and the line of the paper's estimator are wanted.
    dataset
        The dataset that was fitted, for these; shipped ones are found by themselves.

    Returns
    -------
    pandas.DataFrame
        `layer`: "trend" (densities of a typical new LLM), "llm", "record", "line". `date`;
        `median` density and its equal-tailed intervals `eti50_lower` ... `eti95_upper`; `llm` and
        `bound` ("lower", "upper", "neither" or "") of LLMs; `inside`: whether the date lies between
        the first and the last release; `records_of`: the dataset of the records.
    """
    estimate = paper_records(fit, dataset) if paper else None
    return layers(
        {
            "trend": _trend_rows(fit),
            "llm": llm_rows(fit),
            **({} if estimate is None else _paper_rows(estimate)),
        }
    )


def plot_trend(
    fit: Fit,
    *,
    scale: Scale = "log",
    paper: bool = True,
    dataset: Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the trend of density, every LLM, and the paper's records and line.

    Bands hold 50 % and 95 % of the trend's posterior; outside the data it is dashed. An LLM whose
    scores bound its size on one side only has a mark of its own.

    Parameters
    ----------
    fit
        A fit.
    scale
        "log" or "linear" axis of density.
    paper, dataset
        As in `trend_table`.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That were drawn on.
    """
    with styled():
        table = trend_table(fit, paper=paper, dataset=dataset)
        return draw_trend(table, axes_or_new(ax), scale=scale, title=trend_title(fit))


def trend_title(fit: Fit) -> str:
    """The doubling time with its interval, as the title of a figure."""
    return repr(derive.doubling_time(fit))


def describe_trend(table: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    line, llms = layer(table, "trend"), layer(table, "llm")
    inside = line[line["inside"]]
    ends = [inside.iloc[k] for k in dict.fromkeys((0, len(inside) - 1))]
    values = " to ".join(
        f"{format_number(row['median'])} (95 % {format_number(row['eti95_lower'])} to "
        f"{format_number(row['eti95_upper'])}) on {row['date']:%Y-%m-%d}"
        for row in ends
    )
    counts = [
        f"{int((llms['bound'] == side).sum())} with {side} bounds only"
        for side in ("lower", "upper")
        if (llms["bound"] == side).any()
    ]
    if n_without := int((llms["bound"] == "neither").sum()):
        counts.append(f"{n_without} without bounds")
    beside = f" ({', '.join(counts)})" if counts else ""
    records = layer(table, "record")
    found = counted(len(records), "running record")
    paper = f" Diamonds mark {found} of the paper's estimator." if len(records) else ""
    return (
        f"Density against release date: the median of the trend is {values}; beside it "
        f"{counted(len(llms), 'LLM')}{beside} with their intervals.{paper}"
    )


def _trend_rows(fit: Fit) -> pd.DataFrame:
    """The trend inside the data and a little beyond, its ends in both parts."""
    first, last = (dt.date.fromisoformat(day) for day in derive.window(fit))
    length = (last - first).days
    before = max(round(_BEFORE * length), _LEAST_DAYS // 3)
    ahead = max(round(_AHEAD * length), _LEAST_DAYS)
    parts = [
        (_days(first, -before, 0, 7), False),
        (_days(first, 0, length, _POINTS), True),
        (_days(last, 0, ahead, 15), False),
    ]
    dates = [day for days, _ in parts for day in days]
    columns = exponentials(band_columns(derive.trend(fit, [day.isoformat() for day in dates])))
    inside = [flag for days, flag in parts for _ in days]
    return pd.DataFrame({"date": pd.to_datetime(dates), **columns, "inside": inside})


def _days(start: dt.date, low: int, high: int, count: int) -> list[dt.date]:
    """Days evenly spread, each once."""
    offsets = np.unique(np.linspace(low, high, count).round().astype(int))
    return [start + dt.timedelta(days=int(offset)) for offset in offsets]


def llm_rows(fit: Fit) -> pd.DataFrame:
    """Density of every LLM: median, interval, and whether it is but a bound."""
    found = derive.llm_estimates(fit)
    median, lower, upper = (found[name].values for name in derive.column_names("density"))
    return pd.DataFrame(
        {
            "llm": [str(name) for name in found[LLM].values],
            "date": pd.to_datetime(derive.release_dates(fit).values),
            "median": median,
            "eti95_lower": lower,
            "eti95_upper": upper,
            "bound": derive.bounds(found),
            "inside": True,
        }
    )


def _paper_rows(estimate: PointEstimate) -> dict[str, pd.DataFrame]:
    """Running records of point densities, and the least squares line through their logs."""
    found = estimate.table()
    records = pd.DataFrame(
        {"llm": found["llm"], "date": found["release_date"], "median": found["density"]}
    ).assign(inside=True, records_of=estimate.dataset)
    line = estimate.line
    if line.slope_per_day is None or line.intercept is None:
        return {"record": records}
    days = np.linspace(found["days"].min(), found["days"].max(), _POINTS)
    return {
        "record": records,
        "line": pd.DataFrame(
            {
                "date": pd.to_datetime(estimate.origin) + pd.to_timedelta(days.round(), unit="D"),
                "median": np.exp(line.intercept + line.slope_per_day * days),
                "inside": True,
            }
        ),
    }


def draw_trend(table: pd.DataFrame, ax: Axes, *, scale: Scale = "log", title: str = "") -> Axes:
    """Draw a `trend_table`."""
    _set_limits(ax, table, scale)
    _draw_llms(ax, layer(table, "llm"))
    _draw_line(ax, layer(table, "trend"))
    _draw_paper(ax, layer(table, "record"), layer(table, "line"))
    ax.set_xlabel("release date")
    ax.set_ylabel("density (effective size over size)")
    if title:
        ax.set_title(title)
    date_axis(ax)
    legend_below(ax)
    llms = layer(table, "llm")
    points = pd.concat([llms, layer(table, "record")])
    label_points(
        ax,
        list(points["date"]),
        points["median"].to_numpy(),
        list(points["llm"]),
        order=_importance(llms),
    )
    return ax


def _set_limits(ax: Axes, table: pd.DataFrame, scale: Scale) -> None:
    """Make room for the trend and the medians; intervals that go further are cut."""
    line, llms = layer(table, "trend"), layer(table, "llm")
    inside = line[line["inside"]]
    records = layer(table, "record")
    centres = np.concatenate([llms["median"], records["median"], line["median"]])
    top = float(np.nanmax([np.nanmax(centres), inside["eti95_upper"].max()]))
    bottom = float(np.nanmin([np.nanmin(centres), inside["eti95_lower"].min()]))
    if scale == "linear":
        ax.set_ylim(0.0, 1.12 * top)
        return
    high = min(float(llms["eti95_upper"].max()), top * _ROOM)
    low = max(float(llms["eti95_lower"].min()), bottom / _ROOM)
    ax.set_ylim(min(low, bottom) / 1.5, max(high, top) * 2.5)
    log_axis(ax, "y")


def _draw_llms(ax: Axes, llms: pd.DataFrame) -> None:
    """Every LLM with its interval, marked by what its scores bound."""
    for bound, mark in MARKS.items():
        part = llms[llms["bound"] == bound]
        if part.empty:
            continue
        bars(ax, part, "date")
        ax.plot(
            part["date"],
            part["median"],
            mark,
            color=MUTED,
            markersize=3.5 if bound == "" else 6.0,
            markerfacecolor=MUTED if bound == "" else "none",
            label=BOUND_WORDS[bound],
            linestyle="none",
        )


def _draw_line(ax: Axes, line: pd.DataFrame) -> None:
    """The trend with its bands, dashed outside the data."""
    inside = line[line["inside"]]
    first, last = inside["date"].iloc[0], inside["date"].iloc[-1]
    fill_bands(ax, "date", line, "trend")
    ax.plot(inside["date"], inside["median"], color=BLUE, label="trend, median")
    for part, label in (
        (line[line["date"] <= first], None),
        (line[line["date"] >= last], "trend outside the data"),
    ):
        ax.plot(part["date"], part["median"], color=BLUE, linestyle=DASHED, label=label)


def _draw_paper(ax: Axes, records: pd.DataFrame, line: pd.DataFrame) -> None:
    """Running records and their line."""
    if len(records):
        ax.plot(
            records["date"],
            records["median"],
            "D",
            color=VERMILLION,
            markerfacecolor="none",
            markersize=5.0,
            label="the paper's running records"
            if records["records_of"].iloc[0] == PUBLISHED
            else "running records (the paper's estimator)",
        )
    if len(line):
        months = LOG_2 / _slope(line) / DAYS_PER_MONTH
        label = f"their line ({months:.1f} months)" if months > 0.0 else "their line"
        ax.plot(line["date"], line["median"], color=VERMILLION, linestyle="-.", linewidth=1.2,
                label=label)  # fmt: skip


def _slope(line: pd.DataFrame) -> float:
    """Slope of log density per day between the two ends of a line."""
    days = (line["date"].iloc[-1] - line["date"].iloc[0]) / pd.Timedelta(days=1)
    return float(np.log(line["median"].iloc[-1] / line["median"].iloc[0]) / days)


def _importance(llms: pd.DataFrame) -> list[int]:
    """Order in which LLMs are named: bounds, running records, then the latest."""
    running = llms["median"].to_numpy() >= np.maximum.accumulate(llms["median"].to_numpy())
    rank = np.where(llms["bound"] != "", 0, np.where(running, 1, 2))
    by_date = -llms["date"].astype("int64").to_numpy()
    return [int(k) for k in np.lexsort((by_date, rank))]
