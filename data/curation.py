"""What every `make.py` shares: read raw tables, write tidy ones, keep the card's digests.

Not part of the library: only the standard library is used, so that a dataset can be made anywhere.
"""

import argparse
import csv
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Row = dict[str, str]


def arguments(description: str, default_out: Path) -> argparse.Namespace:
    """Read `--raw` (folder with the raw datasets) and `--out` (where the dataset is written)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--raw", type=Path, required=True, help="folder that holds the raw datasets"
    )
    parser.add_argument(
        "--out", type=Path, default=default_out, help="folder to write (default: here)"
    )
    return parser.parse_args()


def read_table(path: Path) -> list[Row]:
    """Read a CSV as rows of strings: nothing is guessed, an empty cell stays empty."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write exactly `columns`, UTF-8, LF line ends: the same bytes on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def count(text: str) -> str:
    """Write a count as an integer, without the raw table's float noise (67400000000.00001)."""
    return str(round(float(text))) if text else ""


def boolean(text: str) -> str:
    """Write a truth value the way TOML and JSON do."""
    return {"True": "true", "False": "false"}[text]


def unsigned_zero(text: str) -> str:
    """Write -0.0, which reading a figure's axis leaves behind, as 0.0."""
    return "0.0" if float(text) == 0 else text


def update_digests(folder: Path) -> None:
    """Rewrite `[sha256]`, the last table of `card.toml`, from the CSV files in the folder."""
    card = folder / "card.toml"
    if not card.exists():  # written to a scratch folder
        return
    tables = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.csv")}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in tables.items()}
    lines = [f'"{name}" = "{digests[name]}"' for name in sorted(digests)]
    text = re.sub(r"\n\[sha256\]\n.*\Z", "\n", card.read_text(encoding="utf-8"), flags=re.DOTALL)
    card.write_text(
        text.rstrip() + "\n\n[sha256]\n" + "\n".join(lines) + "\n", encoding="utf-8", newline="\n"
    )
