"""Where an LLM's log density comes from: trend, family and residual."""

from collections.abc import Mapping
from typing import NamedTuple

import pymc as pm
import pytensor.tensor as pt

from bayesdense import residuals
from bayesdense.components.priors import random_variable, variables
from bayesdense.components.tensor import Tensor
from bayesdense.names import FAMILY
from bayesdense.observations import LLMData, trend_on
from bayesdense.spec import ModelSpec
from bayesdense.trends.base import element


class Residual(NamedTuple):
    """Deviation of an LLM from trend and family; `sd` is a vector over LLMs or a scalar."""

    kind: str
    sd: Tensor
    shape: Tensor | None  # degrees of freedom, or the one-sided sd

    def log_density(self, deviation: Tensor) -> Tensor:
        """Log density at a deviation of log density from its location."""
        return residuals.LOG_DENSITY[self.kind](deviation, self.sd, self.shape, pt)

    def log_tails(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of a deviation below -`below` and above `above`, both positive."""
        return residuals.log_tails(self.kind, below, above, self.sd, self.shape, pt)


def location(spec: ModelSpec, llms: LLMData) -> Tensor:
    """Add trend and family; return the log density expected of each LLM.

    Of a trend that is a mixture, a row for each of the mixture's values.
    """
    trend = trend_on(spec, llms)
    theta = variables(spec, "trend", {}, *trend.trend.parameters)
    if trend.trend.mixture is not None:
        theta[trend.trend.mixture.name] = trend.trend.mixture.values(trend.data)[:, None]
    expected = trend.eta(llms.years, theta, element)
    return expected + _family(spec, llms)


def _family(spec: ModelSpec, llms: LLMData) -> Tensor:
    """Effect of each LLM's family."""
    if spec.component("family").kind == "none":
        return pt.zeros(len(llms.names))
    sd = random_variable("family_sd", spec.prior("family", "family_sd"), {})
    return pm.Normal("family_effect", 0.0, sd, dims=FAMILY)[llms.family_idx]


def residual(spec: ModelSpec, llms: LLMData) -> Residual:
    """Add the residual's parameters."""
    found: Mapping[str, Tensor] = variables(spec, "residual", {}, *spec.used_priors("residual"))
    sd = residuals.sd_at(found, llms.years, scale_trend=spec.options.scale_trend)
    return Residual(spec.residual, sd, found.get(residuals.SHAPES.get(spec.residual, "")))
