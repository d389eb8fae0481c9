"""Loss law of the reference LLM and the noise of its runs."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from bayesdense.components.priors import variables
from bayesdense.kernel import Floats
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LOSS_OBS, RUN
from bayesdense.observations import LossData
from bayesdense.spec import KINDS, ModelSpec


class LossLaw(NamedTuple):
    """Parameters of the law, vectors over benchmarks."""

    loss_floor: TensorVariable
    param_coef: TensorVariable
    param_exponent: TensorVariable
    token_coef: TensorVariable
    token_exponent: TensorVariable

    def loss(self, log_params_ratio: object, log_tokens_ratio: object) -> TensorVariable:
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


def observe_losses(spec: ModelSpec, law: LossLaw, data: LossData) -> None:
    """Add the reference losses.

    log L = log law + size effect + run effect + noise. The run effect is one standard normal per
    run times a scale per benchmark; the effect of a size on a benchmark is shared by the runs of
    that size and integrated out: a cluster's residuals are Normal(0, diag(v) + s^2 1 1').
    """
    j = data.benchmark_idx
    mean = pt.log(
        chinchilla_loss(
            data.log_params_ratio, data.log_tokens_ratio, *(value[j] for value in law)
        )
    )
    if data.clustered:
        sds = variables(
            spec, "loss_noise", {}, "loss_noise_sd", "run_effect_sd", "size_effect_sd"
        )
        run_effect = pm.Normal("run_effect", dims=RUN)
        mean = mean + sds["run_effect_sd"][j] * run_effect[data.run_idx]
        cluster_benchmark = np.zeros(data.n_clusters, dtype=int)
        cluster_benchmark[data.cluster_idx] = j
        size_var = sds["size_effect_sd"][cluster_benchmark] ** 2
    else:
        sds = variables(spec, "loss_noise", {}, "loss_noise_sd")
        size_var = pt.zeros(data.n_clusters)
    pm.CustomDist(
        "loss",
        mean,
        sds["loss_noise_sd"][j] ** 2 + data.known_var,
        size_var,
        data.cluster_idx,
        logp=clustered_normal_logp,
        random=_clustered_normal_draw,
        signature="(n),(n),(k),(n)->(n)",
        observed=data.log_loss,
        dims=LOSS_OBS,
    )


def clustered_normal_logp(
    value: TensorVariable,
    mean: TensorVariable,
    var: TensorVariable,
    cluster_var: TensorVariable,
    cluster_idx: TensorVariable,
) -> TensorVariable:
    """Log density of residuals that share a normal effect of variance s^2 within each cluster.

    With weights w = 1/var, per cluster: S0 = sum w, S1 = sum w e, S2 = sum w e^2,
    log density = -(S2 - s^2 S1^2 / (1 + s^2 S0) + sum log var + log(1 + s^2 S0) + n log 2 pi) / 2
    (Sherman and Morrison).
    """
    error, weight = value - mean, 1 / var
    zeros = pt.zeros_like(cluster_var)
    s0 = pt.inc_subtensor(zeros[cluster_idx], weight)
    s1 = pt.inc_subtensor(zeros[cluster_idx], weight * error)
    shrink = 1 + cluster_var * s0
    quadratic = (weight * error**2).sum() - (cluster_var * s1**2 / shrink).sum()
    log_det = pt.log(var).sum() + pt.log(shrink).sum()
    return -0.5 * (quadratic + log_det + value.shape[0] * np.log(2 * np.pi))


def _clustered_normal_draw(
    mean: Floats,
    var: Floats,
    cluster_var: Floats,
    cluster_idx: Floats,
    rng: np.random.Generator,
    size: tuple[int, ...] | None = None,
) -> Floats:
    """Draw residuals with their clusters' effects."""
    shape = (*(size or ()), mean.shape[-1])
    effect = rng.normal(size=(*(size or ()), cluster_var.shape[-1])) * np.sqrt(cluster_var)
    noise = rng.normal(size=shape) * np.sqrt(var)
    return np.asarray(mean + effect[..., cluster_idx.astype(int)] + noise)
