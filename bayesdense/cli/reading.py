"""Verbs that read a finished fit: `check`, `summarize`, `predict`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesdense.cli import words
from bayesdense.cli.options import FitArgument, Format, FormatOption, ThresholdOption
from bayesdense.cli.output import Answer, columns_or_stack, emit
from bayesdense.names import SCHEMA_VERSION
from bayesdense.statements import format_count, format_number

if TYPE_CHECKING:
    from bayesdense.results import Fit

_LOG = logging.getLogger(__name__)


def check(fit: FitArgument, form: FormatOption = Format.TABLE) -> None:
    """Judge a fit: convergence, precision, and how well the model describes the data.

    PASS and REVIEW exit 0, FAIL exits 1. A REVIEW is news about the model, not a fault.
    """
    from bayesdense.checks import check as check_fit
    from bayesdense.results import load_fit

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
    form: FormatOption = Format.TABLE,
) -> None:
    """Say what a fit found: growth, doubling time, and the density of every LLM."""
    from bayesdense.results import load_fit

    loaded = load_fit(fit)
    if benchmarks:
        emit(_benchmarks_answer(loaded), form)
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
