"""The report of a fit: one page that holds everything that it shows."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd
from markupsafe import Markup

from bayesdense._version import __version__
from bayesdense.checks import check
from bayesdense.commands import same_fit
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError, ReportError
from bayesdense.files import write_bytes_atomic
from bayesdense.names import CHAIN, CI_PROB, DRAW, PLOT_KINDS
from bayesdense.report import barg, formulas, interactive, security
from bayesdense.report.beside import beside
from bayesdense.report.images import DARK, Absent, Image, image_of
from bayesdense.report.rows import check_rows, growth_rows, llm_rows
from bayesdense.report.sensitivity import leaning, questions
from bayesdense.report.studies import answered, open_studies, read_studies, shown_studies
from bayesdense.results import Fit
from bayesdense.study_files import StudyFile
from bayesdense.summary import count_not_finite, summarize
from bayesdense.text_tables import llm_text_table
from bayesdense.wording import counted, printable_lines

ASSETS: Final = Path(__file__).parent / "assets"
_VERDICTS: Final[Mapping[str, str]] = {
    "pass": "Every check passed.",
    "review": "The computation can be trusted; the findings below are news about the model or the "
    "data and limit what the answer means.",
    "fail": "A check failed: the numbers below are not to be used before it is mended.",
}


def report_html(
    fit: Fit,
    *,
    summary: Mapping[str, Any] | None = None,
    dataset: Dataset | None = None,
    studies: Sequence[StudyFile | str | Path] = (),
) -> str:
    """Make the report of a fit: one page of HTML that loads nothing from anywhere.

    Parameters
    ----------
    fit
        A fit.
    summary
        Content of its summary.json, where it is at hand; else it is computed.
    dataset
        The dataset that was fitted, for the paper's estimate beside the fit; shipped ones are
        found by themselves.
    studies
        Studies of the same dataset and model, or their folders: `compare`, `sweep`, `backtest`,
        `power` and `calibrate` say what would change the answer.

    Returns
    -------
    str
        HTML with all its figures, styles and scripts.

    Raises
    ------
    ReportError
        A figure could not be drawn; its name is in the message.
    DatasetError
        `dataset` is not the one that was fitted.
    BayesdenseError
        A study that cannot be read, or is about another dataset or model.
    """
    found = read_studies(fit, studies)
    if summary is None:
        summary = summarize(fit, check(fit))
    images = _images(fit, dataset)
    try:
        scripts = {"page": security.script(_asset("page.js"))}
        parts = _parts(fit, summary, dataset, images, found)
        if parts["item"] is not None:
            scripts["library"] = security.script(interactive.library())
        page = _environment().get_template("report.html.j2")
        policy = security.policy(map(str, scripts.values()))
        return page.render(policy=policy, scripts=scripts, images=images, **parts)
    except BayesdenseError:
        raise
    except Exception as error:
        raise ReportError(
            f"the report could not be made: {type(error).__name__}: {error}"
        ) from error


def write_report(
    fit: Fit,
    path: str | Path,
    *,
    summary: Mapping[str, Any] | None = None,
    dataset: Dataset | None = None,
    studies: Sequence[StudyFile | str | Path] = (),
) -> Path:
    """Write the report of a fit as one file of HTML.

    Parameters
    ----------
    fit
        As for `report_html`.
    path
        The file, replaced where it is there; its folder exists.
    summary, dataset, studies
        As for `report_html`.

    Returns
    -------
    pathlib.Path
        That was written.

    Raises
    ------
    ReportError
        A figure could not be drawn, or the file cannot be written.

    Examples
    --------
    ``write_report(load_fit("fits/densing"), "densing.html")``
    """
    page = report_html(fit, summary=summary, dataset=dataset, studies=studies)
    content = page.encode("utf-8")
    target = Path(path)
    try:
        write_bytes_atomic(target, content)
    except OSError as error:
        reason = error.strerror or error
        raise ReportError(f"{target}: the report cannot be written: {reason}") from error
    return target


def _parts(
    fit: Fit,
    summary: Mapping[str, Any],
    dataset: Dataset | None,
    images: Mapping[str, Image | Absent],
    found: Sequence[StudyFile],
) -> dict[str, Any]:
    """Everything that the page says, by the names that its template uses."""
    texts = llm_text_table(fit)
    item = _interactive(images, texts)
    is_whole = not count_not_finite(fit)
    point = beside(fit, dataset) if is_whole else None
    return {
        "style": Markup(_asset("style.css")),
        "item": None if item is None else security.data_block(item),
        "dark": security.data_block(dict(DARK)),
        "summary": summary,
        "verdict": _VERDICTS[summary["checks"]["status"]],
        "checks": check_rows(summary["checks"]["items"]),
        "growth": growth_rows(fit),
        "llms": llm_rows(fit, texts),
        "is_joint": fit.spec.is_joint,
        "terms": formulas.terms(fit),
        "definition": formulas.definition(fit),
        "priors": formulas.prior_rows(fit),
        "studies": shown_studies(fit, found),
        "questions": [
            *open_studies(fit, found),
            *(one for one in questions(fit) if one.key not in answered(found)),
        ],
        "leaning": leaning(fit) if is_whole else None,
        "point": point,
        "barg": barg.checklist(
            fit,
            summary,
            has_point=point is not None and bool(point.rows),
            has_rivals=any(one.verb == "compare" for one in found),
        ),
        "signs": barg.SIGNS,
        "about": fit.dataset_info,
        "warnings": fit.dataset_warnings,
        "provenance": _provenance(fit, summary),
        "version": __version__,
        "ci": f"{CI_PROB:.0%}".replace("%", " %"),
    }


def _images(fit: Fit, dataset: Dataset | None) -> dict[str, Image | Absent]:
    """Every figure, or why this fit has it not."""
    if broken := count_not_finite(fit):
        reason = f"{broken:,} draws are not finite"
        return {kind: Absent(kind, title, reason) for kind, title in PLOT_KINDS.items()}
    images: dict[str, Image | Absent] = {}
    for kind in PLOT_KINDS:
        known = images.get(_SAME_TABLE.get(kind, ""))
        table = known.table if isinstance(known, Image) else None
        images[kind] = image_of(fit, kind, dataset, table)
    return images


#: Figures that are drawn from the table of another one.
_SAME_TABLE: Final = {"trend_linear": "trend"}


def _interactive(
    images: Mapping[str, Image | Absent], texts: pd.DataFrame
) -> dict[str, Any] | None:
    """The interactive figure; none where the trend could not be drawn."""
    trend = images["trend"]
    if isinstance(trend, Absent):
        return None
    try:
        return interactive.interactive_item(trend.table, texts)
    except Exception as error:
        raise ReportError(
            f"the figure 'interactive' could not be drawn: {type(error).__name__}: {error}"
        ) from error


def _provenance(fit: Fit, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the fit is from, and what it takes to make it again."""
    sizes = fit.posterior.sizes
    timings = {**fit.timings, **{k: v for k, v in summary["timings_s"].items() if v is not None}}
    return [
        ("command line", fit.command_line or "none: made from Python"),
        ("the same fit again", same_fit(fit)),
        ("seed", str(fit.seed)),
        (
            "draws",
            f"{sizes[CHAIN]} x {sizes[DRAW]:,} (chains x draws), {fit.tree.attrs['sampler']}",
        ),
        ("digest of the dataset", str(fit.dataset_info["digest"])),
        ("digest of the model", fit.spec.digest),
        ("timings", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())),
        ("versions", ", ".join(f"{name} {number}" for name, number in fit.versions.items())),
        ("this page", f"made by bayesdense {__version__}"),
    ]


def _asset(name: str) -> str:
    """Text of a file that ships with the package."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    """Templates: everything is escaped, and a name that is not there is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": printable_lines, "counted": counted}
    return environment
