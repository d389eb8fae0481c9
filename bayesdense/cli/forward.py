"""Verbs that take a fit beyond its data: `score` new LLMs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from bayesdense.cli import words
from bayesdense.cli.options import FitArgument, Format, FormatOption
from bayesdense.cli.output import Answer, columns_or_stack, emit
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

    payload = score_llms(load_fit(fit), models, scores)
    rows = [words.flat(row) for row in csv_rows(payload)]
    emit(Answer(payload, rows, tuple(_score_body(payload))), form)


def _score_body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Say sizes, densities and places to people."""
    columns = ("LLM", "released", "size", "effective size", "density", "over trend", "P(above)")
    yield columns_or_stack(
        columns,
        (
            [
                _mark(llm) + llm["llm"],
                llm["release_date"],
                format_count(llm["n_params"]),
                _estimate(llm["effective_params"], format_count),
                _estimate(llm["density"], format_number),
                _estimate(llm["ratio"], format_number),
                format_probability(llm["p_above_trend"]),
            ]
            for llm in payload["llms"]
        ),
        right=columns[2:],
    )
    if any(_mark(llm) for llm in payload["llms"]):
        yield "> scores give a lower bound on the size only, < an upper bound only"
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
    return "> " if llm["lower_bound_only"] else "< " if llm["upper_bound_only"] else ""


def _estimate(found: Mapping[str, Any], spell: words.Spell) -> str:
    """Spell median and interval; what is beyond the largest number is infinite."""
    values: Sequence[float | None] = (found["median"], *found["eti95"])
    middle, low, high = ("infinite" if value is None else spell(value) for value in values)
    return f"{middle} ({low} to {high})"
