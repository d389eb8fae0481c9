"""The verbs `plot` and `report`: one figure of a finished fit with its data, and all of them."""

import contextlib
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import RenderableType

from bayesdense.cli.options import FitArgument, FittedOption, Format, FormatOption, complete_kind
from bayesdense.cli.output import Answer, columns_or_stack, emit, say
from bayesdense.errors import BayesdenseError
from bayesdense.names import PLOT_KINDS, SCHEMA_VERSION
from bayesdense.statements import format_number
from bayesdense.wording import nearest_of, told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayesdense.plots.kinds import Drawn

PLOTS: Final = Path("plots")
#: Rows of a figure's data that are shown to people.
_MOST_ROWS: Final = 20


def plot(
    fit: FitArgument,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="What to draw: " + ", ".join(PLOT_KINDS) + ".",
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
    """Draw a figure of a fit, and give its data.

    The figure is written to a file, in place of an older one; its data are the answer.
    """
    if kind not in PLOT_KINDS:
        raise BayesdenseError(f"KIND {told(kind)}: no such figure{nearest_of(kind, PLOT_KINDS)}")
    path = out or PLOTS / f"{fit.resolve().name}-{kind}.png"
    ending = ending_of(path)
    from bayesdense.dataset import load_dataset
    from bayesdense.plots.kinds import draw, records
    from bayesdense.results import load_fit

    drawn = draw(load_fit(fit), kind, dataset=load_dataset(dataset) if dataset else None)
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
    form: FormatOption = Format.TABLE,
) -> None:
    """Write the report of a fit: one page of HTML that loads nothing from anywhere.

    Answer, figures, every LLM, model, checks, data and provenance; `fit` writes it too.
    An older report of the fit is replaced.
    """
    began = time.perf_counter()
    from bayesdense.dataset import load_dataset
    from bayesdense.manifest import REPORT_NAME
    from bayesdense.report import report_html, write_report
    from bayesdense.results import SUMMARY_NAME, add_file, changing, load_fit

    with changing(fit) if out is None else contextlib.nullcontext():
        loaded = load_fit(fit)
        summary = json.loads((fit / SUMMARY_NAME).read_bytes())  # which the manifest vouches for
        given = load_dataset(dataset) if dataset else None
        if out is None:
            page = report_html(loaded, summary=summary, dataset=given).encode("utf-8")
            path = add_file(fit, REPORT_NAME, page)
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            path = write_report(loaded, out, summary=summary, dataset=given)
    seconds, size = time.perf_counter() - began, path.stat().st_size
    payload = {
        "schema": SCHEMA_VERSION,
        "file": str(path),
        "bytes": size,
        "seconds": seconds,
        "checks": summary["checks"]["status"],
    }
    said = f"Written to {path} ({size / 1e6:.1f} MB, {seconds:.0f} s): open it in a browser."
    emit(Answer(payload=payload, rows=[payload], body=(said,)), form)


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
