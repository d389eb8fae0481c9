"""Every way to spoil a dataset, each with the line that a user should read."""

import re
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from datasets import (
    CARD,
    Change,
    Rows,
    add_column,
    add_row,
    cell,
    drop_column,
    drop_row,
    every_cell,
    keep_rows,
    rename,
    tables,
    tiny_dataset,
    tiny_densities,
    to_csv,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdense.dataset import load_dataset
from bayesdense.errors import DatasetError
from bayesdense.validation import MAX_LINES, check_folder

COUNTS = "allowed a raw count (7000000000 or 7e9), from 1e5 to 1e18"
MISSING_SCORE = "a missing score is an absent row; fill the cell or delete the row"
DATES = "allowed an ISO date from 2000-01-01 on"
ITEMS = "allowed a whole number from 1 to 1e9"
NAMES = "allowed a name of 1 to 200 printable characters"
#: One name in two spellings, which look alike.
COMPOSED, DECOMPOSED = "Caf\u00e9-7B", "Cafe\u0301-7B"
SHOTS = "allowed a whole number from 0 to 1e9"


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as caught:
        load_dataset(folder)
    assert caught.value.source == str(folder)
    return caught.value.problems


# One cell: (table, row, column, what it holds, the one line that is said about it)
CELLS = [
    ("scores", 4, "score", "73.2", "73.2, allowed 0 to 1: a percentage? divide by 100"),
    ("scores", 4, "score", "-0.1", "-0.1, allowed 0 to 1: not a share of items"),
    ("scores", 4, "score", "250", "250, allowed 0 to 1: not a share of items"),
    ("scores", 4, "score", "", f"empty, allowed 0 to 1: {MISSING_SCORE}"),
    ("scores", 4, "score", "NaN", f"'NaN', allowed 0 to 1: {MISSING_SCORE}"),
    ("scores", 4, "score", "n/a", f"'n/a', allowed 0 to 1: {MISSING_SCORE}"),
    ("scores", 4, "score", "NA", f"'NA', allowed 0 to 1: {MISSING_SCORE}"),
    ("scores", 4, "score", "#N/A", f"'#N/A', allowed 0 to 1: {MISSING_SCORE}"),
    ("scores", 4, "score", "-", f"'-', allowed 0 to 1: {MISSING_SCORE}"),
    ("scores", 4, "score", "inf", "'inf', allowed 0 to 1: not finite"),
    ("scores", 4, "score", "1e400", "1e400, allowed 0 to 1: too large for a number"),
    ("scores", 4, "score", "45 %", "'45 %', allowed 0 to 1: a percent sign? divide by 100"),
    ("scores", 4, "score", "0,45", "'0,45', allowed 0 to 1: a decimal comma? write a point"),
    ("scores", 4, "score", "high", "'high', allowed 0 to 1: not a number"),
    ("scores", 4, "score", "1_0", "'1_0', allowed 0 to 1: not a number"),
    ("scores", 4, "score", "0x1", "'0x1', allowed 0 to 1: not a number"),
    ("scores", 4, "score", "\u0660.\u0665", "'\u0660.\u0665', allowed 0 to 1: not a number"),
    ("llms", 3, "n_params", "7", f"7, {COUNTS}: in billions? multiply by 1e9"),
    ("llms", 3, "n_params", "13.5", f"13.5, {COUNTS}: in billions? multiply by 1e9"),
    ("llms", 3, "n_params", "0", f"0, {COUNTS}: zero or negative"),
    ("llms", 3, "n_params", "-7e9", f"-7e9, {COUNTS}: zero or negative"),
    ("llms", 3, "n_params", "7e18", f"7e18, {COUNTS}: multiplied by 1e9 twice?"),
    ("llms", 3, "n_params", "7B", f"'7B', {COUNTS}: a unit letter? write 7B as 7e9"),
    ("llms", 3, "n_params", "7,000,000,000", f"'7,000,000,000', {COUNTS}: separators of thous"),
    ("llms", 3, "n_params", "7\xa0000\xa0000", f"'7\\xa0000\\xa0000', {COUNTS}: separators of"),
    ("llms", 3, "n_tokens", "15", f"15, {COUNTS}: in billions or trillions?"),
    ("llms", 3, "release_date", "2023-02-30", f"2023-02-30, {DATES}: no such day"),
    ("llms", 3, "release_date", "1970-01-01", f"1970-01-01, {DATES}: an empty or zero date"),
    ("llms", 3, "release_date", "2023-02", f"2023-02, {DATES}: the day is missing"),
    ("llms", 3, "release_date", "24.02.2023", f"24.02.2023, {DATES}: write year-month-day"),
    ("llms", 3, "release_date", "20230224", f"20230224, {DATES}: write year-month-day"),
    ("llms", 3, "release_date", "44981", f"44981, {DATES}: a spreadsheet's number of 2023-02-24?"),
    ("llms", 3, "release_date", "2023-02-24 09:00", f"'2023-02-24 09:00', {DATES}: leave out the"),
    ("llms", 3, "release_date", "", f"empty, {DATES}: a missing release_date is an absent row"),
    ("llms", 3, "release_date", "?", f"'?', {DATES}: a missing release_date is an absent row"),
    ("llms", 3, "n_tokens", "unknown", f"'unknown', {COUNTS}: not known? leave the cell empty"),
    ("llms", 3, "is_base", "yes", "'yes', allowed true or false: write true"),
    ("llms", 3, "is_base", "2", "2, allowed true or false"),
    ("benchmarks", 2, "chance", "1", "1, allowed 0 or more and below 1: guessing cannot"),
    ("benchmarks", 2, "chance", "25", "25, allowed 0 or more and below 1: a percentage?"),
    ("benchmarks", 2, "chance", "-0.25", "-0.25, allowed 0 or more and below 1"),
    ("benchmarks", 2, "n_items", "0", f"0, {ITEMS}: zero or negative"),
    ("benchmarks", 2, "n_items", "10.5", f"10.5, {ITEMS}: items are counted whole"),
    ("benchmarks", 2, "n_items", "9" * 22, f"{'9' * 22}, {ITEMS}: digits too many"),
    ("benchmarks", 2, "n_items", "1000000001", f"1000000001, {ITEMS}: digits too many"),
    ("benchmarks", 2, "loss_unit", "", f"empty, {NAMES}: a missing loss_unit is an absent row"),
    ("runs", 2, "loss", "0", "0, allowed a finite number above 0: zero or negative"),
    ("runs", 2, "loss", "-1.2", "-1.2, allowed a finite number above 0: zero or negative"),
    ("loss_scores", 2, "loss", "0", "0, allowed a finite number above 0: zero or negative"),
    ("loss_scores", 2, "score", "61.9", "61.9, allowed 0 to 1: a percentage? divide by 100"),
    ("loss_scores", 2, "role", "test", "'test', allowed fit or heldout: did you mean 'heldout'?"),
    ("loss_scores", 2, "role", "Fit", "'Fit', allowed fit or heldout: did you mean 'fit'?"),
    ("score_reports", 3, "score", "73.2", "73.2, allowed 0 to 1: a percentage? divide by 100"),
    ("score_reports", 3, "own_report", "no", "'no', allowed true or false: write false"),
    ("score_reports", 3, "reported_by", "", f"empty, {NAMES}"),
]


# Cells of columns that the tiny dataset does not have: (table, column, value, the one line)
ADDED = [
    ("scores", "n_items", "1e19", f"1e19, {ITEMS}: digits too many"),
    ("loss_scores", "n_items", "1e19", f"1e19, {ITEMS}: digits too many"),
    ("score_reports", "n_shots", "9" * 22, f"{'9' * 22}, {SHOTS}: digits too many"),
    ("score_reports", "n_shots", "-1", f"-1, {SHOTS}: examples in the prompt are counted whole"),
    ("score_reports", "n_shots", "0.5", f"0.5, {SHOTS}: examples in the prompt are counted whole"),
    ("scores", "report_sd", "2.5", "2.5, allowed 0 to 1: a percentage? divide by 100"),
    ("scores", "report_sd", "-0.1", "-0.1, allowed 0 to 1: a standard deviation is never negative"),
    ("scores", "report_sd", "n/a", "'n/a', allowed 0 to 1: not known? leave the cell empty"),
]


@pytest.mark.parametrize(("table", "column", "value", "line"), ADDED)
def test_bad_cell_of_an_added_column(
    tmp_path: Path, table: str, column: str, value: str, line: str
) -> None:
    spoilt = [add_column(column), cell(2, column, value)]
    (found,) = problems(tiny_dataset(tmp_path, **{table: spoilt}))
    assert found.startswith(f"{table}.csv row 2, column {column}: {line}")


@pytest.mark.parametrize(("table", "row", "column", "value", "line"), CELLS)
def test_bad_cell(tmp_path: Path, table: str, row: int, column: str, value: str, line: str) -> None:
    found = problems(tiny_dataset(tmp_path, **{table: cell(row, column, value)}))
    assert len(found) == 1, found
    assert found[0].startswith(f"{table}.csv row {row}, column {column}: {line}")


# Rules that tie rows and tables together: (changes, start of each line that is said)
RULES: dict[str, tuple[dict[str, Change], list[str]]] = {
    "unknown benchmark": (
        {"scores": cell(4, "benchmark", "MMLUU")},
        [
            "scores.csv row 4, column benchmark: 'MMLUU', allowed a benchmark of benchmarks.csv: "
            "did you mean 'MMLU'?"
        ],
    ),
    "unknown benchmark of a run is not also a benchmark with too few runs": (
        {"runs": cell(2, "benchmark", "mmlu")},
        [
            "runs.csv row 2, column benchmark: 'mmlu', allowed a benchmark of benchmarks.csv: "
            "did you mean 'MMLU'?"
        ],
    ),
    "unknown LLM": (
        {"scores": add_row("Gama-2B", "BBH", "0.5")},
        [
            "scores.csv row 15, column llm: 'Gama-2B', allowed an LLM of llms.csv: "
            "did you mean 'Gamma-2B'?"
        ],
    ),
    "unknown LLM that nothing resembles": (
        {"score_reports": add_row("Zeta-Ultra", "BBH", "0.5", "maker", "1")},
        [
            "score_reports.csv row 28, column llm: 'Zeta-Ultra', allowed an LLM of llms.csv: "
            "add it to llms.csv"
        ],
    ),
    "doubled score": (
        {"scores": add_row("Alpha-7B", "MMLU", "0.5")},
        [
            "scores.csv row 15, column llm: 'Alpha-7B' x 'MMLU' again, allowed each llm x "
            "benchmark once: first in row 2; keep one"
        ],
    ),
    "doubled LLM": (
        {"llms": add_row("Alpha-7B", "Alpha", "true", "2023-02-24", "7e9", "1e12")},
        ["llms.csv row 9, column llm: 'Alpha-7B' again, allowed each llm once: first in row 2"],
    ),
    "doubled benchmark": (
        {"benchmarks": add_row("BBH", "6511", "0.25", "nats/token")},
        ["benchmarks.csv row 4, column benchmark: 'BBH' again, allowed each benchmark once"],
    ),
    "doubled run": (
        {"runs": add_row("0.05B-10x", "MMLU", "50000000", "500000000", "0.9")},
        ["runs.csv row 20, column run: '0.05B-10x' x 'MMLU' again, allowed each run x benchmark"],
    ),
    "one run of two sizes": (
        {"runs": cell(11, "n_params", "60000000")},
        [
            "runs.csv row 11, column n_params: 60000000, allowed one n_params per run: "
            "run '0.05B-10x' has 50000000 in row 2"
        ],
    ),
    "active above total": (
        {"llms": add_column("n_params_active", "1.4e10")},
        [
            f"llms.csv row {row}, column n_params_active: 1.4e+10, allowed up to n_params = "
            for row in range(2, 9)
        ],
    ),
    "non-embedding above total": (
        {
            "llms": add_column(
                "n_params_non_embedding", lambda r: "8e9" if r[0] == "Beta-7B" else ""
            )
        },
        ["llms.csv row 4, column n_params_non_embedding: 8e+09, allowed up to n_params = 7e+09"],
    ),
    "derived from an unknown LLM": (
        {"llms": add_column("derived_from", lambda r: "Gamma-9" if r[0] == "Gamma-2B" else "")},
        [
            "llms.csv row 6, column derived_from: 'Gamma-9', allowed an LLM of llms.csv: "
            "did you mean 'Gamma-9B'?"
        ],
    ),
    "derived from itself": (
        {"llms": add_column("derived_from", lambda r: r[0] if r[0] == "Gamma-2B" else "")},
        ["llms.csv row 6, column derived_from: 'Gamma-2B' derived from itself"],
    ),
    "base LLM without any score": (
        {"scores": keep_rows(lambda row: row["llm"] != "Delta-3B")},
        ["llms.csv row 8, column llm: 'Delta-3B' has no score, allowed LLMs with a row in scores"],
    ),
    "no base LLM": (
        {"llms": every_cell("is_base", lambda _: "FALSE")},
        ["llms.csv, column is_base: no LLM is true, allowed at least one"],
    ),
    "scores without reference runs": (
        {"runs": keep_rows(lambda row: row["benchmark"] != "BBH")},
        ["scores.csv row 9, column benchmark: 'BBH' has LLM scores but no reference runs"],
    ),
    "scores without points of loss and score": (
        {"loss_scores": keep_rows(lambda row: row["benchmark"] != "BBH")},
        ["scores.csv row 9, column benchmark: 'BBH' has LLM scores but no points of loss"],
    ),
    "scores with held-out points only": (
        {"loss_scores": every_cell("role", lambda _: "heldout")},
        [
            "scores.csv row 2, column benchmark: 'MMLU' has LLM scores but no points of loss",
            "scores.csv row 9, column benchmark: 'BBH' has LLM scores but no points of loss",
        ],
    ),
    "fewer runs than the law has parameters": (
        {"runs": [drop_row(row) for row in (19, 18, 17, 16, 15)]},
        ["runs.csv row 11, column benchmark: 4 runs on 'BBH', allowed at least 5"],
    ),
    "future": (
        {"llms": cell(3, "release_date", "2098-01-01")},
        ["llms.csv row 3, column release_date: 2098-01-01, allowed up to tomorrow"],
    ),
    "invisible character in a name": (
        {
            "llms": cell(2, "llm", "Alpha\u200b-7B"),
            "scores": every_cell(
                "llm", lambda name: "Alpha\u200b-7B" if name == "Alpha-7B" else name
            ),
            "score_reports": None,
        },
        [
            "llms.csv row 2, column llm: 'Alpha\\u200b-7B', allowed a name of 1 to 200 printable "
            "characters: a control or invisible character",
            "scores.csv row 2, column llm: 'Alpha\\u200b-7B', allowed a name",
            "scores.csv row 9, column llm: 'Alpha\\u200b-7B', allowed a name",
        ],
    ),
    "one name, composed and decomposed, twice": (
        {"llms": [cell(2, "llm", COMPOSED), cell(3, "llm", DECOMPOSED)]}
        | {"scores": every_cell("llm", lambda name: re.sub("Alpha-.*", DECOMPOSED, name))}
        | {"score_reports": None},
        [
            f"llms.csv row 3, column llm: '{COMPOSED}' again, allowed each llm once: first in row",
            f"scores.csv row 3, column llm: '{COMPOSED}' x 'MMLU' again, allowed each llm x",
            f"scores.csv row 10, column llm: '{COMPOSED}' x 'BBH' again, allowed each llm x",
        ],
    ),
    "terminal escape": (
        {"scores": cell(4, "score", "\x1b[31m0.5\x1b[0m")},
        ["scores.csv row 4, column score: '\\x1b[31m0.5\\x1b[0m', allowed 0 to 1: not a number"],
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(tmp_path: Path, rule: str) -> None:
    changes, expected = RULES[rule]
    found = problems(tiny_dataset(tmp_path, **changes))
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


# Headers and files: (changes, start of each line)
FILES: dict[str, tuple[dict[str, Change], list[str]]] = {
    "misspelt required column": (
        {"scores": rename("score", "scroe")},
        [
            "scores.csv row 1, column score: missing, allowed llm, benchmark, score [, report_sd, "
            "n_items, protocol]: misspelt as 'scroe'? rename it"
        ],
    ),
    "column by another name": (
        {"scores": rename("score", "accuracy")},
        [
            "scores.csv row 1, column score: missing, allowed llm, benchmark, score [, report_sd, "
            "n_items, protocol]: misspelt as 'accuracy'? rename it"
        ],
    ),
    "column in capitals": (
        {"llms": rename("n_params", "N Params")},
        ["llms.csv row 1, column n_params: missing, allowed llm, release_date, n_params [, "],
    ),
    "missing column": (
        {"benchmarks": drop_column("chance")},
        [
            "benchmarks.csv row 1, column chance: missing, allowed benchmark, n_items, chance, "
            "loss_unit"
        ],
    ),
    "misspelt optional column": (
        {"llms": rename("is_base", "is_bsae")},
        ["llms.csv row 1, column is_bsae: not a known column, allowed llm, release_date"],
    ),
    "doubled column": (
        {"scores": add_column("score", "0.5")},
        ["scores.csv row 1, column score: 2 columns of this name, allowed one: rename or"],
    ),
    "no header": (
        {"scores": lambda rows: rows[1:]},
        [
            "scores.csv row 1: 'Alpha-7B', 'MMLU', 0.7466, allowed llm, benchmark, score [, "
            "report_sd, n_items, protocol]: is the header missing?"
        ],
    ),
    "semicolons": (
        {"scores": to_csv(tables()["scores"]).replace(",", ";")},
        [
            "scores.csv row 1: 'llm;benchmark;score', allowed llm, benchmark, score [, report_sd, "
            "n_items, protocol]: cells separated by semicolons?"
        ],
    ),
    "missing table": ({"runs": None}, ["runs.csv: missing, allowed benchmarks.csv, runs.csv, "]),
    "zero bytes": ({"runs": b""}, ["runs.csv: empty (0 bytes), allowed a header and at least one"]),
    "only a byte-order mark": ({"runs": b"\xef\xbb\xbf\r\n"}, ["runs.csv: empty (5 bytes)"]),
    "only commas": ({"runs": b",,,\n,,\n"}, ["runs.csv row 1: no header"]),
    "no rows": (
        {"score_reports": lambda rows: rows[:1]},
        ["score_reports.csv: no rows below the header, allowed at least one row: delete the file"],
    ),
    "Latin-1": (
        {"llms": to_csv(tables()["llms"]).replace("Beta-7B-chat", "Béta-7B").encode("latin-1")},
        ["llms.csv row 5: byte 0xe9 is not UTF-8, allowed text in UTF-8: Latin-1? save"],
    ),
    "UTF-16": (
        {"llms": to_csv(tables()["llms"]).encode("utf-16")},
        ["llms.csv row 1: byte 0xff is not UTF-8, allowed text in UTF-8: UTF-16?"],
    ),
    "ragged rows": (
        {"scores": to_csv(tables()["scores"]) + "Alpha-7B,MMLU\nGamma-2B,BBH,0,45\n"},
        [
            "scores.csv row 15: 2 cells, allowed 3 as in the header: a missing comma?",
            "scores.csv row 16: 4 cells, allowed 3 as in the header: a comma inside a cell?",
        ],
    ),
    "open quote": (
        {"scores": to_csv(tables()["scores"]) + '"Gamma-2B,BBH,0.5\n'},
        [
            "scores.csv row 15: cannot be read as CSV (unexpected end of data), allowed "
            "comma-separated cells: a quote that is not closed?"
        ],
    ),
    "an open quote at an LLM says nothing about the LLMs below": (
        {"llms": to_csv(tables()["llms"]).replace("Beta-7B,", '"Beta-7B,')},
        ["llms.csv row 4: cannot be read as CSV (unexpected end of data), allowed comma-separated"],
    ),
    "a ragged row is no LLM under another name": (
        {"llms": to_csv(tables()["llms"]).replace("Alpha-13B,", "Alpha-13B,,")},
        ["llms.csv row 3: 7 cells, allowed 6 as in the header: a comma inside a cell?"],
    ),
    "a ragged row among the benchmarks": (
        {"benchmarks": to_csv(tables()["benchmarks"]).replace("BBH,", "BBH,,")},
        ["benchmarks.csv row 3: 5 cells, allowed 4 as in the header: a comma inside a cell?"],
    ),
    "a ragged row may be the base LLM": (
        {
            "llms": to_csv(every_cell("is_base", lambda _: "false")(tables()["llms"])).replace(
                "Alpha-13B,Alpha,false,", "Alpha-13B,true,"
            )
        },
        ["llms.csv row 3: 5 cells, allowed 6 as in the header: a missing comma?"],
    ),
    "densities beside scores": (
        {"densities": ()},
        [
            "densities.csv: together with benchmarks.csv, runs.csv, loss_scores.csv, llms.csv, "
            "scores.csv, score_reports.csv, allowed alone, in place of all other tables"
        ],
    ),
    "no tables": (
        dict.fromkeys(tables()),
        [
            "folder: no tables, allowed benchmarks.csv, runs.csv, loss_scores.csv, llms.csv, "
            "scores.csv together, or densities.csv alone"
        ],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_file(tmp_path: Path, case: str) -> None:
    changes, expected = FILES[case]
    found = problems(tiny_dataset(tmp_path, **changes))
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


DENSITIES = [
    (cell(3, "density", "0"), "row 3, column density: 0, allowed a finite number above 0"),
    (cell(3, "density", "-.5"), "row 3, column density: '-.5', allowed a finite number above 0"),
    (cell(3, "release_date", ""), "row 3, column release_date: empty"),
    (cell(3, "llm", "Alpha-7B"), "row 3, column llm: 'Alpha-7B' again, allowed each llm once"),
    (rename("density", "densty"), "row 1, column density: missing"),
    (add_column("density_log_sd", "-1"), "row 2, column density_log_sd: -1, allowed a finite"),
]


@pytest.mark.parametrize(("change", "line"), DENSITIES)
def test_densities(tmp_path: Path, change: Change, line: str) -> None:
    assert problems(tiny_densities(tmp_path, change))[0].startswith(f"densities.csv {line}")


CARDS: list[tuple[str | bytes | None, str]] = [
    (None, 'card.toml: missing, allowed a TOML file with at least title = "..."'),
    ("", "card.toml, column title: missing, allowed a text"),
    ('titel = "x"', "card.toml, column title: missing, allowed a text: misspelt as 'titel'?"),
    ('title = "  "', "card.toml, column title: empty, allowed a text"),
    ("title = 3", "card.toml, column title: 3, allowed text"),
    ("title = tiny", "card.toml: not TOML: "),
    ("title = " + "9" * 5000, "card.toml: not TOML: "),
    ("title = " + "[" * 100_000, "card.toml: not TOML: "),
    (b'title = "\xe9"', "card.toml row 1: not UTF-8"),
    ('title = "\\u001b[31mred"', "card.toml, column title: '\\x1b[31mred', allowed printable text"),
    (CARD + "source = [1, 2]", "card.toml, column source: '[1, 2]', allowed text or a list of"),
    (
        CARD + "known_problems = 1.5",
        "card.toml, column known_problems: 1.5, allowed text or a list",
    ),
]


@pytest.mark.parametrize(("card", "line"), CARDS)
def test_card(tmp_path: Path, card: str | bytes | None, line: str) -> None:
    found = problems(tiny_dataset(tmp_path, card=card))
    assert len(found) == 1
    assert found[0].startswith(line)


def test_a_table_under_another_name_is_named(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path, runs=None, scores=None)
    (folder / "run.csv").write_text("", encoding="utf-8")
    (folder / "scores.xlsx").write_bytes(b"PK")
    found = problems(folder)
    assert found[0].endswith(": misspelt as 'run.csv'? rename it")
    assert found[1].endswith(": is it 'scores.xlsx'? save it as CSV UTF-8")


def test_a_folder_in_place_of_a_table(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path, runs=None)
    (folder / "runs.csv").mkdir()
    assert problems(folder) == ("runs.csv: not a regular file",)


def test_all_problems_at_once_in_the_order_of_files_and_rows(tmp_path: Path) -> None:
    folder = tiny_dataset(
        tmp_path,
        card="title = 1",
        llms=[cell(5, "n_params", "7"), cell(3, "release_date", "soon")],
        scores=[cell(9, "score", "73.2"), cell(3, "benchmark", "MMLUU")],
        runs=cell(2, "loss", "0"),
    )
    where = [line.split(":")[0] for line in problems(folder)]
    assert where == [
        "card.toml, column title",
        "runs.csv row 2, column loss",
        "llms.csv row 3, column release_date",
        "llms.csv row 5, column n_params",
        "scores.csv row 3, column benchmark",
        "scores.csv row 9, column score",
    ]


def test_many_problems_are_counted_and_no_column_is_drowned(tmp_path: Path) -> None:
    rows = [[f"LLM-{i}", "MMLU", "50"] for i in range(300)]
    percent: Rows = [["llm", "benchmark", "score"], *rows]
    llms = [["llm", "release_date", "n_params"], *([row[0], "2024-01-01", "7e9"] for row in rows)]
    folder = tiny_dataset(
        tmp_path,
        llms=to_csv(llms),
        scores=to_csv([*percent, ["LLM-1", "MMLUU", "0.5"]]),
        score_reports=None,
    )
    found = problems(folder)
    assert len(found) == MAX_LINES + 1
    assert found[-1] == "scores.csv: and 251 more (301 in all)"
    assert sum("'MMLUU'" in line for line in found) == 1


def test_row_numbers_are_a_spreadsheets(tmp_path: Path) -> None:
    """A blank line is a row; a cell with a line break is one row."""
    text = to_csv(tables()["scores"]).replace("Alpha-13B,MMLU", '\n"Alpha-\n13B",MMLU')
    found = problems(tiny_dataset(tmp_path, scores=text + "Gamma-2B,BBH,73\n"))
    assert found[0].startswith("scores.csv row 4, column llm: 'Alpha-\\n13B', allowed a name")
    assert found[-1].startswith("scores.csv row 16, column score: 73")


def test_future_is_after_tomorrow_utc(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path, llms=cell(8, "release_date", "2025-01-12"))
    assert not check_folder(folder, today=date(2025, 1, 11)).problems
    late = check_folder(folder, today=date(2025, 1, 10)).problems
    assert [str(problem) for problem in late] == [
        "llms.csv row 8, column release_date: 2025-01-12, allowed up to tomorrow (2025-01-11, "
        "UTC): a date in the future: a slip in the year?"
    ]


def test_the_clock_decides_unless_told(tmp_path: Path) -> None:
    soon = datetime.now(UTC).date() + timedelta(days=4)
    folder = tiny_dataset(tmp_path, llms=cell(8, "release_date", soon.isoformat()))
    assert problems(folder)[0].startswith("llms.csv row 8, column release_date: ")


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path, scores=cell(4, "score", "x" * 5000))
    assert problems(folder)[0] == (
        f"scores.csv row 4, column score: '{'x' * 60}'..., allowed 0 to 1: not a number"
    )


NASTY = ["", "nan", "1e400", "-0", "\x00", "\x1b]0;x\x07", '"', "'", "\r", "\n", ",", "é", "\u202e"]
CELL = st.one_of(st.sampled_from(NASTY), st.text(max_size=12), st.floats().map(str))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_corruption_raises_nothing_but_a_dataset_error(data: st.DataObject) -> None:
    everything = tables()
    table = data.draw(st.sampled_from(sorted(everything)))
    rows = everything[table]
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.integers(0, len(rows) - 1))
        rows[row][data.draw(st.integers(0, len(rows[row]) - 1))] = data.draw(CELL)
    content = to_csv(rows).encode("utf-8", "surrogatepass")
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content)))
        content = content[:place] + data.draw(st.binary(max_size=4)) + content[place + 1 :]
    assert_loads_or_explains({table: content})


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["card", *sorted(tables())]))
def test_any_bytes_raise_nothing_but_a_dataset_error(content: bytes, table: str) -> None:
    assert_loads_or_explains({table: content})


def assert_loads_or_explains(changes: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = tiny_dataset(Path(folder), **changes)
        try:
            load_dataset(home)
        except DatasetError as error:
            assert error.problems
            for line in error.problems:
                assert line.isprintable(), repr(line)
                assert len(line) < 600
