"""Log likelihood of the scores under each value of a parameter that was summed over."""

import numpy as np

from bayesdense.arrays import Floats
from bayesdense.sizes.compiled import log_given_effects, log_likelihood, residual_table
from bayesdense.sizes.parallel import over_draws
from bayesdense.sizes.terms import Grids, Posterior


def log_likelihoods_at(posterior: Posterior, name: str, values: Floats) -> Floats:
    """Log likelihood of all scores given a draw's other parameters and family effects.

    On the model's own grid, as it was sampled.

    Parameters
    ----------
    posterior
        Draws, with any values of the parameter.
    name, values
        The parameter, which only moves the trend, and its values (values,).

    Returns
    -------
    ndarray
        (draws, values), nats.
    """
    llms, trend = posterior.data.llms, posterior.trend
    grid = Grids(posterior).get(posterior.spec.options.quadrature_spacing)
    out = np.zeros((posterior.size, len(values)))

    def one(draw: int) -> None:
        terms = posterior.terms(draw, grid.nodes)
        location = terms.location + posterior.family_effect(draw)
        theta = posterior.at(draw)
        now = trend.eta(llms.years, theta)
        moved = trend.eta(llms.years, {**theta, name: values[:, None]})
        shifts = np.ascontiguousarray((moved - now).T)
        likelihood = log_likelihood(terms.mean, terms.var, posterior.cells)
        residual = residual_table(posterior.spec.residual, terms, grid)
        for i in range(len(location)):
            given = log_given_effects(
                likelihood,
                grid.nodes,
                grid.log_widths,
                residual,
                location,
                np.array([i]),
                shifts[i],
            )
            out[draw] += given[0]

    over_draws(posterior.size, one)
    return out
