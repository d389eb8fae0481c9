"""Leave-one-LLM-out probability integral transforms of scores."""

import math

import numpy as np
import xarray as xr
from arviz_stats.base.array import array_stats

from bayesdense.arrays import Floats, Ints
from bayesdense.kernel import Grid
from bayesdense.names import CHAIN, DRAW, SCORE_OBS
from bayesdense.observations import JointObservations
from bayesdense.sizes import normal
from bayesdense.sizes.blocks import block_of, cells_of, families_of, rule_of
from bayesdense.sizes.compiled import log_likelihood, residual_table, size_weights
from bayesdense.sizes.likelihoods import LLM_OBS, NODES_PER_SD
from bayesdense.sizes.parallel import over_blocks
from bayesdense.sizes.terms import LEAST_SD, Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec
from bayesdense.vector_math import compiled

#: Nodes of less probability are left out of a cdf.
_LEAST_WEIGHT = 1e-9


def loo_pit(
    posterior: xr.Dataset,
    spec: ModelSpec,
    data: JointObservations,
    log_likelihood_llm: xr.DataArray,
    *,
    seed: int,
    n_draws: int = 500,
) -> xr.DataArray:
    """Find where each score lies in its prediction from all other LLMs.

    Per draw the prediction of y_ij is Normal(mean_j(x), var_ij(x)) over x ~ location_i + f +
    residual and f ~ p(f | the family's other LLMs, parameters), both integrated by quadrature.
    Draws are weighted by 1 / p(y_i | other LLMs), Pareto-smoothed over all draws; about `n_draws`
    of them, at equal distances from a random start, then carry the prediction.

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own.
    spec, data
        The model and the observations that were fitted.
    log_likelihood_llm
        `llm` of `log_likelihoods`.
    seed
        Of the random start.
    n_draws
        Draws to predict from.

    Returns
    -------
    xarray.DataArray
        (score_obs,), probabilities; uniform where the model predicts as it says. `pareto_k` of each
        score's LLM is a coordinate: above .7 the transform is unreliable.
    """
    read = read_posterior(posterior, spec, data)
    by_llm = log_likelihood_llm.transpose(LLM_OBS, CHAIN, DRAW).to_numpy().reshape(-1, read.size)
    log_weight, pareto_k = array_stats.psislw(by_llm, axis=-1)  # of 1 / exp(its argument)
    draws = read.thinned(n_draws, np.random.default_rng(seed).random())
    log_weight = log_weight[:, draws] - log_weight[:, draws].max(axis=1, keepdims=True)
    weight = np.exp(log_weight) / np.exp(log_weight).sum(axis=1, keepdims=True)
    of_cell = data.scores.llm_idx
    pit = (weight[of_cell] * _cdf(read, draws).T).sum(axis=1)
    labels = [
        f"{data.llms.names[i]} {data.benchmarks.names[j]}"
        for i, j in zip(of_cell, data.scores.benchmark_idx, strict=True)
    ]
    coords = {SCORE_OBS: labels, "pareto_k": (SCORE_OBS, np.asarray(pareto_k)[of_cell])}
    return xr.DataArray(np.clip(pit, 0.0, 1.0), dims=SCORE_OBS, coords=coords)


def _cdf(posterior: Posterior, draws: Ints) -> Floats:
    """Predictive cdf of every score at its value, given the other LLMs; one row per draw."""
    cells, families = cells_of(posterior), families_of(posterior.data.llms)
    spacing, out = posterior.spec.options.quadrature_spacing, np.empty((len(draws), len(cells[0])))
    for grid, rows in Grids(posterior).groups(posterior, draws, spacing, NODES_PER_SD):

        def some(rows: Ints, grid: Grid = grid) -> None:
            if posterior.spec.residual != "symmetric":
                out[rows] = [_cdf_of_draw(posterior, int(draw), grid) for draw in draws[rows]]
                return
            block = block_of(posterior, draws[rows])
            laws = normal.laws_on(grid.nodes, block, cells)
            out[rows] = normal.left_out_cdf(
                laws, block, cells, families, rule_of(grid), _LEAST_WEIGHT
            )

        over_blocks(rows, some)
    return out


def _cdf_of_draw(posterior: Posterior, draw: int, grid: Grid) -> Floats:
    """Predictive cdf of every score in one draw, under any residual."""
    cells, terms = posterior.cells, posterior.terms(draw, grid.nodes)
    order, first = families_of(posterior.data.llms)
    weight = size_weights(
        log_likelihood(terms.mean, terms.var, cells),
        grid.nodes,
        grid.log_widths,
        residual_table(posterior.spec.residual, terms, grid),
        terms.location,
        terms.family_sd,
        order,
        first,
        LEAST_SD,
    )
    return np.asarray(
        _mixture_cdf(
            weight,
            terms.mean,
            np.sqrt(terms.var),
            cells.logit_score,
            cells.benchmark_idx,
            cells.noise_idx,
            cells.first,
        )
    )


@compiled()
def _mixture_cdf(
    weight: Floats, mean: Floats, sd: Floats, y: Floats, row: Ints, kind: Ints, first: Ints
) -> Floats:
    """Cdf at every y of the mixture over nodes of Normal(mean, sd)."""
    out = np.zeros(len(y))
    for i in range(len(first) - 1):
        for c in range(first[i], first[i + 1]):
            for g in range(weight.shape[1]):
                if weight[i, g] > _LEAST_WEIGHT:
                    z = (y[c] - mean[row[c], g]) / sd[kind[c], g]
                    out[c] += weight[i, g] * 0.5 * math.erfc(-z / math.sqrt(2.0))
    return out
