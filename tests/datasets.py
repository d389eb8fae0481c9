"""A tiny valid dataset for tests, and ways to spoil it.

`tiny_dataset(tmp_path)` writes it; keyword arguments replace a table or the card:

- `scores=None` leaves the file out, a text or bytes is written as it is;
- `scores=cell(3, "score", "73.2")` changes one cell (rows as a spreadsheet counts: header = 1);
- `scores=[cell(...), drop_row(5)]` applies several in turn.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

type Rows = list[list[str]]
type Spoiler = Callable[[Rows], Rows]
type Change = str | bytes | Spoiler | Sequence[Spoiler] | None

CARD = 'title = "A tiny dataset for tests"\nreference_params = "total"\n'
BENCHMARKS = ("MMLU", "BBH")
SIZES = (5e7, 2e8, 8e8)
RATIOS = (10, 20, 60)
#: LLM, family, base or not, release date, parameters, training tokens.
LLMS = (
    ("Alpha-7B", "Alpha", "true", "2023-02-24", 7e9, 1e12),
    ("Alpha-13B", "Alpha", "true", "2023-02-24", 13e9, 1e12),
    ("Beta-7B", "Beta", "true", "2023-09-01", 7e9, 2e12),
    ("Beta-7B-chat", "Beta", "false", "2023-09-01", 7e9, 2e12),
    ("Gamma-2B", "Gamma", "true", "2024-03-15", 2e9, 3e12),
    ("Gamma-9B", "Gamma", "true", "2024-06-27", 9e9, 8e12),
    ("Delta-3B", "Delta", "true", "2025-01-10", 3e9, 12e12),
)


def _loss(n_params: float, n_tokens: float, harder: int) -> float:
    """Chinchilla-like loss, exact."""
    params, tokens = (n_params / 2e8) ** -0.34, (n_tokens / 4e9) ** -0.3
    return (0.15 + 0.1 * harder) + 0.2 * params + 0.25 * tokens


def _score(loss: float, chance: float) -> float:
    return chance + (0.95 - chance) / (1.0 + math.exp(8.0 * (loss - 0.45)))


def _effective_params(date: str, n_params: float) -> float:
    """Density that doubles about every half year from 2023 on."""
    year, month, _ = (int(part) for part in date.split("-"))
    return n_params * 0.05 * 4 ** (year - 2023 + (month - 1) / 12)


def tables() -> dict[str, Rows]:
    """Tables of the tiny dataset, header first, every cell a text."""
    runs = [["run", "benchmark", "n_params", "n_tokens", "loss"]]
    points = [["benchmark", "loss", "score", "role"]]
    scores = [["llm", "benchmark", "score"]]
    reports = [["llm", "benchmark", "score", "reported_by", "own_report"]]
    for harder, name in enumerate(BENCHMARKS):
        for size in SIZES:
            for ratio in RATIOS:
                loss = _loss(size, size * ratio, harder)
                run = f"{size / 1e9:g}B-{ratio}x"
                runs.append([run, name, f"{size:.0f}", f"{size * ratio:.0f}", f"{loss:.5f}"])
        for index in range(6):
            loss = 0.3 + 0.08 * index
            role = "heldout" if index == 0 else "fit"
            points.append([name, f"{loss:.5f}", f"{_score(loss, 0.25):.4f}", role])
        for llm, _, _, date, n_params, _ in LLMS:
            if (llm, name) == ("Gamma-2B", "BBH"):
                continue  # a missing score is an absent row
            loss = _loss(_effective_params(date, n_params), 5e12, harder)
            score = _score(loss, 0.25)
            scores.append([llm, name, f"{score:.4f}"])
            reports.append([llm, name, f"{score + 0.01:.4f}", "maker", "true"])
            reports.append([llm, name, f"{score - 0.01:.4f}", "someone else", "false"])
    llms = [["llm", "family", "is_base", "release_date", "n_params", "n_tokens"]]
    llms += [[a, b, c, d, f"{n:.0f}", f"{t:.0f}"] for a, b, c, d, n, t in LLMS]
    return {
        "benchmarks": [
            ["benchmark", "n_items", "chance", "loss_unit"],
            ["MMLU", "14042", "0.25", "nats/token"],
            ["BBH", "6511", "0.25", "nats/token"],
        ],
        "runs": runs,
        "loss_scores": points,
        "llms": llms,
        "scores": scores,
        "score_reports": reports,
    }


def densities() -> Rows:
    """Published densities of the tiny LLMs."""
    rows = [["llm", "family", "release_date", "density"]]
    for llm, family, _, date, n_params, _ in LLMS:
        rows.append([llm, family, date, f"{_effective_params(date, n_params) / n_params:.5f}"])
    return rows


def to_csv(rows: Rows) -> str:
    """Rows as text; cells with commas or quotes are quoted."""
    return "".join(",".join(_quoted(cell) for cell in row) + "\n" for row in rows)


def _quoted(cell: str) -> str:
    special = any(char in cell for char in ',"\n\r')
    return '"' + cell.replace('"', '""') + '"' if special else cell


def tiny_dataset(
    folder: Path, *, name: str = "tiny", card: str | bytes | None = CARD, **changes: Change
) -> Path:
    """Write the tiny dataset, changed as asked for, and return its folder."""
    home = folder / name
    home.mkdir(parents=True)
    if card is not None:
        _write(home / "card.toml", card)
    everything = tables()
    unknown = changes.keys() - everything.keys() - {"densities"}
    assert not unknown, f"no such tables: {unknown}"
    for table, rows in everything.items():
        _write_changed(home / f"{table}.csv", rows, changes.get(table, ()))
    if "densities" in changes:
        _write_changed(home / "densities.csv", densities(), changes["densities"])
    return home


def tiny_densities(folder: Path, change: Change = ()) -> Path:
    """Write the tiny dataset of densities and return its folder."""
    gone = dict.fromkeys(tables())
    return tiny_dataset(folder, name="tiny-densities", densities=change, **gone)


def _write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _write_changed(path: Path, rows: Rows, change: Change) -> None:
    if change is None:
        return
    if isinstance(change, str | bytes):
        _write(path, change)
        return
    for spoil in [change] if callable(change) else change:
        rows = spoil([list(row) for row in rows])
    _write(path, to_csv(rows))


def cell(row: int, column: str, value: str) -> Spoiler:
    """Put a value into one cell; row 1 is the header."""

    def spoil(rows: Rows) -> Rows:
        rows[row - 1][rows[0].index(column)] = value
        return rows

    return spoil


def every_cell(column: str, value: Callable[[str], str]) -> Spoiler:
    """Change every cell of a column."""

    def spoil(rows: Rows) -> Rows:
        place = rows[0].index(column)
        return [rows[0], *([*r[:place], value(r[place]), *r[place + 1 :]] for r in rows[1:])]

    return spoil


def rename(column: str, name: str) -> Spoiler:
    """Rename a column."""
    return cell(1, column, name)


def add_column(name: str, value: str | Callable[[list[str]], str] = "") -> Spoiler:
    """Add a column at the end: one value, or a function of the row."""

    def spoil(rows: Rows) -> Rows:
        filled = [[*row, value(row) if callable(value) else value] for row in rows[1:]]
        return [[*rows[0], name], *filled]

    return spoil


def drop_column(name: str) -> Spoiler:
    """Leave a column out."""

    def spoil(rows: Rows) -> Rows:
        place = rows[0].index(name)
        return [row[:place] + row[place + 1 :] for row in rows]

    return spoil


def add_row(*cells: str) -> Spoiler:
    """Add a row at the end."""
    return lambda rows: [*rows, list(cells)]


def drop_row(row: int) -> Spoiler:
    """Leave out one row (2 is the first below the header)."""
    return lambda rows: rows[: row - 1] + rows[row:]


def keep_rows(keep: Callable[[dict[str, str]], bool]) -> Spoiler:
    """Keep the rows for which a function of {column: cell} is true."""
    return lambda rows: [
        rows[0],
        *(row for row in rows[1:] if keep(dict(zip(rows[0], row, strict=True)))),
    ]
