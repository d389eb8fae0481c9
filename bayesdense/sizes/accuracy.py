"""What the grid over sizes costs, measured on posterior draws."""

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats, Ints
from bayesdense.kernel import Grid, log_cells
from bayesdense.observations import JointObservations
from bayesdense.sizes import normal
from bayesdense.sizes.blocks import block_of, cells_of, rule_of
from bayesdense.sizes.compiled import log_given_effects, log_likelihood, residual_table
from bayesdense.sizes.parallel import over_blocks
from bayesdense.sizes.terms import Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec

#: How much finer the grid is that others are compared with, and at least has to be.
_REFINEMENT, _LEAST_REFINEMENT = 4, 2
_FLAT = 1e-6


def quadrature_error(
    posterior: xr.Dataset, spec: ModelSpec, data: JointObservations, *, n_draws: int = 100
) -> dict[str, float | bool]:
    """Compare the marginal log likelihood of the model's grid with that of a grid 4 times finer.

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own.
    spec, data
        The model and the observations that were fitted.
    n_draws
        Posterior draws to compare on, taken at equal distances.

    Returns
    -------
    dict
        `n_draws`; `sd` and `max_abs` over draws of the difference (finer minus model's), nats, the
        former what moves a posterior; `growth_shift`: change of the mean growth rate at the time
        origin by importance weights, in its posterior sds (0 where it does not vary);
        `end_error`: largest distance of an LLM's log likelihood at the grid's ends from its limits
        at N -> 0 and N -> infinity; `flat_beyond`: whether that is below 1e-6.
    """
    read = read_posterior(posterior, spec, data)
    draws = read.thinned(n_draws)
    spacing, grids = spec.options.quadrature_spacing, Grids(read)
    coarse = grids.get(spacing)
    difference = _fine_totals(read, draws, grids, spacing / _REFINEMENT)
    difference -= _totals(read, draws, coarse)
    ends = max(_end_error(read, draw, coarse) for draw in draws)
    return {
        "n_draws": len(draws),
        "sd": float(difference.std()),
        "max_abs": float(np.abs(difference).max()),
        "growth_shift": _growth_shift(read, draws, difference),
        "end_error": ends,
        "flat_beyond": ends < _FLAT,
    }


def fine_spacing(
    posterior: xr.Dataset,
    spec: ModelSpec,
    data: JointObservations,
    *,
    largest_sd: float,
    factor: float,
    most: int,
    n_draws: int = 100,
) -> float:
    """Coarsest spacing, the model's times a power of `factor`, whose grid is fine enough.

    Parameters
    ----------
    posterior, spec, data, n_draws
        As in `quadrature_error`.
    largest_sd
        Sd over draws of the marginal log likelihood's error, nats, that a grid has to stay below.
    factor, most
        By what the spacing is multiplied until it does, and how often at most.
    """
    read = read_posterior(posterior, spec, data)
    draws, grids = read.thinned(n_draws), Grids(read)
    spacing, reference = spec.options.quadrature_spacing, np.inf
    for _ in range(most):
        if reference * _LEAST_REFINEMENT > spacing:
            reference = spacing / _REFINEMENT
            exact = _fine_totals(read, draws, grids, reference)
        if (exact - _totals(read, draws, grids.get(spacing))).std() < largest_sd:
            break
        spacing = round(factor * spacing, 4)
    return spacing


def _fine_totals(posterior: Posterior, draws: Ints, grids: Grids, spacing: float) -> Floats:
    """`_totals` on grids of this spacing, finer where a draw asks for it."""
    out = np.empty(len(draws))
    for fine, rows in grids.groups(posterior, draws, spacing, _REFINEMENT):
        out[rows] = _totals(posterior, draws[rows], fine)
    return out


def _totals(posterior: Posterior, draws: Ints, grid: Grid) -> Floats:
    """Sum over LLMs of the marginal log likelihood given the draws' family effects."""
    if posterior.spec.residual != "symmetric":
        return np.array([_total(posterior, int(draw), grid) for draw in draws])
    out, cells = np.empty(len(draws)), cells_of(posterior)

    def some(rows: Ints) -> None:
        block = block_of(posterior, draws[rows], families=True)
        laws = normal.laws_on(grid.nodes, block, cells)
        out[rows] = normal.log_totals(laws, block, cells, rule_of(grid))

    over_blocks(np.arange(len(draws)), some)
    return out


def _total(posterior: Posterior, draw: int, grid: Grid) -> float:
    """The same for one draw, under any residual."""
    terms = posterior.terms(draw, grid.nodes)
    location = terms.location + posterior.family_effect(draw)
    terms = terms._replace(location=location)
    given = log_given_effects(
        log_likelihood(terms.mean, terms.var, posterior.cells),
        grid.nodes,
        grid.log_widths,
        residual_table(posterior.spec.residual, terms, grid),
        location,
        np.arange(len(location)),
        np.zeros(1),
    )
    return float(given.sum())


def _end_error(posterior: Posterior, draw: int, grid: Grid) -> float:
    """Largest distance of a log likelihood at the grid's ends from its limits."""
    terms = posterior.terms(draw, grid.nodes[[0, -1]])
    at_ends = log_cells(terms.mean, terms.var, posterior.cells)
    limits = log_cells(*posterior.limits(draw), posterior.cells)
    return float(np.abs(at_ends - limits).max())


def _growth_shift(posterior: Posterior, draws: Ints, log_ratio: Floats) -> float:
    """Change of the mean growth rate by weights exp(log_ratio), in posterior sds."""
    trend = posterior.trend.at_dates()
    growth = np.ravel(trend.growth_rate(0.0, posterior.rows(draws)))
    weight = np.exp(log_ratio - log_ratio.max())
    shift = float(weight @ growth / weight.sum() - growth.mean())
    return shift / float(growth.std()) if growth.std() > 0 else 0.0
