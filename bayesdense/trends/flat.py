"""No growth at all: the null hypothesis."""

from bayesdense.laws import Array
from bayesdense.trends.base import Theta, Trend


def _eta(t: Array, theta: Theta) -> Array:
    """eta(t) = eta0."""
    return theta["trend_intercept"] + 0.0 * t


def _growth_rate(t: Array, theta: Theta) -> Array:
    """Zero at every time."""
    return 0.0 * (theta["trend_intercept"] + t)


FLAT = Trend(
    kind="flat",
    parameters=("trend_intercept",),
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
)
