"""No growth at all: the null hypothesis."""

from bayesdense.elementary import Array
from bayesdense.trends.base import Theta, Trend, TrendData


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0."""
    return theta["trend_intercept"] + 0.0 * t


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Zero at every time."""
    return 0.0 * abs(theta["trend_intercept"] + t)


FLAT = Trend(
    kind="flat",
    parameters=("trend_intercept",),
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
    formula="eta0",
    outside="the same level",
)
