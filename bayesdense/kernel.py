"""The marginal likelihood of all LLMs: every effective size integrated out on one grid.

Of LLM i, with x the log of its effective size, the model says

    p(y_i | x) = prod_j Normal(y_ij; mean_j(x), var_ij(x)),   x ~ location_i + residual,

and the marginal likelihood is the integral over x. Law and map are the same for every LLM, so
mean and variance are needed on one grid only; the residual enters as log weights of the nodes.
`log_marginal` is the plain reference, `marginal_sum` the compiled sum, with the gradient written by
hand, that a `pm.Model` uses; `joint_kernel.score_sum` is the same for the default residual, faster.
No PyTensor here.
"""

import math
from dataclasses import dataclass

import numpy as np

from bayesdense.arrays import Floats, Ints
from bayesdense.vector_math import compiled

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
#: Nodes over which the spacing grows e-fold outside the core.
_STRETCH = 2.0
#: Log units covered below and above the core. Towards N = 0 the loss grows without bound, so that
#: the score is soon at its floor, and more would overflow; above, N^-exponent dies slowly.
_REACH = (100.0, 300.0)
#: Log units by which the core exceeds the LLMs' own sizes: a density of exp(8) is far from any.
SIZE_MARGIN = 8.0
#: Terms this far (on the log) below the largest add less than 1e-16 of the sum.
_NEGLIGIBLE = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Nodes of the trapezoid rule in log parameters; the first and last carry the tails.

    Between `low` and `high` the nodes are `spacing` apart; outside, the spacing grows smoothly to
    hundreds of log units, where no score changes any more. A smooth change of variable keeps the
    trapezoid rule exponentially accurate (Trefethen and Weideman 2014).

    Attributes
    ----------
    nodes
        (G + 2,): the end nodes stand twice, once for the rule and once for the tail beyond.
    log_widths
        (G,): log of the rule's weights of the inner nodes.
    """

    nodes: Floats
    log_widths: Floats


def make_grid(low: float, high: float, spacing: float) -> Grid:
    """Lay a grid over log sizes that keeps `spacing` between `low` and `high`.

    The ends lie as far out whatever the spacing, so that the law is flat there.
    """
    n_core = math.ceil((high - low) / spacing)
    below, above = (math.ceil(_STRETCH * math.log(r / (_STRETCH * spacing))) for r in _REACH)
    u = np.arange(-below, n_core + above + 1, dtype=float)
    rise, fall = np.exp((u - n_core) / _STRETCH), np.exp(-u / _STRETCH)
    x = low + spacing * (u + _STRETCH * (rise - fall))
    widths = spacing * (1 + rise + fall)
    widths[[0, -1]] /= 2
    return Grid(np.concatenate([x[:1], x, x[-1:]]), np.log(widths))


def grid_over(log_params: Floats, spacing: float, margin: float = SIZE_MARGIN) -> Grid:
    """Lay a grid from `margin` below the smallest of these log sizes to `margin` above the largest.

    What LLMs' effective sizes can be, given their actual ones.
    """
    return make_grid(log_params.min() - margin, log_params.max() + margin, spacing)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Observed scores as the kernel reads them, sorted by LLM.

    Attributes
    ----------
    logit_score
        (C,): observed logits.
    benchmark_idx, noise_idx
        (C,): row of the means and of the variances. Cells of one benchmark, number of items and
        number of reports share a variance.
    first
        (n_llms + 1,): cells first[i]:first[i + 1] belong to LLM i.
    """

    logit_score: Floats
    benchmark_idx: Ints
    noise_idx: Ints
    first: Ints


def log_cells(mean: Floats, var: Floats, cells: Cells) -> Floats:
    """Log likelihood of each LLM's scores at each node.

    Parameters
    ----------
    mean
        (J, G) logit of the score of benchmark j (row) at each node.
    var
        (U, G) variance of a cell of kind u at each node.
    cells
        Observed scores of n LLMs.

    Returns
    -------
    ndarray
        (n, G), log densities of logits.
    """
    residual = cells.logit_score[:, None] - mean[cells.benchmark_idx]
    cell_var = var[cells.noise_idx]
    per_cell = -0.5 * residual**2 / cell_var - 0.5 * np.log(cell_var) - _HALF_LOG_2PI
    # Not as differences of a cumulated sum: one cell far off would cost all others their digits.
    out = np.zeros((len(cells.first) - 1, mean.shape[1]))
    np.add.at(out, np.repeat(np.arange(len(out)), np.diff(cells.first)), per_cell)
    return out


def log_marginal(mean: Floats, var: Floats, log_weight: Floats, cells: Cells) -> Floats:
    """Marginal log likelihood of each LLM: log sum_g exp(log_weight_ig + log p(y_i | x_g)).

    Parameters
    ----------
    mean, var, cells
        As in `log_cells`.
    log_weight
        (n, G): log of the residual's density at the node times the rule's weight; at the ends the
        log of the residual's probability beyond.

    Returns
    -------
    ndarray
        (n,), nats.
    """
    total = log_weight + log_cells(mean, var, cells)
    top = total.max(axis=1)
    return np.asarray(top + np.log(np.exp(total - top[:, None]).sum(axis=1)))


def marginal_sum_reference(
    mean: Floats,
    var: Floats,
    log_weight: Floats,
    logit_score: Floats,
    benchmark_idx: Ints,
    noise_idx: Ints,
    first: Ints,
) -> tuple[float, Floats, Floats, Floats]:
    """`marginal_sum` in NumPy, for comparison: the sum over LLMs and its gradient."""
    cells = Cells(logit_score, benchmark_idx, noise_idx, first)
    each = log_marginal(mean, var, log_weight, cells)
    share = np.exp(log_weight + log_cells(mean, var, cells) - each[:, None])
    of_cell = share[np.repeat(np.arange(len(each)), np.diff(first))]
    scaled = (logit_score[:, None] - mean[benchmark_idx]) / var[noise_idx]
    d_mean, d_var = np.zeros_like(mean), np.zeros_like(var)
    np.add.at(d_mean, benchmark_idx, of_cell * scaled)
    np.add.at(d_var, noise_idx, 0.5 * of_cell * (scaled**2 - 1 / var[noise_idx]))
    return float(each.sum()), d_mean, d_var, share


@compiled()
def marginal_sum(
    mean: Floats,
    var: Floats,
    log_weight: Floats,
    logit_score: Floats,
    benchmark_idx: Ints,
    noise_idx: Ints,
    first: Ints,
) -> tuple[float, Floats, Floats, Floats]:
    """Sum over LLMs of `log_marginal`, and its gradient in mean, var and log_weight.

    With p_ig the posterior weight of node g for LLM i and e = y - mean, the gradient is
    d/dlog_weight_ig = p_ig, d/dmean_jg = sum p_ig e / var, d/dvar_ug = sum p_ig (e^2/var - 1)/2var
    over the cells of benchmark j and of kind u.
    """
    n_nodes = mean.shape[1]
    n_llms = first.shape[0] - 1
    precision = 1.0 / var
    half_log_var = 0.5 * np.log(var)
    total = 0.0
    d_mean = np.zeros_like(mean)
    d_var = np.zeros_like(var)
    d_log_weight = np.zeros_like(log_weight)
    buffer = np.empty(n_nodes)
    for i in range(n_llms):
        for g in range(n_nodes):
            buffer[g] = log_weight[i, g]
        for c in range(first[i], first[i + 1]):
            j, u, y = benchmark_idx[c], noise_idx[c], logit_score[c]
            for g in range(n_nodes):
                e = y - mean[j, g]
                buffer[g] -= 0.5 * e * e * precision[u, g] + half_log_var[u, g]
        top = buffer[0]
        for g in range(1, n_nodes):
            top = max(top, buffer[g])
        low, high = 0, n_nodes
        while low < n_nodes and not buffer[low] > top - _NEGLIGIBLE:
            low += 1
        while high > low and not buffer[high - 1] > top - _NEGLIGIBLE:
            high -= 1
        mass = 0.0
        for g in range(low, high):
            buffer[g] = math.exp(buffer[g] - top)
            mass += buffer[g]
        total += top + math.log(mass) - _HALF_LOG_2PI * (first[i + 1] - first[i])
        for g in range(low, high):
            buffer[g] /= mass
            d_log_weight[i, g] = buffer[g]
        for c in range(first[i], first[i + 1]):
            j, u, y = benchmark_idx[c], noise_idx[c], logit_score[c]
            for g in range(low, high):
                scaled = (y - mean[j, g]) * precision[u, g]
                d_mean[j, g] += buffer[g] * scaled
                d_var[u, g] += 0.5 * buffer[g] * (scaled * scaled - precision[u, g])
    return total, d_mean, d_var, d_log_weight


def marginal_mixture_reference(
    mean: Floats,
    var: Floats,
    log_weight: Floats,
    logit_score: Floats,
    benchmark_idx: Ints,
    noise_idx: Ints,
    first: Ints,
) -> tuple[float, Floats, Floats, Floats]:
    """`marginal_mixture` in NumPy, for comparison."""
    cells = (logit_score, benchmark_idx, noise_idx, first)
    parts = [marginal_sum_reference(mean, var, weight, *cells) for weight in log_weight]
    totals = np.array([part[0] for part in parts])
    share = np.exp(totals - totals.max())
    value = float(totals.max() + np.log(share.mean()))
    share /= share.sum()
    d_mean, d_var = (np.tensordot(share, [part[k] for part in parts], 1) for k in (1, 2))
    return value, d_mean, d_var, share[:, None, None] * np.array([part[3] for part in parts])


@compiled()
def marginal_mixture(
    mean: Floats,
    var: Floats,
    log_weight: Floats,
    logit_score: Floats,
    benchmark_idx: Ints,
    noise_idx: Ints,
    first: Ints,
) -> tuple[float, Floats, Floats, Floats]:
    """Log of the mean over C parts of exp(T_c), T_c = `marginal_sum` under log_weight[c].

    `log_weight` is (C, n, G); the scores' likelihoods, the same in every part, are taken once. The
    gradient is the mean of the parts' with the weights w_c = exp(T_c) / sum exp(T).
    """
    n_parts, n_llms, n_nodes = log_weight.shape
    precision, half_log_var = 1.0 / var, 0.5 * np.log(var)
    log_p, each, totals = (
        np.zeros((n_llms, n_nodes)),
        np.empty((n_parts, n_llms)),
        np.zeros(n_parts),
    )
    for i in range(n_llms):
        for c in range(first[i], first[i + 1]):
            j, u, y = benchmark_idx[c], noise_idx[c], logit_score[c]
            for g in range(n_nodes):
                e = y - mean[j, g]
                log_p[i, g] -= 0.5 * e * e * precision[u, g] + half_log_var[u, g] + _HALF_LOG_2PI
        for k in range(n_parts):
            top = -np.inf
            for g in range(n_nodes):
                top = max(top, log_weight[k, i, g] + log_p[i, g])
            mass = 0.0
            for g in range(n_nodes):
                term = log_weight[k, i, g] + log_p[i, g] - top
                if term > -_NEGLIGIBLE:
                    mass += math.exp(term)
            each[k, i] = top + math.log(mass)
            totals[k] += each[k, i]
    top = totals.max()
    share = np.exp(totals - top)
    value = top + math.log(share.mean())
    share /= share.sum()
    d_mean, d_var, d_log_weight = np.zeros_like(mean), np.zeros_like(var), np.zeros_like(log_weight)
    of_node = np.empty(n_nodes)
    for i in range(n_llms):
        of_node[:] = 0.0
        for k in range(n_parts):
            for g in range(n_nodes):
                term = log_weight[k, i, g] + log_p[i, g] - each[k, i]
                if term > -_NEGLIGIBLE:
                    d_log_weight[k, i, g] = share[k] * math.exp(term)
                    of_node[g] += d_log_weight[k, i, g]
        for c in range(first[i], first[i + 1]):
            j, u, y = benchmark_idx[c], noise_idx[c], logit_score[c]
            for g in range(n_nodes):
                if of_node[g] > 0.0:
                    scaled = (y - mean[j, g]) * precision[u, g]
                    d_mean[j, g] += of_node[g] * scaled
                    d_var[u, g] += 0.5 * of_node[g] * (scaled * scaled - precision[u, g])
    return value, d_mean, d_var, d_log_weight
