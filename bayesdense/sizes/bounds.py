"""Which LLMs the scores bound on one side only: at the ceiling no size is too large."""

import numpy as np
import xarray as xr

from bayesdense.arrays import Ints
from bayesdense.names import LLM
from bayesdense.observations import JointObservations
from bayesdense.sizes import normal
from bayesdense.sizes.blocks import block_of, cells_of
from bayesdense.sizes.parallel import over_blocks
from bayesdense.sizes.terms import Grids, read_posterior
from bayesdense.spec import ModelSpec

#: Half of the chi-square quantiles with one degree of freedom: two-sided 95 %, one-sided 95 %.
_TWO_SIDED = 1.92
_ONE_SIDED = 1.35
_REFINEMENT = 2


def llm_bounds(posterior: xr.Dataset, spec: ModelSpec, data: JointObservations) -> xr.Dataset:
    """Find the LLMs whose scores give a lower or an upper bound only, whatever the trend says.

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own.
    spec, data
        The model and the observations that were fitted.

    Returns
    -------
    xarray.Dataset
        Over llm: `prob_lower_bound_only`, the posterior probability that
        log p(y_i | N -> infinity) > max_N log p(y_i | N) - 1.92, and `lower_bound_only`, whether it
        exceeds one half; `prob_upper_bound_only` and `upper_bound_only` likewise for N -> 0;
        `data_lower_bound`, in parameters: posterior median of the smallest N whose log likelihood
        is within 1.35 of its maximum, for lower bounds only (else NaN); 0 where every N is.
    """
    read = read_posterior(posterior, spec, data)
    grid, cells = Grids(read).get(spec.options.quadrature_spacing / _REFINEMENT), cells_of(read)
    likelihood = np.empty((3, read.size, len(data.llms.names)))

    def some(draws: Ints) -> None:
        laws = normal.laws_on(grid.nodes, block_of(read, draws), cells)
        likelihood[:, draws] = normal.likelihood_bounds(laws, cells, grid.nodes, _ONE_SIDED)

    over_blocks(np.arange(read.size), some)
    at_zero, at_infinity, smallest = likelihood
    lower, upper = (at_infinity > -_TWO_SIDED).mean(axis=0), (at_zero > -_TWO_SIDED).mean(axis=0)
    bound = np.where(lower > 0.5, np.exp(np.median(smallest, axis=0)), np.nan)
    found = {
        "prob_lower_bound_only": lower,
        "prob_upper_bound_only": upper,
        "lower_bound_only": lower > 0.5,
        "upper_bound_only": upper > 0.5,
        "data_lower_bound": bound,
    }
    out = xr.Dataset(
        {name: (LLM, value) for name, value in found.items()},
        coords={LLM: list(data.llms.names)},
    )
    out["data_lower_bound"].attrs["units"] = "parameters"
    return out
