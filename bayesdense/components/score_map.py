"""Score map of the reference LLM: from loss to score, per benchmark."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesdense.components.priors import variables
from bayesdense.components.tensor import Tensor
from bayesdense.kernel import Floats
from bayesdense.laws import item_variance, logistic_logit_score
from bayesdense.names import POINT_OBS
from bayesdense.observations import CalibrationData
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


def observe_calibration(spec: ModelSpec, curve: ScoreMap, data: CalibrationData) -> None:
    """Add the calibration points: logit score ~ Normal(map, map_noise_sd^2 + item noise)."""
    noise_sd = variables(spec, "score_map", {}, "map_noise_sd")["map_noise_sd"]
    used = data.is_fit
    j = data.benchmark_idx[used]
    mean = logistic_logit_score(data.loss[used], *(value[j] for value in curve))
    var = noise_sd[j] ** 2 + item_variance(mean, data.n_items[used])
    pm.Normal(
        "loss_score",
        mean,
        pt.sqrt(var),
        observed=np.asarray(data.logit_score[used]),
        dims=POINT_OBS,
    )
