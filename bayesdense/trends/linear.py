"""Density itself, not its log, linear in time: growth falls as density rises."""

import numpy as np

from bayesdense.elementary import Array, positive_part
from bayesdense.trends.base import Theta, Trend, TrendData, clamp


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + log(((1 - u) exp(-y) + u exp(y)) / cosh y), u = (t - first) / W, y = g W / 2.

    W is the length of the window, g the mean growth over it and eta0 the level in its middle:
    density is positive in the window for every g. Outside, it goes on along the line where that
    rises, and where it would fall to zero, at the growth it has at the window's end.
    """
    y = 0.5 * theta["growth_rate"] * (data.last - data.first)
    inside, below, above = _places(t, data)
    low, high = (inside - inside + end for end in (0.0, 1.0))
    line = np.log(_line(y, inside)) - np.log1p(0.5 * np.expm1(-2.0 * abs(y)))
    return (
        theta["trend_intercept"]
        + line
        + _beyond(_slope(y, high) * above)
        + _beyond(-_slope(y, low) * below)
    )


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Slope of the line over the line; past an end s / (1 + s x) where s > 0 rises from it."""
    length = data.last - data.first
    y = 0.5 * theta["growth_rate"] * length
    inside, below, above = _places(t, data)
    slope = _slope(y, inside) / length
    rising = positive_part(slope * length * above) + positive_part(-slope * length * below)
    return slope / (1.0 + rising)


def _places(t: Array, data: TrendData) -> tuple[Array, Array, Array]:
    """Times in lengths of the window: held within it, and how far below and above it they are."""
    u = (t - data.first) / (data.last - data.first)
    return clamp(u, 0.0, 1.0), positive_part(-u), positive_part(u - 1.0)


def _line(y: Array, u: Array) -> Array:
    """(1 - u) exp(-y) + u exp(y), over exp(|y|)."""
    return (1.0 - u) * np.exp(-y - abs(y)) + u * np.exp(y - abs(y))


def _slope(y: Array, u: Array) -> Array:
    """Derivative of the line's log in u."""
    return (np.exp(y - abs(y)) - np.exp(-y - abs(y))) / _line(y, u)


def _beyond(x: Array) -> Array:
    """Rise of the log past an end: log(1 + x) along a rising line, x where it falls."""
    return np.log1p(positive_part(x)) - positive_part(-x)


LINEAR = Trend(
    kind="linear",
    parameters=("trend_intercept", "growth_rate"),
    eta=_eta,
    growth_rate=_growth_rate,
    formula="log of a line through positive densities at both ends of the window",
    outside="the line goes on where it rises; where it would reach zero, growth stays as it was",
)
