"""Results of studies as files: found in a folder, read back, and held against a fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.result_files import read_object
from bayesdense.spec import ModelSpec
from bayesdense.wording import printable, told

#: Verbs that make studies, in the order in which a report shows them. Each writes `<verb>.json`.
VERBS: Final = ("compare", "sweep", "backtest", "power", "calibrate")
_ENDS: Final = ("low", "high")


@dataclass(frozen=True, slots=True, eq=False)
class StudyFile:
    """What a study found, as its file holds it.

    Attributes
    ----------
    verb
        What made it.
    path
        Its file.
    content
        As `<verb>.schema.json` says.
    """

    verb: str
    path: Path
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder of the study, as its user named it."""
        return self.path.parent.name

    def to_dict(self) -> dict[str, Any]:
        """Return its content, as what studies return does."""
        return dict(self.content)

    def not_about(self, dataset: Mapping[str, Any], spec: ModelSpec) -> str | None:
        """Why this study is not about a fit of this dataset and model; None if it is.

        What a study varies may differ: a comparison is about every fit whose model is that of its
        hypotheses but for the trend.
        """
        if self.content["dataset"]["digest"] != dataset["digest"]:
            theirs, ours = (
                f"{told(one['name'])} (digest {str(one['digest'])[:12]})"
                for one in (self.content["dataset"], dataset)
            )
            return f"it is about dataset {theirs}, the fit about {ours}"
        if self.verb == "compare":
            if any(_is_hypothesis(spec, one) for one in self.content["hypotheses"]):
                return None
            return "its hypotheses differ from the model of the fit in more than the trend"
        if self.content["model_digest"] == spec.posterior_digest:
            return None
        return "its model is not that of the fit: an option, a kind or a prior differs"


def read_study(where: str | Path) -> StudyFile:
    """Read the result of a study.

    Parameters
    ----------
    where
        Folder of a study, or the file of its result.

    Returns
    -------
    StudyFile
        With the content of `compare.json`, `sweep.json`, `backtest.json`, `power.json` or
        `calibrate.json`.

    Raises
    ------
    BayesdenseError
        Neither, no study that is finished, or one of another version of its schema.

    Examples
    --------
    ``plot_sweep(read_study("studies/sweep-densing"))``
    """
    path = Path(where)
    said = printable(str(where))
    if path.is_dir():
        there = [path / f"{verb}.json" for verb in VERBS if (path / f"{verb}.json").is_file()]
        if not there:
            raise BayesdenseError(
                f"{said}: holds no result of a study ({', '.join(f'{v}.json' for v in VERBS)}); "
                "one that was ended goes on with --resume"
            )
        path = there[0]
    elif not path.exists():
        raise BayesdenseError(f"{said}: no such folder or file; studies lie in studies/")
    if path.stem not in VERBS:
        raise BayesdenseError(
            f"{said}: is no result of a study; allowed are {', '.join(f'{v}.json' for v in VERBS)}"
        )
    return StudyFile(path.stem, path, _checked(path, path.stem))


def is_study(where: str | Path) -> bool:
    """Whether a folder, or a file, is that of a finished study."""
    path = Path(where)
    if path.is_dir():
        return any((path / f"{verb}.json").is_file() for verb in VERBS)
    return path.stem in VERBS and path.is_file()


def sweep_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate the cases of a sweep, one row each, intervals in two columns (None: unbounded)."""
    return pd.DataFrame([sweep_row(row) for row in found["rows"]])


def sweep_row(row: Mapping[str, Any]) -> dict[str, object]:
    """Row of a sweep as one number a column."""
    growth, time = (row.get(key) or {} for key in ("growth_rate_per_year", "doubling_time_days"))
    checks = row.get("checks") or {}
    ends = {
        f"{name}_{which}": (part.get("eti95") or (None, None))[k]
        for name, part in (("growth", growth), ("doubling_days", time))
        for k, which in enumerate(_ENDS)
    }
    return {
        "axis": row["axis"],
        "value": row["value"],
        "status": row["status"],
        "n_llms": row.get("n_llms"),
        "n_families": row.get("n_families"),
        "growth_median": growth.get("median"),
        "growth_low": ends["growth_low"],
        "growth_high": ends["growth_high"],
        "p_positive": growth.get("p_positive"),
        "shift_in_sd": (row.get("shift") or {}).get("in_sd"),
        "doubling_days_median": time.get("median"),
        "doubling_days_low": ends["doubling_days_low"],
        "doubling_days_high": ends["doubling_days_high"],
        "unbounded": time.get("unbounded"),
        "checks": checks.get("status"),
        "message": row["message"] or row["note"],
    }


def _checked(path: Path, verb: str) -> Mapping[str, Any]:
    """Content of a result that this version can read and place."""
    where, content = printable(str(path)), read_object(path, f"result of {verb}")
    if "schema" not in content or not isinstance(content.get("dataset"), Mapping):
        raise BayesdenseError(f"{where}: is no result of {verb}")
    holders = content.get("hypotheses") if verb == "compare" else [content]
    if not holders or not all("model_digest" in one for one in holders):
        raise BayesdenseError(
            f"{where}: does not say of which model it is; write it anew with {verb} --resume"
        )
    return content


def _is_hypothesis(spec: ModelSpec, one: Mapping[str, Any]) -> bool:
    """Whether a model is that of a hypothesis, but for the trend."""
    try:
        digest: str = one["model_digest"]
        return spec.with_options(trend=one["name"]).posterior_digest == digest
    except SpecError:  # a trend of a user's own, which this process does not know
        return False
