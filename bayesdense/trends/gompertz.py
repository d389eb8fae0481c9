"""Log density that approaches a limit: growth falls by the same share every year.

References
----------
Gompertz 1825; Meade and Islam 2006, International Journal of Forecasting 22:519.
"""

import numpy as np

from bayesdense.elementary import Array
from bayesdense.trends.base import Theta, Trend, TrendData


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + g (1 - exp(-k t)) / k: log K - b exp(-k t), with log K = eta0 + g / k."""
    decay = theta["growth_decay"] + 1e-12
    return theta["trend_intercept"] - theta["growth_rate"] * np.expm1(-decay * t) / decay


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g exp(-k t); g at the time origin."""
    return theta["growth_rate"] * np.exp(-(theta["growth_decay"] + 1e-12) * t)


GOMPERTZ = Trend(
    kind="gompertz",
    parameters=("trend_intercept", "growth_rate", "growth_decay"),
    eta=_eta,
    growth_rate=_growth_rate,
    positive=("growth_decay",),
    formula="eta0 + g (1 - exp(-k t))/k",
    outside="log density approaches eta0 + g/k",
)
