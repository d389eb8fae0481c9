"""One CSV file to checked columns: bytes, header, rows, cells (standard library)."""

import csv
import errno
import io
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bayesdense.cells import CellError, Value, is_missing
from bayesdense.files import read_regular
from bayesdense.tables import Column, TableSpec
from bayesdense.wording import listing, nearest, printable, show, slip_of

MAX_BYTES: Final = 200_000_000
#: Columns of one table: names of unknown ones are compared with all that are known.
MAX_COLUMNS: Final = 1000
#: Other names under which people keep a required column.
_ALIASES: Final = {
    "llm": ("model", "name"),
    "release_date": ("date", "released"),
    "n_params": ("params", "parameters"),
    "n_tokens": ("tokens",),
    "score": ("accuracy", "acc"),
    "benchmark": ("task", "bench"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a dataset cannot be used; `row` counts as a spreadsheet does (header = 1)."""

    file: str
    holds: str
    allowed: str = ""
    cause: str = ""
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        """One line: where, what it holds, what is allowed, likely cause."""
        row = "" if self.row is None else f" row {self.row}"
        column = "" if self.column is None else f", column {self.column}"
        allowed = f", allowed {self.allowed}" if self.allowed else ""
        cause = f": {self.cause}" if self.cause else ""
        return f"{self.file}{row}{column}: {self.holds}{allowed}{cause}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as read: values by known column, None where a cell is blank or cannot be used.

    `raw` holds the text of the columns, `rows` each row's number in a spreadsheet, `whole` is
    false where rows had to be left out, `unknown` names the columns that nothing here uses.
    """

    spec: TableSpec
    rows: tuple[int, ...]
    columns: dict[str, list[Value | None]]
    raw: dict[str, list[str]]
    whole: bool = True
    unknown: tuple[str, ...] = ()

    def has(self, *names: str) -> bool:
        """Whether all these columns are there."""
        return all(name in self.columns for name in names)

    def text(self, name: str) -> list[str | None]:
        """Values of a column of names; None where blank, unusable or absent."""
        values = self.columns.get(name, [None] * len(self.rows))
        return [value if isinstance(value, str) else None for value in values]

    def numbers(self, name: str) -> list[float | None]:
        """Values of a column of numbers; None where blank, unusable or absent."""
        values = self.columns.get(name, [None] * len(self.rows))
        return [value if isinstance(value, float) else None for value in values]


@dataclass(slots=True)
class _Report:
    """Collects the problems of one file while it is read."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def add(
        self,
        holds: str,
        allowed: str = "",
        cause: str = "",
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        self.problems.append(Problem(self.file, holds, allowed, cause, row, column))


def read_table(
    path: Path, spec: TableSpec, documented: Container[str] = ()
) -> tuple[Table | None, list[Problem]]:
    """Read one CSV file whole and say everything that is wrong with it.

    Parameters
    ----------
    path
        The file; UTF-8 with or without byte-order mark, any line ends, comma-separated.
    spec
        The table that it should hold.
    documented
        Columns that the dataset's card describes: never taken for misspelt, never noted.

    Returns
    -------
    tuple of Table or None, list of Problem
        None where the file has no usable header.
    """
    report = _Report(spec.file)
    text = _read_text(path, report)
    if text is None:
        return None, report.problems
    records, whole = _read_records(text, report)
    if not records:
        if whole:
            report.add("no header", listing(spec.required, 9), "a file saved empty?", row=1)
        return None, report.problems
    table = _parse_table(records, whole, spec, documented, report)
    return table, report.problems


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes | str:
    """Content of a regular file of at most so many bytes, or in words why there is none."""
    try:
        return read_regular(path, most)
    except OSError as error:
        told = error.errno in (errno.EINVAL, errno.EFBIG)  # in words of our own
        reason = error.strerror or "unknown reason"
        return reason if told else f"cannot be read: {reason}"
    except ValueError as error:
        return f"cannot be read: {printable(str(error))}"


def composed(text: str) -> str:
    """Text in Unicode's normal form C: one name, however its accents were typed."""
    return unicodedata.normalize("NFC", text)


def _read_text(path: Path, report: _Report) -> str | None:
    """Content of the file as text, or None with a problem reported."""
    content = read_bytes(path)
    if isinstance(content, str):
        report.add(content)
        return None
    if not content.strip(b"\x00\r\n\t \xef\xbb\xbf"):
        report.add(f"empty ({len(content)} bytes)", "a header and at least one row")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{content[error.start]:02x}"
        utf16 = content[:2] in {b"\xff\xfe", b"\xfe\xff"}
        cause = f"{'UTF-16' if utf16 else 'Latin-1'}? save the file as CSV UTF-8"
        report.add(f"{byte} is not UTF-8", "text in UTF-8", cause, row=row)
        return None


def _read_records(text: str, report: _Report) -> tuple[list[tuple[int, list[str]]], bool]:
    """Rows that hold anything, numbered, and whether the file could be read to its end."""
    records = []
    row = 0
    try:
        for row, record in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), 1):
            cells = [composed(cell.strip()) for cell in record]
            if any(cells):
                records.append((row, cells))
    except csv.Error as error:
        holds = f"cannot be read as CSV ({error})"
        report.add(holds, "comma-separated cells", "a quote that is not closed?", row=row + 1)
        return records, False
    return records, True


def _parse_table(
    records: list[tuple[int, list[str]]],
    whole: bool,
    spec: TableSpec,
    documented: Container[str],
    report: _Report,
) -> Table | None:
    header = _trimmed(records[0][1])
    if len(header) > MAX_COLUMNS:
        report.add(f"{len(header)} columns", f"up to {MAX_COLUMNS}", row=records[0][0])
        return None
    if not _check_header(header, records[0][0], spec, documented, report):
        return None
    body, ragged = _check_shape(records[1:], len(header), report)
    if whole and not body and not ragged:
        cause = "delete the file if there are none" if spec.optional else ""
        report.add("no rows below the header", "at least one row", cause)
    rows = tuple(row for row, _ in body)
    place = {name: index for index, name in reversed(list(enumerate(header)))}
    known = [column for column in spec.columns if column.name in place]
    raw = {c.name: [cells[place[c.name]] for _, cells in body] for c in known}
    columns = {c.name: _parse_column(c, raw[c.name], rows, report) for c in known}
    unknown = tuple(name for name in header if name not in documented and name not in columns)
    return Table(spec, rows, columns, raw, whole and not ragged, unknown)


def _trimmed(cells: list[str]) -> list[str]:
    """Cells without the empty ones at the end, which spreadsheets like to add."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _check_shape(
    records: list[tuple[int, list[str]]], width: int, report: _Report
) -> tuple[list[tuple[int, list[str]]], bool]:
    """Rows as wide as the header, and whether any was not."""
    body = []
    for row, cells in records:
        if len(cells) < width or any(cells[width:]):
            wide = len(cells) if len(cells) < width else len(_trimmed(cells))
            cause = "a missing comma?" if wide < width else "a comma inside a cell? quote the cell"
            report.add(f"{wide} cells", f"{width} as in the header", cause, row=row)
        else:
            body.append((row, cells))
    return body, len(body) < len(records)


def _parse_column(
    column: Column, cells: Sequence[str], rows: Sequence[int], report: _Report
) -> list[Value | None]:
    """Values of one column; a problem for each cell that is not what it should be."""
    values: list[Value | None] = []
    for row, cell in zip(rows, cells, strict=True):
        try:
            values.append(_parse_cell(column, cell))
        except CellError as error:
            values.append(None)
            report.add(show(cell), column.kind.allowed, error.cause, row, column.name)
    return values


def _parse_cell(column: Column, cell: str) -> Value | None:
    blank = not cell or cell.casefold() == "nan"
    if blank and not column.required:
        return None
    if blank or (column.kind.storage != "text" and is_missing(cell)):
        raise CellError(_how_to_leave_out(column))
    return column.kind.parse(cell)


def _how_to_leave_out(column: Column) -> str:
    if column.required:
        return f"a missing {column.name} is an absent row; fill the cell or delete the row"
    return "not known? leave the cell empty"


def _check_header(
    header: list[str], row: int, spec: TableSpec, documented: Container[str], report: _Report
) -> bool:
    """Report missing, misspelt and doubled columns; false where the row is no header at all."""
    wanted = _columns_wanted(spec)
    known = {column.name for column in spec.columns}
    strangers = [name for name in header if name and name not in known and name not in documented]
    missing = [name for name in spec.required if name not in header]
    guesses = dict(_guesses(missing, strangers))
    separator = _other_separator(header)
    if separator or (missing and not guesses and not known.intersection(header)):
        cause = f"cells separated by {separator}? save the file comma-separated"
        report.add(_shown(header), wanted, cause if separator else "is the header missing?", row)
        return False
    for name, times in Counter(name for name in header if name).items():
        if times > 1:
            holds, cause = f"{times} columns of this name", "rename or delete one"
            report.add(holds, "one", cause, row, printable(name)[:60])
    for name in missing:
        cause = f"misspelt as {show(guesses[name])}? rename it" if name in guesses else ""
        report.add("missing", wanted, cause, row, name)
    absent = sorted(known.difference(header, missing))
    for name in strangers:
        meant = slip_of(name, absent)
        if meant is not None and name not in guesses.values():
            cause = f"did you mean {meant!r}?"
            report.add("not a known column", wanted, cause, row, printable(name)[:60])
    return True


def _guesses(missing: Sequence[str], strangers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Missing columns, each with the unknown one that is probably meant."""
    for name in missing:
        alias = next((s for s in strangers if s.casefold() in _ALIASES.get(name, ())), None)
        guess = nearest(name, strangers) or alias
        if guess is not None:
            yield name, guess


def _columns_wanted(spec: TableSpec) -> str:
    others = [column.name for column in spec.columns if not column.required]
    optional = f" [, {', '.join(others)}]" if others else ""
    return f"{', '.join(spec.required)}{optional}"


def _shown(header: list[str]) -> str:
    return ", ".join(show(name, 20) for name in header[:4]) + (", ..." if len(header) > 4 else "")


def _other_separator(header: list[str]) -> str:
    """Name of the sign that separates cells in place of commas; empty where commas do."""
    signs = {";": "semicolons", "\t": "tabs", "|": "bars"}
    return next((signs[s] for s in signs if len(header) == 1 and s in header[0]), "")
