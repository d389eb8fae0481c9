"""What the checks read of a fit beside its draws: labels, index arrays, draws as matrices."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesdense.errors import BayesdenseError
from bayesdense.names import BENCHMARK, CHAIN, DRAW
from bayesdense.results import Fit

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


def matrix(draws: xr.DataArray) -> Floats:
    """Draws of a vector as (samples, entries), chain by chain."""
    ordered = draws.transpose(CHAIN, DRAW, ...).values
    return np.asarray(ordered.reshape(ordered.shape[0] * ordered.shape[1], -1), dtype=float)


def index(fit: Fit, name: str) -> Ints:
    """Return an index array of the constant data, or raise naming it."""
    constant = fit.group("constant_data")
    if name not in constant:
        raise BayesdenseError(f"this fit's constant_data has no {name!r}: was its tree replaced?")
    return np.asarray(constant[name].values, dtype=np.int64)


def benchmark_name(fit: Fit, position: int) -> str:
    """Name of a benchmark by its index."""
    posterior = fit.posterior
    return str(posterior[BENCHMARK].values[position]) if BENCHMARK in posterior else str(position)


def entry_labels(array: xr.DataArray) -> list[str]:
    """Labels of a vector's entries; their positions where it has none."""
    dim = array.dims[-1]
    if dim in array.coords:
        return [str(label) for label in array[dim].values]
    return [f"entry {k}" for k in range(array.sizes[dim])]
