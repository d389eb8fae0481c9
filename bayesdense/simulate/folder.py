"""A dataset as a folder: CSV tables, a card with their digests, and perhaps a truth."""

import csv
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bayesdense.card import CARD
from bayesdense.dataset import Dataset
from bayesdense.errors import DatasetError
from bayesdense.files import probe_writable, write_text_atomic
from bayesdense.simulate.toml import toml_text
from bayesdense.simulate.truth import TRUTH_NAME, Truth
from bayesdense.tables import ALL_TABLES


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """A dataset that is not yet checked: its card and its tables by name."""

    card: Mapping[str, object]
    frames: Mapping[str, pd.DataFrame]


def write_dataset(
    dataset: Dataset | Tables,
    folder: str | Path,
    truth: Truth | None = None,
    *,
    force: bool = False,
) -> Path:
    """Write a dataset as a folder that `load_dataset` reads to the same content.

    Each file is written whole or not at all, and `card.toml` last: a folder without it is no
    dataset. Numbers are written in full, so that the digest stays.

    Parameters
    ----------
    dataset
        What to write; the card's `[sha256]` is made anew.
    folder
        Made if need be, with its parents; files in it that are not the dataset's stay.
    truth
        Written as `truth.toml`.
    force
        Replace a dataset that is there.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    DatasetError
        There is a dataset and not `force`, or the folder cannot be written.
    """
    path = Path(folder)
    files = _files(dataset if isinstance(dataset, Tables) else tables_of(dataset))
    if truth is not None:
        files[TRUTH_NAME] = truth.to_toml()
    card = files.pop(CARD)
    refuse_occupied(path, force=force)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _retire(path, keep=set(files))
        for name, text in files.items():
            write_text_atomic(path / name, text)
        write_text_atomic(path / CARD, card)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise DatasetError(str(path), [f"cannot be written: {reason}"]) from error
    return path


def tables_of(dataset: Dataset) -> Tables:
    """Card and tables of a dataset."""
    found = {spec.name: getattr(dataset, spec.name) for spec in ALL_TABLES}
    return Tables(dataset.card, {name: frame for name, frame in found.items() if frame is not None})


def _files(tables: Tables) -> dict[str, str]:
    """Text of every file by name."""
    csvs = {f"{name}.csv": _csv_text(frame) for name, frame in tables.frames.items()}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in csvs.items()}
    card = {key: value for key, value in tables.card.items() if key != "sha256"}
    return {**csvs, CARD: toml_text({**card, "sha256": dict(sorted(digests.items()))})}


def refuse_occupied(path: Path, *, force: bool) -> None:
    """Refuse a place where `write_dataset` cannot write; to be called before any work.

    Raises
    ------
    DatasetError
        A file, a folder that cannot be made or written, or one that holds (parts of) a dataset
        already and not `force`.
    """
    # os.path answers False where a name is one that no file system takes; Path raises.
    if os.path.isfile(path):
        raise DatasetError(str(path), ["a file; allowed: a folder that is new or empty"])
    names = (CARD, TRUTH_NAME, *(spec.file for spec in ALL_TABLES))
    present = [name for name in names if os.path.exists(path / name)]
    if present and not force:
        raise DatasetError(
            str(path),
            [f"already holds {', '.join(present)}; replace it with --force (force=True in Python)"],
        )
    try:
        probe_writable(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(str(path), [f"cannot be written: {reason}"]) from error


def _retire(path: Path, *, keep: set[str]) -> None:
    """Remove the old card, so that the folder is no dataset meanwhile, and tables not replaced."""
    (path / CARD).unlink(missing_ok=True)
    for name in {TRUTH_NAME, *(spec.file for spec in ALL_TABLES)} - keep:
        (path / name).unlink(missing_ok=True)


def _csv_text(frame: pd.DataFrame) -> str:
    """CSV of a table, LF line ends, blank where nothing is known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows([_cell(value) for value in row] for row in frame.itertuples(index=False))
    return stream.getvalue()


def _cell(value: object) -> str:
    """One value as a cell: whole numbers without a point, others in as many digits as they have."""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
