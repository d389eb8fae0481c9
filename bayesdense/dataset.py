"""A dataset as the rest of the package sees it: validated, normalised, frozen."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from bayesdense.catalog import resolve_dataset
from bayesdense.cells import Storage, Value
from bayesdense.errors import DatasetError
from bayesdense.reading import Table
from bayesdense.tables import ALL_TABLES
from bayesdense.validation import check_folder, problem_lines
from bayesdense.wording import printable

_DIGEST_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset:
    """A validated dataset: its card and its tables, ready for a model.

    Every table has a RangeIndex, the rows of its file in their order, and only columns that the
    package knows; an optional column is there only if the file has it. Counts, losses and scores
    are float64 (blank: NaN), names are text (blank: ""), dates datetime64[ns]. Filled in are
    `is_base` (true), `family` (the LLM itself), `role` ("fit") and a blank `own_report` (false).

    Attributes
    ----------
    name
        Shipped name or name of the folder.
    card
        Content of `card.toml`.
    digest
        SHA-256 (hex) of the tables' content and the card's `reference_params`; see `load_dataset`.
    warnings
        Plain sentences about what the data cannot tell; kept in the fit.
    benchmarks, runs, loss_scores, llms, scores, score_reports
        Tables as in the interface; all None in a dataset of densities, `score_reports` also
        where there is none.
    densities
        Published densities, in place of all the other tables; else None.
    """

    name: str
    card: Mapping[str, object]
    digest: str
    warnings: tuple[str, ...]
    benchmarks: pd.DataFrame | None = None
    runs: pd.DataFrame | None = None
    loss_scores: pd.DataFrame | None = None
    llms: pd.DataFrame | None = None
    scores: pd.DataFrame | None = None
    score_reports: pd.DataFrame | None = None
    densities: pd.DataFrame | None = None

    def __repr__(self) -> str:
        """Name and counts; the tables themselves are long."""
        return f"Dataset({json.dumps(self.summary(), ensure_ascii=False)})"

    @property
    def is_densities(self) -> bool:
        """Whether the dataset holds published densities instead of scores."""
        return self.densities is not None

    @property
    def default_model(self) -> str:
        """Name of the shipped model that reads it where none is named."""
        return "trend_only" if self.is_densities else "joint"

    def base_only(self) -> "Dataset":
        """Return the dataset without LLMs that are not base LLMs, and without their scores.

        Name and digest stay: they say which dataset it was taken from.
        """
        if self.llms is None or bool(self.llms["is_base"].all()):
            return self
        llms = self.llms[self.llms["is_base"]]
        kept = set(llms["llm"])
        return replace(
            self,
            llms=llms.reset_index(drop=True),
            scores=_rows_of(self.scores, kept),
            score_reports=_rows_of(self.score_reports, kept),
        )

    def summary(self) -> dict[str, object]:
        """Return name, digest, counts and window over the base LLMs, as JSON can hold them.

        `n_runs` counts rows of `runs.csv` (a run read on five benchmarks counts five times);
        it and `n_scores` are None in a dataset of densities. `window` is [first, last] release.
        """
        base = self.base_only()
        people = base.llms if base.densities is None else base.densities
        if people is None:
            raise DatasetError(
                self.name, ["no LLMs: neither the table llms nor densities is there"]
            )
        dates = people["release_date"]
        return {
            "name": self.name,
            "digest": self.digest,
            "n_llms": len(people),
            "n_families": int(people["family"].nunique()),
            "n_runs": None if base.runs is None else len(base.runs),
            "n_scores": None if base.scores is None else len(base.scores),
            "window": [dates.min().date().isoformat(), dates.max().date().isoformat()],
        }


def load_dataset(name_or_path: str | Path) -> Dataset:
    """Read and validate a dataset whole.

    The digest is the SHA-256 of the canonical content: known columns by name, values as they
    are understood (7e9 and 7000000000 are one number, and names are in Unicode's normal form C;
    byte-order mark, line ends, order of columns, unknown and wholly blank columns do not count),
    rows in their order (which fixes the order of coordinates and so the draws of a seed), and the
    card's `reference_params`.

    Parameters
    ----------
    name_or_path
        Name of a shipped dataset, or path of a folder with `card.toml` and CSV tables.

    Returns
    -------
    Dataset
        Frozen; `warnings` holds what does not stop the work.

    Raises
    ------
    DatasetError
        With all problems at once, one line each: file, row as a spreadsheet counts (header = 1),
        column, what it holds, what is allowed, likely cause.

    Examples
    --------
    >>> from bayesdense.dataset import load_dataset
    >>> load_dataset("densing-published").summary()["n_llms"]
    51
    """
    folder = resolve_dataset(name_or_path)
    name = folder.resolve().name or "dataset"
    try:
        checked = check_folder(folder)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise DatasetError(printable(str(name_or_path)), [f"cannot be read: {reason}"]) from error
    if checked.problems:
        raise DatasetError(printable(str(name_or_path)), problem_lines(checked.problems))
    frames = {name: _frame(table) for name, table in checked.tables.items()}
    for table in ("llms", "densities"):
        if table in frames:
            frames[table]["family"] = _families(frames[table])
    digest = _digest(frames, checked.card)
    return Dataset(printable(name), checked.card, digest, checked.warnings, **frames)


def _rows_of(table: pd.DataFrame | None, llms: set[str]) -> pd.DataFrame | None:
    return None if table is None else table[table["llm"].isin(llms)].reset_index(drop=True)


def _frame(table: Table) -> pd.DataFrame:
    """Table with normalised types, and what an absent or blank cell stands for filled in."""
    columns = dict(table.columns)
    filled = {"llms": ("is_base", "family"), "loss_scores": ("role",), "densities": ("family",)}
    for name in filled.get(table.spec.name, ()):
        columns.setdefault(name, [None] * len(table.rows))
    kinds = {column.name: column.kind.storage for column in table.spec.columns}
    order = [column.name for column in table.spec.columns if column.name in columns]
    return pd.DataFrame({name: _series(name, columns[name], kinds[name]) for name in order})


def _series(name: str, values: list[Value | None], storage: Storage) -> pd.Series:
    if storage == "number":
        numbers = [np.nan if value is None else value for value in values]
        return pd.Series(numbers, dtype="float64")
    if storage == "date":
        return pd.Series(pd.to_datetime(pd.Series(values))).astype("datetime64[ns]")
    if storage == "flag":
        return pd.Series([name == "is_base" if v is None else v for v in values], dtype="bool")
    blank = "fit" if name == "role" else ""
    return pd.Series([blank if value is None else value for value in values], dtype="str")


def _families(llms: pd.DataFrame) -> "pd.Series[str]":
    """Families, an LLM without one being its own, under a name that no other family has."""
    taken = set(llms["family"])
    names = []
    for llm, family in zip(llms["llm"], llms["family"], strict=True):
        own = llm if llm not in taken else f"{llm} (alone)"
        names.append(family or own)
    return pd.Series(names, dtype="str")


def _digest(frames: Mapping[str, pd.DataFrame], card: Mapping[str, object]) -> str:
    """SHA-256 of the content, the same for every spelling of it."""
    content = {
        "schema": _DIGEST_SCHEMA,
        "reference_params": card.get("reference_params"),
        "tables": {
            spec.name: _canonical(frames[spec.name]) for spec in ALL_TABLES if spec.name in frames
        },
    }
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(frame: pd.DataFrame) -> dict[str, list[object]]:
    """Columns as JSON values, without those that are wholly blank."""
    columns = {name: [_plain(value) for value in frame[name]] for name in map(str, frame.columns)}
    return {name: values for name, values in columns.items() if any(v is not None for v in values)}


def _plain(value: object) -> object:
    """Value as JSON has it; None for what is blank."""
    if isinstance(value, date):  # a pandas Timestamp is one
        return value.strftime("%Y-%m-%d")
    if value == "" or value != value:  # only NaN differs from itself
        return None
    return bool(value) if isinstance(value, np.bool_) else value
