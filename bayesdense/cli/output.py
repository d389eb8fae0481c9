"""How verbs answer: table, JSON or CSV on stdout; progress and messages on stderr."""

import csv
import io
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bayesdense.cli.options import Format
from bayesdense.wording import json_text, printable_lines

#: Floats below this hold whole numbers exactly.
_EXACT: Final = 2.0**53
#: Columns of a terminal on which nothing is ever broken.
_UNBOUND: Final = 10_000
#: What tables leave at the ends of lines.
_PADDING: Final = re.compile(r" +$", re.MULTILINE)

type Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb has to say, in its three forms.

    Attributes
    ----------
    payload : Mapping
        The JSON output, as its schema in `bayesdense/schemas` describes it.
    rows : Sequence of Mapping
        The CSV output; the first row names the columns.
    body : Iterable
        Lines and tables for people; what no other form needs may be worked out as it is read.
    """

    payload: Mapping[str, object]
    rows: Sequence[Row]
    body: Iterable[RenderableType] = field(default=())


class _Console(Console):
    """A console that leaves a closed pipe to the program; Rich would end it with status 1."""

    def on_broken_pipe(self) -> None:
        """Raise what Rich has caught."""
        raise BrokenPipeError


def emit(answer: Answer, form: Format) -> None:
    """Write an answer to stdout in the form asked for."""
    if form is Format.JSON:
        sys.stdout.write(json_text(answer.payload) + "\n")
    elif form is Format.CSV:
        _write_csv(answer.rows)
    else:
        console = Console(highlight=False)
        with console.capture() as captured:
            for part in answer.body:
                console.print(
                    _wrapped(part, console.width) if isinstance(part, str) else part, markup=False
                )
        sys.stdout.write(_PADDING.sub("", captured.get()))


def _wrapped(text: str, width: int) -> str:
    """Break lines of text; those that belong to an indented one are indented further."""
    return "\n".join(
        textwrap.fill(
            line,
            width,
            subsequent_indent=" " * (indent + 2 if (indent := _indent(line)) else 0),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in printable_lines(text).split("\n")
    )


def _indent(line: str) -> int:
    """Count the spaces that a line begins with."""
    return len(line) - len(line.lstrip(" "))


def use_utf8() -> None:
    """Write UTF-8 wherever no terminal asks for something else, and never fail on a character.

    Redirected output is read by programs and by other people's editors: it must not depend on the
    locale in which it was written. What cannot be encoded becomes an escape, as in JSON.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def _write_csv(rows: Sequence[Row]) -> None:
    """Write rows under the columns of the first; a value that is not there is a blank."""
    if not rows:
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _csv_cell(value) for key, value in row.items()} for row in rows)


def _csv_cell(value: object) -> object:
    """JSON's words for booleans, whole numbers without `.0`, no text that a terminal obeys."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return printable_lines(value) if isinstance(value, str) else value


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    compact: bool = False,
    gap: int = 2,
) -> Table:
    """Lay out a table for people.

    Parameters
    ----------
    columns : Sequence of str
        Headers.
    rows : Iterable
        Cells, one sequence a row; None is shown as a dash.
    right : Sequence of str
        Columns whose cells are aligned to the right (numbers).
    compact : bool
        Without lines, for tables that are wide or long.
    gap : int
        Spaces between the columns of a compact table.
    """
    made = Table(
        box=None if compact else box.SIMPLE_HEAD,
        padding=(0, gap, 0, 0) if compact else (0, 1),
        pad_edge=False,
        header_style="bold",
    )
    for column in columns:
        numeric = column in right
        made.add_column(
            Text(column),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=numeric,
        )
    for row in rows:
        made.add_row(*(Text("-" if cell is None else printable_lines(cell)) for cell in row))
    return made


@dataclass(frozen=True, slots=True)
class FirstThatFits:
    """Several layouts of one thing, widest first: the first that fits is shown, else the last.

    Attributes
    ----------
    layouts : Sequence
        All of them.
    least : int
        Columns from which on the first is shown although it breaks its lines; 0: it may not.
    """

    layouts: Sequence[RenderableType]
    least: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose by the width that a layout takes unbroken."""
        *wide, last = self.layouts
        room, unbound = options.max_width, options.update(width=_UNBOUND)
        if 0 < self.least <= room:
            yield wide[0]
        else:
            widths = (Measurement.get(console, unbound, made).maximum for made in wide)
            yield next((t for t, width in zip(wide, widths, strict=True) if width <= room), last)


@dataclass(frozen=True, slots=True)
class Stack:
    """Lines below each other, where there is no room for columns; long ones are broken."""

    lines: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Break lines at the width of the terminal, the rest indented further."""
        yield Text("\n".join(_wrapped(line, options.max_width) for line in self.lines))


def _stacked(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Stack:
    """Name every cell of a row on a line of its own."""
    lines: list[str] = []
    for row in rows:
        first, *rest = [pair for pair in zip(columns, row, strict=True) if pair[1] is not None]
        lines.append(" ".join(map(str, first)))
        lines += [f"  {name}: {cell}" if name else f"  {cell}" for name, cell in rest]
    return Stack(lines)


def columns_or_stack(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    compact: bool = False,
    least: int = 0,
) -> FirstThatFits:
    """Lay out a table for people, stacked where the terminal has not the room."""
    kept = list(rows)
    return FirstThatFits(
        (table(columns, kept, right=right, compact=compact), _stacked(columns, kept)), least
    )


def pairs(entries: Iterable[tuple[str, object]]) -> Table:
    """Lay out labels and their texts in two columns, without those that are absent."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for label, value in entries:
        if value not in (None, "", [], {}):
            made.add_row(Text(label, style="bold"), Text(printable_lines(value)))
    return made


def stderr() -> Console:
    """Return the console for progress and messages."""
    return _Console(stderr=True, highlight=False)


def say(*lines: str) -> None:
    """Write lines to stderr, where they cannot mix with an answer."""
    console = stderr()
    for line in lines:
        console.print(printable_lines(line), markup=False, soft_wrap=True)
