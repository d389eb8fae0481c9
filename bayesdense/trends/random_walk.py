"""Growth as a random walk: constant within a quarter, with a step to the next.

References
----------
Harvey 1989, Forecasting, structural time series models and the Kalman filter (local linear trend
with a smooth level).
"""

from bayesdense.elementary import Array, positive_part
from bayesdense.errors import SpecError
from bayesdense.names import KNOT
from bayesdense.trends.base import Theta, Trend, TrendData, after


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + g t + sum over dates e of z_e r_e(t), z_e ~ Normal(0, growth_step_sd).

    g is the growth at the time origin. A step after the origin bends the line from e on,
    r_e = max(t - e, 0); one before it bends what comes before, r_e = max(e - t, 0).
    """
    line = theta["trend_intercept"] + theta["growth_rate"] * t
    for edge, step in zip(data.edges[1:-1], theta["growth_step"], strict=True):
        line = line + step * positive_part(t - edge if edge > 0 else edge - t)
    return line


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g plus the steps between the origin and t, less those before where t is earlier."""
    growth = theta["growth_rate"] + 0.0 * t
    for edge, step in zip(data.edges[1:-1], theta["growth_step"], strict=True):
        growth = growth + step * (after(t, edge) - (0.0 if edge > 0 else 1.0))
    return growth


def _require(data: TrendData) -> None:
    """Refuse a window in which nothing could change."""
    if len(data.edges) < 3:
        raise SpecError(
            "trend random_walk: all LLMs were released within a quarter of a year, in which it "
            "has no step; use exponential"
        )


RANDOM_WALK = Trend(
    kind="random_walk",
    parameters=("trend_intercept", "growth_rate", "growth_step"),
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
    dims={"growth_step": KNOT},
    formula="eta0 + g t + Σ z_e max(t - e, 0), z_e ~ Normal(0, sd) at quarters e",
    outside="the walk goes on after the last release; before the first, the first quarter's growth",
    require=_require,
)
