"""Medians and equal-tailed intervals as columns of a table, and other steps that figures share."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.names import CI_PROB, INNER_CI_PROB


class StudyResult(Protocol):
    """What studies return, and `read_study` reads."""

    def to_dict(self) -> Mapping[str, Any]:
        """Return it as the schema of its verb says."""


def content_of(found: StudyResult | Mapping[str, Any]) -> Mapping[str, Any]:
    """What a study found, as its schema says."""
    return found if isinstance(found, Mapping) else found.to_dict()


def band_columns(draws: xr.DataArray) -> dict[str, Floats]:
    """Median, 50 % and 95 % equal-tailed interval of draws (chain, draw, one more dim)."""
    found = derive.bands(draws, (INNER_CI_PROB, CI_PROB))
    ends = {
        f"eti{prob:.0%}_{side}".replace("%", ""): found[side].sel(prob=prob).values
        for prob in (INNER_CI_PROB, CI_PROB)
        for side in ("lower", "upper")
    }
    return {"median": found["median"].values, **ends}


def exponentials(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Columns of a logarithm as those of the quantity itself: quantiles commute with exp."""
    with np.errstate(over="ignore"):
        return {name: np.exp(values) for name, values in columns.items()}


def layers(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack the tables of a figure's layers, told apart by the column `layer`."""
    named = [frame.assign(layer=name) for name, frame in frames.items() if len(frame)]
    if not named:
        return pd.DataFrame({"layer": []})
    stacked = pd.concat(named, ignore_index=True)
    return stacked[["layer", *(name for name in stacked.columns if name != "layer")]]


def layer(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one layer of a figure's table."""
    return table[table["layer"] == name]
