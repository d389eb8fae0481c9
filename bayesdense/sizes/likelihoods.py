"""Log likelihoods for comparison of models: never conditional on a family's or a run's effect."""

import math

import numba
import numpy as np
import xarray as xr

from bayesdense.kernel import Floats, Ints
from bayesdense.laws import chinchilla_loss, item_variance, logistic_logit_score
from bayesdense.names import POINT_OBS
from bayesdense.observations import JointObservations
from bayesdense.sizes.compiled import family_terms, log_likelihood, residual_table
from bayesdense.sizes.terms import LAW, LEAST_SD, MAP, Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec

LLM_OBS = "llm_obs"
FAMILY_OBS = "family_obs"
LOSS_CLUSTER = "loss_cluster"

_LOG_2PI = math.log(2 * math.pi)
#: Nodes per residual sd, where that asks for more than the model's grid has.
NODES_PER_SD = 1


def log_likelihoods(posterior: xr.Dataset, spec: ModelSpec, data: JointObservations) -> xr.Dataset:
    """Log likelihoods of LLMs, families, reference losses and calibration points.

    With m_i(f) = p(y_i | f, parameters) and M_k the integral of prod_i m_i(f) over a family's
    effect f ~ Normal(0, family_sd),

    - `llm` = log M_k - log M_(k without i), the exact leave-one-out density of a likelihood that
      does not factorise (Buerkner, Gabry and Vehtari 2021); alone in its family: log M_k;
    - `family` = log M_k; without families the sum of its LLMs';
    - `loss` = log p(losses of a size on a benchmark | all other losses), likewise exact, runs' and
      sizes' effects integrated out; where the noise is independent simply their density;
    - `loss_score`: log density of the logit of a calibration point.

    Integrals over sizes use the model's grid, finer where a draw's residual sd is below its
    spacing; integrals over f the trapezoid rule with a spacing of 1.2 times the least posterior sd
    that f can have (`compiled.family_effects`).

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own.
    spec, data
        The model and the observations that were fitted.

    Returns
    -------
    xarray.Dataset
        llm (chain, draw, llm_obs), family (chain, draw, family_obs),
        loss (chain, draw, loss_cluster), loss_score (chain, draw, point_obs); nats.
    """
    read = read_posterior(posterior, spec, data)
    llm, family = _scores(read)
    points = np.flatnonzero(data.calibration.is_fit)
    names = data.benchmarks.names
    point_labels = [f"{names[data.calibration.benchmark_idx[k]]} {k}" for k in points]
    return xr.Dataset(
        {
            "llm": read.data_array(llm, LLM_OBS, list(data.llms.names)),
            "family": read.data_array(family, FAMILY_OBS, list(data.llms.families)),
            "loss": read.data_array(_losses(read), LOSS_CLUSTER, _cluster_labels(data)),
            "loss_score": read.data_array(_points(read), POINT_OBS, point_labels),
        },
        attrs={"units": "nats"},
    )


def members_of(family_idx: Ints, n_families: int) -> tuple[Ints, Ints]:
    """LLMs sorted by family, and where each family starts."""
    counts = np.bincount(family_idx, minlength=n_families)
    first = np.concatenate([[0], np.cumsum(counts)])
    return np.argsort(family_idx, kind="stable").astype(np.int64), first.astype(np.int64)


def _scores(posterior: Posterior) -> tuple[Floats, Floats]:
    """Leave-one-out density of every LLM and density of every family, one row per draw."""
    llms, spacing = posterior.data.llms, posterior.spec.options.quadrature_spacing
    order, first = members_of(llms.family_idx, len(llms.families))
    grids = Grids(posterior)
    llm = np.empty((posterior.size, len(llms.names)))
    family = np.empty((posterior.size, len(llms.families)))
    for draw in range(posterior.size):
        grid = grids.resolving(posterior, draw, spacing, NODES_PER_SD)
        terms = posterior.terms(draw, grid.nodes)
        llm[draw], family[draw] = family_terms(
            log_likelihood(terms.mean, terms.var, posterior.cells),
            grid.nodes,
            grid.log_widths,
            residual_table(posterior.spec.residual, terms, grid),
            terms.location,
            terms.family_sd,
            order,
            first,
            LEAST_SD,
        )
    return llm, family


def _points(posterior: Posterior) -> Floats:
    """Log densities of the calibration points used, one row per draw."""
    points, values = posterior.data.calibration, posterior.values
    used = points.is_fit
    j = points.benchmark_idx[used]
    mean = logistic_logit_score(points.loss[used], *(values[name][:, j] for name in MAP))
    var = values["map_noise_sd"][:, j] ** 2 + item_variance(mean, points.n_items[used])
    error = points.logit_score[used] - mean
    return np.asarray(-0.5 * (error**2 / var + np.log(var) + _LOG_2PI))


def _losses(posterior: Posterior) -> Floats:
    """Leave-one-out density of the losses of every size and benchmark, one row per draw."""
    losses, values = posterior.data.losses, posterior.values
    j = losses.benchmark_idx
    order, first = members_of(losses.cluster_idx, losses.n_clusters)
    cluster_benchmark = j[order[first[:-1]]]
    law = chinchilla_loss(
        losses.log_params_ratio, losses.log_tokens_ratio, *(values[name][:, j] for name in LAW)
    )
    error = losses.log_loss - np.log(law)
    var = values["loss_noise_sd"][:, j] ** 2 + losses.known_var
    if losses.clustered:
        run_sd = values["run_effect_sd"][:, j]
        cluster_var = values["size_effect_sd"][:, cluster_benchmark] ** 2
    else:
        run_sd, cluster_var = np.zeros_like(error), np.zeros((len(error), losses.n_clusters))
    return _leave_clusters_out(
        error, var, run_sd, cluster_var, losses.run_idx, order, first, len(losses.runs)
    )


def _cluster_labels(data: JointObservations) -> list[str]:
    """Benchmark and parameters of every cluster."""
    losses = data.losses
    _, entry = np.unique(losses.cluster_idx, return_index=True)
    sizes = np.exp(losses.log_params_ratio[entry] + losses.log_params_centre)
    names = [data.benchmarks.names[j] for j in losses.benchmark_idx[entry]]
    return [f"{name} {size:.6g}" for name, size in zip(names, sizes, strict=True)]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _leave_clusters_out(
    error: Floats,
    var: Floats,
    run_sd: Floats,
    cluster_var: Floats,
    run_idx: Ints,
    order: Ints,
    first: Ints,
    n_runs: int,
) -> Floats:
    """Log p(e_k | all other errors) of every cluster k, one row per draw.

    The errors are Normal(0, A + U U'): A = diag(v) + s_k^2 1 1' in each cluster, U the loadings of
    the standard normal run effects. With Q the inverse covariance, e_k given the others has
    precision Q_kk and error Q_kk^-1 (Q e)_k. By Sherman and Morrison, and Woodbury,

        A^-1 = diag(w) - c w w',  w = 1/v,  c = s^2 / (1 + s^2 sum w),
        Q = A^-1 - B M^-1 B',     B = A^-1 U,  M = I + U' B.
    """
    n_draws, n_clusters = error.shape[0], first.shape[0] - 1
    out = np.empty((n_draws, n_clusters))
    for draw in range(n_draws):
        m = np.eye(n_runs)
        b_error = np.zeros(n_runs)
        for k in range(n_clusters):
            members = order[first[k] : first[k + 1]]
            inverse = _cluster_precision(var[draw, members], cluster_var[draw, k])
            loaded = inverse * run_sd[draw, members]  # columns: the runs of the members
            weighted = inverse @ error[draw, members]
            for a in range(members.shape[0]):
                load, run = run_sd[draw, members[a]], run_idx[members[a]]
                b_error[run] += load * weighted[a]
                for b in range(members.shape[0]):
                    m[run, run_idx[members[b]]] += load * loaded[a, b]
        m_inverse = np.linalg.inv(m)
        effect = m_inverse @ b_error
        for k in range(n_clusters):
            members = order[first[k] : first[k + 1]]
            n = members.shape[0]
            inverse = _cluster_precision(var[draw, members], cluster_var[draw, k])
            loaded = inverse * run_sd[draw, members]
            shared, known = np.empty((n, n)), np.empty(n)
            for a in range(n):
                known[a] = effect[run_idx[members[a]]]
                for b in range(n):
                    shared[a, b] = m_inverse[run_idx[members[a]], run_idx[members[b]]]
            precision = inverse - loaded @ shared @ loaded.T
            score = inverse @ error[draw, members] - loaded @ known
            root = np.linalg.cholesky(precision)
            quadratic = score @ np.linalg.solve(precision, score)
            half_log_det = np.log(np.diag(root)).sum()
            out[draw, k] = half_log_det - 0.5 * quadratic - 0.5 * n * _LOG_2PI
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cluster_precision(var: Floats, shared_var: float) -> Floats:
    """Inverse of diag(var) + shared_var 1 1'."""
    weight = 1 / var
    c = shared_var / (1 + shared_var * weight.sum())
    return np.diag(weight) - c * np.outer(weight, weight)
