"""When Pareto smoothing of importance weights (PSIS, Vehtari et al. 2024) can be done."""

import math
from typing import Final

import numpy as np
import xarray as xr

from bayesdense.names import CHAIN, DRAW

#: Draws of all chains: a fifth of them make the tail, of which ArviZ takes no fewer than 5.
LEAST_SMOOTHED: Final = 25


def can_smooth(log_likelihood: xr.DataArray) -> bool:
    """Whether Pareto smoothing has draws enough, and a tail of draws that differ.

    A chain that is stuck where an entry is least likely makes the whole tail one value.
    """
    values = log_likelihood.transpose(CHAIN, DRAW, ...).to_numpy()
    rows = values.reshape(values.shape[0] * values.shape[1], -1)
    if len(rows) < LEAST_SMOOTHED:
        return False
    # Half of the tail of independent draws, as that of antithetic ones is shorter.
    tail = math.ceil(min(0.2 * len(rows), 3 * math.sqrt(len(rows))) / 2)
    return bool((np.ptp(np.partition(rows, tail, axis=0)[:tail], axis=0) > 0.0).all())
