"""The verb `fit`: from a dataset to a fit folder and a headline."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bayesdense import catalog
from bayesdense.cli import words
from bayesdense.cli.options import (
    DatasetArgument,
    ForceOption,
    Format,
    FormatOption,
    ModelOption,
    QuietOption,
    Sampler,
    SeedOption,
    SetOption,
    ThresholdOption,
    TuneOption,
    count_option,
    read_folder,
    read_model,
)
from bayesdense.cli.output import emit, say
from bayesdense.names import (
    DEFAULT_CHAINS,
    DEFAULT_DRAWS,
    DEFAULT_SEED,
    DEFAULT_TUNE,
)

if TYPE_CHECKING:
    from bayesdense.dataset import Dataset
    from bayesdense.results import Fit

FITS: Final = Path("fits")


def fit(
    dataset: DatasetArgument = "densing",
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=read_folder,
            help="Folder of the fit. Default: fits/<dataset>.",
            show_default=False,
        ),
    ] = None,
    overrides: SetOption = None,
    seed: SeedOption = DEFAULT_SEED,
    draws: Annotated[int, count_option("draws", "Draws kept of each chain.")] = DEFAULT_DRAWS,
    tune: TuneOption = DEFAULT_TUNE,
    chains: Annotated[int, count_option("chains", "Chains.")] = DEFAULT_CHAINS,
    sampler: Annotated[
        Sampler, typer.Option("--sampler", help="Program that draws from the posterior.")
    ] = Sampler.NUTPIE,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview",
            help="A rough answer in seconds, from a normal approximation; writes nothing.",
        ),
    ] = False,
    threshold: ThresholdOption = None,
    no_report: Annotated[
        bool,
        typer.Option("--no-report", help="Write no report.html, which takes some seconds."),
    ] = False,
    quiet: QuietOption = False,
    force: ForceOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Fit a model to a dataset: how fast density doubles, with intervals, and its checks.

    Writes a folder with fit.nc (the posterior), summary.json, report.html and manifest.json.
    A fit that is already there is never touched without --force.
    Exit status 1 if a check or the report failed; all other files are written.
    """
    from bayesdense.cli.progress import Reporter
    from bayesdense.results import writing

    if preview:
        _preview(dataset, model, overrides, seed=seed, quiet=quiet, form=form)
        return
    folder = out or FITS / _name_of(dataset)
    with writing(folder, force=force), Reporter(quiet=quiet) as progress:
        progress.stage(f"reading dataset {dataset}")
        from bayesdense.dataset import load_dataset

        data = load_dataset(dataset)
        spec = read_model(model, overrides, data)
        progress.stage(f"fitting {spec.name} to {data.name} (seed {seed}): building and compiling")
        began = time.perf_counter()
        from bayesdense.inference import fit as fit_model

        timings = {"import": time.perf_counter() - began}
        fitted = fit_model(
            spec,
            data,
            draws=draws,
            tune=tune,
            chains=chains,
            seed=seed,
            sampler=sampler.value,
            progress=progress.sampling,
        )
        progress.stage("checking and summarizing")
        from bayesdense.checks import check
        from bayesdense.summary import headline, summarize, to_json

        began = time.perf_counter()
        checks = check(fitted)
        checked = time.perf_counter() - began
        timings["derive"] = fitted.timings.get("derive", 0.0) + checked
        timings["total"] = progress.seconds
        fitted.tree.attrs["command_line"] = shlex.join(["bayesdense", *sys.argv[1:]])
        summary = summarize(fitted, checks, threshold_days=threshold, timings=timings)
        files: dict[str, bytes] = {}
        problem = None
        if not no_report:
            progress.stage("making the report")
            problem = _make_report(fitted, summary, data, files, folder)
        summary["timings_s"]["total"] = progress.seconds
        progress.stage(f"writing {folder}")
        files["summary.json"] = to_json(summary).encode("utf-8")
        fitted.save(folder, force=force, files=files)
    said = (
        headline(summary),
        *words.warning_lines(fitted.dataset_warnings),
        *_ending(folder, seed, files),
    )
    emit(words.summary_answer(summary, *said), form)
    if problem:
        say(f"error: {problem}; the fit itself is whole: bayesdense report {folder}")
    if checks.status == "fail" or problem:
        raise typer.Exit(1)


def _make_report(
    fitted: "Fit",
    summary: Mapping[str, Any],
    data: "Dataset",
    files: dict[str, bytes],
    folder: Path,
) -> str | None:
    """Add the report to the files of a fit, or return why there is none."""
    from bayesdense.errors import BayesdenseError
    from bayesdense.report import report_html
    from bayesdense.report.studies import studies_beside

    try:
        studies, _ = studies_beside(fitted, folder)
        page = report_html(fitted, summary=summary, dataset=data, studies=studies)
    except BayesdenseError as error:
        return str(error)
    files["report.html"] = page.encode("utf-8")
    return None


def _preview(
    dataset: str,
    model: str | None,
    overrides: list[str] | None,
    *,
    seed: int,
    quiet: bool,
    form: Format,
) -> None:
    """Print what a normal approximation says."""
    from bayesdense.cli.progress import Reporter

    with Reporter(quiet=quiet) as progress:
        progress.stage(f"reading dataset {dataset}")
        from bayesdense.dataset import load_dataset

        data = load_dataset(dataset)
        spec = read_model(model, overrides, data)
        progress.stage(f"approximating the posterior of {spec.name} on {data.name}")
        from bayesdense.approximation import preview as approximate

        found = approximate(spec, data, seed=seed)
    emit(words.preview_answer(found), form)


def _name_of(dataset: str) -> str:
    """Name of the folder in fits/: that of the dataset's own folder, which has to be there."""
    return catalog.resolve_dataset(dataset).resolve().name


def _ending(folder: Path, seed: int, files: Mapping[str, bytes]) -> Iterator[str]:
    """Say where the fit is, from which seed, and what to try next."""
    names = ", ".join(["fit.nc", *sorted(files, reverse=True), "manifest.json"])
    yield f"Written to {folder}: {names} (seed {seed})."
    if "report.html" in files:
        yield f"Open {folder / 'report.html'} in a browser: the answer, and what it rests on."
    yield f"Next: bayesdense summarize {folder}   (sizes and densities of every LLM)"
    yield f"      bayesdense check {folder}       (every check, also those that passed)"
