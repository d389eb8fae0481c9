"""When Pareto smoothing of importance weights (PSIS, Vehtari et al. 2024) can be done."""

from typing import Final

import numpy as np
import xarray as xr

from bayesdense.names import CHAIN, DRAW

#: Draws of all chains: a fifth of them make the tail, of which ArviZ takes no fewer than 5.
LEAST_SMOOTHED: Final = 25


def can_smooth(log_likelihood: xr.DataArray) -> bool:
    """Whether Pareto smoothing has draws enough, and draws that differ: stuck chains' do not."""
    values = log_likelihood.transpose(CHAIN, DRAW, ...).to_numpy()
    rows = values.reshape(values.shape[0] * values.shape[1], -1)
    return len(rows) >= LEAST_SMOOTHED and bool((np.ptp(rows, axis=0) > 0.0).all())
