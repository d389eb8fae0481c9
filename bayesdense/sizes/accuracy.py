"""What the grid over sizes costs, measured on posterior draws."""

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats, Ints
from bayesdense.kernel import Grid
from bayesdense.observations import JointObservations
from bayesdense.sizes.compiled import log_given_effects, log_likelihood, residual_table
from bayesdense.sizes.terms import Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec
from bayesdense.trends import TRENDS

_REFINEMENT = 4
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
    totals = np.array(
        [
            [
                _total(read, draw, coarse),
                _total(read, draw, grids.resolving(read, draw, spacing / _REFINEMENT, 4)),
            ]
            for draw in draws
        ]
    )
    difference = totals[:, 1] - totals[:, 0]
    ends = max(_end_error(read, draw, coarse) for draw in draws)
    return {
        "n_draws": len(draws),
        "sd": float(difference.std()),
        "max_abs": float(np.abs(difference).max()),
        "growth_shift": _growth_shift(read, draws, difference),
        "end_error": ends,
        "flat_beyond": ends < _FLAT,
    }


def _total(posterior: Posterior, draw: int, grid: Grid) -> float:
    """Sum over LLMs of the marginal log likelihood given the draw's family effects."""
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
    at_ends = log_likelihood(terms.mean, terms.var, posterior.cells)
    limits = log_likelihood(*posterior.limits(draw), posterior.cells)
    return float(np.abs(at_ends - limits).max())


def _growth_shift(posterior: Posterior, draws: Ints, log_ratio: Floats) -> float:
    """Change of the mean growth rate by weights exp(log_ratio), in posterior sds."""
    trend = TRENDS[posterior.spec.trend]
    growth = np.array([float(trend.growth_rate(0.0, posterior.at(int(draw)))) for draw in draws])
    weight = np.exp(log_ratio - log_ratio.max())
    shift = float(weight @ growth / weight.sum() - growth.mean())
    return shift / float(growth.std()) if growth.std() > 0 else 0.0
