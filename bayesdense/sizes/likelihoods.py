"""Log likelihoods for comparison of models: never conditional on a family's or a run's effect."""

import math

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import gammaln, logsumexp

from bayesdense.arrays import Floats, Ints
from bayesdense.items import count_terms, item_variance, log_binomial
from bayesdense.kernel import Grid
from bayesdense.laws import chinchilla_loss
from bayesdense.names import CHAIN, DRAW, POINT_OBS
from bayesdense.observations import JointObservations, LossData, ReportData
from bayesdense.score_maps import logistic_logit_score
from bayesdense.sizes import normal
from bayesdense.sizes.blocks import block_of, cells_of, families_of, members_of, rule_of
from bayesdense.sizes.compiled import family_terms, log_likelihood, residual_table
from bayesdense.sizes.parallel import over_blocks, over_draws
from bayesdense.sizes.terms import LAW, LEAST_SD, MAP, Grids, Posterior, read_posterior
from bayesdense.spec import ModelSpec

LLM_OBS = "llm_obs"
FAMILY_OBS = "family_obs"
LOSS_CLUSTER = "loss_cluster"
REPORTS = "report_benchmark"

#: Draws whose matrices are held at once.
_BLOCK = 250
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
    - `losses` = log p(all reference losses): those of sizes are no factors of it, as runs are
      shared;
    - `loss_score`: log density of the logit of a calibration point, log probability of its count
      where it is read as one;
    - `score_reports`, with replicated reports: log density of their sum of squares.

    `family`, `losses`, `loss_score` and `score_reports` multiply to the likelihood of all data.

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
        loss (chain, draw, loss_cluster), losses (chain, draw), loss_score (chain, draw, point_obs),
        score_reports (chain, draw, report_benchmark); nats.
    """
    return log_likelihoods_and_slopes(posterior, spec, data)[0]


def log_likelihoods_and_slopes(
    posterior: xr.Dataset,
    spec: ModelSpec,
    data: JointObservations,
    covariate: Floats | None = None,
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """`log_likelihoods`, and derivatives of the sum of `family` in a slope on a covariate, at 0.

    With the slope s every LLM's log density is expected s times its covariate higher.

    Returns
    -------
    tuple
        The log likelihoods; `score` and `information` (chain, draw), the first derivative and minus
        the second, which under a normal residual come from the same pass: else None, as without a
        covariate.
    """
    read = read_posterior(posterior, spec, data)
    slopes = None
    if spec.residual == "symmetric":
        llm, family, *derivatives = _normal_scores(read, covariate)
        if covariate is not None:
            slopes = xr.Dataset(
                {
                    name: ((CHAIN, DRAW), values.reshape(read.n_chains, read.n_draws))
                    for name, values in zip(("score", "information"), derivatives, strict=True)
                },
                # Labels, as who reads these beside other variables has to find the same draws
                coords={dim: posterior[dim].values for dim in (CHAIN, DRAW)},
            )
    else:
        llm, family = _scores(read)
    return _as_dataset(read, llm, family), slopes


def _as_dataset(read: Posterior, llm: Floats, family: Floats) -> xr.Dataset:
    """All log likelihoods with their labels, given those of the scores."""
    data = read.data
    points = np.flatnonzero(data.calibration.is_fit)
    names = data.benchmarks.names
    point_labels = [f"{names[data.calibration.benchmark_idx[k]]} {k}" for k in points]
    apart, together = _losses(read)
    found = {
        "llm": read.data_array(llm, LLM_OBS, list(data.llms.names)),
        "family": read.data_array(family, FAMILY_OBS, list(data.llms.families)),
        "loss": read.data_array(apart, LOSS_CLUSTER, _cluster_labels(data)),
        "losses": ((CHAIN, DRAW), together.reshape(read.n_chains, read.n_draws)),
        "loss_score": read.data_array(_points(read), POINT_OBS, point_labels),
    }
    if data.reports is not None:
        benchmarks = [names[k] for k in data.reports.benchmark_idx]
        found["score_reports"] = read.data_array(_reports(read, data.reports), REPORTS, benchmarks)
    return xr.Dataset(found, attrs={"units": "nats"})


def family_log_likelihood(
    posterior: xr.Dataset, spec: ModelSpec, data: JointObservations
) -> xr.DataArray:
    """`family` of `log_likelihoods` alone, (chain, draw, family_obs)."""
    read = read_posterior(posterior, spec, data)
    scores = _normal_scores(read) if spec.residual == "symmetric" else _scores(read)
    return read.data_array(scores[1], FAMILY_OBS, list(data.llms.families))


def _scores(posterior: Posterior) -> tuple[Floats, Floats]:
    """Leave-one-out density of every LLM and density of every family, under any residual."""
    llms, spacing = posterior.data.llms, posterior.spec.options.quadrature_spacing
    order, first = members_of(llms.family_idx, len(llms.families))
    grids = Grids(posterior)
    llm = np.empty((posterior.size, len(llms.names)))
    family = np.empty((posterior.size, len(llms.families)))

    def one(draw: int) -> None:
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

    over_draws(posterior.size, one)
    return llm, family


def _normal_scores(
    posterior: Posterior, covariate: Floats | None = None
) -> tuple[Floats, Floats, Floats, Floats]:
    """`normal.family_terms` of all draws, one row each; slopes of 0 without a covariate."""
    llms, spacing = posterior.data.llms, posterior.spec.options.quadrature_spacing
    cells, families = cells_of(posterior), families_of(llms)
    # Of one layout whoever asks: numba compiles for every layout anew
    x = np.zeros(len(llms.names)) if covariate is None else np.ascontiguousarray(covariate)
    out = (
        np.empty((posterior.size, len(llms.names))),
        np.empty((posterior.size, len(llms.families))),
        np.empty(posterior.size),
        np.empty(posterior.size),
    )
    every, grids = np.arange(posterior.size), Grids(posterior)
    for grid, draws in grids.groups(posterior, every, spacing, NODES_PER_SD):

        def some(draws: Ints, grid: Grid = grid) -> None:
            block = block_of(posterior, draws)
            laws = normal.laws_on(grid.nodes, block, cells)
            found = normal.family_terms(laws, block, cells, families, rule_of(grid), x)
            for whole, part in zip(out, found, strict=True):
                whole[draws] = part

        over_blocks(draws, some)
    return out


def _points(posterior: Posterior) -> Floats:
    """Log densities or probabilities of the calibration points used, one row per draw."""
    points, values = posterior.data.calibration, posterior.values
    j = points.benchmark_idx
    mean = logistic_logit_score(points.loss, *(values[name][:, j] for name in MAP))
    sd = values["map_noise_sd"][:, j]
    var = sd**2 + item_variance(mean, points.n_items)
    error = points.logit_score - mean
    out = np.asarray(-0.5 * (error**2 / var + np.log(var) + _LOG_2PI))
    few, n_items = points.is_count, points.n_items[points.is_count]
    counts = n_items * points.score[few]
    coefficient = log_binomial(n_items, counts, gammaln)
    terms = count_terms(counts, n_items, coefficient, mean[:, few], sd[:, few])
    out[:, few] = logsumexp(terms, axis=-1)
    return out[:, points.is_fit]


def _reports(posterior: Posterior, reports: ReportData) -> Floats:
    """Log densities of the reports' sums of squares, one row per draw."""
    var = posterior.values["protocol_sd"][:, reports.benchmark_idx] ** 2
    density = stats.gamma.logpdf(reports.sum_of_squares, reports.degrees / 2, scale=2 * var)
    return np.asarray(density)


def _losses(posterior: Posterior) -> tuple[Floats, Floats]:
    """Leave-one-out density of the losses of every size and benchmark, and density of all.

    One row per draw, and one number.
    """
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
    apart, together = np.empty((len(error), losses.n_clusters)), np.empty(len(error))

    def some(draws: Ints) -> None:
        apart[draws], together[draws] = _leave_clusters_out(
            error[draws], var[draws], run_sd[draws], cluster_var[draws], losses, order, first
        )

    over_blocks(np.arange(len(error)), some, at_once=_BLOCK)
    return apart, together


def _cluster_labels(data: JointObservations) -> list[str]:
    """Benchmark and parameters of every cluster."""
    losses = data.losses
    _, entry = np.unique(losses.cluster_idx, return_index=True)
    sizes = np.exp(losses.log_params_ratio[entry] + losses.log_params_centre)
    names = [data.benchmarks.names[j] for j in losses.benchmark_idx[entry]]
    return [f"{name} {size:.3g} parameters" for name, size in zip(names, sizes, strict=True)]


def _leave_clusters_out(
    error: Floats,
    var: Floats,
    run_sd: Floats,
    cluster_var: Floats,
    losses: LossData,
    order: Ints,
    first: Ints,
) -> tuple[Floats, Floats]:
    """Log p(e_k | all other errors) of every cluster k, one row per draw, and log p(e).

    The errors are Normal(0, A + U U'): A = diag(v) + s_k^2 1 1' in each cluster, U the loadings of
    the standard normal run effects. With Q the inverse covariance, e_k given the others has
    precision Q_kk and error Q_kk^-1 (Q e)_k. By Sherman and Morrison, and Woodbury,

        A^-1 = diag(w) - c w w',  w = 1/v,  c = s^2 / (1 + s^2 sum w),
        Q = A^-1 - B M^-1 B',     B = A^-1 U,  M = I + U' B,  |A + U U'| = |A| |M|.
    """
    clusters = [order[first[k] : first[k + 1]] for k in range(len(first) - 1)]
    n_runs, parts = len(losses.runs), []
    together = np.full(len(error), -0.5 * _LOG_2PI * error.shape[1])
    inner = np.tile(np.eye(n_runs), (len(error), 1, 1))
    known = np.zeros((len(error), n_runs, 1))
    for k, members in enumerate(clusters):
        inverse = _cluster_precision(var[:, members], cluster_var[:, k])
        runs, which = np.unique(losses.run_idx[members], return_inverse=True)
        loading = run_sd[:, members, None] * np.eye(len(runs))[which]  # 0 for all other runs
        loaded, e = inverse @ loading, error[:, members, None]
        inner[:, runs[:, None], runs] += loading.mT @ loaded
        known[:, runs] += loaded.mT @ e
        together += 0.5 * (np.linalg.slogdet(inverse).logabsdet - _quadratic(e, inverse @ e))
        parts.append((runs, inverse, loaded, e))
    inner_inverse = np.linalg.inv(inner)
    effect = inner_inverse @ known
    together += 0.5 * (_quadratic(known, effect) - np.linalg.slogdet(inner).logabsdet)
    out = np.empty((len(error), len(clusters)))
    for k, (runs, inverse, loaded, e) in enumerate(parts):
        precision = inverse - loaded @ inner_inverse[:, runs[:, None], runs] @ loaded.mT
        score = inverse @ e - loaded @ effect[:, runs]
        quadratic = _quadratic(score, np.linalg.solve(precision, score))
        log_det = np.linalg.slogdet(precision).logabsdet
        out[:, k] = 0.5 * (log_det - quadratic - _LOG_2PI * e.shape[1])
    return out, together


def _quadratic(left: Floats, right: Floats) -> Floats:
    """Inner product of two columns, draw by draw."""
    return np.asarray((left * right).sum(axis=(1, 2)))


def _cluster_precision(var: Floats, shared_var: Floats) -> Floats:
    """Inverse of diag(var) + shared_var 1 1', one matrix per draw."""
    weight = 1 / var
    c = shared_var / (1 + shared_var * weight.sum(axis=1))
    outer = weight[:, :, None] * weight[:, None, :]
    return np.asarray(weight[:, :, None] * np.eye(var.shape[1]) - c[:, None, None] * outer)
