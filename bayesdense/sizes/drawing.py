"""Draws of effective sizes, given everything else in a posterior draw."""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesdense import residuals
from bayesdense.arrays import Floats, Ints
from bayesdense.kernel import Grid
from bayesdense.names import LLM, UNITS
from bayesdense.observations import JointObservations
from bayesdense.sizes import normal
from bayesdense.sizes.blocks import block_of, cells_of, rule_of
from bayesdense.sizes.compiled import invert_cdf, log_likelihood, residual_table
from bayesdense.sizes.parallel import over_blocks
from bayesdense.sizes.terms import Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec

#: Nodes per node of the model's grid, and per residual sd.
_REFINEMENT = 4
_NODES_PER_SD = 4


def draw_log_sizes(
    posterior: xr.Dataset, spec: ModelSpec, data: JointObservations, *, seed: int
) -> xr.DataArray:
    """Draw every LLM's log effective size from p(x_i | y_i, parameters, family effect).

    One draw of sizes per posterior draw makes joint draws of parameters and sizes. The cdf is
    inverted on a grid four times as fine as the model's, the log density linear between nodes;
    beyond the grid, where the scores no longer tell sizes apart, the size follows the residual's
    own tail. Nothing is clipped.

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own.
    spec, data
        The model and the observations that were fitted.
    seed
        Of the generator.

    Returns
    -------
    xarray.DataArray
        (chain, draw, llm), natural log of effective parameters; finite.
    """
    read = read_posterior(posterior, spec, data)
    out = np.empty((read.size, len(data.llms.names)))
    uniform = np.random.default_rng(seed).random(out.shape)
    cells, spacing = cells_of(read), spec.options.quadrature_spacing / _REFINEMENT
    for grid, rows in Grids(read).groups(read, np.arange(read.size), spacing, _NODES_PER_SD):

        def some(draws: Ints, grid: Grid = grid) -> None:
            if spec.residual != "symmetric":
                for draw in draws:
                    out[draw] = _draw_one(read, int(draw), grid, uniform[draw])
                return
            block = block_of(read, draws, families=True)
            laws = normal.laws_on(grid.nodes, block, cells)
            found, beyond = normal.draw_sizes(laws, block, cells, rule_of(grid), uniform[draws])
            for k in np.unique(np.nonzero(np.isnan(found))[0]):
                scale = Scale(block.location[k], block.residual_sd[k], 1.0)
                _fill_beyond(found[k], beyond[k], spec.residual, scale, grid)
            out[draws] = found

        over_blocks(rows, some)
    result = read.data_array(out, LLM, list(data.llms.names))
    return result.assign_attrs(units=UNITS["log_effective_params"])


class Scale(NamedTuple):
    """Locations and sds of the LLMs' residuals in one draw, and their shape."""

    location: Floats
    residual_sd: Floats
    shape: float


def _draw_one(posterior: Posterior, draw: int, grid: Grid, uniform: Floats) -> Floats:
    """Draw all sizes of one posterior draw under any residual."""
    terms = posterior.terms(draw, grid.nodes)
    location = terms.location + posterior.family_effect(draw)
    terms = terms._replace(location=location)
    kind = posterior.spec.residual
    sizes, beyond = invert_cdf(
        log_likelihood(terms.mean, terms.var, posterior.cells),
        grid.nodes,
        residual_table(kind, terms, grid),
        location,
        uniform,
    )
    scale = Scale(location, terms.residual_sd, terms.shape)
    _fill_beyond(sizes, beyond, kind, scale, grid)
    return sizes


def _fill_beyond(sizes: Floats, beyond: Floats, kind: str, scale: Scale, grid: Grid) -> None:
    """Set the sizes that lie beyond the grid."""
    for i in np.flatnonzero(np.isnan(sizes) & ~np.isnan(beyond)):
        sizes[i] = _beyond(kind, scale, grid, int(i), float(beyond[i]))


def _beyond(kind: str, scale: Scale, grid: Grid, i: int, fraction: float) -> float:
    """Size in a tail, where this fraction of the tail's mass lies further out (negative: lower)."""
    lower = fraction < 0
    end = scale.location[i] - grid.nodes[0] if lower else grid.nodes[-1] - scale.location[i]

    def log_tail(distance: float) -> float:
        pair = residuals.log_tails(
            kind, distance, distance, scale.residual_sd[i], scale.shape, residuals.NUMPY
        )
        return float(pair[0 if lower else 1])

    wanted = log_tail(end) + math.log(max(abs(fraction), 1e-300))
    near, far = end, 2 * end
    while log_tail(far) > wanted:
        near, far = far, 2 * far
    for _ in range(60):
        middle = 0.5 * (near + far)
        near, far = (middle, far) if log_tail(middle) > wanted else (near, middle)
    return float(scale.location[i] + (-near if lower else near))
