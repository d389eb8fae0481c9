"""Summaries, checks and numbers in the three forms in which verbs answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from bayesdense.cli.output import Answer, table
from bayesdense.names import SCHEMA_VERSION
from bayesdense.statements import format_number

if TYPE_CHECKING:
    import pandas as pd

type Spell = Callable[[float], str]


def percent(value: float) -> str:
    """Spell a share in percent."""
    return f"{100 * value:.1f} %"


def interval(bounds: Sequence[float | None], spell: Spell = format_number) -> str:
    """Spell two ends; an unbounded end is spelt out, not left blank."""
    low, high = ("unbounded" if end is None else spell(end) for end in bounds)
    return f"{low} to {high}"


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Make one CSV row of a JSON object: `loss_median, loss_eti95_mean_low, ..._high`."""
    row: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            row |= flat(value, f"{prefix}{key}_")
        elif isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
            row |= {f"{prefix}{key}_low": value[0], f"{prefix}{key}_high": value[1]}
        else:
            row[prefix + key] = value
    return row


def checks_answer(checks: Mapping[str, Any]) -> Answer:
    """Say the checks of a fit in the three forms."""
    items: Sequence[Mapping[str, Any]] = checks["items"]
    return Answer(
        payload={"schema": SCHEMA_VERSION, **checks},
        rows=[dict(item) for item in items],
        body=(
            table(
                ("check", "status", "value", "threshold"),
                (_check_cells(item) for item in items),
                right=("value",),
            ),
            *check_lines(checks),
        ),
    )


def _check_cells(item: Mapping[str, Any]) -> list[object]:
    """Make one row of the table of checks."""
    return [item["name"], item["status"].upper(), _shown(item["value"]), _shown(item["threshold"])]


def _shown(value: object) -> str | None:
    """Spell a value or a threshold, which may be a number, a pair or words."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return None if value is None else str(value)
    if isinstance(value, Sequence):
        return interval(value)
    return str(value) if isinstance(value, int) else format_number(float(str(value)))


def check_lines(checks: Mapping[str, Any]) -> Iterator[str]:
    """Say the verdict, then what each check that did not pass advises."""
    yield f"checks: {checks['status'].upper()}"
    for item in checks["items"]:
        if item["status"] != "pass":
            yield f"  {item['status'].upper()} {item['name']}: {item['advice']}".rstrip(": ")


def warning_lines(warnings: Iterable[str]) -> Iterator[str]:
    """Say what was doubtful about the data."""
    yield from (f"warning: {text}" for text in warnings)


def summary_answer(summary: Mapping[str, Any], *body: RenderableType) -> Answer:
    """Say a summary in the three forms; the CSV is the table of LLMs.

    Parameters
    ----------
    summary : Mapping
        Content of summary.json.
    *body : RenderableType
        What is said to people.
    """
    return Answer(payload=summary, rows=[flat(llm) for llm in summary["llms"]], body=body)


def llm_table(frame: "pd.DataFrame") -> Iterator[RenderableType]:
    """Lay out sizes and densities, one line an LLM, with a mark where a size is but a bound.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `bayesdense.text_tables.llm_text_table` returns; its notes become marks, as they would
        not fit into 80 columns.
    """
    marks = [_mark(note) for note in frame["note"]]
    sizes = ["effective size", "density"]
    cells = frame[["llm", "released", "parameters", *sizes]].values.tolist()
    yield table(
        ("", "LLM", "released", "size", "effective size (95 %)", "density (95 %)"),
        ([mark, *row] for mark, row in zip(marks, cells, strict=True)),
        right=("released", "size", "effective size (95 %)", "density (95 %)"),
        compact=True,
    )
    if any(marks):
        yield "> scores give a lower bound on the size only, < an upper bound only"


def _mark(note: str) -> str:
    """Shorten a note to a sign."""
    return ">" if note.startswith("lower") else "<" if note.startswith("upper") else ""


def growth_table(frame: "pd.DataFrame") -> Iterator[RenderableType]:
    """Lay out growth in every unit; nothing where the fit has no answer.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `bayesdense.text_tables.growth_text_table` returns.
    """
    if not frame.empty:
        cells = (
            [name, median, f"{low} to {high}" if low else "", "" if unit == "1" else unit]
            for name, median, low, high, unit in frame.values.tolist()
        )
        columns = ("quantity", "median", "95 % interval", "unit")
        yield table(columns, cells, right=("median",), compact=True)
        yield ""
