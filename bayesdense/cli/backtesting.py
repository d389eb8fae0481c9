"""The verb `backtest`: what earlier LLMs say of later ones, and how good that was."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
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
from bayesdense.cli.words import bound, flat, interval, passed, percent, study_ending
from bayesdense.names import DEFAULT_CHAINS, DEFAULT_SEED, DEFAULT_TUNE, STUDY_DRAWS
from bayesdense.wording import counted

#: Parameters that a forecast which was written down has no use for -> their options.
_OF_FITS: Final[Mapping[str, str]] = {
    **{name: name for name in ("origins", "model", "out", "jobs", "resume")},
    "overrides": "set",
    **{name: name for name in ("draws", "tune", "chains", "executor")},
}


def backtest(
    context: typer.Context,
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
        if any(_is_given(context, name) for name in _OF_FITS):
            options = ", ".join(f"--{name}" for name in _OF_FITS.values())
            raise typer.BadParameter(f"--score fits nothing: leave out {options}")
        emit(_forecast_score(score, dataset, seed if _is_given(context, "seed") else None), form)
        return
    from bayesdense.cli.progress import Reporter

    with Reporter(quiet=quiet) as progress:
        progress.stage(f"foretelling later LLMs of {dataset}")
        from bayesdense.dataset import load_dataset
        from bayesdense.studies.backtest import backtest as run
        from bayesdense.studies.refits import default_folder

        folder = out or default_folder("backtest", dataset)
        found = run(
            dataset,
            read_model(model, overrides, load_dataset(dataset)),
            origins=None if origins is None else [date.strip() for date in origins.split(",")],
            out=folder,
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
    body = (*_body(payload), study_ending(folder, "backtest", "backtest_coverage"))
    emit(Answer(payload, payload["scores"], body), form)
    if not all(passed(origin) for origin in payload["origins"]):
        raise typer.Exit(1)


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _forecast_score(path: Path, dataset: str, seed: int | None) -> Answer:
    """Judge a frozen forecast, by its fit's seed if by no other."""
    from bayesdense.dataset import load_dataset
    from bayesdense.frozen import score_forecast

    found = score_forecast(path, load_dataset(dataset), seed=seed)
    return Answer(found, [flat(row) for row in found["scores"]], tuple(_judged(found)))


def _judged(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Say how good a frozen forecast was."""
    about = found["forecast_of"]
    yield (
        f"Forecast of {found['frozen_at'][:10]} from {about['dataset']} (last release "
        f"{about['last_release']}), SHA-256 {found['digest']}: {found['n_scores']} scores of "
        f"{counted(found['n_llms'], 'later LLM')} of {counted(found['n_families'], 'family')} in "
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
    yield columns_or_stack(columns, cells, right=columns[1:], compact=True)
    yield (
        "CRPS is in units of the score (smaller is better), the log score of its logit in nats; "
        "errors are clustered by family. Intervals hold the shares named above them if right."
    )
    yield from found["warnings"]


def _with_error(mean: Mapping[str, float | None], digits: int) -> str:
    """Spell a mean with its standard error."""
    error = "" if mean["se"] is None else f" \N{PLUS-MINUS SIGN} {mean['se']:.{digits}f}"
    return f"{mean['mean']:.{digits}f}{error}"


def _body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Origin by origin: growth then, coverage and scores; then the comparisons over all."""
    for origin in payload["origins"]:
        if origin["status"] == "failed":
            yield f"{origin['origin']}: failed: {origin['message']}"
        else:
            yield from _origin(origin)
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
    yield columns_or_stack(columns, cells, right=columns[2:5], compact=True)
    yield "CRPS is in units of the score (smaller is better), the log score of its logit in nats."


def _origin(origin: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Growth as of one date, coverage and scores of what came after."""
    time = origin["doubling_time_days"]
    yield (
        f"{origin['origin']}: {origin['n_llms']} LLMs before (density doubles every "
        f"{bound(time['median'])} days, 95 % {interval(time['eti95'])}; checks: "
        f"{origin['checks']['status']}), {origin['n_later_scores']} scores of "
        f"{counted(origin['n_later_llms'], 'LLM')} of "
        f"{counted(origin['n_later_families'], 'family')} after."
    )
    held = [
        [percent(row["prob"]), percent(row["coverage"]), _range(row["expected_eti95"])]
        for row in origin["coverage"]
        if row["benchmark"] == "all"
    ]
    bands = ("band", "holds", "by chance, if the model is right")
    yield columns_or_stack(bands, held, right=bands[:2], compact=True)
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
    yield columns_or_stack(columns, cells, right=columns[1:], compact=True)
    if second := origin.get("densities"):
        error = "" if second["mean_above_se"] is None else f" ({second['mean_above_se']:.2f})"
        yield (
            f"Their log densities by the origin's law and map: {second['mean_above']:+.2f}"
            f"{error} above what was foretold; the 95 % interval holds "
            f"{percent(second['coverage95'])}."
        )
    yield ""


def _range(ends: Sequence[float]) -> str:
    """Spell a range of shares in percent."""
    return f"{percent(ends[0])} to {percent(ends[1])}"
