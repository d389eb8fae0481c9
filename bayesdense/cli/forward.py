"""Verbs that take a fit beyond its data: `score` new LLMs, `forecast` later dates."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType

from bayesdense.cli import words
from bayesdense.cli.options import FitArgument, Format, FormatOption, read_folder
from bayesdense.cli.output import Answer, columns_or_stack, emit, say
from bayesdense.errors import BayesdenseError
from bayesdense.names import CI_PROB
from bayesdense.statements import format_count, format_number, format_probability


def score(
    fit: FitArgument,
    models: Annotated[
        Path,
        typer.Argument(
            metavar="MODELS",
            help="CSV table of new LLMs: columns as in llms.csv, and one of scores per benchmark.",
            show_default=False,
        ),
    ],
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="CSV table of their scores, columns as in scores.csv: llm, benchmark, score.",
            show_default=False,
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Give effective size and density of new LLMs under a fit, and their place against its trend.

    Nothing is fitted again, nothing leaves the machine, and the fit is not updated.
    """
    from bayesdense.results import load_fit
    from bayesdense.scoring import csv_rows
    from bayesdense.scoring import score as score_llms

    loaded = load_fit(fit)
    payload = score_llms(loaded, models, scores)
    rows = [words.flat(row) for row in csv_rows(payload)]
    emit(Answer(payload, rows, chain(_score_body(payload), words.failed_checks(loaded))), form)


def _score_body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Say sizes, densities and places to people."""
    columns = ("LLM", "effective size", "density", "over trend", "P(above)")
    yield columns_or_stack(
        columns,
        (
            [
                _mark(llm) + llm["llm"],
                _estimate(llm["effective_params"], format_count),
                _estimate(llm["density"], _number),
                _estimate(llm["ratio"], _number),
                format_probability(llm["p_above_trend"]),
            ]
            for llm in payload["llms"]
        ),
        right=columns[1:],
    )
    if any(_mark(llm) for llm in payload["llms"]):
        yield words.BOUNDS_LEGEND
    about = payload["fit"]
    yield (
        f"Under the fit of {about['model']} to {about['dataset']} ({about['window'][0]} to "
        f"{about['window'][1]}), D0 = {format_count(about['reference_tokens'])} tokens, "
        f'{about["params"].replace("_", "-")} parameters. Medians with 95 % intervals; "over '
        'trend" is the density over that of a typical LLM of the same date.'
    )
    yield payload["statement"]
    yield from words.warning_lines(payload["warnings"])


def _mark(llm: Mapping[str, Any]) -> str:
    """Mark an LLM whose scores bound its size on one side only."""
    is_lower, is_upper = llm["lower_bound_only"], llm["upper_bound_only"]
    return "? " if is_lower and is_upper else "> " if is_lower else "< " if is_upper else ""


def _number(value: float) -> str:
    """Spell a density: quantiles of some thousand draws hold two digits."""
    return format_number(value, digits=2)


def _estimate(found: Mapping[str, Any], spell: words.Spell) -> str:
    """Spell median and interval; what is beyond the largest number is infinite."""
    values: Sequence[float | None] = (found["median"], *found["eti95"])
    middle, low, high = ("infinite" if value is None else spell(value) for value in values)
    return f"{middle} ({low}\N{EN DASH}{high})"


def forecast(
    fit: FitArgument,
    at: Annotated[
        list[str],
        typer.Option(
            "--at",
            metavar="DATE",
            help="Date of which density is asked. May be given several times.",
            show_default=False,
        ),
    ],
    density: Annotated[
        float | None,
        typer.Option(
            "--density", metavar="X", help="Also when this density is reached.", show_default=False
        ),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            metavar="BENCHMARK=VALUE",
            help="Also when LLMs of --params parameters reach this score. Once per benchmark.",
            show_default=False,
        ),
    ] = None,
    params: Annotated[
        float | None,
        typer.Option("--params", metavar="N", help="Parameters for --score.", show_default=False),
    ] = None,
    horizon: Annotated[
        str | None,
        typer.Option(
            "--horizon",
            metavar="DATE",
            help="Until when goals are looked for. Default: ten years on.",
            show_default=False,
        ),
    ] = None,
    hardware_doubling_years: Annotated[
        float,
        typer.Option(
            "--hardware-doubling-years", metavar="YEARS", help="In which hardware doubles."
        ),
    ] = 2.1,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FIT",
            help="Folder of a fit with another trend, to stack; needs --weights. May be repeated.",
            parser=read_folder,
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="compare.json of a comparison with --lfo, whose weights stack the fits.",
            show_default=False,
        ),
    ] = None,
    freeze: Annotated[
        Path | None,
        typer.Option(
            "--freeze",
            metavar="FILE",
            help="Write a dated, hashed forecast of later LLMs' scores, to be scored later.",
            show_default=False,
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Forecast density at dates, and when a density or a score is reached.

    Beyond the last release both bands rest on the trend's going on as it did.
    """
    from bayesdense.forecasting import forecast as forecast_fit
    from bayesdense.frozen import freeze_forecast
    from bayesdense.results import load_fit
    from bayesdense.stacking import read_weights, stacked_forecast

    if bool(others) != (weights is not None):
        raise typer.BadParameter("--with and --weights, allowed: both or neither")
    if others and freeze is not None:
        raise typer.BadParameter("--freeze writes the draws of one fit: leave out --with")
    loaded = load_fit(fit)
    asked: dict[str, Any] = {
        "density": density,
        "score": _goals(score or ()),
        "params": params,
        "horizon": horizon,
        "hardware_doubling_years": hardware_doubling_years,
    }
    fits = [loaded, *map(load_fit, others or ())]
    if weights is not None:
        payload = stacked_forecast(fits, read_weights(weights, fits), at, **asked)
    else:
        payload = forecast_fit(loaded, at, **asked)
    if freeze is not None:
        say(f"frozen as {freeze}, SHA-256 {freeze_forecast(loaded, freeze, answer=payload)}")
    rows = [
        words.flat(row | {k: row[k] or none for k, none in _NONE.items()})
        for row in payload["dates"]
    ]
    body = chain(_forecast_body(payload), words.failed_checks(*fits))
    emit(Answer(payload, rows, body), form)


#: Columns of growth where there is none.
_NONE: Final[Mapping[str, Mapping[str, object]]] = {
    "growth_rate_per_year": {"median": None, "eti95": (None, None), "p_positive": None},
    "doubling_time_days": {
        "median": None,
        "eti50": (None, None),
        "eti95": (None, None),
        "unbounded": None,
        "unbounded50": None,
        "at": None,
    },
}


def _goals(texts: Sequence[str]) -> dict[str, float]:
    """Read scores to be reached, one of each benchmark."""
    goals = [_goal(text) for text in texts]
    names = [name for name, _ in goals]
    if twice := next((name for k, name in enumerate(names) if name in names[:k]), None):
        raise BayesdenseError(f"--score {twice}: is there twice, allowed: one of each benchmark")
    return dict(goals)


def _goal(text: str) -> tuple[str, float]:
    """Read BENCHMARK=VALUE."""
    name, sign, value = text.rpartition("=")
    try:
        if sign:
            return name, float(value)
    except ValueError:
        pass
    raise BayesdenseError(f"--score {text!r}: write it as BENCHMARK=VALUE, as MMLU=0.7")


def _forecast_body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Say bands, goals and corollaries to people."""
    columns = ("date", "typical LLM", "new LLM", "doubling, months")
    yield columns_or_stack(
        columns,
        (
            [
                row["date"] + (" *" if row["extrapolated"] else ""),
                _estimate(row["typical"], _number),
                _estimate(row["new_llm"], _number),
                words.months(row["doubling_time_days"])
                if row["doubling_time_days"]
                else "undefined",
            ]
            for row in payload["dates"]
        ),
        right=columns[1:],
    )
    about = payload["fit"]
    yield (
        f"Densities under the fit of {about['model']} to {about['dataset']} ({about['window'][0]} "
        f"to {about['window'][1]}), trend {about['trend']}: medians with 95 % intervals. A new LLM "
        "has an effect of its family and a residual of its own."
    )
    if stack := payload.get("stack"):
        shares = ", ".join(f"{one['trend']} {one['weight']:.2f}" for one in stack)
        yield f"Stacked by how trends foretold what came later: {shares}."
    if any(row["extrapolated"] for row in payload["dates"]):
        yield "* outside of that window: only if the trend goes on there as it did within."
    for row in payload["dates"]:
        if row["p_singular"]:
            chance = format_probability(row["p_singular"])
            yield (
                f"P(density has become infinite, or zero, by {row['date']}) {chance}: no doubling "
                "time is defined there."
            )
        elif row["p_not_finite"]:
            chance = format_probability(row["p_not_finite"])
            yield f"By {row['date']} the trend has left the numbers with probability {chance}."
    if payload["p_singular_by_horizon"]:
        chance = format_probability(payload["p_singular_by_horizon"])
        yield (
            f"P(density has become infinite, or zero, by {payload['horizon']}) {chance}: "
            "such draws are at every goal, or at none."
        )
    for target in payload["targets"]:
        yield from _target_lines(target, about["window"][0], payload["horizon"])
    yield from _corollary_lines(payload["corollaries"])
    yield from _derived_lines(payload["derived"])


def _target_lines(target: Mapping[str, Any], first: str, horizon: str) -> Iterator[str]:
    """Say when a goal is reached, with all that is not."""
    if target["kind"] == "density":
        what = f"A typical LLM of density {format_number(target['density'])}"
    else:
        what = (
            f"A typical LLM of {format_count(target['n_params'])} parameters with "
            f"{words.percent(target['score'])} on {target['benchmark']} "
            f"({_density_needed(target['density'])})"
        )
    chance = format_probability(target["p_reached_by_horizon"])
    yield f"{what}: {_when(target, first)}; P(by {horizon}) {chance}."
    for row in target["dates"]:
        size = row.get("size_needed")
        needed = f"; size needed {_estimate(size, format_count)}" if size else ""
        new = format_probability(row["p_new_llm"])
        yield f"  {row['date']}: P(a new LLM does) {new}{needed}"


def _density_needed(density: Mapping[str, Any]) -> str:
    """Spell the density that a score takes; some are had without any, and some by none."""
    low, high = density["eti95"]
    if high == 0.0:
        return "which takes no size: it is no better than chance"
    if low is None:
        return "which no size reaches"
    return f"density {_estimate(density, _number)}"


def _when(target: Mapping[str, Any], first: str) -> str:
    """Spell the date of a goal; what was reached before the first release has no date."""
    from bayesdense.estimates import tails

    before = target["p_reached_before_window"]
    dates = (target["date"]["median"], *target["date"]["eti95"])
    middle, low, high = (
        f"before {first}" if before > prob else date
        for date, prob in zip(dates, (0.5, *tails(CI_PROB)), strict=True)
    )
    if low is None:
        return "never, or after the horizon (as is the whole 95 % interval)"
    if high == low:
        return f"{low} (as is the whole 95 % interval)"
    late = "never, or after the horizon"
    return f"{middle or late} (95 % interval {low} to {high or late})"


def _corollary_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Say what growth means for sizes."""
    yield (
        "The size needed for a given score halves in months: "
        f"{words.months(found['size_halving_days'])}. With hardware that doubles every "
        f"{found['hardware_doubling_years']:g} years, effective size for a price doubles in "
        f"months: {words.months(found['with_hardware_doubling_days'])}."
    )


def _derived_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Say how dense LLMs are that were made from others."""
    for pair in found["pairs"]:
        yield (
            f"{pair['llm']}, made from {pair['derived_from']}: "
            f"{_estimate(pair['ratio'], _number)} times its density, P(denser) "
            f"{format_probability(pair['p_denser'])}"
        )
