"""The truth behind a simulated dataset: every natural parameter, and how it came about."""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense.errors import DatasetError
from bayesdense.files import parse_toml, read_regular
from bayesdense.names import SCHEMA_VERSION, UNITS
from bayesdense.simulate.toml import toml_text
from bayesdense.trends import TRENDS
from bayesdense.trends.exponential import EXPONENTIAL
from bayesdense.wording import told

TRUTH_NAME: Final = "truth.toml"
_GLOBAL: Final = "global"
#: Of a file that is read: a truth of 10,000 LLMs has about 1.5 MB.
_MOST_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Truth:
    """What a simulated dataset was made from.

    Attributes
    ----------
    parameters
        Natural parameters by their names in a posterior, without sample dims; effects of runs and
        families, `log_effective_params` and `log_density` of the LLMs.
    seed
        Seed of the simulation.
    model, spec_digest
        Name and digest of the model.
    like, like_digest
        Dataset whose shape it has.
    reference_tokens
        D0 of the model.
    time_origin
        ISO date from which the trend's years count.
    n_rejected
        Draws before this one whose data did not look like any that one would analyse.
    n_above_ceiling
        LLMs of whose scores more than half lie above what endless size reaches at D0.
    """

    parameters: xr.Dataset
    seed: int
    model: str
    spec_digest: str
    like: str
    like_digest: str
    reference_tokens: float
    time_origin: str
    n_rejected: int
    n_above_ceiling: int

    def __repr__(self) -> str:
        """Name what people ask first."""
        rate = "" if self.growth is None else f"growth {self.growth:.3g} per year, "
        return f"Truth({rate}model {self.model!r}, like {self.like!r}, seed {self.seed})"

    @property
    def growth(self) -> float | None:
        """Growth rate (1/year); None where the trend's growth is not one number."""
        changing = {name for trend in TRENDS.values() for name in trend.drawn}
        if changing.difference(EXPONENTIAL.parameters) & set(self.parameters):
            return None
        found = self.parameters.get("growth_rate")
        return None if found is None else float(found)

    def to_toml(self) -> str:
        """Return the content of `truth.toml`: numbers in full, values under their labels."""
        head = {"schema": SCHEMA_VERSION, **{key: getattr(self, key) for key in _HEAD}}
        sections: dict[str, Any] = {_GLOBAL: {}}
        for name, value in self.parameters.data_vars.items():
            if not value.dims:
                sections[_GLOBAL][str(name)] = float(value)
                continue
            (dim,) = map(str, value.dims)
            for label, number in zip(value[dim].values, value.values, strict=True):
                sections.setdefault(dim, {}).setdefault(str(label), {})[str(name)] = float(number)
        return toml_text({**head, **sections})


_COUNTS: Final = ("seed", "n_rejected", "n_above_ceiling")
_HEAD: Final = tuple(field.name for field in fields(Truth) if field.name != "parameters")


def read_truth(folder: str | Path) -> Truth:
    """Read the `truth.toml` of a simulated dataset.

    Raises
    ------
    DatasetError
        There is none, or it is not what `write_dataset` writes.
    """
    path = Path(folder) / TRUTH_NAME
    try:
        raw = parse_toml(read_regular(path, _MOST_BYTES))
        if raw.get("schema") != SCHEMA_VERSION:
            raise ValueError(f"schema {raw.get('schema')!r}, allowed: {SCHEMA_VERSION}")
        head = {key: raw[key] for key in _HEAD}
        _check_head(head)
        return Truth(_parameters(raw), **head)
    except OSError as error:
        raise DatasetError(str(path), [f"no truth to read: {error.strerror}"]) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DatasetError(str(path), [f"not a truth as `simulate` writes it: {error}"]) from error


def _check_head(head: Mapping[str, Any]) -> None:
    """Raise ValueError unless every entry is of the type that `Truth` says."""
    for key, value in head.items():
        if key == "reference_tokens":
            holds = type(value) in (int, float) and 0 < value < math.inf
        elif key in _COUNTS:
            holds = type(value) is int and value >= 0
        else:
            holds = isinstance(value, str) and value.isprintable()
        if not holds:
            raise ValueError(f"{key} = {told(value)}")
    dt.date.fromisoformat(head["time_origin"])


def _number(name: str, value: object) -> float:
    """Read a value of a parameter."""
    if type(value) not in (int, float):
        raise ValueError(f"{name} = {told(value)}")
    return float(value)  # type: ignore[arg-type]


def _parameters(raw: Mapping[str, Any]) -> xr.Dataset:
    """Natural parameters from the sections of a truth."""
    variables: dict[str, Any] = {
        name: ((), _number(name, value), _units(name)) for name, value in raw[_GLOBAL].items()
    }
    coords = {}
    for dim in sorted(set(raw) - {"schema", _GLOBAL, *_HEAD}):
        coords[dim] = list(raw[dim])
        for name in next(iter(raw[dim].values())):
            values = np.array([_number(name, entry[name]) for entry in raw[dim].values()])
            variables[name] = (dim, values, _units(name))
    return xr.Dataset(variables, coords=coords)


def _units(name: str) -> dict[str, str]:
    return {"units": UNITS.get(name, "1")}
