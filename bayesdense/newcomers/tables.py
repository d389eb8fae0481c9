"""New LLMs and their scores, read from tables whole."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bayesdense.cells import SCORE
from bayesdense.errors import DatasetError
from bayesdense.reading import Problem, Table, read_table
from bayesdense.tables import LLMS, SCORES, Column, TableSpec
from bayesdense.validation import parts_above_total, problem_lines
from bayesdense.wording import listing, nearest, printable


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of a new LLM, on the benchmark's items and protocol where nothing else is said."""

    llm: str
    benchmark: str
    score: float
    n_items: float | None = None
    n_reports: float = 1.0
    other_protocol: float | None = None  # 1 if it is not the protocol of the map's points


@dataclass(frozen=True, slots=True)
class NewLLM:
    """One new LLM; its counts of parameters by convention, `family` None if it is its own."""

    name: str
    release_date: dt.date
    counts: dict[str, float]
    family: str | None
    is_base: bool


@dataclass(frozen=True, slots=True)
class Newcomers:
    """New LLMs with their scores on a fit's benchmarks, and what a reader has to know of them."""

    llms: tuple[NewLLM, ...]
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...] = ()


def read_newcomers(
    models: str | Path, scores: str | Path | None, benchmarks: Sequence[str]
) -> Newcomers:
    """Read new LLMs and their scores from CSV tables, whole, with all problems at once.

    Parameters
    ----------
    models
        A row per LLM with the columns of `llms.csv`, and perhaps a column of scores for each
        benchmark, named as the benchmark is; a blank cell there is a missing score.
    scores
        A further table with the columns of `scores.csv`, a row per LLM and benchmark; None: none.
    benchmarks
        Those that the fit knows.

    Raises
    ------
    DatasetError
        A table that cannot be read, a cell that is not what it should be, an LLM that stands
        twice, a score that stands twice, an LLM without any score on these benchmarks.
    """
    source = printable(str(models))
    path = Path(models)
    wide = tuple(Column(name, SCORE, required=False) for name in benchmarks)
    spec = TableSpec(path.stem, (*LLMS.columns, *wide), key=LLMS.key)
    table, problems = read_table(path, spec)
    tall: Table | None = None
    more: list[Problem] = []
    if scores is not None:
        tall_spec = replace(SCORES, name=Path(scores).stem)
        tall, more = read_table(Path(scores), tall_spec)
    if problems or more or table is None:
        raise DatasetError(source, problem_lines([*problems, *more]))
    llms = tuple(_llms(table))
    cells = [*_wide_cells(table, benchmarks), *(_tall_cells(tall) if tall else ())]
    known = [cell for cell in cells if cell.benchmark in benchmarks]
    found = [
        *parts_above_total(table),
        *_repeated(table, llms, known, tall),
        *_unscored(table, llms, known, benchmarks),
    ]
    if found:
        raise DatasetError(source, problem_lines(found))
    return Newcomers(llms, tuple(known), tuple(_notes(table, cells, benchmarks)))


def _llms(table: Table) -> Iterator[NewLLM]:
    """LLMs of a table, in its order."""
    conventions = ("", "_active", "_non_embedding")
    columns = {c: table.numbers(f"n_params{c}") for c in conventions}
    bases = table.columns.get("is_base", [None] * len(table.rows))
    for k, (name, date, family) in enumerate(
        zip(table.text("llm"), table.columns["release_date"], table.text("family"), strict=True)
    ):
        counts = {c.lstrip("_") or "total": columns[c][k] for c in conventions}
        yield NewLLM(
            str(name),
            dt.date.fromisoformat(str(date)),
            {c: count for c, count in counts.items() if count is not None},
            family or None,
            bases[k] is not False,
        )


def _wide_cells(table: Table, benchmarks: Sequence[str]) -> Iterator[Cell]:
    """Scores that stand beside the LLMs, in columns named as benchmarks."""
    names = table.text("llm")
    for benchmark in benchmarks:
        for name, score in zip(names, table.numbers(benchmark), strict=True):
            if score is not None:
                yield Cell(str(name), benchmark, score)


def _tall_cells(table: Table) -> Iterator[Cell]:
    """Scores of a table of their own."""
    columns = (table.text("llm"), table.text("benchmark"), table.numbers("score"))
    for name, benchmark, score, items in zip(*columns, table.numbers("n_items"), strict=True):
        if score is not None:
            yield Cell(str(name), str(benchmark), score, items)


def _repeated(
    table: Table, llms: Sequence[NewLLM], cells: Sequence[Cell], tall: Table | None
) -> Iterator[Problem]:
    """LLMs and scores that stand twice, and scores of LLMs that do not stand at all."""
    seen: set[str] = set()
    for row, llm in zip(table.rows, llms, strict=True):
        if llm.name in seen:
            yield Problem(table.spec.file, printable(llm.name), "each LLM once", "", row, "llm")
        seen.add(llm.name)
    file = tall.spec.file if tall else table.spec.file
    pairs: set[tuple[str, str]] = set()
    for cell in cells:
        if (cell.llm, cell.benchmark) in pairs:
            holds = f"two scores of {printable(cell.llm)} on {cell.benchmark}"
            yield Problem(file, holds, "one")
        pairs.add((cell.llm, cell.benchmark))
    for name in sorted({cell.llm for cell in cells} - seen):
        guess = nearest(name, seen)
        cause = f"did you mean {printable(guess)!r}?" if guess else ""
        yield Problem(file, f"score of {printable(name)}", f"an llm of {table.spec.file}", cause)


def _unscored(
    table: Table, llms: Sequence[NewLLM], cells: Sequence[Cell], benchmarks: Sequence[str]
) -> Iterator[Problem]:
    """LLMs of which nothing can be said."""
    scored = {cell.llm for cell in cells}
    allowed = f"a score on one or more of {listing(benchmarks, 12)}"
    for row, llm in zip(table.rows, llms, strict=True):
        if llm.name not in scored:
            holds = f"{printable(llm.name)} has no score"
            yield Problem(table.spec.file, holds, allowed, "", row, "llm")


def _notes(table: Table, cells: Sequence[Cell], benchmarks: Sequence[str]) -> Iterator[str]:
    """What was not read."""
    foreign = sorted({cell.benchmark for cell in cells} - set(benchmarks))
    if foreign:
        yield f"The fit has no law for {listing(foreign)}: scores on it are not used."
    if table.unknown:
        columns = listing([name for name in table.unknown if name])
        yield f"Columns of {table.spec.file} that are not used: {columns}."
