"""Growth that would become infinite at a date: each doubling takes less time by the same share.

References
----------
von Foerster, Mora and Amiot 1960, Science 132:1291; Johansen and Sornette 2001, Physica A 294:465.
"""

import numpy as np

from bayesdense.elementary import Array, positive_part
from bayesdense.trends.base import Theta, Trend, TrendData


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 - g t_c log(1 - t / t_c), t_c = last release + gap, gap > 0.

    This is -kappa log(t_c - t) with kappa = g t_c; g is the growth at the time origin, and
    eta = +-infinity from t_c on.
    """
    singular = _singular(theta, data)
    with np.errstate(divide="ignore"):
        log_left = np.log(positive_part(1.0 - t / singular))
    return theta["trend_intercept"] - theta["growth_rate"] * singular * log_left


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g t_c / (t_c - t), infinite from t_c on."""
    with np.errstate(divide="ignore"):
        return theta["growth_rate"] / positive_part(1.0 - t / _singular(theta, data))


def _singular(theta: Theta, data: TrendData) -> Array:
    """Return t_c, the time at which density is infinite."""
    return data.last + theta["singular_gap"]


HYPERBOLIC = Trend(
    kind="hyperbolic",
    parameters=("trend_intercept", "growth_rate", "singular_gap"),
    eta=_eta,
    growth_rate=_growth_rate,
    positive=("singular_gap",),
    formula="eta0 - g t_c log(1 - t/t_c), t_c = last release + gap",
    singular=_singular,
    outside="infinite from t_c on: the probability of t_c before a date stands beside a forecast",
)
