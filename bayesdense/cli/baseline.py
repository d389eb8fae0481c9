"""The verb `point`: the paper's estimator, the baseline beside every posterior."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from bayesdense.cli.options import DatasetArgument, Format, FormatOption
from bayesdense.cli.output import Answer, columns_or_stack, emit
from bayesdense.cli.words import interval
from bayesdense.names import DAYS_PER_MONTH
from bayesdense.statements import format_number


class Aggregate(StrEnum):
    """How several benchmarks become one size."""

    MEDIAN = "median"
    AVERAGE = "average"


class Params(StrEnum):
    """Which count of parameters divides."""

    NON_EMBEDDING = "non_embedding"
    TOTAL = "total"
    ACTIVE = "active"


class Law(StrEnum):
    """Form of the loss law."""

    ADDITIVE = "additive"
    CHINCHILLA = "chinchilla"


class Mode(StrEnum):
    """Optimum of the loss law, where least squares has several."""

    BEST = "best"
    PARAMS_STEEPER = "params_steeper"
    TOKENS_STEEPER = "tokens_steeper"


def point(
    dataset: DatasetArgument = "densing",
    reference_tokens: Annotated[
        float,
        typer.Option("--reference-tokens", metavar="D0", help="Training tokens of the yardstick."),
    ] = 5e12,
    params: Annotated[
        Params, typer.Option("--params", help="Count of parameters that divides.")
    ] = Params.NON_EMBEDDING,
    aggregate: Annotated[
        Aggregate,
        typer.Option(
            "--aggregate", help="One size per LLM: median over benchmarks, or the paper's."
        ),
    ] = Aggregate.MEDIAN,
    law: Annotated[
        Law, typer.Option("--law", help="Without a loss floor, or with.")
    ] = Law.ADDITIVE,
    mode: Annotated[
        Mode, typer.Option("--mode", help="Optimum of the law where there are several.")
    ] = Mode.BEST,
    pseudo_point: Annotated[
        bool,
        typer.Option("--pseudo-point/--no-pseudo-point", help="Draw the map to loss 0, score 1."),
    ] = True,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="DATE", help="Also fit before and after it.", show_default=False
        ),
    ] = None,
    permutations: Annotated[
        int, typer.Option("--permutations", metavar="N", min=1, help="Of the attempt-count null.")
    ] = 10_000,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, help="Of the permutations.", show_default=False),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Estimate growth as the paper does: least squares on the running records of density.

    It ignores every uncertainty, and records rise even where nothing improves.
    Beside it stands how fast they rise in permuted worlds without growth.
    """
    from bayesdense.dataset import load_dataset
    from bayesdense.point import point_estimate
    from bayesdense.point.options import DEFAULT_SEED

    estimate = point_estimate(
        load_dataset(dataset),
        reference_tokens=reference_tokens,
        params=params.value,
        aggregate=aggregate.value,
        law=law.value,
        mode=mode.value,
        pseudo_point=pseudo_point,
        split=split,
        n_permutations=permutations,
        seed=DEFAULT_SEED if seed is None else seed,
    )
    emit(_answer(estimate.to_dict()), form)


def _answer(payload: Mapping[str, Any]) -> Answer:
    """Say the estimate in the three forms; the CSV holds every LLM."""
    held = {record["llm"] for record in payload["records"]}
    return Answer(
        payload=payload,
        rows=[{**llm, "is_record": llm["llm"] in held} for llm in payload["llms"]],
        body=tuple(_body(payload)),
    )


def _body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Show records, their line, the null beside it, and what was left out."""
    records: Sequence[Mapping[str, Any]] = payload["records"]
    yield columns_or_stack(
        ("record", "released", "density"),
        ([r["llm"], r["release_date"], _density(r["density"])] for r in records),
        right=("density",),
    )
    yield f"{payload['dataset']}: {_line(payload)}"
    for segment in [*payload.get("segments", ()), *payload.get("other_readings", ())]:
        reading = segment["reading"].replace("_", " ")
        yield f"{segment['from']} to {segment['to']} ({reading}): {_line(segment)}"
    yield from _null_lines(payload["attempt_count_null"])
    if payload["n_not_invertible"]:
        yield (
            f"{payload['n_not_invertible']} of {payload['n_llms']} LLMs have no finite density "
            "(no size of the reference LLM matches their score) and are left out."
        )
    yield from (f"warning: {text}" for text in payload["warnings"])


def _density(value: float | None) -> str:
    """Spell a density; JSON has null for what is beyond its numbers."""
    return "beyond 1e+304" if value is None else format_number(value)


def _plainly(value: float, decimals: int) -> str:
    """Spell a time as the paper does, unless nothing would be left of it or it is endless."""
    fits = 10.0 ** (1 - decimals) <= value < 1e6
    return f"{value:.{decimals}f}" if fits else format_number(value)


def _line(fit: Mapping[str, Any]) -> str:
    """Say a line through records."""
    count = f"{fit['n_records']} record{'' if fit['n_records'] == 1 else 's'}"
    if fit["slope_per_day"] is None:
        return f"{count}: too few for a line"
    days = fit["doubling_time_days"]
    doubling = (
        "does not grow"
        if days is None
        else f"doubles every {_plainly(days / DAYS_PER_MONTH, 2)} months ({_plainly(days, 1)} days)"
    )
    return (
        f"{count}; density {doubling}; ln density = {fit['slope_per_day']:.6f} x days "
        f"{fit['intercept']:+.4f}, R2 {fit['r_squared']:.4f}"
    )


def _null_lines(null: Mapping[str, Any] | None) -> Iterator[str]:
    """Say how fast records rise where nothing improves."""
    if null is None or null["growth_median"] is None:
        yield "Attempt-count null: too few LLMs or dates for one."
        return
    days = null["median_doubling_time_days"]
    doubling = "" if days is None else f", a doubling time of {format_number(days)} days"
    yield (
        f"Were there no growth, records would rise by {format_number(null['growth_median'])} "
        f"per year (95 % {interval(null['growth_eti95'])}){doubling}{_chance(null)}."
    )


def _chance(null: Mapping[str, Any]) -> str:
    """Say how often permutations grow as fast; permutations cannot show that none ever does."""
    share, count = null["p_null"], null["n_permutations"]
    if share is None:
        return ""
    text = f"= {share:.4f}" if share > 0.0 else f"< {1.0 / count:.2g}"
    return f"; p {text} for growth at least as fast as seen"
