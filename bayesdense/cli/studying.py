"""The verbs of studies: many fits with one question, and two fits side by side."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import RenderableType

from bayesdense.cli.options import (
    DatasetArgument,
    ExecutorOption,
    FitArgument,
    Format,
    FormatOption,
    JobsOption,
    ModelOption,
    ResumeOption,
    SeedOption,
    SetOption,
    StudyOption,
)
from bayesdense.cli.output import Answer, columns_or_stack, emit, say, table
from bayesdense.cli.plotting import ending_of, write_figure
from bayesdense.cli.words import flat, interval, percent
from bayesdense.names import ALLOWED_COUNTS, DEFAULT_CHAINS, DEFAULT_SEED, DEFAULT_TUNE
from bayesdense.statements import format_number

if TYPE_CHECKING:
    from bayesdense.spec import ModelSpec
    from bayesdense.studies.sweep import Sweep

STUDY_DRAWS: Final = 500

DrawsOption = Annotated[
    int,
    typer.Option(
        "--draws",
        metavar="N",
        min=ALLOWED_COUNTS["draws"][0],
        max=ALLOWED_COUNTS["draws"][1],
        help="Draws kept of each chain of each fit.",
    ),
]
TuneOption = Annotated[
    int,
    typer.Option(
        "--tune",
        metavar="N",
        min=ALLOWED_COUNTS["tune"][0],
        max=ALLOWED_COUNTS["tune"][1],
        help="Tuning steps of each chain.",
    ),
]
ChainsOption = Annotated[
    int,
    typer.Option(
        "--chains",
        metavar="N",
        min=ALLOWED_COUNTS["chains"][0],
        max=ALLOWED_COUNTS["chains"][1],
        help="Chains of each fit.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def sweep(
    dataset: DatasetArgument = "densing",
    axes: Annotated[
        str | None,
        typer.Option(
            "--axes",
            metavar="A,B,...",
            help="Axes of definition, separated by commas; default: all. decomposition is one.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Also draw growth under every definition: .png, .svg, .pdf, ...",
            show_default=False,
        ),
    ] = None,
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
    """Fit under other definitions of density, of the LLMs and of the model, side by side.

    One fit per definition, each a job with a file of its own: Ctrl-C loses none, --resume goes on.
    Then where the width of the headline's interval comes from, one source at a time.
    Exit status 1 if a fit failed, or a check of one; both are told.
    """
    from bayesdense.cli.progress import Reporter

    ending = None if plot is None else ending_of(plot, "--plot")
    with Reporter(quiet=quiet) as progress:
        progress.stage(f"sweeping definitions on {dataset}")
        from bayesdense.studies.sweep import sweep as run

        found = run(
            dataset,
            read_model(model, overrides, dataset),
            axes=None if axes is None else [name.strip() for name in axes.split(",")],
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
    if plot is not None and ending is not None:
        from bayesdense.plots.sweep import sweep_figure

        write_figure(sweep_figure(found.table()), plot, ending)
        say(f"Written to {plot}.")
    emit(_sweep_answer(found), form)
    if not all(row["status"] == "not_available" or _passed(row) for row in found.rows):
        raise typer.Exit(1)


def _passed(row: Mapping[str, Any]) -> bool:
    """Whether a fit ended, and no check of it failed."""
    return bool(row["status"] == "done" and row["checks"]["status"] != "fail")


def backtest(
    dataset: DatasetArgument = "densing",
    origins: Annotated[
        str | None,
        typer.Option(
            "--origins",
            metavar="DATE,DATE,...",
            help="Dates before which LLMs are fitted and after which they are foretold (2024-04: "
            "the first of the month). Default: 2024-01, 2024-04 and 2024-07, or shares of the "
            "LLMs where these do not part the dataset.",
            show_default=False,
        ),
    ] = None,
    score: Annotated[
        Path | None,
        typer.Option(
            "--score",
            metavar="FILE",
            help="In place of refits: score this frozen forecast (forecast --freeze) by the LLMs "
            "of the dataset that came after it.",
            show_default=False,
        ),
    ] = None,
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
    """Refit on the LLMs of earlier dates, and score what that says of later LLMs' scores.

    Beside the model stand the paper's line and two others, each with the band of its residuals.
    One fit per origin, each a job with a file of its own: Ctrl-C loses none, --resume goes on.
    Exit status 1 if a fit failed, or a check of one; both are told.
    With --score FILE a forecast that was written down is judged, and nothing is fitted.
    """
    if score is not None:
        if origins or model or overrides or out or jobs or resume:
            raise typer.BadParameter(
                "--score fits nothing: leave out --origins, --model, --set, --out, --jobs, --resume"
            )
        emit(_forecast_score(score, dataset), form)
        return
    from bayesdense.cli.progress import Reporter

    with Reporter(quiet=quiet) as progress:
        progress.stage(f"foretelling later LLMs of {dataset}")
        from bayesdense.studies.backtest import backtest as run

        found = run(
            dataset,
            read_model(model, overrides, dataset),
            origins=None if origins is None else [date.strip() for date in origins.split(",")],
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
    emit(Answer(payload, payload["scores"], tuple(_backtest_body(payload))), form)
    if not all(_passed(origin) for origin in payload["origins"]):
        raise typer.Exit(1)


def _forecast_score(path: Path, dataset: str) -> Answer:
    """Judge a frozen forecast."""
    from bayesdense.dataset import load_dataset
    from bayesdense.frozen import score_forecast

    found = score_forecast(path, load_dataset(dataset))
    return Answer(found, [flat(row) for row in found["scores"]], tuple(_judged(found)))


def _judged(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Say how good a frozen forecast was."""
    about = found["forecast_of"]
    yield (
        f"Forecast of {found['frozen_at'][:10]} from {about['dataset']} (last release "
        f"{about['last_release']}), SHA-256 {found['digest']}: {found['n_scores']} scores of "
        f"{found['n_llms']} later LLMs of {found['n_families']} families in "
        f"{found['dataset']['name']}."
    )
    if early := found["n_released_before_freezing"]:
        yield f"{early} of these LLMs were released before it was frozen."
    columns = ("benchmark", "scores", "CRPS", "log score", "50 %", "80 %", "95 %")
    cells = [
        [
            name,
            part["n_scores"],
            _with_error(part["crps"], 4),
            _with_error(part["log_score"], 3),
            *(percent(part[f"coverage{prob}"]) for prob in (50, 80, 95)),
        ]
        for name, part in (
            ("all", found["overall"]),
            *((part["benchmark"], part) for part in found["benchmarks"]),
        )
    ]
    yield table(columns, cells, right=columns[1:], compact=True)
    yield (
        "CRPS is in units of the score (smaller is better), the log score of its logit in nats; "
        "errors are clustered by family. Intervals hold the shares named above them if right."
    )
    yield from found["warnings"]


def _with_error(mean: Mapping[str, float | None], digits: int) -> str:
    """Spell a mean with its standard error."""
    error = "" if mean["se"] is None else f" \N{PLUS-MINUS SIGN} {mean['se']:.{digits}f}"
    return f"{mean['mean']:.{digits}f}{error}"


def _backtest_body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Origin by origin: growth then, coverage and scores; then the comparisons over all."""
    for origin in payload["origins"]:
        if origin["status"] == "failed":
            yield f"{origin['origin']}: failed: {origin['message']}"
            continue
        time = origin["doubling_time_days"]
        days = "unbounded" if time["median"] is None else format_number(time["median"])
        yield (
            f"{origin['origin']}: {origin['n_llms']} LLMs before (density doubles every {days} "
            f"days, 95 % {interval(time['eti95'])}; checks: {origin['checks']['status']}), "
            f"{origin['n_later_scores']} scores of {origin['n_later_llms']} LLMs of "
            f"{origin['n_later_families']} families after."
        )
        of_all = [row for row in origin["coverage"] if row["benchmark"] == "all"]
        yield table(
            ("band", "holds", "by chance, if the model is right"),
            [
                [percent(row["prob"]), percent(row["coverage"]), _range(row["expected_eti95"])]
                for row in of_all
            ],
            right=("band", "holds"),
            compact=True,
        )
        columns = ("forecast", "CRPS", "log score", "50 %", "80 %", "95 %")
        cells = [
            [
                row["source"],
                f"{row['crps']:.4f}",
                f"{row['log_score']:.3f}",
                *(percent(row[f"coverage{prob}"]) for prob in (50, 80, 95)),
            ]
            for row in origin["means"]
            if row["benchmark"] == "all"
        ]
        yield table(columns, cells, right=columns[1:], compact=True)
        if second := origin.get("densities"):
            error = "" if second["mean_above_se"] is None else f" ({second['mean_above_se']:.2f})"
            yield (
                f"Their log densities by the origin's law and map: {second['mean_above']:+.2f}"
                f"{error} above what was foretold; the 95 % interval holds "
                f"{percent(second['coverage95'])}."
            )
        yield ""
    yield "Model less baseline over all origins (error over families; better beyond 2 errors):"
    columns = ("baseline", "score", "difference", "error", "families", "verdict")
    cells = [
        [
            row["baseline"],
            row["score"],
            f"{row['difference']:+.4f}",
            None if row["se"] is None else f"{row['se']:.4f}",
            row["n_families"],
            row["verdict"],
        ]
        for row in payload["comparisons"]
        if row["origin"] is None
    ]
    yield table(columns, cells, right=columns[2:5], compact=True)
    yield "CRPS is in units of the score (smaller is better), the log score of its logit in nats."


def _range(ends: Sequence[float]) -> str:
    """Spell a range of shares in percent."""
    return f"{percent(ends[0])} to {percent(ends[1])}"


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

    found = compare(load_fit(first), load_fit(second))
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
                {"fit": str(path), **flat(answer)}
                for path, answer in zip((first, second), answers, strict=True)
            ],
            body=(
                columns_or_stack(columns, cells, right=columns[1:4]),
                found.statement,
                *change_lines(found),
                "",
                "Log densities of LLMs in both fits that moved most:",
                table(("LLM", "shift", "in sd"), moved, right=("shift", "in sd"), compact=True),
            ),
        ),
        form,
    )


def _growth_cells(answer: Mapping[str, Any]) -> list[object]:
    """Growth and doubling time of one fit for people."""
    growth, time = answer["growth_rate_per_year"], answer["doubling_time_days"]
    days = "unbounded" if time["median"] is None else format_number(time["median"])
    return [
        f"{format_number(growth['median'])} ({interval(growth['eti95'])})",
        f"{days} ({interval(time['eti95'])})",
        f"{growth['p_positive']:.3f}",
        answer["at"],
    ]


def read_model(model: str | None, overrides: list[str] | None, dataset: str) -> "ModelSpec":
    """Read the model; without a name that of the dataset."""
    from bayesdense.dataset import load_dataset
    from bayesdense.spec import load_spec
    from bayesdense.studies.refits import default_model

    spec = load_spec(model) if model else default_model(load_dataset(dataset))
    return spec.with_overrides(overrides or [])


def _sweep_answer(found: "Sweep") -> Answer:
    """Say a sweep in the three forms."""
    from bayesdense.studies.sweep import flat_row

    payload = found.to_dict()
    return Answer(
        payload=payload,
        rows=[flat_row(row) for row in found.rows],
        body=tuple(_sweep_body(payload)),
    )


def _sweep_body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Tables of the cases and of the widths, then what is missing."""
    done = [row for row in payload["rows"] if row["status"] == "done"]
    columns = ("definition", "LLMs", "doubles in days (95 %)", "P(growing)", "checks")
    cells = [_sweep_cells(row) for row in done]
    yield table(columns, cells, right=columns[1:4], compact=True)
    if len(done) < len(payload["rows"]):
        yield ""
    for row in payload["rows"]:
        if row["status"] == "failed":
            yield f"failed: {row['axis']} {row['value']}: {row['message']}"
    for row in payload["rows"]:
        if row["status"] == "not_available":
            yield f"not available: {row['axis']} {row['value']}: {row['message']}"
    if payload["decomposition"]:
        yield ""
        yield from _decomposition_body(payload["decomposition"])


def _sweep_cells(row: Mapping[str, Any]) -> list[object]:
    """One case for people."""
    time = row["doubling_time_days"]
    middle = time["median"]
    days = "unbounded" if middle is None else format_number(middle)
    return [
        f"{row['axis']}: {row['value']}",
        row["n_llms"],
        f"{days} ({interval(time['eti95'])})",
        f"{row['growth_rate_per_year']['p_positive']:.3f}",
        row["checks"]["status"],
    ]


def _decomposition_body(part: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Widths of the interval of growth, one source at a time."""
    wide = part["headline_width_per_year"]
    said = "unknown" if wide is None else f"{format_number(wide)} per year"
    yield f"Width of the headline's 95 % interval of growth: {said}."
    columns = ("one source", "switched", "width", "of the headline's", "what is done")
    rows: Sequence[Sequence[object]] = [
        [
            source["source"],
            source["change"],
            None if source["width_per_year"] is None else format_number(source["width_per_year"]),
            None if source["ratio"] is None else f"{source['ratio']:.2f}",
            source["error"] or source["what"],
        ]
        for source in part["sources"]
    ]
    yield table(columns, rows, right=("width", "of the headline's"), compact=True)
    yield part["note"]
