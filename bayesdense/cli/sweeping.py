"""The verb `sweep`: growth under other definitions, and where its width comes from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from bayesdense.cli.output import Answer, columns_or_stack, emit, say
from bayesdense.cli.plotting import ending_of, write_figure
from bayesdense.cli.words import days, passed, study_ending
from bayesdense.names import DEFAULT_CHAINS, DEFAULT_SEED, DEFAULT_TUNE, STUDY_DRAWS
from bayesdense.statements import format_number, format_probability, signed
from bayesdense.wording import listing

#: Columns from which on the table of widths, whose last column is prose, breaks that.
_BREAKS_FROM = 80

if TYPE_CHECKING:
    from bayesdense.studies.sweep import Sweep


def sweep(
    dataset: DatasetArgument = "densing",
    axes: Annotated[
        str | None,
        typer.Option(
            "--axes",
            metavar="A,B,...",
            help="Axes of definition, separated by commas; default: all. decomposition is one, and "
            "width@ENTRY a prior at half and double width.",
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
        from bayesdense.dataset import load_dataset
        from bayesdense.studies.refits import default_folder
        from bayesdense.studies.sweep import sweep as run

        folder = out or default_folder("sweep", dataset)
        found = run(
            dataset,
            read_model(model, overrides, load_dataset(dataset)),
            axes=None if axes is None else [name.strip() for name in axes.split(",")],
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
    if plot is not None and ending is not None:
        from bayesdense.plots.sweep import sweep_figure

        write_figure(sweep_figure(found.table()), plot, ending)
        say(f"Written to {plot}.")
    emit(_answer(found, folder), form)
    is_whole = all(row["status"] == "not_available" or passed(row) for row in found.rows)
    if not is_whole or any(source.failed for source in found.decomposition):
        raise typer.Exit(1)


def _answer(found: "Sweep", folder: Path) -> Answer:
    """Say a sweep in the three forms."""
    from bayesdense.study_files import sweep_row

    payload = found.to_dict()
    return Answer(
        payload=payload,
        rows=[sweep_row(row) for row in found.rows],
        body=(*_body(payload), study_ending(folder, "sweep", "sweep")),
    )


def _body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Tables of the cases and of the widths, then what is missing."""
    done = [row for row in payload["rows"] if row["status"] == "done"]
    columns = ("definition", "LLMs", "doubles in days (95 %)", "P(growing)", "shift", "checks")
    cells = [_cells(row) for row in done]
    yield columns_or_stack(columns, cells, right=columns[1:5], compact=True)
    if len(done) > 1:
        yield "shift: of the median growth rate, in posterior sds of the headline's."
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
        yield from _widths(payload["decomposition"])


def _cells(row: Mapping[str, Any]) -> list[object]:
    """One case for people."""
    return [
        _definition(row["axis"], row["value"]),
        row["n_llms"],
        days(row["doubling_time_days"]),
        format_probability(row["growth_rate_per_year"]["p_positive"]),
        _shift(row["shift"]),
        _checked(row["checks"]),
    ]


def _checked(found: Mapping[str, Any]) -> str:
    """Status of the checks, with the names of those that failed."""
    failed = found.get("failed")
    return f"{found['status']}: {listing(failed, 2)}" if failed else str(found["status"])


def _definition(axis: str, value: str) -> str:
    """Name of a case; of a prior's width without the words that all paths share."""
    kind, _, path = axis.partition("@")
    if kind != "width":
        return f"{axis}: {value}"
    name = ".".join(step for step in path.split(".")[2:] if step != "kwargs")
    return f"{name}: {value} width"


def _shift(shift: Mapping[str, Any] | None) -> str | None:
    """Shift from the headline; none where there is nothing to measure it in."""
    return None if shift is None or shift["in_sd"] is None else signed(shift["in_sd"])


def _widths(part: Mapping[str, Any]) -> Iterator[RenderableType]:
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
    yield columns_or_stack(
        columns, rows, right=("width", "of the headline's"), compact=True, least=_BREAKS_FROM
    )
    yield part["note"]
