"""The verbs `plot` and `report`: one figure of a fit or a study with its data, and all of them."""

import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import RenderableType

from bayesdense.cli.options import (
    FitArgument,
    FittedOption,
    Format,
    FormatOption,
    complete_kind,
    read_folder,
)
from bayesdense.cli.output import Answer, columns_or_stack, emit, say
from bayesdense.errors import BayesdenseError
from bayesdense.names import PLOT_KINDS, SCHEMA_VERSION, STUDY_PLOT_KINDS
from bayesdense.statements import format_number
from bayesdense.wording import nearest_of, printable, told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayesdense.plots.kinds import Drawn

PLOTS: Final = Path("plots")
#: Rows of a figure's data that are shown to people.
_MOST_ROWS: Final = 20


def plot(
    fit: Annotated[
        Path,
        typer.Argument(
            metavar="FIT",
            help="Folder of a fit, or of a study.",
            parser=read_folder,
            show_default=False,
        ),
    ],
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help=f"What to draw of a fit: {', '.join(PLOT_KINDS)}; "
            f"of a study: {', '.join(STUDY_PLOT_KINDS)}.",
            show_default=False,
            autocompletion=complete_kind,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="File of the figure, by its ending: .png, .svg, .pdf, ... "
            "Default: plots/<fit>-<kind>.png.",
            show_default=False,
        ),
    ] = None,
    dataset: FittedOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Draw a figure of a fit or of a study, and give its data.

    The figure is written to a file, in place of an older one; its data are the answer.
    """
    known = (*PLOT_KINDS, *STUDY_PLOT_KINDS)
    if kind not in known:
        raise BayesdenseError(f"KIND {told(kind)}: no such figure{nearest_of(kind, known)}")
    path = out or PLOTS / f"{fit.resolve().name}-{kind}.png"
    ending = ending_of(path)
    from bayesdense.plots.kinds import records

    drawn = _of_study(fit, kind) if kind in STUDY_PLOT_KINDS else _of_fit(fit, kind, dataset)
    write_figure(drawn.figure, path, ending)
    rows = records(drawn.table)
    if form is not Format.TABLE:
        say(f"Written to {path}.")
    emit(
        Answer(
            payload={
                "schema": SCHEMA_VERSION,
                "kind": kind,
                "title": drawn.title,
                "description": drawn.description,
                "file": str(path),
                "rows": rows,
            },
            rows=rows,
            body=tuple(_body(drawn, rows, path)),
        ),
        form,
    )


def _of_study(folder: Path, kind: str) -> "Drawn":
    """Draw a figure of a study."""
    from bayesdense.plots.studies import draw_study
    from bayesdense.study_files import read_study

    return draw_study(read_study(folder), kind)


def _of_fit(folder: Path, kind: str, dataset: str | None) -> "Drawn":
    """Draw a figure of a fit."""
    from bayesdense.dataset import load_dataset
    from bayesdense.plots.kinds import draw
    from bayesdense.results import load_fit
    from bayesdense.study_files import is_study

    if is_study(folder):
        raise BayesdenseError(
            f"{printable(str(folder))}: is a study, and {kind} a figure of a fit; of studies there "
            f"are {', '.join(STUDY_PLOT_KINDS)}"
        )
    return draw(load_fit(folder), kind, dataset=load_dataset(dataset) if dataset else None)


def report(
    fit: FitArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="File of the report. Default: report.html in the folder of the fit.",
            show_default=False,
        ),
    ] = None,
    dataset: FittedOption = None,
    study: Annotated[
        list[Path] | None,
        typer.Option(
            "--study",
            metavar="DIR",
            help="A study of the same dataset and model to show (compare, sweep, backtest, power, "
            "calibrate). May be given several times. Default: those in the folder studies beside "
            "that of the fits.",
            show_default=False,
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write the report of a fit: one page of HTML that loads nothing from anywhere.

    Answer, figures, every LLM, model, checks, data and provenance; `fit` writes it too.
    What studies found stands under what would change the answer.
    An older report of the fit is replaced.
    """
    began = time.perf_counter()
    # First: on import it looks for JAX, and where that is missing reads the source of all that
    # imports it, which takes the longer the more there is
    import arviz_stats  # noqa: F401

    from bayesdense.dataset import load_dataset
    from bayesdense.manifest import REPORT_NAME
    from bayesdense.report import report_html, write_report
    from bayesdense.report.studies import read_studies, studies_beside
    from bayesdense.results import add_file, changing, load_fit, read_summary

    with changing(fit) if out is None else contextlib.nullcontext():
        loaded = load_fit(fit)
        summary = read_summary(fit)
        given = load_dataset(dataset) if dataset else None
        found = (read_studies(loaded, study), []) if study else studies_beside(loaded, fit)
        studies, others = found
        for why in others:
            say(f"Not shown: {why}")
        if out is None:
            page = report_html(loaded, summary=summary, dataset=given, studies=studies)
            path = add_file(fit, REPORT_NAME, page.encode("utf-8"))
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            path = write_report(loaded, out, summary=summary, dataset=given, studies=studies)
    seconds, size = time.perf_counter() - began, path.stat().st_size
    payload = {
        "schema": SCHEMA_VERSION,
        "file": str(path),
        "bytes": size,
        "seconds": seconds,
        "checks": summary["checks"]["status"],
        "studies": [str(one.path) for one in studies],
    }
    said = f"Written to {path} ({size / 1e6:.1f} MB, {seconds:.0f} s): open it in a browser."
    row = {**payload, "studies": " ".join(payload["studies"])}
    shown = [f"Studies shown: {', '.join(one.name for one in studies)}."] if studies else []
    emit(Answer(payload=payload, rows=[row], body=(said, *shown)), form)


def ending_of(path: Path, option: str = "--out") -> str:
    """Form of a figure's file, or an error before any work."""
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    ending = path.suffix.removeprefix(".").lower()
    if ending not in known:
        raise BayesdenseError(
            f"{option} {path}: the ending says no form of a figure; allowed: "
            + ", ".join(f".{name}" for name in sorted(known))
        )
    return ending


def write_figure(figure: "Figure", path: Path, ending: str) -> None:
    """Write a figure whole or not at all."""
    from bayesdense.files import write_bytes_atomic
    from bayesdense.plots.style import styled

    content = io.BytesIO()
    with styled():
        figure.savefig(content, format=ending)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, content.getvalue())
    except OSError as error:
        raise BayesdenseError(f"{path}: cannot be written: {error.strerror}") from error


def _body(drawn: "Drawn", rows: list[dict[str, Any]], path: Path) -> Iterator[RenderableType]:
    """Say what the figure shows, where it is, and the first of its data."""
    yield drawn.description
    yield ""
    first = rows[:_MOST_ROWS]
    columns = [name for name in rows[0] if any(row[name] not in (None, "") for row in first)]
    yield columns_or_stack(columns, [[_cell(row[name]) for name in columns] for row in first])
    if len(rows) > _MOST_ROWS:
        yield f"... and {len(rows) - _MOST_ROWS} more rows: --format csv gives them all."
    yield f"Written to {path}."


def _cell(value: object) -> object:
    """A value of the data for people."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return format_number(value)
