"""Leave-one-LLM-out probability integral transforms of scores."""

import math

import numba
import numpy as np
import xarray as xr
from arviz_stats.base.array import array_stats

from bayesdense.arrays import Floats, Ints
from bayesdense.names import CHAIN, DRAW, SCORE_OBS
from bayesdense.observations import JointObservations
from bayesdense.sizes.compiled import log_likelihood, residual_table, size_weights
from bayesdense.sizes.likelihoods import LLM_OBS, NODES_PER_SD, members_of
from bayesdense.sizes.terms import LEAST_SD, Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec

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
    llms, cells = posterior.data.llms, posterior.cells
    order, first = members_of(llms.family_idx, len(llms.families))
    grids, spacing = Grids(posterior), posterior.spec.options.quadrature_spacing
    out = np.empty((len(draws), len(cells.logit_score)))
    for row, draw in zip(out, draws, strict=True):
        grid = grids.resolving(posterior, draw, spacing, NODES_PER_SD)
        terms = posterior.terms(draw, grid.nodes)
        size_weight = size_weights(
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
        row[:] = _mixture_cdf(
            size_weight,
            terms.mean,
            np.sqrt(terms.var),
            cells.logit_score,
            cells.benchmark_idx,
            cells.noise_idx,
            cells.first,
        )
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
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
