"""Summaries, checks and numbers in the three forms in which verbs answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.table import Table

from bayesdense.cli.output import Answer, FirstThatFits, Stack, table
from bayesdense.names import DAYS_PER_MONTH, SCHEMA_VERSION
from bayesdense.statements import format_number
from bayesdense.wording import listing

if TYPE_CHECKING:
    import pandas as pd

    from bayesdense.approximation import Preview
    from bayesdense.results import Fit

type Spell = Callable[[float], str]


def percent(value: float) -> str:
    """Spell a share in percent."""
    return f"{100 * value:.1f} %"


def study_ending(folder: Path, verb: str, kind: str) -> str:
    """Say where a study is, and what shows it."""
    return (
        f"Written to {folder / f'{verb}.json'}. Next: bayesdense plot {folder} {kind}, or "
        "bayesdense report FIT."
    )


def bound(end: float | None, spell: Spell = format_number) -> str:
    """Spell an end or a median; an unbounded one is spelt out, not left blank."""
    return "unbounded" if end is None else spell(end)


def interval(bounds: Sequence[float | None], spell: Spell = format_number) -> str:
    """Spell two ends."""
    low, high = (bound(end, spell) for end in bounds)
    return f"{low} to {high}"


def days(time: Mapping[str, Any]) -> str:
    """Spell a doubling time in days, with its 95 % interval."""
    return f"{bound(time['median'])} ({interval(time['eti95'])})"


def months(time: Mapping[str, Any]) -> str:
    """Spell a doubling time in months, with its 95 % interval where there is one."""

    def spell(days: float) -> str:
        return format_number(days / DAYS_PER_MONTH, digits=2)

    span = time["eti95"]
    return bound(time["median"], spell) + (f" ({interval(span, spell)})" if span else "")


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


def passed(row: Mapping[str, Any]) -> bool:
    """Whether a fit ended, and no check of it failed."""
    return bool(row["status"] == "done" and row["checks"]["status"] != "fail")


def checks_answer(checks: Mapping[str, Any]) -> Answer:
    """Say the checks of a fit in the three forms."""
    items: Sequence[Mapping[str, Any]] = checks["items"]
    return Answer(
        payload={"schema": SCHEMA_VERSION, **checks},
        rows=[_check_row(item) for item in items],
        body=(
            _check_table([_check_cells(item) for item in items]),
            *check_lines(checks),
        ),
    )


def _check_table(cells: Sequence[Sequence[str]]) -> RenderableType:
    """Lay out checks in columns, or two lines a check on a narrow terminal."""
    columns = ("check", "status", "value", "threshold")
    lines = [
        line
        for name, status, value, limit in cells
        for line in (name, f"  {status} {value} (threshold {limit})")
    ]
    wide = table(columns, cells, right=("value",), compact=True)
    return FirstThatFits((wide, Stack(lines)))


def _check_row(item: Mapping[str, Any]) -> dict[str, object]:
    """Make one row of the CSV of checks: an interval stands in two columns of its own."""
    row = dict(item)
    threshold, advice = row.pop("threshold"), row.pop("advice")
    pair = threshold if isinstance(threshold, Sequence) and not isinstance(threshold, str) else None
    low, high = pair or (None, None)
    return {
        **row,
        "threshold": None if pair else threshold,
        "threshold_low": low,
        "threshold_high": high,
        "advice": advice,
    }


def _check_cells(item: Mapping[str, Any]) -> list[str]:
    """Make one row of the table of checks; R-hat differs from 1 in its last digits only."""
    name, value = item["name"], item["value"]
    near_one = name.startswith("r_hat") and isinstance(value, float)
    return [
        name,
        item["status"].upper(),
        f"{value:.4f}" if near_one else _shown(value) or "-",
        _shown(item["threshold"], spell=lambda limit: f"{limit:g}") or "-",
    ]


def _shown(value: object, spell: Spell = format_number) -> str | None:
    """Spell a value or a threshold, which may be a number, a pair or words."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return None if value is None else str(value)
    if isinstance(value, Sequence):
        return interval(value, spell)
    return str(value) if isinstance(value, int) else spell(float(str(value)))


def check_lines(checks: Mapping[str, Any]) -> Iterator[str]:
    """Say the verdict, then what each check that did not pass advises."""
    yield f"checks: {checks['status'].upper()}"
    for item in checks["items"]:
        if item["status"] != "pass":
            yield f"  {item['status'].upper()} {item['name']}: {item['advice']}".rstrip(": ")


def failed_checks(*fits: "Fit") -> Iterator[str]:
    """Say of which fits numbers cannot be used."""
    from bayesdense.checks import failures

    for fit in fits:
        if names := failures(fit):
            about = f"{fit.spec.name}, trend {fit.spec.trend}"
            yield (
                f"Checks of the fit ({about}) fail: {listing(names)}. Its numbers may move: see "
                "`bayesdense check`."
            )


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
    columns = ["llm", "released", "parameters", "effective size", "density"]
    rows = [
        [mark, *cells] for mark, cells in zip(marks, frame[columns].values.tolist(), strict=True)
    ]
    yield FirstThatFits((_wide(rows), _narrow(rows), _stacked(rows)))
    if any(marks):
        yield BOUNDS_LEGEND


#: What the marks of LLMs mean whose scores do not bound their size on both sides.
BOUNDS_LEGEND: Final = "> scores give a lower bound on the size only, < an upper bound only, ? none"
_SIZES: Final = ("effective size (95 %)", "density (95 %)")


def _wide(rows: Sequence[Sequence[str]]) -> Table:
    """All of it on one line."""
    columns = ("", "LLM", "released", "size", *_SIZES)
    return table(columns, rows, right=columns[2:], compact=True)


def _narrow(rows: Sequence[Sequence[str]]) -> Table:
    """One line of months and short intervals."""
    columns = ("", "LLM", "month", "size", *_SIZES)
    short = (
        [mark, name, date[:7], size, *(cell.replace(" to ", "\N{EN DASH}") for cell in cells)]
        for mark, name, date, size, *cells in rows
    )
    return table(columns, short, right=columns[2:], compact=True, gap=1)


def _stacked(rows: Sequence[Sequence[str]]) -> Stack:
    """Three lines an LLM, for a terminal that is narrow or for names that are long."""
    lines = ["  LLM, effective size (95 %), density (95 %)"]
    for mark, name, date, size, *cells in rows:
        lines += [
            f"{mark or ' '} {name}, {date}, {size}",
            *(f"    {cell}" for cell in cells if cell),
        ]
    return Stack(lines)


def _mark(note: str) -> str:
    """Shorten a note to a sign."""
    signs = {"lower": ">", "upper": "<", "no": "?"}
    return signs.get(note.split(" ", 1)[0], "")


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


def preview_answer(found: "Preview") -> Answer:
    """Say what a normal approximation gives, and that it is one."""
    payload = found.to_dict()
    low, middle, high = (
        found.doubling_time.months(prob) or "infinitely many" for prob in (0.025, 0.5, 0.975)
    )
    verdict = (
        "importance sampling finds it good"
        if found.is_reliable
        else "too far from the posterior to be mended by weights: only a fit is to be quoted"
    )
    return Answer(
        payload=payload,
        rows=[flat(payload)],
        body=(
            f"PREVIEW of {found.model} on {found.dataset}: a normal approximation, no posterior.",
            f"The density of a typical new LLM doubles about every {middle} months (95 % interval "
            f"about {low} to {high}).",
            f"k-hat {found.pareto_k:.1f}: {verdict}.",
            "Nothing was written. Without --preview the posterior is sampled.",
        ),
    )
