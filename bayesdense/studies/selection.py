"""Parts of a dataset, and other counts to divide by: what a study's jobs fit in place of it all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pandas as pd

from bayesdense.catalog import dataset_names, resolve_dataset
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import DatasetError
from bayesdense.jobs import Job

_BITS_PER_BYTE: Final = 8.0
#: Bits of a weight where nothing else is said.
_USUAL_BITS: Final = 16.0
#: Sd of release dates, in days, where the dataset gives none.
DATE_SD_DAYS: Final = 30.0
#: Keeps draws of dates apart from other uses of a seed.
_DATES: Final = 0xDA7E
_ADDED: Final = ("in_time", "dates_drawn")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a dataset is fitted, and in which unit LLMs are counted.

    Attributes
    ----------
    benchmarks
        Names of those kept; None: all.
    since, until
        ISO dates: LLMs released on `since` or later, and before `until`, are kept.
    in_bytes
        Whether `n_params` becomes the bytes of the weights, n_params weight_bits / 8.
    in_time
        Time to read a weight over that to compute with it, where `n_params` becomes the parameters
        of the dense LLM of 16 bits that takes as long to run; 0: it does not.
    dates_drawn
        Number of a draw of release dates about those given; 0: as given.
    """

    benchmarks: tuple[str, ...] | None = None
    since: str | None = None
    until: str | None = None
    in_bytes: bool = False
    in_time: float = 0.0
    dates_drawn: int = 0

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        names = raw["benchmarks"]
        return cls(**{**raw, "benchmarks": None if names is None else tuple(names)})

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it; what was added later only where it is used.

        So jobs that do not use it keep the names under which they are filed.
        """
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in _ADDED or value != getattr(WHOLE, name)
        }


#: All of a dataset.
WHOLE: Final = Selection()


def select(dataset: Dataset, selection: Selection) -> Dataset:
    """Keep a part of a dataset: its benchmarks with their runs, and LLMs that still have a score.

    Name and digest stay: they say which dataset it was taken from.

    Raises
    ------
    DatasetError
        Nothing is left, or `weight_bits` or `n_params_active` is not there for every LLM.
    """
    if selection.in_bytes:
        dataset = _in_bytes(dataset)
    if selection.in_time:
        dataset = _in_time(dataset, selection.in_time)
    if selection.dates_drawn:
        dataset = _dates_drawn(dataset, selection.dates_drawn)
    if dataset.densities is not None:
        kept = _released(dataset.densities, selection)
        _require_some(dataset, kept)
        return replace(dataset, densities=kept)
    if selection.benchmarks is not None:
        dataset = _on_benchmarks(dataset, selection.benchmarks)
    llms, scores = tables_of_llms(dataset)
    llms = _released(llms, selection)
    llms = _of(llms, "llm", scores["llm"])
    _require_some(dataset, llms)
    reports = dataset.score_reports
    return replace(
        dataset,
        llms=llms,
        scores=_of(scores, "llm", llms["llm"]),
        score_reports=None if reports is None else _of(reports, "llm", llms["llm"]),
    )


def tables_of_llms(dataset: Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """LLMs and scores of a dataset that holds scores."""
    if dataset.llms is None or dataset.scores is None:
        raise DatasetError(dataset.name, ["holds published densities and no scores"])
    return dataset.llms, dataset.scores


def people_of(dataset: Dataset) -> pd.DataFrame:
    """Table of the LLMs, whatever is known of them."""
    return tables_of_llms(dataset)[0] if dataset.densities is None else dataset.densities


def where_of(dataset: str | Path) -> str:
    """Name of a shipped dataset, else the whole path of its folder: what a worker finds it by."""
    if isinstance(dataset, str) and dataset in dataset_names():
        return dataset
    return str(resolve_dataset(dataset).resolve())


def dataset_of(job: Job) -> Dataset:
    """Load the dataset of a job, unless it is another by now.

    Raises
    ------
    DatasetError
        Its content has changed since the study began.
    """
    return _found_again(str(job.where), str(job.dataset))


@lru_cache(maxsize=4)
def _found_again(where: str, digest: str) -> Dataset:
    """Dataset of a place, if it has this digest."""
    dataset = load_dataset(where)
    if dataset.digest != digest:
        raise DatasetError(
            where,
            [
                f"digest {dataset.digest[:12]}, allowed the study's {digest[:12]}: the dataset has "
                "changed since; begin a new study with another --out"
            ],
        )
    return dataset


def _on_benchmarks(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Keep benchmarks with all that is read on them."""

    def kept(table: pd.DataFrame | None) -> pd.DataFrame | None:
        return None if table is None else _of(table, "benchmark", names)

    return replace(
        dataset,
        benchmarks=kept(dataset.benchmarks),
        runs=kept(dataset.runs),
        loss_scores=kept(dataset.loss_scores),
        scores=kept(dataset.scores),
        score_reports=kept(dataset.score_reports),
    )


def _released(table: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """Keep LLMs released in a window."""
    dates = table["release_date"]
    kept = pd.Series(True, index=table.index)
    if selection.since is not None:
        kept &= dates >= pd.Timestamp(selection.since)
    if selection.until is not None:
        kept &= dates < pd.Timestamp(selection.until)
    return table[kept].reset_index(drop=True)


def _in_bytes(dataset: Dataset) -> Dataset:
    """Count LLMs in bytes of their weights."""
    llms, _ = tables_of_llms(dataset)
    bits = llms["weight_bits"] if "weight_bits" in llms else pd.Series(float("nan"), llms.index)
    if bits.isna().any():
        missing = int(bits.isna().sum())
        raise DatasetError(
            dataset.name, [f"llms.csv: weight_bits is blank for {missing} of {len(llms)} LLMs"]
        )
    return replace(dataset, llms=llms.assign(n_params=llms["n_params"] * bits / _BITS_PER_BYTE))


def _in_time(dataset: Dataset, memory_over_compute: float) -> Dataset:
    """Count LLMs by the time that they take: parameters of the dense 16-bit LLM as slow as they.

    N_time = (k N bits/16 + N_active) / (k + 1), k the time to read a weight over that to compute
    with it: all weights are read, those of 4 bits in a quarter of the time, and the active ones
    computed with. Weights of unknown bits count as 16.

    References
    ----------
    Xiao et al. 2025, eqs. 5 to 7 (weights on the chip).
    """
    llms, _ = tables_of_llms(dataset)
    active = llms.get("n_params_active", pd.Series(float("nan"), llms.index))
    if missing := int(active.isna().sum()):
        raise DatasetError(
            dataset.name,
            [f"llms.csv: n_params_active is blank for {missing} of {len(llms)} LLMs"],
        )
    bits = llms.get("weight_bits", pd.Series(_USUAL_BITS, llms.index)).fillna(_USUAL_BITS)
    read = memory_over_compute * llms["n_params"] * bits / _USUAL_BITS
    return replace(
        dataset, llms=llms.assign(n_params=(read + active) / (memory_over_compute + 1.0))
    )


def _dates_drawn(dataset: Dataset, number: int) -> Dataset:
    """Move every release date by a normal error, to whole days."""
    people = people_of(dataset)
    sd = people.get("date_sd_days", pd.Series(DATE_SD_DAYS, people.index)).fillna(DATE_SD_DAYS)
    error = sd * np.random.default_rng([_DATES, number]).normal(size=len(people))
    moved = people.assign(
        release_date=people["release_date"] + pd.to_timedelta(error.round(), unit="D")
    )
    if dataset.densities is not None:
        return replace(dataset, densities=moved)
    return replace(dataset, llms=moved)


def _of(table: pd.DataFrame, column: str, values: Sequence[str] | pd.Series) -> pd.DataFrame:
    """Rows whose column has one of these values."""
    return table[table[column].isin(set(values))].reset_index(drop=True)


def _require_some(dataset: Dataset, llms: pd.DataFrame) -> None:
    """Refuse a part without LLMs."""
    if llms.empty:
        raise DatasetError(dataset.name, ["no LLM is left in this part of the dataset"])
