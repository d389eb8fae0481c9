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
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LLM, SCORE_OBS
from bayesdense.observations import JointObservations
from bayesdense.prior_draws import draw_residuals
from bayesdense.score_maps import logistic_logit_score


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
    """Add a variable that deviates from its location by the residual.

    A location with several rows is a mixture: one of them, equally likely, is that of all entries.
    """
    if location.ndim == 2:
        return _add_mixture(name, location, residual, dims, observed)
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


def _add_mixture(
    name: str, location: Tensor, residual: Residual, dims: str, observed: np.ndarray | None
) -> Tensor:
    """Add a vector with the mean of the densities about each row of its location."""
    n_llms = location.shape[1]
    shapes = [pt.broadcast_to(residual.sd, (n_llms,))]
    if residual.shape is not None:
        shapes.append(pt.broadcast_to(residual.shape, (n_llms,)))

    def logp(value: Tensor, mu: Tensor, *scales: Tensor) -> Tensor:
        # The parameters handed in, not the residual's own: those are other variables here.
        own = Residual(residual.kind, scales[0], scales[1] if len(scales) > 1 else None)
        return pt.logsumexp(own.log_density(value - mu).sum(axis=1)) - pt.log(mu.shape[0])

    def random(
        mu: np.ndarray,
        *scales: np.ndarray,
        rng: np.random.Generator,
        size: tuple[int, ...] | None = None,
    ) -> np.ndarray:
        if size:
            raise NotImplementedError("draw one vector at a time")
        row = mu[rng.integers(len(mu))]
        shape = scales[1] if len(scales) > 1 else None
        return np.asarray(row + draw_residuals(residual.kind, scales[0], shape, row.shape, rng))

    return pm.CustomDist(
        name,
        location,
        *shapes,
        logp=logp,
        random=random,
        signature=f"(p,n){',(n)' * len(shapes)}->(n)",
        dims=dims,
        observed=observed,
    )
