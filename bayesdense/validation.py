"""A dataset folder checked whole: every problem at once, then warnings (standard library).

Rules within one cell live in `cells`, within one file in `reading`; here are the rules that tie
rows and tables together.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from bayesdense.card import CARD, described_columns, read_card
from bayesdense.dataset_warnings import dataset_warnings
from bayesdense.reading import Problem, Table, read_table
from bayesdense.tables import ALL_TABLES, DENSITIES, SCORE_TABLES, TableSpec
from bayesdense.wording import listing, nearest, show

#: Parameters of the loss law with floor: E, a, alpha, b, beta.
LAW_PARAMETERS: Final = 5
#: Total counts are rounded as the LLM's name has them, so a part may exceed the total by as much.
COUNT_TOLERANCE: Final = 0.03
#: Problem lines shown per file; the others are counted.
MAX_LINES: Final = 50

type Tables = Mapping[str, Table]


@dataclass(frozen=True, slots=True)
class Checked:
    """A folder as read: card, tables by name, all problems, and warnings where there are none."""

    card: dict[str, object]
    tables: dict[str, Table]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def check_folder(folder: Path, *, today: date | None = None) -> Checked:
    """Read and check a dataset folder whole.

    Parameters
    ----------
    folder
        An existing folder with `card.toml` and CSV tables.
    today
        Day (UTC) from which the future counts; the clock's unless given.

    Returns
    -------
    Checked
        With every problem of every file, in the order of files and rows.
    """
    card, problems = read_card(folder)
    present = [spec for spec in ALL_TABLES if _is_there(folder / spec.file)]
    problems += _combination_problems(folder, present)
    documented = described_columns(card)
    tables: dict[str, Table] = {}
    for spec in present:
        table, found = read_table(folder / spec.file, spec, documented)
        problems += found
        if table is not None:
            tables[spec.name] = table
    problems += _table_problems(tables, today or datetime.now(UTC).date())
    warnings = () if problems else tuple(dataset_warnings(tables, card))
    return Checked(card, tables, tuple(problems), warnings)


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """One line per problem, file by file; at most `MAX_LINES` per file, then how many more.

    Where lines are left out, every column that has a problem keeps some.
    """
    by_file: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_file[problem.file].append(problem)
    order = [CARD, *(spec.file for spec in ALL_TABLES)]
    lines: list[str] = []
    for file in sorted(
        by_file, key=lambda name: (order.index(name) if name in order else -1, name)
    ):
        found = sorted(by_file[file], key=lambda problem: problem.row or 0)
        lines += [str(problem) for problem in _spread(found)]
        if len(found) > MAX_LINES:
            lines.append(f"{file}: and {len(found) - MAX_LINES} more ({len(found)} in all)")
    return lines


def _spread(found: list[Problem]) -> list[Problem]:
    """At most `MAX_LINES` problems in their order, each column in turn having its say."""
    if len(found) <= MAX_LINES:
        return found
    turn: dict[str | None, int] = defaultdict(int)
    turns = []
    for index, problem in enumerate(found):
        turns.append((turn[problem.column], index))
        turn[problem.column] += 1
    return [found[index] for index in sorted(index for _, index in sorted(turns)[:MAX_LINES])]


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _combination_problems(folder: Path, present: list[TableSpec]) -> Iterator[Problem]:
    """Missing tables, or densities beside the tables that they stand in place of."""
    if DENSITIES in present:
        others = [spec.file for spec in present if spec is not DENSITIES]
        if others:
            holds = f"together with {listing(others, 9)}"
            allowed = "alone, in place of all other tables"
            yield Problem(DENSITIES.file, holds, allowed, "remove one or the other")
        return
    needed = [spec for spec in SCORE_TABLES if not spec.optional]
    allowed = f"{', '.join(spec.file for spec in needed)} together, or {DENSITIES.file} alone"
    tables = {spec.file for spec in ALL_TABLES}
    strangers = sorted({path.name for path in folder.iterdir()} - tables - {CARD})
    causes = {spec.name: _other_spelling(spec, strangers) for spec in needed}
    if not present and not any(causes.values()):
        yield Problem("folder", "no tables", allowed, "is this the dataset's folder?")
        return
    for spec in needed:
        if spec not in present:
            yield Problem(spec.file, "missing", allowed, causes[spec.name])


def _other_spelling(spec: TableSpec, files: list[str]) -> str:
    """Say what a missing table may be called instead; empty where nothing looks like it."""
    for file in files:
        stem, _, suffix = file.rpartition(".")
        if stem.casefold() == spec.name and suffix.casefold() != "csv":
            return f"is it {show(file)}? save it as CSV UTF-8"
    guess = nearest(spec.file, files, cutoff=0.75)
    return f"misspelt as {show(guess)}? rename it" if guess else ""


def _table_problems(tables: Tables, today: date) -> Iterator[Problem]:
    for table in tables.values():
        yield from _repeated_keys(table)
        yield from _future_dates(table, today)
    yield from _unknown_ids(tables)
    if "llms" in tables:
        yield from parts_above_total(tables["llms"])
        yield from _own_ancestors(tables["llms"])
        yield from _no_base_llm(tables["llms"])
    if "runs" in tables:
        yield from _changing_runs(tables["runs"])
        yield from _too_few_runs(tables["runs"], tables)
    yield from _benchmarks_without_reference(tables)
    yield from _llms_without_score(tables)


def _repeated_keys(table: Table) -> Iterator[Problem]:
    key = table.spec.key
    if not key or not table.has(*key):
        return
    first: dict[tuple[str | None, ...], int] = {}
    for row, *values in zip(table.rows, *(table.text(name) for name in key), strict=True):
        names = tuple(values)
        if None in names:
            continue
        seen = first.setdefault(names, row)
        if seen != row:
            holds = " x ".join(show(name) for name in names if name) + " again"
            cause = f"first in row {seen}; keep one"
            allowed = f"each {' x '.join(key)} once"
            yield Problem(table.spec.file, holds, allowed, cause, row, key[0])


def _future_dates(table: Table, today: date) -> Iterator[Problem]:
    last = today + timedelta(days=1)
    for row, value in zip(table.rows, table.columns.get("release_date", ()), strict=False):
        if isinstance(value, date) and value > last:
            allowed = f"up to tomorrow ({last.isoformat()}, UTC)"
            cause = "a date in the future: a slip in the year?"
            yield Problem(table.spec.file, value.isoformat(), allowed, cause, row, "release_date")


def _unknown_ids(tables: Tables) -> Iterator[Problem]:
    for table in tables.values():
        if table.spec.name != "benchmarks":
            yield from _unknown_in(table, "benchmark", tables.get("benchmarks"), "benchmark")
        if table.spec.name not in {"llms", "densities"}:
            yield from _unknown_in(table, "llm", tables.get("llms"), "llm")
    if "llms" in tables:
        yield from _unknown_in(tables["llms"], "derived_from", tables["llms"], "llm")


def _unknown_in(table: Table, column: str, home: Table | None, id_column: str) -> Iterator[Problem]:
    """Names in `column` that the table where they belong does not have."""
    # Of a table that lost rows nobody can say which ids it does not have.
    if home is None or not home.whole or not home.has(id_column) or not table.has(column):
        return
    # An id refused in its own table is known there: it is one mistake, not two.
    known = {*home.raw[id_column], *(name for name in home.text(id_column) if name)}
    guesses: dict[str, str | None] = {}
    for row, name in zip(table.rows, table.text(column), strict=True):
        if name is None or name in known:
            continue
        if name not in guesses and len(guesses) <= MAX_LINES:
            guesses[name] = nearest(name, known)
        guess = guesses.get(name)
        cause = f"did you mean {show(guess)}?" if guess else f"add it to {home.spec.file}"
        allowed = f"{'an LLM' if id_column == 'llm' else 'a benchmark'} of {home.spec.file}"
        yield Problem(table.spec.file, show(name), allowed, cause, row, column)


def parts_above_total(llms: Table) -> Iterator[Problem]:
    """Active or non-embedding parameters that are more than all of them."""
    totals = llms.numbers("n_params")
    for column in ("n_params_active", "n_params_non_embedding"):
        for row, part, total in zip(llms.rows, llms.numbers(column), totals, strict=True):
            if part is not None and total is not None and part > total * (1 + COUNT_TOLERANCE):
                allowed = f"up to n_params = {total:g}"
                cause = "exchanged, or in another unit?"
                yield Problem(llms.spec.file, f"{part:g}", allowed, cause, row, column)


def _own_ancestors(llms: Table) -> Iterator[Problem]:
    for row, name, parent in zip(
        llms.rows, llms.text("llm"), llms.text("derived_from"), strict=True
    ):
        if name is not None and name == parent:
            holds = f"{show(name)} derived from itself"
            cause = "leave the cell empty"
            yield Problem(llms.spec.file, holds, "another LLM", cause, row, "derived_from")


def _no_base_llm(llms: Table) -> Iterator[Problem]:
    flags = llms.columns.get("is_base", [])
    if llms.whole and flags and all(flag is False for flag in flags):
        cause = "the headline is about base LLMs"
        yield Problem(llms.spec.file, "no LLM is true", "at least one", cause, column="is_base")


def _changing_runs(runs: Table) -> Iterator[Problem]:
    """Report runs of two sizes or token counts: read on several benchmarks, a run is one run."""
    for column in ("n_params", "n_tokens"):
        first: dict[str, tuple[float, int]] = {}
        for row, run, value in zip(runs.rows, runs.text("run"), runs.numbers(column), strict=True):
            if run is None or value is None:
                continue
            expected, seen = first.setdefault(run, (value, row))
            if value != expected:
                allowed = f"one {column} per run"
                cause = f"run {show(run)} has {expected:.12g} in row {seen}; two runs of one name?"
                yield Problem(runs.spec.file, f"{value:.12g}", allowed, cause, row, column)


def _too_few_runs(runs: Table, tables: Tables) -> Iterator[Problem]:
    if not runs.whole:
        return
    rows: dict[str, list[int]] = defaultdict(list)
    for row, benchmark in zip(runs.rows, runs.text("benchmark"), strict=True):
        if benchmark is not None:
            rows[benchmark].append(row)
    for benchmark, found in rows.items():
        if len(found) < LAW_PARAMETERS and _is_known_benchmark(tables, benchmark):
            holds = f"{len(found)} {'run' if len(found) == 1 else 'runs'} on {show(benchmark)}"
            allowed = f"at least {LAW_PARAMETERS}, the parameters of the loss law with floor"
            cause = "add runs, or remove the benchmark's"
            yield Problem(runs.spec.file, holds, allowed, cause, found[0], "benchmark")


def _benchmarks_without_reference(tables: Tables) -> Iterator[Problem]:
    """Benchmarks on which LLMs are scored, but that no reference run or map point covers."""
    scores = tables.get("scores")
    if scores is None or not scores.has("benchmark"):
        return
    first: dict[str, int] = {}
    for row, benchmark in zip(scores.rows, scores.text("benchmark"), strict=True):
        if benchmark is not None:
            first.setdefault(benchmark, row)
    for name, what in (("runs", "reference runs"), ("loss_scores", "points of loss and score")):
        table = tables.get(name)
        if table is None or not table.whole or not table.has("benchmark"):
            continue
        covered = _covered(table)
        for benchmark, row in first.items():
            if benchmark not in covered and _is_known_benchmark(tables, benchmark):
                holds = f"{show(benchmark)} has LLM scores but no {what}"
                allowed = f"benchmarks that {table.spec.file} covers"
                cause = f"add its rows to {table.spec.file}, or remove its scores"
                yield Problem(scores.spec.file, holds, allowed, cause, row, "benchmark")


def _covered(table: Table) -> set[str]:
    """Benchmarks with a row that the model may use: for the score map one that is not held out."""
    benchmarks, roles = table.raw["benchmark"], table.text("role")
    return {name for name, role in zip(benchmarks, roles, strict=True) if role != "heldout"}


def _is_known_benchmark(tables: Tables, benchmark: str) -> bool:
    """Whether it is listed: an unknown id is reported as that, and only as that."""
    home = tables.get("benchmarks")
    return home is None or not home.has("benchmark") or benchmark in home.raw["benchmark"]


def _llms_without_score(tables: Tables) -> Iterator[Problem]:
    llms, scores = tables.get("llms"), tables.get("scores")
    if llms is None or scores is None or not scores.has("llm") or not scores.whole:
        return
    scored = set(scores.raw["llm"])
    flags = llms.columns.get("is_base", [None] * len(llms.rows))
    for row, name, is_base in zip(llms.rows, llms.text("llm"), flags, strict=True):
        if name is not None and name not in scored and is_base is not False:
            holds = f"{show(name)} has no score"
            cause = "add a score, remove the LLM, or is it spelt otherwise there?"
            allowed = f"LLMs with a row in {scores.spec.file}"
            yield Problem(llms.spec.file, holds, allowed, cause, row, "llm")
