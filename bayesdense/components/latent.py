"""Scores of LLMs with every effective size a parameter: the plain reference implementation."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesdense.components.density import Residual
from bayesdense.components.loss_law import LossLaw
from bayesdense.components.score_map import ScoreMap
from bayesdense.components.score_noise import ScoreNoise
from bayesdense.components.tensor import Tensor
from bayesdense.items import item_variance
from bayesdense.laws import chinchilla_loss, logistic_logit_score
from bayesdense.names import LLM, SCORE_OBS
from bayesdense.observations import JointObservations


def observe_scores(
    law: LossLaw,
    curve: ScoreMap,
    noise: ScoreNoise,
    residual: Residual,
    log_density: Tensor,
    data: JointObservations,
    *,
    reference_tokens: float,
) -> None:
    """Add every LLM's log effective size as a parameter, and the scores given it."""
    scores, j = data.scores, data.scores.benchmark_idx
    location = data.llms.log_params + log_density
    log_size = add_deviating("log_effective_params", location, residual, LLM)
    loss = chinchilla_loss(
        log_size[scores.llm_idx] - data.losses.log_params_centre,
        np.log(reference_tokens) - data.losses.log_tokens_centre,
        *(value[j] for value in law),
    )
    mean = logistic_logit_score(loss, *(value[j] for value in curve))
    mean = mean + noise.protocol_offset[j] * scores.other_protocol
    var = noise.variance(j, scores.n_reports) + item_variance(mean, scores.n_items)
    pm.Normal("score", mean, pt.sqrt(var), observed=scores.logit_score, dims=SCORE_OBS)


def add_deviating(
    name: str,
    location: Tensor,
    residual: Residual,
    dims: str,
    observed: np.ndarray | None = None,
) -> Tensor:
    """Add a variable that deviates from its location by the residual."""
    if residual.kind == "symmetric":
        return pm.Normal(name, location, residual.sd, dims=dims, observed=observed)
    if residual.kind == "student_t":
        return pm.StudentT(
            name, nu=residual.shape, mu=location, sigma=residual.sd, dims=dims, observed=observed
        )

    def logp(value: Tensor, mu: Tensor, sd: Tensor, one_sided_sd: Tensor) -> Tensor:
        # The parameters handed in, not the residual's own: those are other variables here.
        return Residual(residual.kind, sd, one_sided_sd).log_density(value - mu)

    def random(
        mu: np.ndarray,
        sd: np.ndarray,
        one_sided_sd: np.ndarray,
        rng: np.random.Generator,
        size: tuple[int, ...] | None = None,
    ) -> np.ndarray:
        return rng.normal(mu, sd, size) - rng.exponential(one_sided_sd, size or mu.shape)

    return pm.CustomDist(
        name,
        location,
        pt.broadcast_to(residual.sd, location.shape),
        pt.broadcast_to(residual.shape, location.shape),
        logp=logp,
        random=random,
        dims=dims,
        observed=observed,
    )
