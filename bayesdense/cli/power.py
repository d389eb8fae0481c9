"""The verb `power`: what change of growth a dataset would show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType

from bayesdense.cli.options import (
    ChainsOption,
    DatasetArgument,
    DrawsOption,
    ExecutorOption,
    Format,
    FormatOption,
    JobsOption,
    ModelOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    SetOption,
    StudyOption,
    TuneOption,
    read_model,
)
from bayesdense.cli.output import Answer, columns_or_stack, emit
from bayesdense.names import DEFAULT_CHAINS, DEFAULT_SEED, DEFAULT_TUNE, STUDY_DRAWS
from bayesdense.statements import format_number

_MOST: Final = 100_000


def power(
    dataset: DatasetArgument = "densing",
    trends: Annotated[
        str | None,
        typer.Option(
            "--trends",
            metavar="A,B,...",
            help="Rivals of exponential growth: break_known@DATE, break_free, quadratic. "
            "Default: all three, the known break in the middle of the window.",
            show_default=False,
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            "--date",
            metavar="DATE",
            help="Date of the break in made-up data, where a rival names none. Default: the "
            "middle of the window.",
            show_default=False,
        ),
    ] = None,
    factors: Annotated[
        str | None,
        typer.Option(
            "--factors",
            metavar="R,R,...",
            help="Growth at the end over growth at the start. Default: 1.5,2,3,5,10.",
            show_default=False,
        ),
    ] = None,
    simulations: Annotated[
        int,
        typer.Option("--simulations", metavar="N", min=1, max=_MOST, help="Datasets of each size."),
    ] = 200,
    check: Annotated[
        int,
        typer.Option(
            "--check",
            metavar="N",
            min=0,
            max=40,
            help="Fit so many of the made-up datasets in full, twice each, beside the closed form.",
        ),
    ] = 0,
    model: ModelOption = None,
    overrides: SetOption = None,
    out: StudyOption = None,
    jobs: JobsOption = None,
    executor: ExecutorOption = "processes",
    resume: ResumeOption = False,
    draws: DrawsOption = STUDY_DRAWS,
    tune: TuneOption = DEFAULT_TUNE,
    chains: ChainsOption = DEFAULT_CHAINS,
    seed: SeedOption = DEFAULT_SEED,
    quiet: QuietOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Find the smallest change of growth that a dataset would show with 80 % probability.

    By each of two rules: the verdict of compare, and P(change > 0). False alarms stand beside it,
    and breaks at dates of which nobody has said anything. Writes power.json.
    Exit status 1 if a check of the fit failed, or one of the full fits.
    """
    from bayesdense.cli.progress import Reporter

    with Reporter(quiet=quiet) as progress:
        progress.stage(f"making datasets like {dataset}")
        from bayesdense.dataset import load_dataset
        from bayesdense.studies.power import power as run

        found = run(
            dataset,
            read_model(model, overrides, load_dataset(dataset)),
            trends=_names(trends),
            date=date,
            factors=None if factors is None else [_number(text) for text in factors.split(",")],
            n=simulations,
            check=check,
            out=out,
            draws=draws,
            tune=tune,
            chains=chains,
            seed=seed,
            executor=executor,
            workers=jobs,
            resume=resume,
            progress=progress.jobs,
        )
    payload = found.to_dict()
    rows = [
        {str(name): value for name, value in row.items()}
        for row in found.table().to_dict("records")
    ]
    emit(Answer(payload, rows, (repr(found), *_body(payload))), form)
    failed = payload["check"]["failed"] if payload["check"] else []
    if failed or payload["reading"]["checks"]["status"] == "fail":
        raise typer.Exit(1)


def _names(text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _number(text: str) -> float:
    """Read a factor."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text.strip()!r}, allowed: numbers above 1") from None


def _body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """How often each size is found, placebo breaks, and how good the closed form is."""
    columns = ("rival", "factor", "per year", "verdict", "P(change)")
    cells: list[Sequence[object]] = []
    for trend in payload["trends"]:
        for size in trend["sizes"]:
            factor, rules = size["factor"], size["rules"]
            cells.append(
                [
                    trend["trend"],
                    None if factor is None else f"{factor:.3g}",
                    f"{size['difference_per_year']:.2f}",
                    *(_share(rules[rule]) for rule in payload["rules"]),
                ]
            )
    yield columns_or_stack(columns, cells, right=columns[1:], compact=True)
    yield (
        f"Shares of {payload['n_simulations']} datasets (95 % interval) in which the change is "
        "found; without a change: false alarms."
    )
    placebo = payload["placebo"]
    anywhere = placebo["anywhere"]
    yield (
        f"Placebo breaks at {len(placebo['dates'])} dates of the real data: "
        f"{placebo['n_decisive']} by the verdict, {placebo['n_claimed']} by P(change). Without any "
        f"break one of them is claimed in {_share(anywhere['verdict'])} and "
        f"{_share(anywhere['probability'])} of datasets."
    )
    about = payload["reading"]
    growth, closed = about["growth_rate_per_year"], about["closed_form"]
    yield (
        f"Growth by the fit {format_number(growth['median'])} (sd {growth['sd']:.2f}) per year, in "
        f"closed form {format_number(closed['mean'])} ({closed['sd']:.2f}); checks of the fit: "
        f"{about['checks']['status']}."
    )
    if payload["check"]:
        yield from _check(payload["check"])


def _share(found: Mapping[str, Any] | None) -> str | None:
    """Spell a share with its interval."""
    if found is None:
        return None
    low, high = found["eti95"]
    return f"{100 * found['share']:.1f} % ({100 * low:.0f} to {100 * high:.0f})"


def _check(found: Mapping[str, Any]) -> Iterator[str]:
    """Say how full fits and closed form agree."""
    n = found["n"]
    if n:
        yield (
            f"{n} datasets fitted in full: P(change) claims {found['claimed_full']}, in closed "
            f"form {found['claimed_closed_form']} (agree in {found['claims_agree']}); families "
            f"left out decide {found['clear_full']} and {found['clear_closed_form']} (agree in "
            f"{found['clear_agree']}); sd of the change {found['mean_sd_ratio']:.2f} times the "
            "closed form's."
        )
    yield from (f"failed: {text}" for text in found["failed"])
