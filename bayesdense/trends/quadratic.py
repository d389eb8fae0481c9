"""Growth that changes steadily: it speeds up or slows down by the same amount every year."""

from bayesdense.elementary import Array
from bayesdense.trends.base import Theta, Trend, TrendData


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + g t + s t^2 / 2."""
    return theta["trend_intercept"] + theta["growth_rate"] * t + 0.5 * theta["growth_slope"] * t * t


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g + s t."""
    return theta["growth_rate"] + theta["growth_slope"] * t


QUADRATIC = Trend(
    kind="quadratic",
    parameters=("trend_intercept", "growth_rate", "growth_slope"),
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
    formula="eta0 + g t + s t²/2",
    outside="the change of growth goes on for ever, which no forecast should lean on",
)
