"""Arguments and options that several verbs share, spelt once."""

import math
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bayesdense import catalog
from bayesdense.names import ALLOWED_COUNTS, PLOT_KINDS, STUDY_PLOT_KINDS

if TYPE_CHECKING:
    from bayesdense.dataset import Dataset
    from bayesdense.spec import ModelSpec

#: When the program began to run, near enough: its modules load first of all.
STARTED: Final = time.perf_counter()
#: Where the jobs of a study may run; the address of a Dask scheduler is another place.
EXECUTORS: Final = ("serial", "processes", "dask")


class Format(StrEnum):
    """Form of a verb's answer on stdout."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Sampler(StrEnum):
    """Programs that draw from the posterior."""

    NUTPIE = "nutpie"
    PYMC = "pymc"
    NUMPYRO = "numpyro"


def complete_dataset(incomplete: str) -> list[str]:
    """Shipped datasets that begin as typed."""
    return [name for name in catalog.dataset_names() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Shipped models that begin as typed."""
    return [name for name in catalog.model_names() if name.startswith(incomplete)]


def complete_kind(incomplete: str) -> list[str]:
    """Kinds of figures that begin as typed."""
    known = (*PLOT_KINDS, *STUDY_PLOT_KINDS)
    return [name for name in known if name.startswith(incomplete)]


def complete_any(incomplete: str) -> list[str]:
    """Shipped datasets and models that begin as typed."""
    return complete_dataset(incomplete) + complete_model(incomplete)


def _positive(days: float | None) -> float | None:
    """Refuse a threshold that no doubling time can be compared with, before any work."""
    if days is not None and not (math.isfinite(days) and days > 0.0):
        raise typer.BadParameter(f"{days:g}, allowed: a positive number of days")
    return days


def read_folder(text: str) -> Path:
    """Read the name of a folder; an empty one would be the working directory, unasked."""
    if not text.strip():
        raise typer.BadParameter("empty, allowed: a folder")
    return Path(text)


def read_model(model: str | None, overrides: list[str] | None, data: "Dataset") -> "ModelSpec":
    """Read the model with its overrides; without a name that of the dataset."""
    from bayesdense.spec import load_spec

    spec = load_spec(data.default_model if model is None else model)
    return spec.with_overrides(overrides or [])


def count_option(name: str, text: str) -> Any:  # noqa: ANN401 - as typer's own
    """Option for the length of a fit, within what `fit` allows."""
    least, most = ALLOWED_COUNTS[name]
    return typer.Option(f"--{name}", metavar="N", min=least, max=most, help=text)


def _executor(text: str) -> str:
    """Read where jobs shall run, before any work."""
    if text in EXECUTORS or "://" in text:
        return text
    raise typer.BadParameter(
        f"{text!r}, allowed: {', '.join(EXECUTORS)}, or the address of a Dask scheduler "
        "(tcp://host:8786)"
    )


def complete_executor(incomplete: str) -> list[str]:
    """Executors that begin as typed."""
    return [name for name in EXECUTORS if name.startswith(incomplete)]


FormatOption = Annotated[
    Format, typer.Option("--format", help="Form of the answer on stdout.", case_sensitive=False)
]
DatasetArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="Name of a shipped dataset, or a folder.",
        autocompletion=complete_dataset,
    ),
]
FitArgument = Annotated[
    Path,
    typer.Argument(metavar="FIT", help="Folder of a fit.", parser=read_folder, show_default=False),
]
FittedOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="DATASET",
        help="The dataset that was fitted, where it is not a shipped one: for the paper's "
        "estimate beside the fit.",
        show_default=False,
        autocompletion=complete_dataset,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        help="Name of a shipped model, or a TOML file. Default: joint; trend_only for a dataset "
        "of densities.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one entry of the model file. May be given several times.",
        show_default=False,
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, help="Seed of the random numbers.")
]
DrawsOption = Annotated[int, count_option("draws", "Draws kept of each chain of each fit.")]
TuneOption = Annotated[int, count_option("tune", "Tuning steps of each chain.")]
ChainsOption = Annotated[int, count_option("chains", "Chains of each fit.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="DAYS",
        callback=_positive,
        help="Also give P(0 < doubling time < DAYS).",
        show_default=False,
    ),
]
StudyOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        parser=read_folder,
        help="Folder of the study. Default: studies/<verb>-<dataset>.",
        show_default=False,
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Jobs that run at once on this machine. Default: one for each core.",
        show_default=False,
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with what is finished in the folder of the study.")
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME|ADDRESS",
        callback=_executor,
        help="Where jobs run: serial (in this process), processes, dask (a cluster of this "
        "machine), or the address of a Dask scheduler.",
        autocompletion=complete_executor,
    ),
]
