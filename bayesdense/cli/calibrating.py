"""The verb `calibrate`: whether intervals hold what they say."""

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
from bayesdense.cli.output import Answer, columns_or_stack, emit, say
from bayesdense.cli.plotting import ending_of, write_figure
from bayesdense.names import DEFAULT_SEED

_EVERY: Final = "all"
#: As in `bayesdense.studies.calibrate`, whose import takes seconds.
_FITS, _QUICK_FITS, _LLMS, _MOST = 500, 20, 28, 100_000
_DRAWS, _TUNE, _CHAINS = 750, 150, 2


def calibrate(
    dataset: DatasetArgument = "densing",
    fits: Annotated[
        int | None,
        typer.Option(
            "--fits",
            metavar="N",
            min=1,
            max=_MOST,
            help=f"Simulated datasets of each world. Default: {_FITS}.",
            show_default=False,
        ),
    ] = None,
    world: Annotated[
        list[str] | None,
        typer.Option(
            "--world",
            metavar="NAME",
            help="A world in which data arise; may be given several times; all: every one that "
            "the dataset allows. Default: well_specified, where the model is right.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help=f"{_QUICK_FITS} datasets of each world: gross faults only."),
    ] = False,
    llms: Annotated[
        int,
        typer.Option(
            "--llms", metavar="N", min=0, max=_MOST, help="LLMs of each simulated dataset; 0: all."
        ),
    ] = _LLMS,
    truths: Annotated[
        str,
        typer.Option(
            "--truths",
            metavar="prior|data",
            help="Where truths are drawn from: the model's priors, or the posterior given the "
            "dataset (ranks are then not judged).",
        ),
    ] = "prior",
    repeat_of: Annotated[
        Path | None,
        typer.Option(
            "--repeat-of",
            metavar="FILE",
            help="calibrate.json of an earlier study with another seed: what leaves its band in "
            "both is a failure.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Also draw ranks against their bands, or coverage by world where ranks are not "
            "judged or several worlds are: .png, .svg, .pdf, ...",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    overrides: SetOption = None,
    out: StudyOption = None,
    jobs: JobsOption = None,
    executor: ExecutorOption = "processes",
    resume: ResumeOption = False,
    draws: DrawsOption = _DRAWS,
    tune: TuneOption = _TUNE,
    chains: ChainsOption = _CHAINS,
    seed: SeedOption = DEFAULT_SEED,
    quiet: QuietOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Fit simulated datasets of known truth, and see whether intervals hold what they say.

    Where the model is right: ranks of truths among draws, against simultaneous bands.
    Coverage, bias and width of growth there, and in worlds where the model is wrong.
    Beside it the paper's estimator on the same data. Writes calibrate.json.
    Exit status 1 if ranks leave the band of all, or their own one twice, or a fit failed.
    """
    from bayesdense.cli.progress import Reporter

    ending = None if plot is None else ending_of(plot, "--plot")
    if quick and fits is not None:
        raise typer.BadParameter("--quick says how many fits there are; leave out --fits")
    with Reporter(quiet=quiet) as progress:
        progress.stage(f"simulating datasets like {dataset}")
        from bayesdense.dataset import load_dataset
        from bayesdense.studies.calibrate import calibrate as run

        found = run(
            dataset,
            read_model(model, overrides, load_dataset(dataset)),
            fits=_QUICK_FITS if quick else fits or _FITS,
            worlds=_worlds(world, dataset),
            llms=llms or None,
            truths=truths,
            repeat_of=repeat_of,
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
    if plot is not None and ending is not None:
        from bayesdense.plots import calibration as figures

        if found.ranks is not None and len(found.worlds) == 1:
            drawn = figures.ranks_figure(figures.ranks_table(payload))
        else:
            drawn = figures.coverage_figure(figures.coverage_rows(payload))
        write_figure(drawn, plot, ending)
        say(f"Written to {plot}.")
    rows = [
        {str(name): value for name, value in row.items()}
        for row in found.table().to_dict("records")
    ]
    emit(Answer(payload, rows, tuple(_body(payload, repr(found)))), form)
    if found.status == "fail":
        raise typer.Exit(1)


def _worlds(names: Sequence[str] | None, dataset: str) -> list[str]:
    """Names of the worlds that are asked for."""
    from bayesdense.dataset import load_dataset
    from bayesdense.studies.made_worlds import WELL_SPECIFIED, WORLDS

    if not names:
        return [WELL_SPECIFIED]
    if _EVERY not in names:
        return list(names)
    has_scores = not load_dataset(dataset).is_densities
    return [name for name, one in WORLDS.items() if has_scores or not one.needs_scores]


def _body(payload: Mapping[str, Any], said: str) -> Iterator[RenderableType]:
    """Sentences, the table of worlds, and what went wrong."""
    yield said
    columns = ("world", "held, %", "bias", "width", "ratio", "stretch", "records, %")
    yield columns_or_stack(
        columns,
        [_cells(world) for world in payload["worlds"]],
        right=columns[1:],
        compact=True,
    )
    yield (
        "held: 95 % intervals of growth (1/year) that hold the truth; bias and width: mean error "
        "of medians, median width; ratio: of widths to well_specified; stretch: by which intervals "
        "would have to be widened to hold 95 %; records: held by the t interval of the line "
        "through records."
    )
    for world in payload["worlds"]:
        yield from _troubles(world)
    if payload["status"] == "repeat":
        yield (
            "What left its own band may have done so by chance: repeat it once with another "
            "--seed, another --out and --repeat-of."
        )
    seconds = payload["seconds"]
    yield (
        f"{seconds['median_job']:.1f} s a dataset (median); {seconds['wall']:.0f} s in this run; "
        f"checks: {payload['status']}."
    )


def _cells(world: Mapping[str, Any]) -> list[object]:
    """Row of a world."""
    model = world["model"]
    bias = model["bias"]
    error = "" if bias["se"] is None else f" ({bias['se']:.2f})"
    return [
        world["name"],
        _share(model),
        None if bias["mean"] is None else f"{bias['mean']:+.2f}{error}",
        _two(model["median_width"]),
        _two(model["width_ratio"]),
        _two(model["stretch"]),
        _share(world["point"]),
    ]


def _share(said: Mapping[str, Any]) -> str:
    """Coverage of the 95 % interval with its own interval."""
    held = said["coverage"]["eti95"]
    low, high = (100 * end for end in held["eti95"])
    return f"{100 * held['share']:.1f} ({low:.0f}-{high:.0f})"


def _two(value: float | None) -> str | None:
    """Two decimals."""
    return None if value is None else f"{value:.2f}"


def _troubles(world: Mapping[str, Any]) -> Iterator[str]:
    """Say which fits had trouble; they are counted."""
    if world["n_longer"]:
        numbers = ", ".join(str(one["number"]) for one in world["not_converged"])
        after = f"; trouble also then: simulations {numbers}" if numbers else ""
        yield f"{world['name']}: {world['n_longer']} of {world['n']} fitted longer{after}."
    for one in world["failed"]:
        yield f"{world['name']}: simulation {one['number']} failed: {one['message']}"
    if world["n_unusable"]:
        yield (
            f"{world['name']}: {world['n_unusable']} datasets that nobody would analyse (scores at "
            "floor or ceiling, absurd losses) are counted as well."
        )
