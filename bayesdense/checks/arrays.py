"""What the checks read of a fit beside its draws: labels, index arrays, draws as matrices."""

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.arrays import Floats, Ints
from bayesdense.errors import BayesdenseError
from bayesdense.names import CHAIN, DRAW
from bayesdense.results import Fit


def matrix(draws: xr.DataArray) -> Floats:
    """Draws of a vector as (samples, entries), chain by chain."""
    ordered = draws.transpose(CHAIN, DRAW, ...).values
    return np.asarray(ordered.reshape(ordered.shape[0] * ordered.shape[1], -1), dtype=float)


def growth_varies(fit: Fit) -> bool:
    """Whether growth has draws that are numbers, and not all the same."""
    try:
        draws = derive.growth_rate(fit).draws
    except BayesdenseError:  # draws that are no numbers
        return False
    return bool(np.ptp(draws.to_numpy()) > 0.0)


def index(fit: Fit, name: str) -> Ints:
    """Return an index array of the constant data, or raise naming it."""
    return np.asarray(fit.variable("constant_data", name).values, dtype=np.int64)


def labels(fit: Fit, dim: str) -> list[str] | None:
    """Labels of a dim, wherever the fit keeps them; None where it does not."""
    for group in ("posterior", "constant_data"):
        if group in fit.tree.children and dim in fit.tree[group].coords:
            return [str(label) for label in fit.tree[group].coords[dim].values]
    return None


def label(fit: Fit, dim: str, position: int) -> str:
    """Label of one entry along a dim; without labels, the dim's name and the position."""
    known = labels(fit, dim)
    return f"{dim} {position}" if known is None else known[position]


def row_labels(fit: Fit, **indices: str) -> list[str]:
    """Labels of ragged rows, from the dims and index arrays that describe them.

    ``row_labels(fit, llm="score_llm_idx", benchmark="score_benchmark_idx")``.
    """
    columns = []
    for dim, name in indices.items():
        known, positions = labels(fit, dim), index(fit, name).tolist()
        columns.append([f"{dim} {k}" if known is None else known[k] for k in positions])
    return [" ".join(words) for words in zip(*columns, strict=True)]
