"""Loss law of the reference LLM and the noise of its runs."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesdense.arrays import Floats
from bayesdense.components.priors import variables
from bayesdense.components.tensor import Tensor
from bayesdense.kinds import KINDS
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LOSS_OBS
from bayesdense.observations import LossData
from bayesdense.spec import ModelSpec


class LossLaw(NamedTuple):
    """Parameters of the law, vectors over benchmarks."""

    loss_floor: Tensor
    param_coef: Tensor
    param_exponent: Tensor
    token_coef: Tensor
    token_exponent: Tensor

    def loss(self, log_params_ratio: object, log_tokens_ratio: object) -> Tensor:
        """Loss of every benchmark (rows) at these sizes (columns)."""
        return chinchilla_loss(
            log_params_ratio, log_tokens_ratio, *(value[:, None] for value in self)
        )


def loss_law(spec: ModelSpec, scales: Mapping[str, Floats]) -> LossLaw:
    """Add the loss law's parameters; `additive` has no floor."""
    names = KINDS["loss_law"][spec.component("loss_law").kind]
    found = variables(spec, "loss_law", scales, *names)
    found.setdefault("loss_floor", pt.zeros_like(found["param_coef"]))
    return LossLaw(**found)


def observe_losses(
    spec: ModelSpec, law: LossLaw, data: LossData, scales: Mapping[str, Floats]
) -> None:
    """Add the reference losses: log L = log law + size effect + run effect + noise.

    A run's effect is one standard normal times a scale per benchmark, so that its losses are
    correlated over benchmarks; the effect of a size on a benchmark is shared by the runs of that
    size. Both are integrated out.
    """
    j = data.benchmark_idx
    mean = pt.log(
        chinchilla_loss(data.log_params_ratio, data.log_tokens_ratio, *(value[j] for value in law))
    )
    zeros = pt.zeros(len(data.log_loss))
    run_sd, cluster_var = zeros, pt.zeros(data.n_clusters)
    if data.clustered:
        sds = variables(spec, "loss_noise", scales, *KINDS["loss_noise"]["clustered"])
        cluster_benchmark = np.zeros(data.n_clusters, dtype=int)
        cluster_benchmark[data.cluster_idx] = j
        cluster_var = sds["size_effect_sd"][cluster_benchmark] ** 2
        run_sd = sds["run_effect_sd"][j]
    else:
        sds = variables(spec, "loss_noise", scales, "loss_noise_sd")
    pm.CustomDist(
        "loss",
        mean,
        sds["loss_noise_sd"][j] ** 2 + data.known_var,
        run_sd,
        cluster_var,
        data.run_idx,
        data.cluster_idx,
        logp=clustered_normal_logp,
        random=clustered_normal_draw,
        signature="(n),(n),(n),(k),(n),(n)->(n)",
        observed=data.log_loss,
        dims=LOSS_OBS,
    )


def clustered_normal_logp(
    value: Tensor,
    mean: Tensor,
    var: Tensor,
    run_sd: Tensor,
    cluster_var: Tensor,
    run_idx: Tensor,
    cluster_idx: Tensor,
) -> Tensor:
    """Log density of residuals e with effects of runs and of clusters integrated out.

    Given the run effects, a cluster k of residuals is Normal(0, diag(v) + s_k^2 1 1'). With
    w = 1/v, S0 = sum w, S1 = sum w e per cluster and c = s^2 / (1 + s^2 S0) (Sherman, Morrison),

        -2 log p(e | 0) = sum w e^2 - sum c S1^2 + sum log v + sum log(1 + s^2 S0) + n log 2 pi.

    The run effects r are standard normal with loadings l (`run_sd`), which adds (Woodbury)

        log p(e) = log p(e | 0) + b' M^-1 b / 2 - log |M| / 2,
        b_r = sum over the run's entries of l w (e - c S1),
        M = I + diag(sum l^2 w) - G G',  G_rk = l w sqrt(c).
    """
    error, weight = value - mean, 1 / var
    per_cluster = pt.zeros_like(cluster_var)
    s0 = pt.inc_subtensor(per_cluster[cluster_idx], weight)
    s1 = pt.inc_subtensor(per_cluster[cluster_idx], weight * error)
    shrink = 1 + cluster_var * s0
    c = cluster_var / shrink
    quadratic = (weight * error**2).sum() - (c * s1**2).sum()
    log_det = pt.log(var).sum() + pt.log(shrink).sum()

    n_runs = run_idx.max() + 1
    per_run = pt.zeros(n_runs)
    loading = run_sd * weight
    b = pt.inc_subtensor(per_run[run_idx], loading * (error - (c * s1)[cluster_idx]))
    # sqrt has no derivative at c = 0, which a size effect of zero makes
    g = pt.inc_subtensor(
        pt.zeros((n_runs, cluster_var.shape[0]))[run_idx, cluster_idx],
        loading * pt.sqrt(pt.maximum(c[cluster_idx], 1e-300)),
    )
    diagonal = 1 + pt.inc_subtensor(per_run[run_idx], run_sd * loading)
    cholesky = pt.linalg.cholesky(pt.diag(diagonal) - g @ g.T)
    solved = pt.linalg.solve_triangular(cholesky, b, lower=True, b_ndim=1)
    quadratic = quadratic - (solved**2).sum()
    log_det = log_det + 2 * pt.log(pt.diag(cholesky)).sum()
    return -0.5 * (quadratic + log_det + value.shape[0] * np.log(2 * np.pi))


def clustered_normal_draw(
    mean: Floats,
    var: Floats,
    run_sd: Floats,
    cluster_var: Floats,
    run_idx: Floats,
    cluster_idx: Floats,
    rng: np.random.Generator,
    size: tuple[int, ...] | None = None,
) -> Floats:
    """Draw residuals with their runs' and clusters' effects."""
    shape = size or ()
    of_cluster = rng.normal(size=(*shape, cluster_var.shape[-1])) * np.sqrt(cluster_var)
    of_run = rng.normal(size=(*shape, int(run_idx.max()) + 1))
    noise = rng.normal(size=(*shape, mean.shape[-1])) * np.sqrt(var)
    run_effect = run_sd * of_run[..., run_idx.astype(int)]
    return np.asarray(mean + run_effect + of_cluster[..., cluster_idx.astype(int)] + noise)
