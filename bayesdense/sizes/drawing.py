"""Draws of effective sizes, given everything else in a posterior draw."""

import math

import numba
import numpy as np
import xarray as xr

from bayesdense import residuals
from bayesdense.kernel import Floats, Grid
from bayesdense.names import LLM, UNITS
from bayesdense.observations import JointObservations
from bayesdense.sizes.compiled import (
    Residual,
    add_residual,
    exponentials,
    fill_base,
    log_likelihood,
    residual_table,
)
from bayesdense.sizes.terms import Grids, Posterior, Terms, read_posterior
from bayesdense.spec import ModelSpec

#: Nodes per node of the model's grid, and per residual sd.
_REFINEMENT = 4
_NODES_PER_SD = 4
#: A log density that rises by less over a cell is even there, to 1e-13.
_EVEN = 1e-6


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
    rng, grids = np.random.default_rng(seed), Grids(read)
    out = np.empty((read.size, len(data.llms.names)))
    for draw in range(read.size):
        grid = grids.resolving(
            read, draw, spec.options.quadrature_spacing / _REFINEMENT, _NODES_PER_SD
        )
        terms = read.terms(draw, grid.nodes)
        out[draw] = _draw_one(read, draw, terms, grid, rng.random(out.shape[1]))
    result = read.data_array(out, LLM, list(data.llms.names))
    return result.assign_attrs(units=UNITS["log_effective_params"])


def _draw_one(posterior: Posterior, draw: int, terms: Terms, grid: Grid, uniform: Floats) -> Floats:
    """Draw all sizes of one posterior draw."""
    location = terms.location + posterior.family_effect(draw)
    terms = terms._replace(location=location)
    kind = posterior.spec.residual
    sizes, beyond = _invert(
        log_likelihood(terms.mean, terms.var, posterior.cells),
        grid.nodes,
        residual_table(kind, terms, grid),
        location,
        uniform,
    )
    for i in np.flatnonzero(np.isnan(sizes) & ~np.isnan(beyond)):
        sizes[i] = _beyond(kind, terms, grid, int(i), float(beyond[i]))
    return sizes


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _position(t: float, fraction: float) -> float:
    """Where in a cell, 0 to 1, a fraction of its mass lies left; the log density rises by t."""
    if abs(t) < _EVEN:
        return fraction
    if t < 0:
        return math.log1p(fraction * math.expm1(t)) / t
    return 1 + math.log(fraction + (1 - fraction) * math.exp(-t)) / t


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _invert(
    log_likelihood: Floats,
    nodes: Floats,
    residual: Residual,
    location: Floats,
    uniform: Floats,
) -> tuple[Floats, Floats]:
    """Invert every LLM's cdf; NaN beyond the ends, with the fraction of that tail's mass.

    The fraction is of the mass further out, negative for the lower tail.
    """
    n_llms, n_nodes = log_likelihood.shape
    sizes, beyond = np.full(n_llms, np.nan), np.full(n_llms, np.nan)
    log_density, mass = np.empty(n_nodes), np.empty(n_nodes)
    base, z, no_widths = np.empty(n_nodes), np.empty(n_nodes), np.zeros(n_nodes)
    for i in range(n_llms):
        fill_base(base, z, nodes, no_widths, residual, i, location[i])
        base += log_likelihood[i]
        add_residual(log_density, base, z, residual, i, 0.0)
        density = exponentials(log_density, log_density.max())
        # mass[0] and mass[-1] are the tails, mass[g] that between the nodes g and g + 1
        mass[0], mass[-2], mass[-1] = density[0], 0.0, density[-1]
        for g in range(1, n_nodes - 2):
            rise = log_density[g + 1] - log_density[g]
            mean = 0.5 * (density[g] + density[g + 1])
            if abs(rise) >= _EVEN:
                mean = (density[g + 1] - density[g]) / rise
            mass[g] = mean * (nodes[g + 1] - nodes[g])
        left = uniform[i] * mass.sum()
        cell = 0
        while cell < n_nodes - 1 and left >= mass[cell]:
            left -= mass[cell]
            cell += 1
        fraction = min(left / mass[cell], 1.0)
        if cell == 0:
            beyond[i] = -fraction
        elif cell == n_nodes - 1:
            beyond[i] = 1 - fraction
        else:
            place = _position(log_density[cell + 1] - log_density[cell], fraction)
            sizes[i] = nodes[cell] + place * (nodes[cell + 1] - nodes[cell])
    return sizes, beyond


def _beyond(kind: str, terms: Terms, grid: Grid, i: int, fraction: float) -> float:
    """Size in a tail, where this fraction of the tail's mass lies further out (negative: lower)."""
    lower = fraction < 0
    end = terms.location[i] - grid.nodes[0] if lower else grid.nodes[-1] - terms.location[i]

    def log_tail(distance: float) -> float:
        pair = residuals.log_tails(
            kind, distance, distance, terms.residual_sd[i], terms.shape, residuals.NUMPY
        )
        return float(pair[0 if lower else 1])

    wanted = log_tail(end) + math.log(max(abs(fraction), 1e-300))
    near, far = end, 2 * end
    while log_tail(far) > wanted:
        near, far = far, 2 * far
    for _ in range(60):
        middle = 0.5 * (near + far)
        near, far = (middle, far) if log_tail(middle) > wanted else (near, middle)
    return float(terms.location[i] + (-near if lower else near))
