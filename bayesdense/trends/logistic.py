"""Log density that levels off as a logistic curve does: growth at first constant, then none.

References
----------
Verhulst 1838; Meyer, Yung and Ausubel 1999, Technological Forecasting and Social Change 61:247.
"""

import numpy as np

from bayesdense.elementary import Array, expit
from bayesdense.trends.base import Theta, Trend, TrendData


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + sign(g) (s(-m) - s(t - m)), s(x) = log(1 + exp(-|g| x)).

    For g > 0 density is K / (1 + exp(-g (t - m))): growth g at first, half of it at the midpoint
    m = last release + lag, none in the end. For g < 0 its inverse is.
    """
    g, midpoint = theta["growth_rate"], data.last + theta["saturation_lag"]
    return theta["trend_intercept"] + _risen(g, t - midpoint) - _risen(g, -midpoint)


def _risen(g: Array, x: Array) -> Array:
    """-sign(g) log(1 + exp(-|g| x)) = g x / 2 - sign(g) log(2 cosh(g x / 2)), but for a constant.

    The sign is smoothed within 1e-10 of 0, where the rest is 0, so that a slope exists there.
    """
    y = abs(0.5 * g * x)
    log_cosh = y + np.log1p(0.5 * np.expm1(-2.0 * y))
    return 0.5 * g * x - g / (g * g + 1e-20) ** 0.5 * log_cosh


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g / (1 + exp(|g| (t - m)))."""
    g = theta["growth_rate"]
    return g * expit(-abs(g) * (t - data.last - theta["saturation_lag"]))


LOGISTIC = Trend(
    kind="logistic",
    parameters=("trend_intercept", "growth_rate", "saturation_lag"),
    eta=_eta,
    growth_rate=_growth_rate,
    formula="log of K/(1 + exp(-g (t - m))), m = last release + lag",
    outside="density approaches its limit K",
)
