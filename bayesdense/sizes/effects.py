"""Draws of family effects given the scores of a family's LLMs, whose sizes are integrated out."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats, Ints
from bayesdense.kernel import Grid
from bayesdense.names import FAMILY, UNITS
from bayesdense.observations import JointObservations
from bayesdense.sizes.blocks import families_of
from bayesdense.sizes.compiled import (
    family_integrand,
    log_given_effects,
    log_likelihood,
    residual_table,
)
from bayesdense.sizes.likelihoods import NODES_PER_SD
from bayesdense.sizes.parallel import over_draws
from bayesdense.sizes.terms import LEAST_SD, Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec

#: Nodes of the cdf per node of the rule that integrates a family's effect out. The latter are 1.2
#: of the least sd that the integrand can have apart, so that the cdf is linear between the former.
_REFINEMENT = 12


def draw_family_effects(
    posterior: xr.Dataset,
    spec: ModelSpec,
    data: JointObservations,
    families: Sequence[str],
    *,
    seed: int,
) -> xr.DataArray:
    """Draw the effects of families that a posterior does not know.

    One effect per draw and family from p(f | scores of the family's LLMs, parameters), which is
    Normal(f; 0, family_sd) prod_i m_i(f), where m_i(f) is the probability of LLM i's scores with
    its size integrated out. Inverted on a grid of f; the parameters are not updated.

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own; `family_effect` is not read.
    spec, data
        The model, and the LLMs with their scores.
    families
        Names of families of `data`.
    seed
        Of the generator.

    Returns
    -------
    xarray.DataArray
        (chain, draw, family), log density.
    """
    read = read_posterior(posterior, spec, data)
    order, first = families_of(data.llms)
    wanted = [data.llms.families.index(name) for name in families]
    members = [order[first[k] : first[k + 1]] for k in wanted]
    out = np.zeros((read.size, len(families)))
    uniform = np.random.default_rng(seed).random(out.shape)
    spacing = spec.options.quadrature_spacing
    for grid, rows in Grids(read).groups(read, np.arange(read.size), spacing, NODES_PER_SD):

        def one(k: int, grid: Grid = grid, rows: Ints = rows) -> None:
            draw = int(rows[k])
            out[draw] = _draw_one(read, draw, grid, members, uniform[draw])

        over_draws(len(rows), one)
    result = read.data_array(out, FAMILY, list(families))
    return result.assign_attrs(units=UNITS["family_effect"])


def _draw_one(
    posterior: Posterior, draw: int, grid: Grid, members: Sequence[Ints], uniform: Floats
) -> Floats:
    """Draw the effects of these families in one draw of the parameters."""
    terms = posterior.terms(draw, grid.nodes)
    if terms.family_sd == 0.0:
        return np.zeros(len(members))
    residual = residual_table(posterior.spec.residual, terms, grid)
    likelihood = log_likelihood(terms.mean, terms.var, posterior.cells)
    given = (likelihood, grid.nodes, grid.log_widths, residual, terms.location)
    found = np.empty(len(members))
    for k, those in enumerate(members):
        coarse, _, _ = family_integrand(*given, terms.family_sd, those, LEAST_SD)
        nodes = np.linspace(coarse[0], coarse[-1], _REFINEMENT * (len(coarse) - 1) + 1)
        log_density = log_given_effects(*given, those, nodes).sum(axis=0)
        log_density -= 0.5 * (nodes / terms.family_sd) ** 2
        density = np.exp(log_density - log_density.max())
        cdf = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
        found[k] = np.interp(uniform[k] * cdf[-1], cdf, nodes)
    return found
