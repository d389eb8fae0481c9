"""Exponential growth of density: the paper's law (Xiao et al. 2025, eq. 5)."""

from bayesdense.elementary import Array
from bayesdense.trends.base import Theta, Trend, TrendData


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + g t."""
    return theta["trend_intercept"] + theta["growth_rate"] * t


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """The same at every time: g."""
    return theta["growth_rate"] + 0.0 * t


EXPONENTIAL = Trend(
    kind="exponential",
    parameters=("trend_intercept", "growth_rate"),
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
    formula="eta0 + g t",
    outside="the same growth",
)
