"""Score map of the reference LLM: from loss to score, per benchmark."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesdense.arrays import Floats
from bayesdense.components.priors import variables
from bayesdense.components.tensor import Tensor
from bayesdense.items import count_terms, draw_score, item_variance, log_binomial
from bayesdense.names import COUNT_OBS, POINT_OBS
from bayesdense.observations import CalibrationData
from bayesdense.score_maps import logistic_logit_score
from bayesdense.spec import ModelSpec


class ScoreMap(NamedTuple):
    """Parameters of the map, vectors over benchmarks."""

    score_floor: Tensor
    score_ceiling: Tensor
    score_slope: Tensor
    loss_midpoint: Tensor

    def logit_score(self, loss: Tensor) -> Tensor:
        """Logit of the score of every benchmark (rows) at these losses (rows, columns)."""
        return logistic_logit_score(loss, *(value[:, None] for value in self))


def score_map(spec: ModelSpec, scales: Mapping[str, Floats]) -> ScoreMap:
    """Add the score map's parameters."""
    return ScoreMap(**variables(spec, "score_map", scales, *ScoreMap._fields))


def observe_calibration(
    spec: ModelSpec, curve: ScoreMap, data: CalibrationData, scales: Mapping[str, Floats]
) -> None:
    """Add the calibration points: logit of the score = map + noise of the benchmark and of items.

    Item noise is normal on the logit, and binomial where hits or misses are few (`items`).
    """
    noise_sd = variables(spec, "score_map", scales, "map_noise_sd")["map_noise_sd"]
    normal, counted = (
        np.flatnonzero(data.is_fit & is_it) for is_it in (~data.is_count, data.is_count)
    )
    j = data.benchmark_idx[normal]
    mean = logistic_logit_score(data.loss[normal], *(value[j] for value in curve))
    var = noise_sd[j] ** 2 + item_variance(mean, data.n_items[normal])
    pm.Normal(
        "loss_score",
        mean,
        pt.sqrt(var),
        observed=np.asarray(data.logit_score[normal]),
        dims=POINT_OBS,
    )
    if counted.size:
        j, n_items = data.benchmark_idx[counted], data.n_items[counted]
        pm.CustomDist(
            "loss_score_count",
            logistic_logit_score(data.loss[counted], *(value[j] for value in curve)),
            noise_sd[j],
            n_items,
            logp=_count_logp,
            random=_draw_count,
            observed=n_items * data.score[counted],
            dims=COUNT_OBS,
        )


def _count_logp(value: Tensor, mean: Tensor, sd: Tensor, n_items: Tensor) -> Tensor:
    """Log probability of counts whose logit is normal."""
    coefficient = log_binomial(n_items, value, pt.gammaln)
    return pt.logsumexp(count_terms(value, n_items, coefficient, mean, sd), axis=-1)


def _draw_count(
    mean: Floats,
    sd: Floats,
    n_items: Floats,
    rng: np.random.Generator,
    size: tuple[int, ...] | None = None,
) -> Floats:
    """Draw counts whose logit is normal."""
    shape = size or np.broadcast_shapes(np.shape(mean), np.shape(sd), np.shape(n_items))
    return np.asarray(n_items * draw_score(mean + sd * rng.normal(size=shape), n_items, rng))
