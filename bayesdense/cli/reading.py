"""Verbs that read finished fits: `check`, `summarize`, `predict`, `diff`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesdense.cli import words
from bayesdense.cli.options import (
    FitArgument,
    Format,
    FormatOption,
    ThresholdOption,
    complete_dataset,
)
from bayesdense.cli.output import Answer, columns_or_stack, emit, table
from bayesdense.cli.sensitivity import sensitivity_answer
from bayesdense.names import SCHEMA_VERSION
from bayesdense.statements import format_count, format_number, format_probability

if TYPE_CHECKING:
    from bayesdense.dataset import Dataset
    from bayesdense.results import Fit

_LOG = logging.getLogger(__name__)


def check(
    fit: FitArgument,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity",
            help="Instead, what growth leans on: each prior, each part of the data, single LLMs.",
            show_default=False,
        ),
    ] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Judge a fit: convergence, precision, and how well the model describes the data.

    PASS and REVIEW exit 0, FAIL exits 1. A REVIEW is news about the model, not a fault.
    """
    from bayesdense.checks import check as check_fit
    from bayesdense.results import load_fit

    if sensitivity:
        emit(sensitivity_answer(load_fit(fit)), form)
        return
    checks = check_fit(load_fit(fit))
    emit(words.checks_answer(checks.to_dict()), form)
    if checks.status == "fail":
        raise typer.Exit(1)


def summarize(
    fit: FitArgument,
    threshold: ThresholdOption = None,
    benchmarks: Annotated[
        bool,
        typer.Option(
            "--benchmarks",
            help="Instead, the loss law and score map of every benchmark.",
            show_default=False,
        ),
    ] = False,
    readings: Annotated[
        bool,
        typer.Option(
            "--readings",
            help="Instead, growth of the frontier in several readings, and the paper's.",
            show_default=False,
        ),
    ] = False,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="DATASET",
            help="With --readings, the data that were fitted, for the paper's estimate. Default: "
            "the shipped dataset of that name, if it is the same.",
            show_default=False,
            autocompletion=complete_dataset,
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Say what a fit found: growth, doubling time, and the density of every LLM."""
    from bayesdense.results import load_fit

    loaded = load_fit(fit)
    if benchmarks:
        emit(_benchmarks_answer(loaded), form)
        return
    if readings:
        from bayesdense.frontier import frontier_readings

        emit(_readings_answer(frontier_readings(loaded, dataset=_data_of(loaded, dataset))), form)
        return
    from bayesdense.checks import check as check_fit
    from bayesdense.summary import headline
    from bayesdense.summary import summarize as summarize_fit
    from bayesdense.text_tables import growth_text_table, llm_text_table

    summary = summarize_fit(loaded, check_fit(loaded), threshold_days=threshold)
    for text in loaded.dataset_warnings if form is not Format.TABLE else ():
        _LOG.warning("%s", text)  # on stderr: neither form has room for them
    said = (
        headline(summary),
        *words.warning_lines(loaded.dataset_warnings),
        "",
        *words.growth_table(growth_text_table(loaded)),
        *words.llm_table(llm_text_table(loaded)),
    )
    emit(words.summary_answer(summary, *said), form)


def _data_of(fit: "Fit", given: str | None) -> "Dataset | None":
    """Return the data that were fitted: those named, or the shipped ones if they are the same."""
    from bayesdense.catalog import dataset_names
    from bayesdense.dataset import load_dataset

    if given is not None:
        return load_dataset(given)
    name, digest = fit.dataset_info["name"], fit.dataset_info["digest"]
    shipped = load_dataset(name) if name in dataset_names() else None
    return shipped if shipped is not None and shipped.digest == digest else None


def _readings_answer(payload: Mapping[str, Any]) -> Answer:
    """Say readings of the frontier in the three forms."""
    columns = ("reading", "growth per year", "doubling, months")
    found: Sequence[Mapping[str, Any]] = payload["readings"]
    cells = columns_or_stack(
        columns,
        (
            [
                r["reading"],
                _growth(r["growth_rate_per_year"]),
                words.months(r["doubling_time_days"]),
            ]
            if r["absent"] is None
            else [r["reading"], "-", "-"]
            for r in found
        ),
        right=columns[1:],
    )
    rows = [words.flat(reading) for reading in found]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Answer(
        payload=payload,
        rows=[{name: row.get(name) for name in names} for row in rows],
        body=(cells, *_reading_lines(found), *_entrants_line(payload["entrants_per_year"])),
    )


def _reading_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say of what each reading speaks, and what it leaves out."""
    yield "Medians with 95 % intervals. Each reading answers a question of its own; none is ranked."
    for reading in found:
        why = f"; not here: {reading['absent']}" if reading["absent"] else ""
        holders = reading.get("share_lower_bound_holders")
        bound = (
            f"; {words.percent(holders)} of record holders have only a lower bound"
            if holders
            else ""
        )
        few = reading.get("share_too_few_records")
        lines = f"; {words.percent(few)} of draws have fewer than three records" if few else ""
        yield f"  {reading['reading']}: {reading['about']}{why}{bound}{lines}"


def _entrants_line(per_year: float | None) -> Iterator[str]:
    """Say how many LLMs come."""
    if per_year is not None:
        yield f"LLMs per year in the window: {format_number(per_year)}; attempts assume as many."


def _growth(growth: Mapping[str, Any]) -> str:
    """Spell growth; the paper's has no interval."""
    span = growth["eti95"]
    return format_number(growth["median"]) + (f" ({words.interval(span)})" if span else "")


def _benchmarks_answer(fit: "Fit") -> Answer:
    """Say law and map of every benchmark in the three forms."""
    from bayesdense.derive import benchmark_parameters, benchmark_table

    draws = benchmark_parameters(fit)
    centre = {name: float(draws[f"{name}_centre"]) for name in ("params", "tokens")}
    rows: list[dict[str, Any]] = [
        {
            **{name: row[name] for name in ("benchmark", "parameter", "unit", "median")},
            "eti95": [row["eti95_lower"], row["eti95_upper"]],
        }
        for row in benchmark_table(fit).to_dict("records")
    ]
    cells = columns_or_stack(
        ("benchmark", "parameter", "median", "95 %", "unit"),
        (
            [
                row["benchmark"],
                row["parameter"],
                format_number(row["median"]),
                words.interval(row["eti95"], format_number),
                row["unit"],
            ]
            for row in rows
        ),
        right=("median", "95 %"),
    )
    at = f"{format_count(centre['params'])} parameters and {format_count(centre['tokens'])} tokens"
    return Answer(
        payload={"schema": SCHEMA_VERSION, "centre": centre, "parameters": rows},
        rows=[words.flat(row) for row in rows],
        body=(cells, f"param_coef and token_coef are losses at {at}, the centre of the runs."),
    )


def predict(
    fit: FitArgument,
    params: Annotated[
        float,
        typer.Option("--params", metavar="N", help="Parameters of the run.", show_default=False),
    ],
    tokens: Annotated[
        float,
        typer.Option("--tokens", metavar="D", help="Training tokens.", show_default=False),
    ],
    form: FormatOption = Format.TABLE,
) -> None:
    """Predict loss and score of a reference run of that size and data, on every benchmark.

    The interval of the mean is about the law; that of a new run adds its own scatter.
    """
    from bayesdense.prediction import predict as predict_run
    from bayesdense.results import load_fit

    emit(_predict_answer(predict_run(load_fit(fit), params, tokens)), form)


def _predict_answer(payload: Mapping[str, Any]) -> Answer:
    """Say predictions in the three forms."""
    found: Sequence[Mapping[str, Any]] = payload["predictions"]
    cells = columns_or_stack(
        ("benchmark", "", "median", "95 % of the mean", "95 % of a new run"),
        (
            [p["benchmark"], name, *_cells(p[name], spell)]
            for p in found
            for name, spell in (("loss", format_number), ("score", words.percent))
        ),
        right=("median", "95 % of the mean", "95 % of a new run"),
    )
    rows = [words.flat(p) for p in found]
    return Answer(payload=payload, rows=rows, body=(cells, *_stretch(found[0]["extrapolation"])))


def _cells(estimate: Mapping[str, Any], spell: words.Spell) -> list[str]:
    """Spell median, interval of the mean, interval of a new run."""
    return [
        spell(estimate["median"]),
        words.interval(estimate["eti95_mean"], spell),
        words.interval(estimate["eti95_new"], spell),
    ]


def _stretch(times: Mapping[str, float | None]) -> Iterator[str]:
    """Say how far outside the ladder the run lies, if it does."""
    far = [
        f"{format_number(x)} times the largest in {what}"
        for what, x in times.items()
        if x and x > 1
    ]
    if far:
        yield f"Extrapolated beyond the reference runs: {' and '.join(far)}."


def diff(
    first: FitArgument,
    second: FitArgument,
    form: FormatOption = Format.TABLE,
) -> None:
    """Say what moved between two fits: data, model and code, growth and doubling time.

    Two fits that differ in several of these cannot say which of them moved the answer.
    """
    from bayesdense.difference import change_lines
    from bayesdense.difference import diff as compare
    from bayesdense.results import load_fit

    fits = load_fit(first), load_fit(second)
    found = compare(*fits)
    payload = found.to_dict()
    answers = payload["fits"]
    columns = ("fit", "growth per year (95 %)", "doubles in days (95 %)", "P(growing)", "at")
    cells = [
        [str(path), *_growth_cells(answer)]
        for path, answer in zip((first, second), answers, strict=True)
    ]
    moved = [
        [row["llm"], f"{row['shift']:+.2f}", f"{row['in_sd']:+.1f}"] for row in payload["densities"]
    ]
    emit(
        Answer(
            payload=payload,
            rows=[
                {"fit": str(path), **words.flat(answer)}
                for path, answer in zip((first, second), answers, strict=True)
            ],
            body=chain(
                [columns_or_stack(columns, cells, right=columns[1:4]), found.statement],
                change_lines(found),
                words.failed_checks(*fits),
                ["", "Log densities of LLMs in both fits that moved most:"],
                [table(("LLM", "shift", "in sd"), moved, right=("shift", "in sd"), compact=True)],
            ),
        ),
        form,
    )


def _growth_cells(answer: Mapping[str, Any]) -> list[object]:
    """Growth and doubling time of one fit for people."""
    growth = answer["growth_rate_per_year"]
    return [
        f"{format_number(growth['median'])} ({words.interval(growth['eti95'])})",
        words.days(answer["doubling_time_days"]),
        format_probability(growth["p_positive"]),
        answer["at"],
    ]
